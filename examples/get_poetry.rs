//! The poetry client on `enjamb`: one loop, one state machine for each server.
//!
//! What it teaches: how little is left to write when the reactor does the waiting. A machine collects the bytes of its
//! poem, and what became of it is a plain value at the end. A server that refuses, breaks off or falls silent is the
//! end of its own machine only.
//!
//!     cargo run --example slow_poetry                                  (in another terminal)
//!     cargo run --example get_poetry 10000 10001 10002
//!     cargo run --example get_poetry -- --timeout 5s --expect-bytes 16 10000 10001 10002
//!
//! You should see the three tasks take turns, such as `Task 2: got 4 bytes of poetry from 127.0.0.1:10001`, then
//! `Task 1 finished`, the three poems, and `Got 3 poems in 4.0…s`. Stop the server half-way to see what is said then.

#[path = "common/address.rs"]
mod address;
#[path = "common/duration.rs"]
mod duration;
#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/report.rs"]
mod report;

use clap::Parser;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use report::Outcome;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Get poems from many servers at once, with enjamb
#[derive(Parser)]
struct Args {
    /// Give up a server from which no byte comes for this long
    #[arg(long, default_value = "5s", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
    /// How long each poem is: another length is an error
    #[arg(long, value_name = "N", value_parser = number_of_bytes, allow_negative_numbers = true)]
    expect_bytes: Option<usize>,
    /// The servers, as [HOST:]PORT
    #[arg(value_name = "ADDR", required = true, value_parser = address::with_port(1..=65535))]
    servers: Vec<SocketAddr>,
}

/// What became of each task. The loop lends it to the machines in turn.
type Outcomes = BTreeMap<usize, Outcome>;

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("info");
    interrupt::ends_the_program();
    let start = Instant::now();
    match get_poems(&args) {
        Ok(outcomes) => report::summary(outcomes.into_values().collect(), start.elapsed()),
        Err(error) => {
            log::error!("the event loop failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn get_poems(args: &Args) -> io::Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(&mut outcomes);
    for (task, &server) in args.servers.iter().enumerate() {
        let machine =
            GetPoem { task, server, timeout: args.timeout, expected: args.expect_bytes, poem: Vec::new() };
        cx.connect(server, machine).deadline(args.timeout);
    }
    reactor.run(&mut outcomes)?;
    Ok(outcomes)
}

/// One server's machine: collects a poem.
struct GetPoem {
    task: usize,
    server: SocketAddr,
    timeout: Duration,
    expected: Option<usize>,
    poem: Vec<u8>,
}

impl Protocol<Outcomes> for GetPoem {
    fn opened(&mut self, conn: &mut Conn<'_, Outcomes>) -> io::Result<()> {
        conn.deadline(self.timeout);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Outcomes>, input: &mut Input<'_>) -> io::Result<()> {
        let bytes = input.take_all();
        report::got(self.task, bytes.len(), self.server);
        self.poem.extend_from_slice(bytes);
        conn.deadline(self.timeout);
        Ok(())
    }

    fn timed_out(&mut self, _conn: &mut Conn<'_, Outcomes>) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "nothing came for {:?}, after {} bytes of poetry: is the server stuck, or busy with another client? \
                 try a longer --timeout",
                self.timeout,
                self.poem.len()
            ),
        ))
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Outcomes>, end: End) {
        let GetPoem { task, server, .. } = *self;
        let outcome = end.result.and_then(|()| self.whole());
        report::finished(task, server, &outcome);
        cx.state.insert(task, outcome);
    }
}

impl GetPoem {
    /// A server that stops early ends its connection like one that is done: only the length can tell.
    fn whole(self) -> Outcome {
        match self.expected {
            Some(expected) if expected != self.poem.len() => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "the poem ended after {} bytes instead of {expected}: was the server stopped, or is \
                     --expect-bytes not the length of this poem?",
                    self.poem.len()
                ),
            )),
            _ => Ok(self.poem),
        }
    }
}

fn number_of_bytes(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a number of bytes from 0 up".to_string())
}
