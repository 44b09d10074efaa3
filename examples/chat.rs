//! A line chat for many members.
//!
//! What it teaches: writing to other connections from a callback, and what to do with one that does not read. Whatever
//! a member says is written to all the others, and nobody waits for anybody: what a member has not taken is kept for
//! it, up to a cap. There it is cut off, and the others are told. Lines come out of the stream with `framing::Lines`.
//!
//!     cargo run --example chat
//!     cargo run --example chat -- --listen 10008 --cap 65536 --max-line 200
//!     nc 127.0.0.1 10008                                (in other terminals: the members)
//!
//! You should see `listening on 127.0.0.1:10008`, and in `nc` the question for a name. The first line is the name; every
//! further one is said to the others, who see `<ann> hello`. `/who` lists the members, `/quit` (or Ctrl-D) leaves.
//! Ctrl-C or SIGTERM ends the chat: the members are told, it sends what it owes, and exits with status 0, or 1 if a
//! member had to be cut off. Of those who come and go, the log names one in a second and counts the others;
//! `RUST_LOG=debug` names all.

#[path = "common/address.rs"]
mod address;
#[path = "common/duration.rs"]
mod duration;
#[path = "common/line_queue.rs"]
mod line_queue;
#[path = "common/listening.rs"]
mod listening;
#[path = "common/orderly_end.rs"]
mod orderly_end;
#[path = "common/per_second.rs"]
mod per_second;
#[path = "common/plain_messages.rs"]
mod plain_messages;
#[path = "common/server_log.rs"]
mod server_log;
#[path = "common/server_stdout.rs"]
mod server_stdout;

use clap::Parser;
use enjamb::framing::Lines;
use enjamb::{Conn, ConnId, Cx, End, Input, Protocol, Reactor};
use log::Level;
use orderly_end::Ending;
use per_second::PerSecond;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

/// A line chat, over TCP
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10008", value_parser = address::with_port(0..=65535))]
    listen: SocketAddr,
    /// Cut off a member for whom more than BYTES are waiting
    #[arg(long, value_name = "BYTES", default_value_t = 262_144, value_parser = within(CAPS), allow_negative_numbers = true)]
    cap: usize,
    /// The longest line that may be said, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1000, value_parser = within(LINES), allow_negative_numbers = true)]
    max_line: usize,
    /// How long members may take, when the chat ends, to receive what they are owed
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration::at_least_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}

/// From more than the longest line takes with its name, to where the loop would give a connection up itself.
const CAPS: RangeInclusive<usize> = 4096..=8 << 20;
/// Up to what fits below every cap, even if each byte has to be shown as one that could not be decoded, which takes three.
const LINES: RangeInclusive<usize> = 1..=1024;
/// In characters.
const LONGEST_NAME: usize = 20;
const QUESTION: &str = "* your name?";

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = server_log::start(plain_messages::from("info"));
    match serve(&args) {
        Ok(status) => status,
        Err(message) => {
            log::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    let mut chat = Chat {
        members: BTreeMap::new(),
        cap: args.cap,
        ending: Ending::default(),
        told: PerSecond::new(Level::Info),
    };
    let mut reactor = Reactor::new().map_err(|error| format!("cannot make an event loop: {error}"))?;
    let mut cx = reactor.cx(&mut chat);
    let (cap, max_line) = (args.cap, args.max_line);
    let address = cx
        .listen(args.listen, move |_cx, peer| Member::new(peer, cap, max_line))
        .and_then(|mut listener| listener.local_addr())
        .map_err(|error| listening::failure(args.listen, &error, "--listen 0"))?;
    orderly_end::on_signal(&mut cx, args.drain_timeout, |cx| {
        cx.state.ending.begin();
        for id in std::mem::take(&mut cx.state.members).into_keys() {
            if let Some(mut member) = cx.conn(id) {
                say(&mut member, "* the chat ends");
            }
        }
    })
    .map_err(|error| format!("cannot catch signals: {error}"))?;
    server_stdout::open().push(format!("listening on {address}\n"));
    reactor.run(&mut chat).map_err(|error| format!("the event loop failed: {error}"))?;
    Ok(chat.ending.status(args.drain_timeout))
}

/// What the connections share.
struct Chat {
    /// Those who have a name. Whoever leaves is out of here at once, though its connection may take a while to close.
    members: BTreeMap<ConnId, String>,
    cap: usize,
    ending: Ending,
    /// What is told of members that come and go.
    told: PerSecond,
}

/// Writes a line to all members but one, and cuts off those who have not taken what they were told before.
fn tell_others(cx: &mut Cx<'_, Chat>, except: ConnId, line: &str) {
    let line = format!("{line}\n");
    let cap = cx.state.cap;
    let members = std::mem::take(&mut cx.state.members); // to reach its members while walking through it
    for &id in members.keys().filter(|id| **id != except) {
        let Some(mut member) = cx.conn(id) else { continue };
        member.write(line.as_bytes());
        if member.unsent() > cap {
            member.abort(does_not_read(cap));
        }
    }
    cx.state.members = members;
}

/// The kind is how `closed` knows it.
fn does_not_read(cap: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::QuotaExceeded,
        format!("it does not read: more than {cap} bytes were waiting; --cap sets how many may"),
    )
}

/// Takes a member out and tells the others why.
fn leave(cx: &mut Cx<'_, Chat>, id: ConnId, how: &str) {
    if let Some(name) = cx.state.members.remove(&id) {
        tell(cx, format_args!("{name} {how}; members: {}", cx.state.members.len()));
        tell_others(cx, id, &format!("* {name} {how}"));
    }
}

/// Tells the log.
fn tell(cx: &mut Cx<'_, Chat>, message: fmt::Arguments<'_>) {
    PerSecond::say(cx, |chat| &mut chat.told, message);
}

/// The same for the connection at hand, which is closed in good order.
fn part(conn: &mut Conn<'_, Chat>, how: &str) {
    let id = conn.id();
    leave(conn.cx(), id, how);
    conn.close();
}

fn say(conn: &mut Conn<'_, Chat>, line: &str) {
    conn.write(format!("{line}\n").as_bytes());
}

/// One connection's machine.
struct Member {
    peer: SocketAddr,
    cap: usize,
    lines: Lines,
    stage: Stage,
}

enum Stage {
    /// It has been asked for its name.
    Asked,
    Member(ConnId),
    /// What it said last has been heard; there may be more lines in the same input.
    Gone,
}

impl Protocol<Chat> for Member {
    fn opened(&mut self, conn: &mut Conn<'_, Chat>) -> io::Result<()> {
        // What is gathered is sent when it comes to the high-water mark. Below the cap, that is: so only what the peer
        // does not take can be more.
        conn.water_marks(self.cap / 4, self.cap / 2);
        say(conn, QUESTION);
        Ok(())
    }

    /// Who asks more than it reads the answers of is heard again when it has read them.
    fn received(&mut self, conn: &mut Conn<'_, Chat>, input: &mut Input<'_>) -> io::Result<()> {
        while !conn.is_full() {
            match self.lines.next(input) {
                Ok(Some(line)) => self.hear(conn, line),
                Ok(None) => break,
                Err(error) => {
                    say(conn, &format!("* {error}"));
                    part(conn, "was cut off: the line was too long");
                    self.stage = Stage::Gone;
                    break;
                }
            }
        }
        Ok(())
    }

    fn ended(&mut self, conn: &mut Conn<'_, Chat>, rest: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = self.lines.last(rest)? {
            self.hear(conn, line);
        }
        part(conn, "has left");
        Ok(())
    }

    /// Whoever has parted is no member any more, and its leaving has been told.
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Chat>, end: End) {
        log::debug!("{}: {end}", self.peer);
        cx.state.ending.note(&end);
        if let Stage::Member(id) = self.stage {
            let cut = end.result.is_err_and(|error| error.kind() == io::ErrorKind::QuotaExceeded);
            leave(cx, id, if cut { "was cut off for not reading" } else { "has lost the connection" });
        }
    }
}

impl Member {
    fn new(peer: SocketAddr, cap: usize, max_line: usize) -> Self {
        Member { peer, cap, lines: Lines::new(max_line), stage: Stage::Asked }
    }

    fn hear(&mut self, conn: &mut Conn<'_, Chat>, line: &[u8]) {
        let line = printable(line);
        match (&self.stage, line.trim()) {
            (Stage::Gone, _) => {}
            (_, "/quit") => {
                say(conn, "* good-bye");
                part(conn, "has left");
                self.stage = Stage::Gone;
            }
            (Stage::Asked, name) => self.join(conn, name),
            (_, "") => {}
            (_, "/who") => {
                let names: Vec<&str> = conn.state().members.values().map(String::as_str).collect();
                let names = names.join(", ");
                say(conn, &format!("* here: {names}"));
            }
            (_, text) if text.starts_with('/') => {
                let command = text.split(' ').next().unwrap_or_default();
                say(conn, &format!("* {command} is not known: there are /who and /quit"));
            }
            (&Stage::Member(id), text) => {
                if let Some(name) = conn.state().members.get(&id) {
                    let said = format!("<{name}> {text}");
                    tell_others(conn.cx(), id, &said);
                }
            }
        }
    }

    fn join(&mut self, conn: &mut Conn<'_, Chat>, name: &str) {
        let refusal = refusal(conn.state(), name);
        if let Some(refusal) = refusal {
            return say(conn, &format!("* {refusal}; another name?"));
        }
        let (id, name) = (conn.id(), name.to_string());
        let others = conn.state().members.len();
        say(conn, &format!("* welcome, {name}; others here: {others}"));
        tell_others(conn.cx(), id, &format!("* {name} has joined"));
        tell(conn.cx(), format_args!("{name} ({}) has joined; members: {}", self.peer, others + 1));
        conn.state().members.insert(id, name);
        self.stage = Stage::Member(id);
    }
}

/// Why somebody cannot have this name.
fn refusal(chat: &Chat, name: &str) -> Option<String> {
    let of_a_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if !(1..=LONGEST_NAME).contains(&name.chars().count()) || !name.chars().all(of_a_name) {
        return Some(format!("a name has 1 to {LONGEST_NAME} letters, digits, - or _"));
    }
    let taken = |other: &String| other.to_lowercase() == name.to_lowercase();
    chat.members.values().any(taken).then(|| format!("{name} is here already"))
}

/// What is said must not move the cursors of those who read it.
fn printable(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn within(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        text.parse()
            .ok()
            .filter(|bytes| range.contains(bytes))
            .ok_or_else(|| format!("expected a number of bytes from {} to {}", range.start(), range.end()))
    }
}
