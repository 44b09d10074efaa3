//! The poetry client with `select`: the oldest loop that waits for many servers at once.
//!
//! What it teaches: the shape of every event loop. Ask the kernel which sockets can be read, read each of them until it
//! says that it would block, ask again. Its limits, too: all the sockets are handed over anew for each wait, connecting
//! still blocks (one server after another), and no descriptor may reach FD_SETSIZE, usually 1024.
//!
//!     cargo run --example slow_poetry                                  (in another terminal)
//!     cargo run --example get_poetry_select 10000 10001 10002
//!
//! You should see the three tasks take turns, the three poems, and `Got 3 poems in 4.0…s`.

#[path = "common/address.rs"]
mod address;
#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/report.rs"]
mod report;

use clap::Parser;
use report::Outcome;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Instant;

/// Get poems from many servers at once, with select
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

/// One server that is not done yet.
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

    /// Reads all that has come. There is an outcome once the server has nothing more to say.
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

    /// Sleeps until at least one socket can be read, and says which.
    pub fn readable(tasks: &BTreeMap<usize, Task>) -> io::Result<Vec<usize>> {
        let mut sockets = FdSet::new();
        for task in tasks.values() {
            sockets.insert(task.stream.as_fd());
        }
        match select(None, &mut sockets, None, None, None) {
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
            // The kernel has taken the sockets out of the set that are not readable.
            Ok(_) => {
                let readable = tasks.iter().filter(|(_, task)| sockets.contains(task.stream.as_fd()));
                Ok(readable.map(|(&task, _)| task).collect())
            }
        }
    }

    /// A set of descriptors is a fixed array of FD_SETSIZE bits, whatever the limit on open files. C programs that put a
    /// greater one into it write beyond its end.
    pub fn check(stream: &TcpStream) -> io::Result<()> {
        let descriptor = stream.as_raw_fd();
        if usize::try_from(descriptor).is_ok_and(|descriptor| descriptor < FD_SETSIZE) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "its descriptor is {descriptor}, and select takes only those below FD_SETSIZE, {FD_SETSIZE}: \
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
