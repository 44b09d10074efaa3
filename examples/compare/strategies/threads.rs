//! A thread for each poem: the blocking code as it was, run as many times as there are poems. The kernel does the
//! waiting, and each wait costs a stack and a switch.

use super::{connect, read_on};
use crate::program::transcript::Transcript;
use std::io;
use std::net::SocketAddr;
use std::thread;

/// A thread's buffer and a few frames need no more, and with the usual 2 MiB thousands of threads can exhaust the
/// address space a process is allowed.
const STACK: usize = 64 * 1024;

pub fn read(servers: &[SocketAddr], poems: &mut [Transcript]) -> io::Result<usize> {
    let threads = poems.len() + 1;
    thread::scope(|scope| {
        for (number, (&server, poem)) in servers.iter().zip(poems).enumerate() {
            let reader = move || {
                let outcome = connect(server, poem).and_then(|stream| read_on(&stream, poem));
                poem.ended(outcome);
            };
            let started = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, reader);
            started.map_err(|error| no_thread(number + 1, &error))?;
        }
        Ok(threads)
    })
}

fn no_thread(number: usize, error: &io::Error) -> io::Error {
    io::Error::other(format!(
        "thread {number} could not be started: {error}; try fewer poems, or see ulimit -u"
    ))
}
