//! A TCP proxy: two connections tied together, so that what one receives the other sends.
//!
//! What it teaches: backpressure across connections. A side that does not read holds back the side that sends to it, and
//! only that: the other direction goes on, as it would without a proxy. So whatever goes through, 10,000 bytes or a GiB,
//! the memory is the same. And endings: a half-close passes through in either direction; a side that is cut off before
//! its end resets the other, so that a part cannot pass for the whole; one that said its last before is let go, and the
//! other gets all of it. A pair that is stuck is cut off after `--stall-timeout`.
//!
//!     cargo run --release --example echo -- --listen 10007             (in another terminal)
//!     cargo run --release --example proxy -- --listen 10013 --to 10007
//!
//! You should see `listening on 127.0.0.1:10013`. Talk to it with `nc 127.0.0.1 10013`; each connection that ends leaves a
//! line such as `127.0.0.1:50112: 6 bytes there, 6 bytes back`. Of those that fail, the log names
//! one in a second and counts the others; `RUST_LOG=debug` names all. Ctrl-C or SIGTERM ends it when the connections have,
//! with status 0, or 1 if some were cut off; a second one ends it at once.

#[path = "common/address.rs"]
mod address;
#[path = "common/duration.rs"]
mod duration;
#[path = "common/line_queue.rs"]
mod line_queue;
#[path = "common/listening.rs"]
mod listening;
#[path = "common/per_second.rs"]
mod per_second;
#[path = "common/plain_messages.rs"]
mod plain_messages;
#[path = "common/server_log.rs"]
mod server_log;
#[path = "common/server_stdout.rs"]
mod server_stdout;
#[path = "common/signals.rs"]
mod signals;

use clap::Parser;
use enjamb::{Conn, ConnId, Cx, End, Input, ListenerId, Protocol, Reactor, TimerId};
use line_queue::LineQueue;
use log::Level;
use per_second::PerSecond;
use slab::Slab;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Pass every connection on to another address
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10013", value_parser = address::with_port(0..=65535))]
    listen: SocketAddr,
    /// Where to connect to for each client, as [HOST:]PORT
    #[arg(long, value_name = "ADDR", value_parser = address::with_port(1..=65535))]
    to: SocketAddr,
    /// Cut off a pair that has something to send, and on which nothing has moved either way for this long (or up to twice as long)
    #[arg(long, value_name = "D", default_value = "10m", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    stall_timeout: Duration,
    /// How long open connections may go on when the proxy ends
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration::at_least_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}

/// What all pairs share.
struct Proxy {
    to: SocketAddr,
    stall_timeout: Duration,
    pairs: Slab<Pair>,
    /// How many pairs there were, and what they have passed on.
    ended: usize,
    passed: Passed,
    /// Whether a signal has asked for the end.
    ending: bool,
    /// How many pairs were cut off since then.
    cut: usize,
    stdout: LineQueue,
    /// Why pairs were cut off.
    failures: PerSecond,
}

/// A client and its connection to the other address.
struct Pair {
    peer: SocketAddr,
    /// The client and the other side, once it is connected to.
    sides: Option<[ConnId; 2]>,
    /// How many of the two are open.
    open: usize,
    passed: Passed,
    /// What had moved when it was last looked at.
    seen: Option<Moved>,
    /// The time for the next look.
    look: Option<TimerId>,
}

/// Bytes received from one side and written to the other.
#[derive(Clone, Copy, Default, PartialEq)]
struct Passed {
    there: u64,
    back: u64,
}

impl Passed {
    /// Those that were received from this side.
    fn from(&mut self, client: bool) -> &mut u64 {
        if client { &mut self.there } else { &mut self.back }
    }
}

/// What changes when anything moves: what was passed on, and how much of that each side has not taken.
type Moved = (Passed, [usize; 2]);

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = server_log::start(plain_messages::from("warn"));
    match serve(&args) {
        Ok(status) => status,
        Err(message) => {
            log::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    let mut proxy = Proxy {
        to: args.to,
        stall_timeout: args.stall_timeout,
        pairs: Slab::new(),
        ended: 0,
        passed: Passed::default(),
        ending: false,
        cut: 0,
        stdout: server_stdout::open(),
        failures: PerSecond::new(Level::Warn),
    };
    let mut reactor = Reactor::new().map_err(|error| format!("cannot make an event loop: {error}"))?;
    let mut cx = reactor.cx(&mut proxy);
    let (listener, address) = listen(&mut cx, args.listen)
        .map_err(|error| listening::failure(args.listen, &error, "--listen 0"))?;
    if address == args.to {
        return Err(format!(
            "{address} is the proxy itself: give another --to, or it would connect for ever"
        ));
    }
    let drain_timeout = args.drain_timeout;
    signals::first_calls(&mut cx, move |cx| end(cx, listener, drain_timeout))
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    cx.state.stdout.push(format!("listening on {address}\n"));
    reactor.run(&mut proxy).map_err(|error| format!("the event loop failed: {error}"))?;
    let Passed { there, back } = proxy.passed;
    proxy.stdout.push(format!("{} connections: {there} bytes there, {back} bytes back\n", proxy.ended));
    if proxy.cut > 0 {
        log::error!(
            "cut off {} connections after {drain_timeout:?}: give a longer --drain-timeout",
            proxy.cut
        );
    }
    Ok(if proxy.cut > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn listen(cx: &mut Cx<'_, Proxy>, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
    let mut listener = cx.listen(address, |cx, peer| {
        let pair = Pair { peer, sides: None, open: 1, passed: Passed::default(), seen: None, look: None };
        Side::new(cx.state.pairs.insert(pair), None)
    })?;
    Ok((listener.id(), listener.local_addr()?))
}

/// Lets those go on who are there, for a time.
fn end(cx: &mut Cx<'_, Proxy>, listener: ListenerId, drain_timeout: Duration) {
    log::warn!("ending within {drain_timeout:?}; a second signal ends it at once");
    if let Some(listener) = cx.listener(listener) {
        listener.close();
    }
    cx.state.ending = true;
    if cx.state.pairs.is_empty() {
        return cx.stop();
    }
    cx.after(drain_timeout, |cx| {
        cx.state.cut = cx.state.pairs.len();
        let pairs = cx.state.pairs.iter().filter_map(|(_, pair)| pair.sides);
        for sides in pairs.collect::<Vec<[ConnId; 2]>>() {
            reset(cx, sides, cut_off);
        }
    });
}

/// Resets both sides, as one may be gone: had it said its last in good order, it would not have the other reset.
fn reset(cx: &mut Cx<'_, Proxy>, sides: [ConnId; 2], why: fn() -> io::Error) {
    for side in sides {
        if let Some(mut side) = cx.conn(side) {
            side.reset(why());
        }
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it has not ended in time")
}

/// Cuts off a pair on which nothing has moved since the last look, although there is something to send. A side that does
/// not read holds back the other, which is then not read from, so that its end would not be noticed either.
///
/// A side that reads slowly moves in steps, on Linux of about 100 KiB ([`Conn::unsent`]): within ten minutes a step comes
/// from 170 bytes per second on.
fn look(cx: &mut Cx<'_, Proxy>, pair: usize) {
    let (timeout, &Pair { peer, sides, passed, seen, .. }) = (cx.state.stall_timeout, &cx.state.pairs[pair]);
    let Some(sides) = sides else { return };
    let unsent = sides.map(|side| cx.conn(side).map_or(0, |mut side| side.unsent()));
    let moved = (passed, unsent);
    if seen == Some(moved) && unsent != [0, 0] {
        reset(cx, sides, || io::Error::new(io::ErrorKind::TimedOut, "nothing has moved for too long"));
        let message =
            format_args!("{peer}: cut off: nothing has moved for {timeout:?}, of {unsent:?} bytes unsent");
        return PerSecond::say(cx, |proxy| &mut proxy.failures, message);
    }
    let next = cx.after(timeout, move |cx| look(cx, pair));
    let pair = &mut cx.state.pairs[pair];
    (pair.seen, pair.look) = (Some(moved), Some(next));
}

impl Proxy {
    fn pair_ended(&mut self, Pair { peer, passed: Passed { there, back }, .. }: Pair) {
        self.ended += 1;
        self.passed.there += there;
        self.passed.back += back;
        self.stdout.push(format!("{peer}: {there} bytes there, {back} bytes back\n"));
    }
}

/// One of two connections that are tied together.
struct Side {
    pair: usize,
    /// Known from the beginning to the one that was connected for the other.
    other: Option<ConnId>,
    is_client: bool,
    opened: bool,
    /// Its peer has said its last.
    ended: bool,
}

impl Side {
    fn new(pair: usize, other: Option<ConnId>) -> Self {
        Side { pair, other, is_client: other.is_none(), opened: false, ended: false }
    }

    /// The pair is over with its second side.
    fn leave(&self, cx: &mut Cx<'_, Proxy>) {
        let pair = &mut cx.state.pairs[self.pair];
        pair.open -= 1;
        if pair.open == 0 {
            let pair = cx.state.pairs.remove(self.pair);
            pair.look.map(|look| cx.cancel(look));
            cx.state.pair_ended(pair);
        }
    }

    /// `None` when it is gone; then our own end has been asked for, too.
    fn other<'a>(&self, conn: &'a mut Conn<'_, Proxy>) -> Option<Conn<'a, Proxy>> {
        conn.cx().conn(self.other?)
    }
}

impl Protocol<Proxy> for Side {
    fn opened(&mut self, conn: &mut Conn<'_, Proxy>) -> io::Result<()> {
        if conn.state().cut > 0 {
            return Err(cut_off()); // it was accepted just before the end
        }
        self.opened = true;
        // What holds back our peer is the other's output. Were it our own, two peers that both send a lot before they
        // read would wait for each other for ever.
        conn.read_while_full(true);
        if let Some(mut client) = self.other(conn) {
            client.resume();
        }
        if self.is_client {
            let id = conn.id();
            conn.pause(); // what it sends before there is another side stays with the kernel
            let cx = conn.cx();
            let other = cx.connect(cx.state.to, Side::new(self.pair, Some(id))).id();
            self.other = Some(other);
            let pair = &mut cx.state.pairs[self.pair];
            pair.sides = Some([id, other]);
            pair.open += 1;
            look(cx, self.pair);
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

    /// Passes the half-close on. When both sides have ended, both connections close by themselves.
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
                other.close(); // it is owed what was sent before that end, and nothing more
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
        if cx.state.ending && cx.state.pairs.is_empty() {
            cx.stop();
        }
    }
}
