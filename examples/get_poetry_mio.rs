//! The poetry client on mio alone: a complete event loop in one file.
//!
//! What it teaches: what the reactor does for `get_poetry`. mio is edge-triggered: it reports once that a socket
//! *became* readable. A program that stops reading before `WouldBlock` gets no further event for the bytes that it has
//! left in the socket. The end of a nonblocking connect is an event, too, and the socket has to be asked whether it
//! succeeded.
//!
//!     cargo run --example slow_poetry                                  (in another terminal)
//!     cargo run --example get_poetry_mio 10000 10001 10002
//!
//! You should see messages of the three tasks in turn, the three poems, and `Got 3 poems in 4.0…s`. `RUST_LOG=debug`
//! shows every event and every `WouldBlock`.

mod common;

use clap::Parser;
use common::report::Outcome;
use common::{report, values};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::process::ExitCode;

/// The most events of one poll. The next poll returns the rest.
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
            // A signal has interrupted the call: poll again.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            log::debug!("{event:?}");
            let Token(task) = event.token();
            // A batch may hold more events of a task that is finished already.
            let outcome = tasks.get_mut(&task).and_then(|ready| ready.proceed(task));
            if let Some(outcome) = outcome {
                // The drop closes the socket, which also removes it from the poll.
                tasks.remove(&task);
                finish(task, outcome);
            }
        }
    }
    Ok(outcomes.into_values().collect())
}

/// One server whose poem is not complete.
struct Task {
    server: SocketAddr,
    stream: TcpStream,
    connected: bool,
    poem: Vec<u8>,
}

impl Task {
    /// Starts to connect. An event reports the end of that.
    fn connect(poll: &Poll, task: usize, server: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(server)?;
        // A socket becomes writable when it is connected.
        poll.registry().register(&mut stream, Token(task), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { server, stream, connected: false, poem: Vec::new() })
    }

    /// Connects and reads until `WouldBlock`, which is `None`, or until the end of the poem or an error.
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

    /// `Ok` at the end of the poem; `WouldBlock` if the next bytes have not arrived.
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

    /// An event may come before the connect has ended, so the event alone proves nothing. After a failure, the socket
    /// has an error, which this call takes; after a success, it has the address of its peer.
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

fn main() -> ExitCode {
    let args = Args::parse();
    report::run(|| get_poems(&args.servers))
}

/// Get poems from many servers at once, with mio
#[derive(Parser)]
struct Args {
    /// The servers, as [HOST:]PORT
    #[arg(value_name = "ADDR", required = true, value_parser = values::remote_address)]
    servers: Vec<SocketAddr>,
}
