//! A TCP proxy: a pair of connections, each of which sends what the other one receives.
//!
//! What it teaches: backpressure across connections. If one side does not read, the proxy stops reading from the other
//! side. The opposite direction goes on, as it does without a proxy. So the memory is the same for 10,000 bytes and for
//! a GiB. And the ends of connections: a half-close passes through in either direction. If one side fails before its
//! half-close, the proxy resets the other side, which can then see that a part is missing. If one side fails after its
//! half-close, the other side still gets all of its bytes. After `--stall-timeout` without progress, the proxy cuts off
//! a pair.
//!
//!     cargo run --release --example echo -- --listen 10007             (in another terminal)
//!     cargo run --release --example proxy -- --listen 10013 --to 10007
//!
//! You should see `listening on 127.0.0.1:10013`. Talk to it with `nc 127.0.0.1 10013`. At the end of each pair it
//! prints a line such as `127.0.0.1:50112: 6 bytes there, 6 bytes back`. The log shows one failure in a second and
//! counts the others; `RUST_LOG=debug` shows all. After Ctrl-C or SIGTERM it ends when all pairs have ended, with
//! status 0, or with 1 if it had to cut off some; a second signal ends it at once.

mod common;

use clap::Parser;
use common::line_queue::LineQueue;
use common::messages::{Context, PerSecond};
use common::{messages, output, server, signals, values};
use enjamb::{Conn, ConnId, Cx, End, Input, ListenerId, Protocol, Reactor, TimerId};
use log::Level;
use slab::Slab;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// The loop's state, which all pairs share.
struct Proxy {
    to: SocketAddr,
    stall_timeout: Duration,
    pairs: Slab<Pair>,
    /// The number of pairs that have ended, and the bytes that they passed on.
    ended: usize,
    passed: Passed,
    /// A signal has begun the shutdown.
    shutting_down: bool,
    /// How many pairs the shutdown has cut off.
    cut_off: usize,
    stdout: LineQueue,
    /// Log messages about pairs that fail.
    failures: PerSecond,
}

/// A client's connection, and the connection that the proxy made for it.
struct Pair {
    peer: SocketAddr,
    /// Both sides, from the connect on.
    sides: Option<[ConnId; 2]>,
    /// How many sides have not closed.
    open: usize,
    passed: Passed,
    /// The progress at the last check.
    progress: Option<Progress>,
    /// The timer of the next check.
    check: Option<TimerId>,
}

/// Bytes received from one side and written to the other: from the client, and to the client.
#[derive(Clone, Copy, Default, PartialEq)]
struct Passed {
    there: u64,
    back: u64,
}

impl Passed {
    /// The counter for bytes from this side.
    fn from(&mut self, client: bool) -> &mut u64 {
        if client { &mut self.there } else { &mut self.back }
    }
}

/// A value that changes with each progress: the bytes passed on, and the unsent bytes of each side.
type Progress = (Passed, [usize; 2]);

/// The state machine of one side of a pair.
struct Side {
    pair: usize,
    /// The client learns it in `opened`, where it starts the connect. The other side knows it from the start.
    other: Option<ConnId>,
    is_client: bool,
    opened: bool,
    /// Its peer has half-closed.
    ended: bool,
}

impl Protocol<Proxy> for Side {
    fn opened(&mut self, conn: &mut Conn<'_, Proxy>) -> io::Result<()> {
        if conn.state().cut_off > 0 {
            return Err(cut_off()); // it was accepted just before the listener closed
        }
        self.opened = true;
        // The output of the other side limits what this side reads. Its own output must not: two peers that both send
        // much before they read would block each other for ever.
        conn.read_while_full(true);
        if let Some(mut client) = self.other(conn) {
            client.resume();
        }
        if self.is_client {
            let id = conn.id();
            conn.pause(); // until the other side opens, input stays in the kernel's buffer
            let cx = conn.cx();
            let other = cx.connect(cx.state.to, Side::new(self.pair, Some(id))).id();
            self.other = Some(other);
            let pair = &mut cx.state.pairs[self.pair];
            pair.sides = Some([id, other]);
            pair.open += 1;
            check(cx, self.pair);
        }
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Proxy>, input: &mut Input<'_>) -> io::Result<()> {
        let bytes = input.take_all();
        let Some(mut other) = self.other(conn) else { return Ok(()) };
        if other.write(bytes) {
            *other.state().pairs[self.pair].passed.from(self.is_client) += bytes.len() as u64;
        }
        if other.is_full() {
            conn.pause();
        }
        Ok(())
    }

    fn drained(&mut self, conn: &mut Conn<'_, Proxy>) -> io::Result<()> {
        if let Some(mut other) = self.other(conn) {
            other.resume();
        }
        Ok(())
    }

    /// Passes the half-close on. A connection closes by itself when both directions have ended.
    fn ended(&mut self, conn: &mut Conn<'_, Proxy>, _rest: &mut Input<'_>) -> io::Result<()> {
        self.ended = true;
        if let Some(mut other) = self.other(conn) {
            other.finish();
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Proxy>, end: End) {
        let peer = cx.state.pairs[self.pair].peer;
        if let Err(error) = &end.result
            && let Some(mut other) = self.other.and_then(|other| cx.conn(other))
        {
            if self.ended || !self.opened {
                other.close(); // after the bytes that came before the half-close
            } else {
                other.reset(io::Error::new(error.kind(), "the other side was cut off"));
            }
            PerSecond::say(cx, |proxy| &mut proxy.failures, format_args!("{peer}: {end}"));
        } else {
            log::debug!("{peer}: {end}");
        }
        let passed = cx.state.pairs[self.pair].passed.from(!self.is_client);
        *passed = passed.saturating_sub(end.unsent as u64);
        self.leave(cx);
        if cx.state.shutting_down && cx.state.pairs.is_empty() {
            cx.stop();
        }
    }
}

impl Side {
    fn new(pair: usize, other: Option<ConnId>) -> Self {
        Side { pair, other, is_client: other.is_none(), opened: false, ended: false }
    }

    /// Removes the pair when its second side has closed.
    fn leave(&self, cx: &mut Cx<'_, Proxy>) {
        let pair = &mut cx.state.pairs[self.pair];
        pair.open -= 1;
        if pair.open == 0 {
            let pair = cx.state.pairs.remove(self.pair);
            pair.check.map(|check| cx.cancel(check));
            cx.state.pair_ended(pair);
        }
    }

    /// `None` if the other side has closed. Then this side closes soon.
    fn other<'a>(&self, conn: &'a mut Conn<'_, Proxy>) -> Option<Conn<'a, Proxy>> {
        conn.cx().conn(self.other?)
    }
}

/// Cuts off a pair that has made no progress since the last check and has unsent output. If one side does not read, the
/// proxy does not read from the other, and would not notice its end either.
///
/// The progress of a slow reader comes in steps, on Linux of about 100 KiB ([`Conn::unsent`]). So at 170 bytes a second or
/// more, each ten minutes have a step.
fn check(cx: &mut Cx<'_, Proxy>, pair: usize) {
    let (timeout, &Pair { peer, sides, passed, progress, .. }) =
        (cx.state.stall_timeout, &cx.state.pairs[pair]);
    let Some(sides) = sides else { return };
    let unsent = sides.map(|side| cx.conn(side).map_or(0, |mut side| side.unsent()));
    let now = (passed, unsent);
    if progress == Some(now) && unsent != [0, 0] {
        reset(cx, sides, || io::Error::new(io::ErrorKind::TimedOut, "nothing has moved for too long"));
        let message =
            format_args!("{peer}: cut off: nothing has moved for {timeout:?}, of {unsent:?} bytes unsent");
        return PerSecond::say(cx, |proxy| &mut proxy.failures, message);
    }
    let next = cx.after(timeout, move |cx| check(cx, pair));
    let pair = &mut cx.state.pairs[pair];
    (pair.progress, pair.check) = (Some(now), Some(next));
}

/// Accepts no more, and gives the open pairs some time to end.
fn shut_down(cx: &mut Cx<'_, Proxy>, listener: ListenerId, drain_timeout: Duration) {
    log::warn!("ending within {drain_timeout:?}; a second signal ends it at once");
    if let Some(listener) = cx.listener(listener) {
        listener.close();
    }
    cx.state.shutting_down = true;
    if cx.state.pairs.is_empty() {
        return cx.stop();
    }
    cx.after(drain_timeout, |cx| {
        cx.state.cut_off = cx.state.pairs.len();
        let pairs = cx.state.pairs.iter().filter_map(|(_, pair)| pair.sides);
        for sides in pairs.collect::<Vec<[ConnId; 2]>>() {
            reset(cx, sides, cut_off);
        }
    });
}

/// Resets both sides here: a side that has half-closed does not reset the other when it closes.
fn reset(cx: &mut Cx<'_, Proxy>, sides: [ConnId; 2], why: fn() -> io::Error) {
    for side in sides {
        if let Some(mut side) = cx.conn(side) {
            side.reset(why());
        }
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it did not end within the time of the shutdown")
}

impl Proxy {
    fn pair_ended(&mut self, Pair { peer, passed: Passed { there, back }, .. }: Pair) {
        self.ended += 1;
        self.passed.there += there;
        self.passed.back += back;
        self.stdout.push(format!("{peer}: {there} bytes there, {back} bytes back\n"));
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue_from("warn");
    messages::show_failure(serve(&args))
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    let mut proxy = Proxy {
        to: args.to,
        stall_timeout: args.stall_timeout,
        pairs: Slab::new(),
        ended: 0,
        passed: Passed::default(),
        shutting_down: false,
        cut_off: 0,
        stdout: output::queue(),
        failures: PerSecond::new(Level::Warn),
    };
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let mut cx = reactor.cx(&mut proxy);
    let (listener, address) = listen(&mut cx, args.listen)
        .map_err(|error| server::cannot_listen(args.listen, "--listen 0", &error))?;
    if address == args.to {
        return Err(format!(
            "{address} is the proxy itself: give another --to, or it would connect to itself without end"
        ));
    }
    let drain_timeout = args.drain_timeout;
    signals::at_first(&mut cx, move |cx| shut_down(cx, listener, drain_timeout))?;
    cx.state.stdout.push(format!("listening on {address}\n"));
    reactor.run(&mut proxy).context("the event loop failed")?;
    let Passed { there, back } = proxy.passed;
    proxy.stdout.push(format!("{} connections: {there} bytes there, {back} bytes back\n", proxy.ended));
    if proxy.cut_off > 0 {
        log::error!(
            "cut off {} connections after {drain_timeout:?}: give a longer --drain-timeout",
            proxy.cut_off
        );
    }
    Ok(if proxy.cut_off > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn listen(cx: &mut Cx<'_, Proxy>, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
    let mut listener = cx.listen(address, |cx, peer| {
        let pair =
            Pair { peer, sides: None, open: 1, passed: Passed::default(), progress: None, check: None };
        Side::new(cx.state.pairs.insert(pair), None)
    })?;
    Ok((listener.id(), listener.local_addr()?))
}

/// Pass each connection on to another address
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10013", value_parser = values::listen_address)]
    listen: SocketAddr,
    /// Where to connect for each client, as [HOST:]PORT
    #[arg(long, value_name = "ADDR", value_parser = values::remote_address)]
    to: SocketAddr,
    /// Cut off a pair with unsent output after this time without progress (or up to twice the time)
    #[arg(long, value_name = "D", default_value = "10m", value_parser = values::duration_from_ms(1), allow_hyphen_values = true)]
    stall_timeout: Duration,
    /// At the end: how long open connections may go on
    #[arg(long, value_name = "D", default_value = "5s", value_parser = values::duration_from_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}
