//! The code that the servers written in Rust share, so that they differ only in their libraries, and values that both
//! sides use.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

pub mod http_client;
pub mod timer_work;

/// The size of a read, for every server. With 64 KiB, streaming over loopback alternates between two speeds.
pub const READ_BUFFER: usize = 32 * 1024;

/// The backlog that every server requests. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A nonblocking listener on a free port of 127.0.0.1. Accepted sockets inherit TCP_NODELAY.
pub fn listener() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Prints the address as the first line on stdout, for the driver to connect to.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {address}")?;
    stdout.flush()
}

/// Checks the role on the command line. There is only one: echo.
pub fn expect_echo() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("echo") => Ok(()),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("expected the role `echo`, not {:?}", other.unwrap_or("")),
        )),
    }
}

/// The limit on idle time, where there is one.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Options for timers. `echo timers COUNT` runs with COUNT live timers. `echo idle-timeout COUNT` also limits the idle
/// time of a connection, so every message moves a deadline.
#[derive(Default)]
pub struct Timed {
    count: usize,
    pub idle_timeout: bool,
}

/// Parses the options for timers.
pub fn timed() -> Timed {
    let mut arguments = std::env::args().skip(2);
    let role = arguments.next();
    match role.as_deref() {
        Some("timers" | "idle-timeout") => Timed {
            count: arguments.next().and_then(|count| count.parse().ok()).unwrap_or(0),
            idle_timeout: role.as_deref() == Some("idle-timeout"),
        },
        _ => Timed::default(),
    }
}

impl Timed {
    /// Whether any option is set.
    pub fn any(&self) -> bool {
        self.count > 0 || self.idle_timeout
    }

    /// The delays of the timers: within one minute of each other, and longer than the run.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        (0..self.count).map(|i| Duration::from_secs(3600) + timer_work::far(i))
    }
}

/// A process's own memory in bytes: anonymous and resident. `"self"` is the calling process.
pub fn resident(pid: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The address and the number of connections of a fan-in client.
pub fn fan_in_arguments() -> io::Result<(SocketAddr, usize)> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().and_then(|address| address.parse().ok());
    let count = arguments.next().and_then(|count| count.parse().ok());
    address.zip(count).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "expected ADDRESS COUNT"))
}
