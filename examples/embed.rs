//! A reactor inside somebody else's loop: an intercom whose own loop waits for the keyboard, or draws frames.
//!
//! What it teaches: the loop need not be yours. `turn` goes round once; the reactor's descriptor becomes readable when the
//! next turn has something to do, so poll(2), or any other loop, can wait for it beside its own descriptors, and
//! `Turn::next` says for how long at most. A loop with a rhythm of its own, a game's, needs neither: it turns the reactor
//! once a frame and never waits in it. And a client that is too slow for the frames misses some, rather than filling memory.
//!
//!     cargo run --example embed -- --listen 10010
//!     cargo run --example embed -- --listen 10010 --frames-per-second 60
//!
//! You should see `listening on 127.0.0.1:10010`. Connect with `nc 127.0.0.1 10010`, from several terminals: a line you type
//! goes to all of them, and what they send is shown. Ctrl-D ends it. With frames there is no keyboard: every client is sent
//! the number of each frame. Ctrl-C or SIGTERM ends it, too.

#[path = "common/address.rs"]
mod address;
#[path = "common/line_queue.rs"]
mod line_queue;
#[path = "common/listening.rs"]
mod listening;
#[path = "common/plain_messages.rs"]
mod plain_messages;
#[path = "common/server_log.rs"]
mod server_log;
#[path = "common/server_stdout.rs"]
mod server_stdout;
#[path = "common/signals.rs"]
mod signals;

use clap::Parser;
use enjamb::{Conn, ConnId, Cx, End, Input, Protocol, Reactor};
use line_queue::LineQueue;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Talk to all clients from a loop that is not enjamb's
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10010", value_parser = address::with_port(0..=65535))]
    listen: SocketAddr,
    /// Send the numbers of N frames in every second, instead of what is typed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    frames_per_second: Option<u32>,
}

/// How long the clients may take, at the end, to receive what they were told last.
const DRAIN: Duration = Duration::from_secs(5);

/// What the outer loop and the connections share.
struct Intercom {
    clients: BTreeSet<ConnId>,
    stdout: LineQueue,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = server_log::start(plain_messages::from("warn"));
    match intercom(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn intercom(args: &Args) -> Result<(), String> {
    let mut state = Intercom { clients: BTreeSet::new(), stdout: server_stdout::open() };
    let mut reactor = Reactor::new().map_err(|error| format!("cannot make an event loop: {error}"))?;
    let mut cx = reactor.cx(&mut state);
    let listener = cx.listen(args.listen, |_cx, _peer| Client::default());
    let address = listener
        .and_then(|mut listener| listener.local_addr())
        .map_err(|error| listening::failure(args.listen, &error, "--listen 0"))?;
    signals::first_calls(&mut cx, |cx| cx.shutdown(DRAIN))
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    state.stdout.push(format!("listening on {address}\n"));
    let ran = match args.frames_per_second {
        Some(per_second) => by_frames(&mut reactor, &mut state, Duration::from_secs(1) / per_second),
        None => keyboard::by_poll(&mut reactor, &mut state),
    };
    ran.map_err(|error| format!("the loop failed: {error}"))
}

/// The loop of a game: each frame at its time, and the network in between.
fn by_frames(reactor: &mut Reactor<Intercom>, state: &mut Intercom, period: Duration) -> io::Result<()> {
    let mut frame_at = Instant::now();
    for frame in 1_u64.. {
        frame_at += period;
        // All that is due, unless there is so much that it would make the frame late.
        let mut turn = reactor.turn(state, Some(Duration::ZERO))?;
        while turn.next == Some(Duration::ZERO) && Instant::now() < frame_at {
            turn = reactor.turn(state, Some(Duration::ZERO))?;
        }
        if !turn.alive {
            break;
        }
        tell_all(&mut reactor.cx(state), format!("{frame}\n").as_bytes());
        std::thread::sleep(frame_at.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Writes to every client that is not behind with what it was told before. It is sent with the next turn.
fn tell_all(cx: &mut Cx<'_, Intercom>, text: &[u8]) {
    for client in cx.state.clients.clone() {
        if let Some(mut client) = cx.conn(client)
            && !client.is_full()
        {
            client.write(text);
        }
    }
}

#[cfg(unix)]
mod keyboard {
    use super::{DRAIN, Intercom, tell_all};
    use enjamb::Reactor;
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::io::{self, BufRead};
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// A loop around poll(2), as a program may have had it before it met the reactor.
    pub fn by_poll(reactor: &mut Reactor<Intercom>, state: &mut Intercom) -> io::Result<()> {
        let mut stdin = io::stdin().lock();
        let mut typing = true;
        loop {
            let turn = reactor.turn(state, Some(Duration::ZERO))?;
            if !turn.alive {
                return Ok(());
            }
            let descriptor = reactor.descriptor().ok_or(io::ErrorKind::Unsupported)?;
            let mut descriptors = vec![PollFd::new(descriptor, PollFlags::POLLIN)];
            if typing {
                descriptors.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut descriptors, turn.next.map_or(PollTimeout::NONE, rounded_up)) {
                Err(Errno::EINTR) => continue, // a signal: nothing is ready
                ready => ready?,
            };
            if descriptors.get(1).is_some_and(|stdin| stdin.any() == Some(true)) {
                let typed = stdin.fill_buf()?; // one read, of which poll has said that it does not wait
                let length = typed.len();
                typing = length > 0;
                tell_all(&mut reactor.cx(state), typed);
                stdin.consume(length);
                if !typing {
                    reactor.cx(state).shutdown(DRAIN);
                }
            }
        }
    }

    /// In whole milliseconds: rounded down, the loop would spin for the rest.
    fn rounded_up(wait: Duration) -> PollTimeout {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        i32::try_from(millis)
            .ok()
            .and_then(|millis| PollTimeout::try_from(millis).ok())
            .unwrap_or(PollTimeout::MAX)
    }
}

#[cfg(not(unix))]
mod keyboard {
    use super::Intercom;
    use enjamb::Reactor;
    use std::io;

    /// poll(2) is Unix; elsewhere a thread would read the keyboard and post what is typed through a `Handle`.
    pub fn by_poll(reactor: &mut Reactor<Intercom>, state: &mut Intercom) -> io::Result<()> {
        reactor.run(state)
    }
}

#[derive(Default)]
struct Client {
    id: Option<ConnId>,
}

impl Protocol<Intercom> for Client {
    fn opened(&mut self, conn: &mut Conn<'_, Intercom>) -> io::Result<()> {
        let id = conn.id();
        self.id = Some(id);
        conn.state().clients.insert(id);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Intercom>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            show(conn, line);
        }
        Ok(())
    }

    fn ended(&mut self, conn: &mut Conn<'_, Intercom>, rest: &mut Input<'_>) -> io::Result<()> {
        if !rest.is_empty() {
            show(conn, rest.take_all()); // the last line, which has no newline
        }
        conn.close();
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Intercom>, end: End) {
        log::debug!("{end}");
        self.id.map(|id| cx.state.clients.remove(&id));
    }
}

fn show(conn: &mut Conn<'_, Intercom>, line: &[u8]) {
    let line = format!("{}: {}\n", conn.id(), String::from_utf8_lossy(line).escape_debug());
    conn.state().stdout.push(line);
}
