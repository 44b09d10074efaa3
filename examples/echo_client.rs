//! The client of `echo_server`: sends a message in parts, and reads to the end.
//!
//! What it teaches: the half-close. The client says that it has finished while it still reads, so the server knows
//! that the message is whole, answers, and closes.
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
//! `RUST_LOG=echo=debug` leaves out the last line. The exit status is 1 if another answer came, or none.

#[path = "common/address.rs"]
mod address;
#[path = "common/byte_string.rs"]
mod byte_string;
#[path = "common/duration.rs"]
mod duration;
#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/named_messages.rs"]
mod named_messages;
#[path = "common/place.rs"]
mod place;

use byte_string::ByteString;
use clap::Parser;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use place::Place;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Send a message in parts to an echo server, and read it back
#[derive(Parser)]
struct Args {
    /// Give up if nothing moves for this long
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
    /// The server, as [HOST:]PORT
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:10000", value_parser = address::with_port(1..=65535))]
    server: SocketAddr,
}

const PARTS: [&[u8]; 3] = [b"This is the message. ", b"It will be sent ", b"in parts."];

/// The client's name in the log.
const NAME: &str = "echo_client";

fn main() -> ExitCode {
    let args = Args::parse();
    named_messages::filtered("warn,main=debug,echo=debug").init();
    interrupt::ends_the_program();
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

/// Sends, and collects the answer.
struct EchoClient {
    timeout: Duration,
    answer: Vec<u8>,
}

type Outcome = io::Result<()>;

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
        // The server that says more than it was told may go on for ever.
        if !PARTS.concat().starts_with(&self.answer) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is not what was sent: is an echo server listening there?",
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
                "nothing came for {timeout:?}, after {came} bytes: is it an echo server? try a longer --timeout"
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
