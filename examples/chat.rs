//! A line chat for many members.
//!
//! What it teaches: a callback writes to other connections, and a limit protects the server from a member that does not
//! read. The server writes each line of a member to all others and does not wait: each connection buffers its unsent
//! output. If that is more than `--cap`, the server cuts the member off and tells the others. `framing::Lines` splits
//! the stream into lines.
//!
//!     cargo run --example chat
//!     cargo run --example chat -- --listen 10008 --cap 65536 --max-line 200
//!     nc 127.0.0.1 10008                                (in other terminals: the members)
//!
//! You should see `listening on 127.0.0.1:10008`, and in `nc` the question for a name. The first line is the name; the
//! others see every further line, such as `<ann> hello`. `/who` lists the members, `/quit` (or Ctrl-D) leaves. At
//! Ctrl-C or SIGTERM it tells the members, sends its unsent output, and exits with status 0, or with 1 if it had to cut
//! off a member. The log shows one join or leave in a second and counts the others; `RUST_LOG=debug` shows all.

mod common;

use clap::Parser;
use common::messages::{Context, PerSecond};
use common::server::Shutdown;
use common::{messages, output, server, values};
use enjamb::framing::Lines;
use enjamb::{Conn, ConnId, Cx, End, Input, Protocol, Reactor};
use log::Level;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

const QUESTION: &str = "* your name?";

/// The loop's state, which the connections share.
struct Chat {
    /// The members that have a name. A member leaves the map at once; its connection may close later.
    members: BTreeMap<ConnId, String>,
    cap: usize,
    shutdown: Shutdown,
    /// Log messages about members that join and leave.
    log: PerSecond,
}

/// The state machine of one connection.
struct Member {
    peer: SocketAddr,
    cap: usize,
    lines: Lines,
    stage: Stage,
}

enum Stage {
    /// The next line is its name.
    Asked,
    Member(ConnId),
    /// It has left. The same input may hold more lines.
    Gone,
}

impl Protocol<Chat> for Member {
    fn opened(&mut self, conn: &mut Conn<'_, Chat>) -> io::Result<()> {
        // The loop sends corked output when it reaches the high-water mark. The mark is below the cap, so only output
        // that the peer does not take can exceed the cap.
        conn.water_marks(self.cap / 4, self.cap / 2);
        say(conn, QUESTION);
        Ok(())
    }

    /// Stops while the output is full. The loop calls this again when the member has read its answers.
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

    /// A member that has parted is not in the map any more, so nothing is said twice.
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Chat>, end: End) {
        log::debug!("{}: {end}", self.peer);
        cx.state.shutdown.note(&end);
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
        tell_log(conn.cx(), format_args!("{name} ({}) has joined; members: {}", self.peer, others + 1));
        conn.state().members.insert(id, name);
        self.stage = Stage::Member(id);
    }
}

/// Writes a line to all members except one, and cuts off a member with too much unsent output.
fn tell_others(cx: &mut Cx<'_, Chat>, except: ConnId, line: &str) {
    let line = format!("{line}\n");
    let cap = cx.state.cap;
    let members = std::mem::take(&mut cx.state.members); // `cx.conn` needs `cx` during the iteration
    for &id in members.keys().filter(|id| **id != except) {
        let Some(mut member) = cx.conn(id) else { continue };
        member.write(line.as_bytes());
        if member.unsent() > cap {
            member.abort(does_not_read(cap));
        }
    }
    cx.state.members = members;
}

/// `closed` recognizes this error by its kind.
fn does_not_read(cap: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::QuotaExceeded,
        format!("it does not read: more than {cap} bytes are unsent; --cap sets the limit"),
    )
}

/// Removes a member and tells the others why.
fn leave(cx: &mut Cx<'_, Chat>, id: ConnId, how: &str) {
    if let Some(name) = cx.state.members.remove(&id) {
        tell_log(cx, format_args!("{name} {how}; members: {}", cx.state.members.len()));
        tell_others(cx, id, &format!("* {name} {how}"));
    }
}

/// The same for the connection of this callback. It closes after its output is sent.
fn part(conn: &mut Conn<'_, Chat>, how: &str) {
    let id = conn.id();
    leave(conn.cx(), id, how);
    conn.close();
}

fn tell_log(cx: &mut Cx<'_, Chat>, message: fmt::Arguments<'_>) {
    PerSecond::say(cx, |chat| &mut chat.log, message);
}

fn say(conn: &mut Conn<'_, Chat>, line: &str) {
    conn.write(format!("{line}\n").as_bytes());
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue_from("info");
    messages::show_failure(serve(&args))
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    let mut chat = Chat {
        members: BTreeMap::new(),
        cap: args.cap,
        shutdown: Shutdown::default(),
        log: PerSecond::new(Level::Info),
    };
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let mut cx = reactor.cx(&mut chat);
    let (cap, max_line) = (args.cap, args.max_line);
    let address = cx
        .listen(args.listen, move |_cx, peer| Member::new(peer, cap, max_line))
        .and_then(|mut listener| listener.local_addr())
        .map_err(|error| server::cannot_listen(args.listen, "--listen 0", &error))?;
    server::shut_down_at_signal(&mut cx, args.drain_timeout, |cx| {
        cx.state.shutdown.begin();
        for id in std::mem::take(&mut cx.state.members).into_keys() {
            if let Some(mut member) = cx.conn(id) {
                say(&mut member, "* the chat ends");
            }
        }
    })?;
    output::queue().push(format!("listening on {address}\n"));
    reactor.run(&mut chat).context("the event loop failed")?;
    Ok(chat.shutdown.exit_status(args.drain_timeout))
}

/// A line chat, over TCP
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10008", value_parser = values::listen_address)]
    listen: SocketAddr,
    /// Cut off a member with more than BYTES of unsent output
    #[arg(long, value_name = "BYTES", default_value_t = 262_144, value_parser = values::number_of("bytes", CAPS), allow_negative_numbers = true)]
    cap: usize,
    /// The longest line, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1000, value_parser = values::number_of("bytes", LINES), allow_negative_numbers = true)]
    max_line: usize,
    /// At the end: how long the members may take to receive their unsent output
    #[arg(long, value_name = "D", default_value = "5s", value_parser = values::duration_from_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}

/// The least is more than the longest line with its name. The most is where the loop itself closes a connection.
const CAPS: RangeInclusive<usize> = 4096..=8 << 20;

/// Also the longest line fits below every cap, and a byte that cannot be decoded takes three bytes.
const LINES: RangeInclusive<usize> = 1..=1024;

/// The longest name, in characters.
const LONGEST_NAME: usize = 20;

/// Why this name is not accepted.
fn refusal(chat: &Chat, name: &str) -> Option<String> {
    let of_a_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if !(1..=LONGEST_NAME).contains(&name.chars().count()) || !name.chars().all(of_a_name) {
        return Some(format!("a name has 1 to {LONGEST_NAME} letters, digits, - or _"));
    }
    let taken = |other: &String| other.to_lowercase() == name.to_lowercase();
    chat.members.values().any(taken).then(|| format!("{name} is here already"))
}

/// Removes control characters: they could move the cursor in a reader's terminal.
fn printable(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
