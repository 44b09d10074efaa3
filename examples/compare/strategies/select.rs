//! One thread and a loop around select(2): every wait hands all the sockets over anew, so what a poem costs grows with
//! the number of the others.

use super::{connect, read_on};
use crate::program::format::commas;
use crate::program::transcript::Transcript;
use nix::errno::Errno;
use nix::sys::select::{FD_SETSIZE, FdSet, select};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

struct Reading<'a> {
    stream: TcpStream,
    poem: &'a mut Transcript,
    readable: bool,
}

pub fn read(servers: &[SocketAddr], poems: &mut [Transcript]) -> io::Result<usize> {
    let mut readings = Vec::new();
    for (&server, poem) in servers.iter().zip(poems) {
        match connect(server, poem) {
            Ok(stream) => {
                check(&stream)?;
                stream.set_nonblocking(true)?;
                readings.push(Reading { stream, poem, readable: false });
            }
            Err(error) => poem.ended(Err(error)),
        }
    }
    while !readings.is_empty() {
        wait(&mut readings)?;
        readings.retain_mut(|reading| !reading.readable || reading.goes_on());
    }
    Ok(1)
}

impl Reading<'_> {
    /// Reads what is there, and tells whether more can come.
    fn goes_on(&mut self) -> bool {
        let outcome = read_on(&self.stream, self.poem);
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            return true;
        }
        self.poem.ended(outcome);
        false
    }
}

/// Sleeps until at least one socket can be read, and marks which.
fn wait(readings: &mut [Reading]) -> io::Result<()> {
    let mut sockets = FdSet::new();
    let mut highest = 0;
    for reading in readings.iter() {
        sockets.insert(reading.stream.as_fd());
        highest = highest.max(reading.stream.as_raw_fd());
    }
    let woken = select(highest + 1, &mut sockets, None, None, None);
    let readable: Vec<bool> = match woken {
        // The kernel has taken those out of the set that are not readable.
        Ok(_) => readings.iter().map(|reading| sockets.contains(reading.stream.as_fd())).collect(),
        Err(Errno::EINTR) => vec![false; readings.len()],
        Err(error) => return Err(error.into()),
    };
    readings.iter_mut().zip(readable).for_each(|(reading, readable)| reading.readable = readable);
    Ok(())
}

/// A set of descriptors is an array of FD_SETSIZE bits, whatever the limit on open files.
fn check(stream: &TcpStream) -> io::Result<()> {
    if usize::try_from(stream.as_raw_fd()).is_ok_and(|descriptor| descriptor < FD_SETSIZE) {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::Unsupported, limit()))
}

/// Why it cannot read that many poems.
pub fn limit() -> String {
    format!("select cannot watch descriptors past {}", commas(FD_SETSIZE as u64 - 1))
}

/// Descriptors 0 to 2 are the standard streams.
pub const MOST_POEMS: usize = FD_SETSIZE - 3;
