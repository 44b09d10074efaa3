//! The poetry client on `enjamb`: one loop, and one state machine for each server.
//!
//! What it teaches: the reactor connects, waits and reads; the program has only the state machine. A machine collects
//! the bytes of one poem, and its outcome is a plain value in the loop's state. If a server refuses, resets or stalls,
//! only its own machine fails.
//!
//!     cargo run --example slow_poetry                                  (in another terminal)
//!     cargo run --example get_poetry 10000 10001 10002
//!     cargo run --example get_poetry -- --timeout 5s --expect-bytes 16 10000 10001 10002
//!
//! You should see messages of the three tasks in turn, such as `Task 2: got 4 bytes of poetry from 127.0.0.1:10001`,
//! then `Task 1 finished`, the three poems, and `Got 3 poems in 4.0…s`. Stop the server half-way to see the error
//! message.

mod common;

use clap::Parser;
use common::report::Outcome;
use common::{report, values};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// The loop's state: the outcome of each task. The loop lends it to each callback.
type Outcomes = BTreeMap<usize, Outcome>;

/// The state machine of one server. It collects a poem.
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
    /// A connection ends in the same way after a part of a poem as after the whole poem. Only the length shows the
    /// difference.
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

fn main() -> ExitCode {
    let args = Args::parse();
    report::run(|| get_poems(&args))
}

fn get_poems(args: &Args) -> io::Result<Vec<Outcome>> {
    let mut outcomes = Outcomes::new();
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(&mut outcomes);
    for (task, &server) in args.servers.iter().enumerate() {
        let machine =
            GetPoem { task, server, timeout: args.timeout, expected: args.expect_bytes, poem: Vec::new() };
        cx.connect(server, machine).deadline(args.timeout);
    }
    reactor.run(&mut outcomes)?;
    Ok(outcomes.into_values().collect())
}

/// Get poems from many servers at once, with enjamb
#[derive(Parser)]
struct Args {
    /// Give up a server that sends nothing for this long
    #[arg(long, default_value = "5s", value_parser = values::duration_from_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
    /// The length of each poem; any other length is an error
    #[arg(long, value_name = "N", value_parser = values::number_of("bytes", 0..), allow_negative_numbers = true)]
    expect_bytes: Option<usize>,
    /// The servers, as [HOST:]PORT
    #[arg(value_name = "ADDR", required = true, value_parser = values::remote_address)]
    servers: Vec<SocketAddr>,
}
