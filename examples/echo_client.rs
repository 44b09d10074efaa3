//! The client for `echo_server`: it sends a message in parts, and reads the echo to its end.
//!
//! What it teaches: the half-close. The client closes its sending direction and still reads. So the server knows that
//! the message is complete, sends the rest of the echo, and closes.
//!
//!     cargo run --example echo_server                                   (in another terminal)
//!     cargo run --example echo_client
//!     cargo run --example echo_client -- --timeout 2s localhost:10001
//!
//! You should see
//!
//!     echo_client: connecting to localhost port 10000
//!     echo_client: sending b'This is the message. '
//!     echo_client: sending b'It will be sent '
//!     echo_client: sending b'in parts.'
//!     echo_client: waiting for response
//!     echo_client: received b'This is the message. It will be sent in parts.'
//!     echo_client: closing
//!     main: closing event loop
//!
//! `RUST_LOG=echo=debug` hides the last line. The exit status is 1 if the answer differs from the message.

mod common;

use clap::Parser;
use common::values::{ByteString, Place};
use common::{messages, signals, values};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// The name of the client in the log.
const NAME: &str = "echo_client";

const PARTS: [&[u8]; 3] = [b"This is the message. ", b"It will be sent ", b"in parts."];

type Outcome = io::Result<()>;

/// Sends the message and collects the answer.
struct EchoClient {
    timeout: Duration,
    answer: Vec<u8>,
}

impl Protocol<Outcome> for EchoClient {
    fn opened(&mut self, conn: &mut Conn<'_, Outcome>) -> io::Result<()> {
        for part in PARTS {
            log::debug!(target: NAME, "sending {}", ByteString(part));
            conn.write(part);
        }
        conn.finish();
        log::debug!(target: NAME, "waiting for response");
        conn.deadline(self.timeout);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Outcome>, input: &mut Input<'_>) -> io::Result<()> {
        let bytes = input.take_all();
        log::debug!(target: NAME, "received {}", ByteString(bytes));
        self.answer.extend_from_slice(bytes);
        // Check each piece: another server may send without end.
        if !PARTS.concat().starts_with(&self.answer) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is not what was sent: does an echo server listen there?",
            ));
        }
        conn.deadline(self.timeout);
        Ok(())
    }

    fn timed_out(&mut self, _conn: &mut Conn<'_, Outcome>) -> io::Result<()> {
        let (came, timeout) = (self.answer.len(), self.timeout);
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "nothing came for {timeout:?}, after {came} bytes: is the server an echo server? try a longer --timeout"
            ),
        ))
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Outcome>, end: End) {
        log::debug!(target: NAME, "closing");
        let (came, sent) = (self.answer.len(), PARTS.concat().len());
        *cx.state = end.result.and_then(|()| {
            if came == sent {
                return Ok(());
            }
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the answer ended after {came} of {sent} bytes: was the server stopped?"),
            ))
        });
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::named("warn,main=debug,echo=debug").init();
    signals::exit_at_ctrl_c();
    match echo(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!(target: NAME, "{error}");
            ExitCode::FAILURE
        }
    }
}

fn echo(args: &Args) -> io::Result<()> {
    let mut outcome = Err(io::ErrorKind::NotConnected.into());
    let mut reactor = Reactor::new()?;
    log::debug!(target: NAME, "connecting to {}", Place(args.server));
    let machine = EchoClient { timeout: args.timeout, answer: Vec::new() };
    reactor.cx(&mut outcome).connect(args.server, machine).deadline(args.timeout);
    reactor.run(&mut outcome)?;
    log::debug!(target: "main", "closing event loop");
    outcome
}

/// Send a message in parts to an echo server, and read the echo
#[derive(Parser)]
struct Args {
    /// Give up after this time without progress
    #[arg(long, value_name = "D", default_value = "5s", value_parser = values::duration_from_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
    /// The server, as [HOST:]PORT
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:10000", value_parser = values::remote_address)]
    server: SocketAddr,
}
