//! An echo server for datagrams: it sends each one back to its sender.
//!
//! What it teaches: `watch`, the layer below connections, for every source that can be polled. Readiness is
//! edge-triggered, so a machine uses its source until `WouldBlock`, or asks for another turn after its budget. UDP has
//! no connections, so it has no end and no backpressure: while the send buffer is full, one datagram waits and the
//! kernel drops later ones. Most errors concern one datagram, not the socket.
//!
//!     cargo run --release --example udp_echo -- --listen 10009
//!
//! You should see `listening on 127.0.0.1:10009`. Talk to it with `nc -u 127.0.0.1 10009`. After Ctrl-C or SIGTERM it
//! prints a sum, such as `echoed 2 datagrams, 10 bytes; dropped 0`. `RUST_LOG=debug` shows why it drops a datagram. Do
//! not open two such servers to a public network: a datagram with a forged sender would go back and forth between them
//! for ever.

mod common;

use clap::Parser;
use common::messages::Context;
use common::{messages, output, server, signals, values};
use enjamb::mio::{Interest, net::UdpSocket};
use enjamb::{Cx, Reactor, Readiness, Step, Watch};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;

/// The most datagrams in one turn of the loop, so that other sources have their turn.
const BUDGET: usize = 64;

/// The loop's state.
#[derive(Default)]
struct Tally {
    echoed: u64,
    bytes: u64,
    dropped: u64,
    failure: Option<io::Error>,
}

struct UdpEcho {
    buffer: Vec<u8>,
    /// The length and the sender of the datagram in the buffer that has not gone back.
    waiting: Option<(usize, SocketAddr)>,
}

impl Watch<UdpSocket, Tally> for UdpEcho {
    fn ready(&mut self, cx: &mut Cx<'_, Tally>, socket: &mut UdpSocket, _: Readiness) -> io::Result<Step> {
        for _ in 0..BUDGET {
            if !self.send(cx.state, socket) {
                return Ok(Step::Wait); // until the socket is writable
            }
            match socket.recv_from(&mut self.buffer) {
                Ok((n, from)) => self.take(cx.state, n, from),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Step::Wait),
                Err(error) if concerns_one_datagram(error.kind()) => log::debug!("{error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(Step::Again)
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Tally>, _: UdpSocket, result: io::Result<()>) {
        cx.state.failure = result.err();
        cx.stop();
    }
}

impl UdpEcho {
    /// Sends the waiting datagram, if there is one. `false` if the send buffer is full.
    fn send(&mut self, tally: &mut Tally, socket: &UdpSocket) -> bool {
        let Some((n, to)) = self.waiting else { return true };
        match socket.send_to(&self.buffer[..n], to) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => return self.send(tally, socket),
            Err(error) => {
                tally.dropped += 1;
                log::debug!("{n} bytes to {to} were not sent: {error}");
            }
            Ok(_) => {
                tally.echoed += 1;
                tally.bytes += n as u64;
            }
        }
        self.waiting = None;
        true
    }

    fn take(&mut self, tally: &mut Tally, n: usize, from: SocketAddr) {
        if n == self.buffer.len() {
            tally.dropped += 1;
            log::debug!("a datagram of more than {} bytes from {from} is dropped", n - 1);
        } else {
            self.waiting = Some((n, from));
        }
    }
}

/// Whether a receive error is the answer to an earlier datagram, by ICMP (udp(7)). The call has cleared it, and the
/// next receive may succeed. After any other error, each further receive could fail.
fn concerns_one_datagram(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::Interrupted
    )
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue_from("warn");
    messages::show_failure(serve(&args).map(|()| ExitCode::SUCCESS))
}

fn serve(args: &Args) -> Result<(), String> {
    let cannot_listen = |error| server::cannot_listen(args.listen, "--listen 0", &error);
    let socket = UdpSocket::bind(args.listen).map_err(cannot_listen)?;
    let address = socket.local_addr().map_err(cannot_listen)?;
    let mut tally = Tally::default();
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let mut cx = reactor.cx(&mut tally);
    // The kernel truncates a datagram to the buffer. One more byte than the limit shows which one is too long.
    let echo = UdpEcho { buffer: vec![0; usize::from(args.max_bytes) + 1], waiting: None };
    cx.watch(socket, Interest::READABLE | Interest::WRITABLE, echo).map_err(cannot_listen)?;
    signals::at_first(&mut cx, |cx| cx.stop())?;
    let stdout = output::queue();
    stdout.push(format!("listening on {address}\n"));
    reactor.run(&mut tally).context("the event loop failed")?;
    let Tally { echoed, bytes, dropped, failure } = tally;
    stdout.push(format!("echoed {echoed} datagrams, {bytes} bytes; dropped {dropped}\n"));
    failure.map_or(Ok(()), |error| Err(format!("receiving on {address}: {error}")))
}

/// Send each datagram back, over UDP
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10009", value_parser = values::listen_address)]
    listen: SocketAddr,
    /// Drop datagrams of more than N bytes
    #[arg(long, value_name = "N", default_value_t = LARGEST, value_parser = clap::value_parser!(u16).range(1..=i64::from(LARGEST)))]
    max_bytes: u16,
}

/// The greatest length of a datagram: the UDP header has 16 bits for it, and counts its own 8 bytes (RFC 768).
const LARGEST: u16 = u16::MAX - 8;
