//! A TCP proxy: two connections tied together, so that what one receives the other sends.
//!
//! What it teaches: backpressure across connections. A side that does not read holds back the side that sends to it, and
//! only that: the other direction goes on, as it would without a proxy. So whatever goes through, 10,000 bytes or a GiB,
//! the memory is the same. And endings: a half-close passes through in either direction; a side that is cut off before
//! its end resets the other, so that a part cannot pass for the whole; one that said its last before is let go, and the
//! other gets all of it.
//!
//!     cargo run --release --example echo -- --listen 10007             (in another terminal)
//!     cargo run --release --example proxy -- --listen 10013 --to 10007
//!
//! You should see `listening on 127.0.0.1:10013`. Talk to it with `nc 127.0.0.1 10013`; each connection that ends leaves a
//! line such as `127.0.0.1:50112: 6 bytes there, 6 bytes back`. Of those that fail, the log
//! names one in a second and counts the others; `RUST_LOG=debug` names all. Ctrl-C or SIGTERM ends it when the connections have, with
//! status 0, or 1 if some were cut off; a second one ends it at once.

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
use enjamb::{Conn, ConnId, Cx, End, Input, ListenerId, Protocol, Reactor};
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
    /// How long open connections may go on when the proxy ends
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration::at_least_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}

/// What all pairs share.
struct Proxy {
    to: SocketAddr,
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
}

/// Bytes received from one side and handed to the kernel for the other.
#[derive(Default)]
struct Passed {
    there: u64,
    back: u64,
}

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
        let pair = Pair { peer, sides: None, open: 1, passed: Passed::default() };
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
        // Both, as one may be gone: had it said its last in good order, it would not have the other reset.
        let sides = cx.state.pairs.iter().filter_map(|(_, pair)| pair.sides);
        for side in sides.flatten().collect::<Vec<ConnId>>() {
            if let Some(mut side) = cx.conn(side) {
                side.reset(cut_off());
            }
        }
    });
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it has not ended in time")
}

impl Proxy {
    /// One side of a pair is gone, and the pair with the second.
    fn side_left(&mut self, pair: usize) {
        self.pairs[pair].open -= 1;
        if self.pairs[pair].open == 0 {
            let Pair { peer, passed: Passed { there, back }, .. } = self.pairs.remove(pair);
            self.ended += 1;
            self.passed.there += there;
            self.passed.back += back;
            self.stdout.push(format!("{peer}: {there} bytes there, {back} bytes back\n"));
        }
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
    /// How much it has passed on to the other.
    bytes: u64,
}

impl Side {
    fn new(pair: usize, other: Option<ConnId>) -> Self {
        Side { pair, other, is_client: other.is_none(), opened: false, ended: false, bytes: 0 }
    }

    /// `None` when it is gone; then our own end has been asked for, too.
    fn other<'a>(&self, conn: &'a mut Conn<'_, Proxy>) -> Option<Conn<'a, Proxy>> {
        conn.cx().conn(self.other?)
    }

    fn count(&self, passed: &mut Passed, unsent: usize) {
        let (sent, received) = if self.is_client {
            (&mut passed.there, &mut passed.back)
        } else {
            (&mut passed.back, &mut passed.there)
        };
        *sent = sent.wrapping_add(self.bytes);
        *received = received.wrapping_sub(unsent as u64); // what the other side has counted or will count
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
        }
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Proxy>, input: &mut Input<'_>) -> io::Result<()> {
        let bytes = input.take_all();
        let Some(mut other) = self.other(conn) else { return Ok(()) };
        if other.write(bytes) {
            self.bytes += bytes.len() as u64;
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
        self.count(&mut cx.state.pairs[self.pair].passed, end.unsent);
        cx.state.side_left(self.pair);
        if cx.state.ending && cx.state.pairs.is_empty() {
            cx.stop();
        }
    }
}
