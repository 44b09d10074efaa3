//! An echo server that tells what it does: one half of a pair, with `echo_client`.
//!
//! What it teaches: a machine with a name of its own in the log, and backpressure. It takes 128 bytes at a time; and
//! while a client does not read its answers, the loop reads no more of what it sends: that waits with the kernel, and
//! then with the client.
//!
//!     cargo run --example echo_server
//!     cargo run --example echo_server -- --listen 10001 --drain-timeout 2s
//!
//! You should see `main: starting up on localhost port 10000`, and, when `cargo run --example echo_client` has run in
//! another terminal, something like
//!
//!     echo_127.0.0.1_64624: connection accepted
//!     echo_127.0.0.1_64624: received b'This is the message. It will be sent in parts.'
//!     echo_127.0.0.1_64624: sent b'This is the message. It will be sent in parts.'
//!     echo_127.0.0.1_64624: closing
//!
//! `RUST_LOG=echo=debug` shows the connections only, `RUST_LOG=info` leaves out what they say, `RUST_LOG=warn` all that they
//! cause. Ctrl-C or SIGTERM stops
//! it: it accepts no more, sends what it owes, and exits with status 0, or 1 if a client had to be cut off.

#[path = "common/address.rs"]
mod address;
#[path = "common/byte_string.rs"]
mod byte_string;
#[path = "common/duration.rs"]
mod duration;
#[path = "common/line_queue.rs"]
mod line_queue;
#[path = "common/listening.rs"]
mod listening;
#[path = "common/named_messages.rs"]
mod named_messages;
#[path = "common/orderly_end.rs"]
mod orderly_end;
#[path = "common/place.rs"]
mod place;
#[path = "common/server_log.rs"]
mod server_log;

use byte_string::ByteString;
use clap::Parser;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use orderly_end::Ending;
use place::Place;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Send back whatever comes, over TCP, and tell of it
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10000", value_parser = address::with_port(0..=65535))]
    listen: SocketAddr,
    /// How long clients may take, when the server ends, to receive what they are owed
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration::at_least_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}

/// The most that is taken, and told of, at a time.
const PIECE: usize = 128;

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = server_log::start(named_messages::filtered("warn,main=debug,echo=debug"));
    match serve(&args) {
        Ok(status) => status,
        Err(message) => {
            log::error!(target: "main", "{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    let mut ending = Ending::default();
    let mut reactor = Reactor::new().map_err(|error| format!("cannot make an event loop: {error}"))?;
    let mut cx = reactor.cx(&mut ending);
    let address = cx
        .listen(args.listen, |_cx, peer| Echo::new(peer))
        .and_then(|mut listener| listener.local_addr())
        .map_err(|error| listening::failure(args.listen, &error, "--listen 0"))?;
    orderly_end::on_signal(&mut cx, args.drain_timeout, |cx| cx.state.begin())
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    log::info!(target: "main", "starting up on {}", Place(address));
    reactor.run(&mut ending).map_err(|error| format!("the event loop failed: {error}"))?;
    Ok(ending.status(args.drain_timeout))
}

/// One client's machine.
struct Echo {
    name: String,
}

impl Echo {
    fn new(peer: SocketAddr) -> Self {
        Echo { name: format!("echo_{}_{}", peer.ip(), peer.port()) }
    }
}

impl Protocol<Ending> for Echo {
    fn opened(&mut self, _conn: &mut Conn<'_, Ending>) -> io::Result<()> {
        log::info!(target: &self.name, "connection accepted");
        Ok(())
    }

    /// While more is unsent than the high-water mark allows, the loop does not call this.
    fn received(&mut self, conn: &mut Conn<'_, Ending>, input: &mut Input<'_>) -> io::Result<()> {
        while !input.is_empty() {
            let piece = input.take(PIECE);
            log::debug!(target: &self.name, "received {}", ByteString(piece));
            conn.write(piece);
            log::debug!(target: &self.name, "sent {}", ByteString(piece));
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Ending>, end: End) {
        match &end.result {
            Ok(()) => log::info!(target: &self.name, "closing"),
            Err(_) => log::info!(target: &self.name, "closing: {end}"),
        }
        cx.state.note(&end);
    }
}
