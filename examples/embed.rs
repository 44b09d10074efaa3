//! A reactor inside another loop: an intercom with a loop around poll(2), or with a loop that draws frames.
//!
//! What it teaches: `turn` runs one turn of the reactor and returns to the outer loop. The reactor's descriptor is
//! readable when the next turn has work, so poll(2) or any other loop can wait for it with its own descriptors.
//! `Turn::next` is the longest time to wait. A loop with a fixed rhythm, as in a game, needs neither: it turns the
//! reactor once a frame without a wait. A client that is too slow for the frames misses some of them, so that memory
//! stays bounded.
//!
//!     cargo run --example embed -- --listen 10010
//!     cargo run --example embed -- --listen 10010 --frames-per-second 60
//!
//! You should see `listening on 127.0.0.1:10010`. Connect from several terminals with `nc 127.0.0.1 10010`. A line that
//! you type in the first terminal goes to all of them, and it shows their lines. Ctrl-D, Ctrl-C or SIGTERM ends it.
//! With `--frames-per-second` it does not read the keyboard and sends the number of each frame.

mod common;

use clap::Parser;
use common::line_queue::LineQueue;
use common::messages::Context;
use common::{messages, output, server, signals, values};
use enjamb::{Conn, ConnId, Cx, End, Input, Protocol, Reactor};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[cfg(unix)]
mod keyboard {
    use super::{DRAIN_TIMEOUT, Intercom, tell_all};
    use enjamb::Reactor;
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::io::{self, BufRead};
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// A loop around poll(2), as an existing program may have it.
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
                Err(Errno::EINTR) => continue, // interrupted by a signal
                ready => ready?,
            };
            if descriptors.get(1).is_some_and(|stdin| stdin.any() == Some(true)) {
                let typed = stdin.fill_buf()?; // one read, which does not block after this poll
                let length = typed.len();
                typing = length > 0;
                tell_all(&mut reactor.cx(state), typed);
                stdin.consume(length);
                if !typing {
                    reactor.cx(state).shutdown(DRAIN_TIMEOUT);
                }
            }
        }
    }

    /// In whole milliseconds. Rounded down, the loop would spin for the rest of the last one.
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

    /// Without poll(2), a thread would have to read the keyboard and post each line through a `Handle`. This does not.
    pub fn by_poll(reactor: &mut Reactor<Intercom>, state: &mut Intercom) -> io::Result<()> {
        reactor.run(state)
    }
}

/// The loop of a game: each frame at its time, and turns of the reactor in between.
fn by_frames(reactor: &mut Reactor<Intercom>, state: &mut Intercom, period: Duration) -> io::Result<()> {
    let mut frame_at = Instant::now();
    for frame in 1_u64.. {
        frame_at += period;
        // Turn until no work is left, or until the next frame is due.
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

/// The reactor's state, which the outer loop and the connections share.
struct Intercom {
    clients: BTreeSet<ConnId>,
    stdout: LineQueue,
}

/// Writes to every client, except one whose output is full. The next turn sends it.
fn tell_all(cx: &mut Cx<'_, Intercom>, text: &[u8]) {
    for client in cx.state.clients.clone() {
        if let Some(mut client) = cx.conn(client)
            && !client.is_full()
        {
            client.write(text);
        }
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
            show(conn, rest.take_all()); // a last line without a newline
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

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue_from("warn");
    messages::show_failure(intercom(&args).map(|()| ExitCode::SUCCESS))
}

fn intercom(args: &Args) -> Result<(), String> {
    let mut state = Intercom { clients: BTreeSet::new(), stdout: output::queue() };
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let mut cx = reactor.cx(&mut state);
    let listener = cx.listen(args.listen, |_cx, _peer| Client::default());
    let address = listener
        .and_then(|mut listener| listener.local_addr())
        .map_err(|error| server::cannot_listen(args.listen, "--listen 0", &error))?;
    signals::at_first(&mut cx, |cx| cx.shutdown(DRAIN_TIMEOUT))?;
    state.stdout.push(format!("listening on {address}\n"));
    let ran = match args.frames_per_second {
        Some(per_second) => by_frames(&mut reactor, &mut state, Duration::from_secs(1) / per_second),
        None => keyboard::by_poll(&mut reactor, &mut state),
    };
    ran.context("the loop failed")
}

/// At the end: how long the clients may take to receive their unsent output.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Talk to all clients from a loop around the reactor
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10010", value_parser = values::listen_address)]
    listen: SocketAddr,
    /// Send the numbers of N frames in each second, instead of lines from the keyboard
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    frames_per_second: Option<u32>,
}
