//! An echo server that logs each step, for `echo_client`.
//!
//! What it teaches: a state machine with a name in the log, and backpressure. The machine echoes 128 bytes at a time.
//! While a client does not read the echo, the loop stops reading from that client: further input stays in the kernel's
//! socket buffers, and when these are full, the client's writes block.
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
//! `RUST_LOG=echo=debug` shows only the connections, `RUST_LOG=info` hides the bytes, and `RUST_LOG=warn` hides all
//! messages about connections. At Ctrl-C or SIGTERM it accepts no more, sends its unsent output, and exits with status
//! 0, or with 1 if it had to cut off a client.

mod common;

use clap::Parser;
use common::messages::Context;
use common::server::Shutdown;
use common::values::{ByteString, Place};
use common::{messages, server, values};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// The most bytes that it echoes, and logs, at a time.
const PIECE: usize = 128;

/// The state machine of one client.
struct Echo {
    name: String,
}

impl Protocol<Shutdown> for Echo {
    fn opened(&mut self, _conn: &mut Conn<'_, Shutdown>) -> io::Result<()> {
        log::info!(target: &self.name, "connection accepted");
        Ok(())
    }

    /// The loop does not call this while the unsent output is above the high-water mark.
    fn received(&mut self, conn: &mut Conn<'_, Shutdown>, input: &mut Input<'_>) -> io::Result<()> {
        while !input.is_empty() {
            let piece = input.take(PIECE);
            log::debug!(target: &self.name, "received {}", ByteString(piece));
            conn.write(piece);
            log::debug!(target: &self.name, "sent {}", ByteString(piece));
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Shutdown>, end: End) {
        match &end.result {
            Ok(()) => log::info!(target: &self.name, "closing"),
            Err(_) => log::info!(target: &self.name, "closing: {end}"),
        }
        cx.state.note(&end);
    }
}

impl Echo {
    fn new(peer: SocketAddr) -> Self {
        Echo { name: format!("echo_{}_{}", peer.ip(), peer.port()) }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue(messages::named("warn,main=debug,echo=debug"));
    match serve(&args) {
        Ok(status) => status,
        Err(message) => {
            log::error!(target: "main", "{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    let mut shutdown = Shutdown::default();
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let mut cx = reactor.cx(&mut shutdown);
    let address = cx
        .listen(args.listen, |_cx, peer| Echo::new(peer))
        .and_then(|mut listener| listener.local_addr())
        .map_err(|error| server::cannot_listen(args.listen, "--listen 0", &error))?;
    server::shut_down_at_signal(&mut cx, args.drain_timeout, |cx| cx.state.begin())?;
    log::info!(target: "main", "starting up on {}", Place(address));
    reactor.run(&mut shutdown).context("the event loop failed")?;
    Ok(shutdown.exit_status(args.drain_timeout))
}

/// Send all input back, over TCP, and log it
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10000", value_parser = values::listen_address)]
    listen: SocketAddr,
    /// At the end: how long the clients may take to receive their unsent output
    #[arg(long, value_name = "D", default_value = "5s", value_parser = values::duration_from_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}
