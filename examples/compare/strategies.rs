//! The five ways to read many slow poems. Each is a file that a beginner can read; all of them keep the same transcript.

mod blocking;
mod connect_first;
mod reactor;
mod select;
mod threads;

pub use select::{MOST_POEMS as SELECT_AT_MOST, limit as select_limit};

use super::transcript::Transcript;
use clap::ValueEnum;
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};

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
    pub const ALL: [Self; 5] =
        [Self::Blocking, Self::ConnectFirst, Self::Threads, Self::Select, Self::Reactor];

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

    /// Reads the poem at each address into the transcript beside it, and returns how many threads that took. What goes
    /// wrong with one poem is in its transcript; an error is the end of them all.
    pub fn read(self, servers: &[SocketAddr], poems: &mut Vec<Transcript>) -> io::Result<usize> {
        match self {
            Self::Blocking => blocking::read(servers, poems),
            Self::ConnectFirst => connect_first::read(servers, poems),
            Self::Threads => threads::read(servers, poems),
            Self::Select => select::read(servers, poems),
            Self::Reactor => reactor::read(servers, poems),
        }
    }
}

fn connect(server: SocketAddr, poem: &mut Transcript) -> io::Result<TcpStream> {
    poem.connecting();
    TcpStream::connect(server)
}

const BUFFER: usize = 4096;

/// Reads all there is: with a blocking socket up to the end, with a nonblocking one up to `WouldBlock`.
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
