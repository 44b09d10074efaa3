//! The poetry client with `select`: the oldest call that waits for many sockets at once.
//!
//! What it teaches: the form of every event loop. Ask the kernel which sockets are readable, read each of them until
//! `WouldBlock`, and ask again. It shows the limits of select, too: each call passes all sockets to the kernel again,
//! and a descriptor has to be less than FD_SETSIZE, usually 1024. To keep the program short, `connect` still blocks.
//!
//!     cargo run --example slow_poetry                                  (in another terminal)
//!     cargo run --example get_poetry_select 10000 10001 10002
//!
//! You should see messages of the three tasks in turn, the three poems, and `Got 3 poems in 4.0…s`.

mod common;

use clap::Parser;
use common::report::Outcome;
use common::{report, values};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;

fn get_poems(servers: &[SocketAddr]) -> io::Result<Vec<Outcome>> {
    let mut tasks = BTreeMap::new();
    let mut outcomes = BTreeMap::new();
    let mut finish = |task: usize, outcome: Outcome| {
        report::finished(task, servers[task], &outcome);
        outcomes.insert(task, outcome);
    };
    for (task, &server) in servers.iter().enumerate() {
        match Task::connect(server) {
            Ok(connected) => {
                tasks.insert(task, connected);
            }
            Err(error) => finish(task, Err(error)),
        }
    }
    while !tasks.is_empty() {
        for task in select::readable(&tasks)? {
            let outcome = tasks.get_mut(&task).and_then(|readable| readable.read(task));
            if let Some(outcome) = outcome {
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
    poem: Vec<u8>,
}

impl Task {
    fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        select::check(&stream)?;
        stream.set_nonblocking(true)?;
        Ok(Self { server, stream, poem: Vec::new() })
    }

    /// Reads until `WouldBlock`, which is `None`, or until the end of the poem or an error.
    fn read(&mut self, task: usize) -> Option<Outcome> {
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(Ok(std::mem::take(&mut self.poem))),
                Ok(n) => {
                    report::got(task, n, self.server);
                    self.poem.extend_from_slice(&buffer[..n]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(unix)]
mod select {
    use super::Task;
    use nix::errno::Errno;
    use nix::sys::select::{FD_SETSIZE, FdSet, select};
    use std::collections::BTreeMap;
    use std::io;
    use std::net::TcpStream;
    use std::os::fd::{AsFd, AsRawFd};

    /// Blocks until at least one socket is readable. Returns the tasks of the readable sockets.
    pub fn readable(tasks: &BTreeMap<usize, Task>) -> io::Result<Vec<usize>> {
        let mut sockets = FdSet::new();
        for task in tasks.values() {
            sockets.insert(task.stream.as_fd());
        }
        match select(None, &mut sockets, None, None, None) {
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
            // The kernel has removed the sockets that are not readable from the set.
            Ok(_) => {
                let readable = tasks.iter().filter(|(_, task)| sockets.contains(task.stream.as_fd()));
                Ok(readable.map(|(&task, _)| task).collect())
            }
        }
    }

    /// A set of descriptors is an array of FD_SETSIZE bits, also where more files may be open. A C program that adds a
    /// greater descriptor writes past the end of the array.
    pub fn check(stream: &TcpStream) -> io::Result<()> {
        let descriptor = stream.as_raw_fd();
        if usize::try_from(descriptor).is_ok_and(|descriptor| descriptor < FD_SETSIZE) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "its descriptor is {descriptor}, and select accepts only those below FD_SETSIZE, {FD_SETSIZE}: \
             ask fewer servers at a time, or try `cargo run --example get_poetry`"
        )))
    }
}

#[cfg(not(unix))]
mod select {
    use super::Task;
    use std::collections::BTreeMap;
    use std::io;
    use std::net::TcpStream;

    pub fn readable(_tasks: &BTreeMap<usize, Task>) -> io::Result<Vec<usize>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn check(_stream: &TcpStream) -> io::Result<()> {
        Err(io::Error::other("this example calls select only on Unix: try `cargo run --example get_poetry`"))
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    report::run(|| get_poems(&args.servers))
}

/// Get poems from many servers at once, with select
#[derive(Parser)]
struct Args {
    /// The servers, as [HOST:]PORT
    #[arg(value_name = "ADDR", required = true, value_parser = values::remote_address)]
    servers: Vec<SocketAddr>,
}
