//! The poetry client on bare mio: the whole loop, nothing hidden.
//!
//! What it teaches: what an event loop has to get right, so what the reactor does for `get_poetry`. mio says when a
//! socket *became* ready (edge-triggered), and says it once: whoever stops reading before `WouldBlock` waits for ever
//! for the bytes that are already there. A connect that would block ends as an event, too, and only asking tells how.
//!
//!     cargo run --example slow_poetry                                  (in another terminal)
//!     cargo run --example get_poetry_mio 10000 10001 10002
//!
//! You should see the three tasks take turns, the three poems, and `Got 3 poems in 4.0…s`. With `RUST_LOG=debug` you
//! see every event, and every `WouldBlock` that sends a task back to wait.

#[path = "common/address.rs"]
mod address;
#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/report.rs"]
mod report;

use clap::Parser;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use report::Outcome;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

/// Get poems from many servers at once, with mio
#[derive(Parser)]
struct Args {
    /// The servers, as [HOST:]PORT
    #[arg(value_name = "ADDR", required = true, value_parser = address::with_port(1..=65535))]
    servers: Vec<SocketAddr>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("info");
    interrupt::ends_the_program();
    let start = Instant::now();
    match get_poems(&args.servers) {
        Ok(outcomes) => report::summary(outcomes, start.elapsed()),
        Err(error) => {
            log::error!("cannot wait for the servers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many events one poll brings at most; the rest comes with the next one.
const EVENTS: usize = 64;

fn get_poems(servers: &[SocketAddr]) -> io::Result<Vec<Outcome>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS);
    let mut tasks = BTreeMap::new();
    let mut outcomes = BTreeMap::new();
    let mut finish = |task: usize, outcome: Outcome| {
        report::finished(task, servers[task], &outcome);
        outcomes.insert(task, outcome);
    };
    for (task, &server) in servers.iter().enumerate() {
        match Task::connect(&poll, task, server) {
            Ok(connecting) => {
                tasks.insert(task, connecting);
            }
            Err(error) => finish(task, Err(error)),
        }
    }
    while !tasks.is_empty() {
        match poll.poll(&mut events, None) {
            // A signal has been handled; the events are still to come.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            log::debug!("{event:?}");
            let Token(task) = event.token();
            // One server may have several events in a batch, and be done after the first.
            let outcome = tasks.get_mut(&task).and_then(|ready| ready.proceed(task));
            if let Some(outcome) = outcome {
                // Dropping the socket closes it, which also takes it out of the poll.
                tasks.remove(&task);
                finish(task, outcome);
            }
        }
    }
    Ok(outcomes.into_values().collect())
}

/// One server that is not done yet.
struct Task {
    server: SocketAddr,
    stream: TcpStream,
    connected: bool,
    poem: Vec<u8>,
}

impl Task {
    /// Starts to connect. How that ends, an event will say.
    fn connect(poll: &Poll, task: usize, server: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(server)?;
        // A connected socket is writable: that is the event of a connect.
        poll.registry().register(&mut stream, Token(task), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { server, stream, connected: false, poem: Vec::new() })
    }

    /// Goes on as far as possible without blocking. There is an outcome once the server has nothing more to say.
    fn proceed(&mut self, task: usize) -> Option<Outcome> {
        match self.try_proceed(task) {
            Ok(()) => Some(Ok(std::mem::take(&mut self.poem))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                log::debug!("Task {}: {error}", task + 1);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// `Ok` at the end of the poem; `WouldBlock` if there is no more of it yet.
    fn try_proceed(&mut self, task: usize) -> io::Result<()> {
        if !self.connected {
            self.finish_connecting()?;
            self.connected = true;
        }
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    report::got(task, n, self.server);
                    self.poem.extend_from_slice(&buffer[..n]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// An event may come before the connection is there or has failed, so it proves neither: the error of the socket
    /// tells of a failure (once, reading clears it), and a peer's address of a success.
    fn finish_connecting(&self) -> io::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => Err(ErrorKind::WouldBlock.into()),
            found => found.map(drop),
        }
    }
}
