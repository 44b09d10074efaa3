//! An echo server for datagrams: every one goes back to where it came from.
//!
//! What it teaches: `watch`, the layer below connections, for anything that can be polled. Readiness is told once, so a
//! machine uses its source until that says `WouldBlock`, or comes back for more after a budget. And what is special about
//! UDP: no connections, so no end and no backpressure. When the send buffer is full the datagram at hand waits, and the
//! kernel drops what comes meanwhile; an error concerns one datagram, never the socket.
//!
//!     cargo run --release --example udp_echo -- --listen 10009
//!
//! You should see `listening on 127.0.0.1:10009`; `nc -u 127.0.0.1 10009` talks to it. After Ctrl-C or SIGTERM it says what
//! it has done: `echoed 2 datagrams, 10 bytes; dropped 0`. `RUST_LOG=debug` shows why some were dropped. Do not let two
//! such servers face the whole network: a datagram with a forged sender would go to and fro between them for ever.

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
use enjamb::mio::{Interest, net::UdpSocket};
use enjamb::{Cx, Reactor, Readiness, Step, Watch};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;

/// The most that a UDP header can say: its 16 bits of length, less its own 8 bytes (RFC 768).
const LARGEST: u16 = u16::MAX - 8;

/// Datagrams echoed in one turn, before the rest of the loop has its own.
const BUDGET: usize = 64;

/// Send back whatever comes, over UDP
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10009", value_parser = address::with_port(0..=65535))]
    listen: SocketAddr,
    /// Drop datagrams of more than N bytes
    #[arg(long, value_name = "N", default_value_t = LARGEST, value_parser = clap::value_parser!(u16).range(1..=i64::from(LARGEST)))]
    max_bytes: u16,
}

/// What has happened so far.
#[derive(Default)]
struct Tally {
    echoed: u64,
    bytes: u64,
    dropped: u64,
    failure: Option<io::Error>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = server_log::start(plain_messages::from("warn"));
    match serve(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<(), String> {
    let cannot_listen = |error| listening::failure(args.listen, &error, "--listen 0");
    let socket = UdpSocket::bind(args.listen).map_err(cannot_listen)?;
    let address = socket.local_addr().map_err(cannot_listen)?;
    let mut tally = Tally::default();
    let mut reactor = Reactor::new().map_err(|error| format!("cannot make an event loop: {error}"))?;
    let mut cx = reactor.cx(&mut tally);
    // One more byte than may come shows what is too long: the kernel cuts it off at the buffer's end.
    let echo = UdpEcho { buffer: vec![0; usize::from(args.max_bytes) + 1], waiting: None };
    cx.watch(socket, Interest::READABLE | Interest::WRITABLE, echo).map_err(cannot_listen)?;
    signals::first_calls(&mut cx, |cx| cx.stop())
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    let stdout = server_stdout::open();
    stdout.push(format!("listening on {address}\n"));
    reactor.run(&mut tally).map_err(|error| format!("the event loop failed: {error}"))?;
    let Tally { echoed, bytes, dropped, failure } = tally;
    stdout.push(format!("echoed {echoed} datagrams, {bytes} bytes; dropped {dropped}\n"));
    failure.map_or(Ok(()), |error| Err(format!("receiving on {address}: {error}")))
}

struct UdpEcho {
    buffer: Vec<u8>,
    /// How much of the buffer has to go back, and where to.
    waiting: Option<(usize, SocketAddr)>,
}

impl UdpEcho {
    /// Sends what is waiting; `false` when the send buffer is full.
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

impl Watch<UdpSocket, Tally> for UdpEcho {
    fn ready(&mut self, cx: &mut Cx<'_, Tally>, socket: &mut UdpSocket, _: Readiness) -> io::Result<Step> {
        for _ in 0..BUDGET {
            if !self.send(cx.state, socket) {
                return Ok(Step::Wait); // until it is writable: then receiving goes on, too
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

/// Whether a failed call to receive tells what an ICMP message said of something sent before (udp(7)): asking for it has
/// cleared it, and the next datagram may be fine. On any other error, going on could fail for ever.
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
