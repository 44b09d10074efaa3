//! The memory of idle connections, and of a client that does not read.

use std::io::{self, ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::load::{Clients, connect};
use crate::server::Server;

/// Connections opened before the measurement, so that one-time allocations do not count.
const WARM: usize = 10;
const IDLE: usize = 10_000;
/// Descriptors for other purposes than connections.
const OTHER_DESCRIPTORS: u64 = 100;

/// Bytes per idle connection.
#[derive(Clone, Copy)]
pub struct Idle {
    pub fresh: f64,
    /// After 16 KiB have passed on each connection.
    pub used: f64,
}

pub fn idle(command: &[String]) -> io::Result<Idle> {
    allow_descriptors(IDLE as u64 + OTHER_DESCRIPTORS)?;
    let server = Server::start(&[], command)?;
    let mut clients = Clients::connect(server.address, WARM, 16 * 1024)?;
    clients.one_by_one()?;
    clients.set_message_size(64);
    clients.one_by_one()?;
    let before = server.memory()?;
    clients.connect_more(server.address, IDLE - WARM)?;
    clients.one_by_one()?;
    let each = |now: u64| now.saturating_sub(before) as f64 / (IDLE - WARM) as f64;
    let fresh = each(server.memory()?);
    clients.set_message_size(16 * 1024);
    clients.one_by_one()?;
    Ok(Idle { fresh, used: each(server.memory()?) })
}

/// Raises this process's limit on descriptors. The servers inherit it.
pub fn allow_descriptors(count: u64) -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= count {
        return Ok(());
    }
    if hard < count {
        let message = format!("{count} descriptors are needed, and at most {hard} are allowed: `ulimit -Hn`");
        return Err(io::Error::other(message));
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(())
}

/// The number of clients that send without reading. With several, one-time allocations count little.
const STALLED: usize = 16;

#[derive(Clone, Copy)]
pub struct Stalled {
    /// Memory of the server per client.
    pub bytes: f64,
    /// CPU time of the server while the clients can send no more.
    pub cpu_per_second: Duration,
}

pub fn stalled(command: &[String]) -> io::Result<Stalled> {
    let server = Server::start(&[], command)?;
    Clients::connect(server.address, WARM, 64 * 1024)?.one_by_one()?;
    let before = server.memory()?;
    let mut clients = Vec::new();
    for _ in 0..STALLED {
        let mut client = connect(server.address)?;
        client.set_nonblocking(true)?;
        send_until_refused(&mut client)?;
        clients.push(client);
    }
    let (cpu, since) = (server.cpu()?, Instant::now());
    thread::sleep(Duration::from_secs(1));
    let used = server.cpu()?.saturating_sub(cpu);
    Ok(Stalled {
        bytes: server.memory()?.saturating_sub(before) as f64 / STALLED as f64,
        cpu_per_second: used.div_f64(since.elapsed().as_secs_f64()),
    })
}

/// The limit for a server without a bound, which would accept everything.
const MORE_THAN_ENOUGH: usize = 64 * 1024 * 1024;

/// Sends until the server has accepted nothing for a while.
fn send_until_refused(client: &mut impl Write) -> io::Result<()> {
    let piece = [b'x'; 64 * 1024];
    let mut sent = 0;
    let mut last_taken = Instant::now();
    while last_taken.elapsed() < Duration::from_millis(250) && sent < MORE_THAN_ENOUGH {
        match client.write(&piece) {
            Ok(n) => {
                sent += n;
                last_taken = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
