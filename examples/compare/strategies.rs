//! The five ways to read many slow poems. Each is one function: it reads the poem of each server into the transcript
//! with the same index. An error of one poem goes into its transcript; a function returns an error if it cannot go on
//! with any poem.

use super::client::Transcript;
use super::format::commas;
use clap::ValueEnum;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use nix::errno::Errno;
use nix::sys::select::{self, FD_SETSIZE, FdSet};
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// One poem after another
    Blocking,
    /// Connects to all, then reads one after another
    ConnectFirst,
    /// A thread for each poem
    Threads,
    /// One thread, a loop around select(2)
    Select,
    /// One thread, a state machine for each poem, on enjamb
    Reactor,
}

impl Strategy {
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::ConnectFirst => "connect-first",
            Self::Threads => "threads",
            Self::Select => "select",
            Self::Reactor => "reactor",
        }
    }

    pub fn in_words(self) -> &'static str {
        match self {
            Self::Blocking => "one poem after another",
            Self::ConnectFirst => "connects to all, then reads one after another",
            Self::Threads => "a thread for each poem",
            Self::Select => "one thread, a loop around select(2)",
            Self::Reactor => "one thread, one enjamb loop",
        }
    }

    pub fn read(self, servers: &[SocketAddr], poems: &mut Vec<Transcript>) -> io::Result<()> {
        match self {
            Self::Blocking => blocking(servers, poems),
            Self::ConnectFirst => connect_first(servers, poems),
            Self::Threads => threads(servers, poems),
            Self::Select => select(servers, poems),
            Self::Reactor => reactor(servers, poems),
        }
    }

    /// How many threads it takes to read this many poems.
    pub fn threads(self, poems: usize) -> usize {
        if self == Self::Threads { poems + 1 } else { 1 }
    }

    /// Why it cannot read this many poems.
    pub fn limit(self, poems: usize) -> Option<String> {
        (self == Self::Select && poems > SELECT_AT_MOST).then(select_limit)
    }
}

/// Reads one poem after another. While the program waits for one server, it cannot hear the others.
fn blocking(servers: &[SocketAddr], poems: &mut [Transcript]) -> io::Result<()> {
    for (&server, poem) in servers.iter().zip(poems) {
        read_poem(server, poem);
    }
    Ok(())
}

/// Reads the poem of one server from its beginning to its end.
fn read_poem(server: SocketAddr, poem: &mut Transcript) {
    let outcome = connect(server, poem).and_then(|stream| read_on(&stream, poem));
    poem.ended(outcome);
}

fn connect(server: SocketAddr, poem: &mut Transcript) -> io::Result<TcpStream> {
    poem.connecting();
    TcpStream::connect(server)
}

const BUFFER: usize = 4096;

/// Reads as much as it can: from a blocking socket up to the end, from a nonblocking one up to `WouldBlock`.
fn read_on(mut stream: &TcpStream, poem: &mut Transcript) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => poem.received(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Connects to all servers, then reads one poem after another. All servers send at the same time, and the kernel keeps
/// what the program does not read yet. It ends as early as an event loop, but it reads nothing of the second poem before
/// the first has ended.
fn connect_first(servers: &[SocketAddr], poems: &mut [Transcript]) -> io::Result<()> {
    let connect_each = servers.iter().zip(poems.iter_mut()).map(|(&server, poem)| connect(server, poem));
    let connected: Vec<_> = connect_each.collect();
    for (stream, poem) in connected.into_iter().zip(poems) {
        let outcome = stream.and_then(|stream| read_on(&stream, poem));
        poem.ended(outcome);
    }
    Ok(())
}

/// Runs the code of `blocking` in a thread for each poem. The kernel waits for all of them; each thread costs a stack,
/// and each wait a context switch.
fn threads(servers: &[SocketAddr], poems: &mut [Transcript]) -> io::Result<()> {
    thread::scope(|scope| {
        for (index, (&server, poem)) in servers.iter().zip(poems).enumerate() {
            let thread = thread::Builder::new().stack_size(THREAD_STACK);
            let started = thread.spawn_scoped(scope, move || read_poem(server, poem));
            started.map_err(|error| no_thread(index + 1, &error))?;
        }
        Ok(())
    })
}

/// Enough for a buffer and a few frames. With the default of 2 MiB, thousands of threads can exhaust the address space
/// of a process.
pub const THREAD_STACK: usize = 64 * 1024;

fn no_thread(number: usize, error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "thread {number} could not be started: {error}; try fewer poems, or see ulimit -u"
    ))
}

/// Waits for all sockets with select(2), and reads those that are readable. Each call passes all sockets to the kernel
/// again, so the cost of each poem grows with the number of poems.
fn select(servers: &[SocketAddr], poems: &mut [Transcript]) -> io::Result<()> {
    let mut watched = Vec::new();
    for (&server, poem) in servers.iter().zip(poems) {
        match connect(server, poem) {
            Ok(stream) => {
                check_descriptor(&stream)?;
                stream.set_nonblocking(true)?;
                watched.push(Watched { stream, poem, readable: false });
            }
            Err(error) => poem.ended(Err(error)),
        }
    }
    while !watched.is_empty() {
        wait(&mut watched)?;
        watched.retain_mut(|watched| !watched.readable || watched.read());
    }
    Ok(())
}

struct Watched<'a> {
    stream: TcpStream,
    poem: &'a mut Transcript,
    readable: bool,
}

impl Watched<'_> {
    /// Reads until the socket would block. Returns false at the end of the poem.
    fn read(&mut self) -> bool {
        let outcome = read_on(&self.stream, self.poem);
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            return true;
        }
        self.poem.ended(outcome);
        false
    }
}

/// Sleeps until at least one socket is readable, and marks each that is.
fn wait(watched: &mut [Watched]) -> io::Result<()> {
    let mut sockets = FdSet::new();
    let mut highest = 0;
    for watched in watched.iter() {
        sockets.insert(watched.stream.as_fd());
        highest = highest.max(watched.stream.as_raw_fd());
    }
    let woken = select::select(highest + 1, &mut sockets, None, None, None);
    let readable: Vec<bool> = match woken {
        // The kernel has removed from the set each socket that is not readable.
        Ok(_) => watched.iter().map(|watched| sockets.contains(watched.stream.as_fd())).collect(),
        Err(Errno::EINTR) => vec![false; watched.len()],
        Err(error) => return Err(error.into()),
    };
    watched.iter_mut().zip(readable).for_each(|(watched, readable)| watched.readable = readable);
    Ok(())
}

/// An fd_set is an array of FD_SETSIZE bits, even if the limit on open files is higher: select(2).
fn check_descriptor(stream: &TcpStream) -> io::Result<()> {
    if usize::try_from(stream.as_raw_fd()).is_ok_and(|descriptor| descriptor < FD_SETSIZE) {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::Unsupported, select_limit()))
}

fn select_limit() -> String {
    format!("select cannot watch descriptors past {}", commas(FD_SETSIZE as u64 - 1))
}

/// Descriptors 0 to 2 are the standard streams.
const SELECT_AT_MOST: usize = FD_SETSIZE - 3;

/// One thread and one loop: the reactor calls the state machine of a poem when bytes of it arrive.
fn reactor(servers: &[SocketAddr], poems: &mut Vec<Transcript>) -> io::Result<()> {
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(poems);
    for (poem, &server) in servers.iter().enumerate() {
        cx.state[poem].connecting();
        cx.connect(server, Reading { poem });
    }
    reactor.run(poems)
}

struct Reading {
    poem: usize,
}

/// The reactor passes the transcripts to each callback, as its state.
impl Protocol<Vec<Transcript>> for Reading {
    fn received(&mut self, conn: &mut Conn<'_, Vec<Transcript>>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state()[self.poem].received(input.take_all());
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Vec<Transcript>>, end: End) {
        cx.state[self.poem].ended(end.result);
    }
}
