//! What the servers written in Rust share, so that they differ only in the library that is measured; and what both
//! sides look at.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

pub mod http_client;
pub mod timer_work;

/// Bytes read at once, by every server: streaming over loopback swings between two speeds with 64 KiB.
pub const READ_BUFFER: usize = 32 * 1024;

/// The kernel caps it at `net.core.somaxconn`. Every server asks for this many.
const BACKLOG: i32 = 4096;

/// A nonblocking listener on a free port of 127.0.0.1, whose accepted sockets inherit TCP_NODELAY.
pub fn listener() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Tells the driver where to connect: the first line on stdout.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {address}")?;
    stdout.flush()
}

/// What the command line asks of a server: so far there is one role.
pub fn expect_echo() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("echo") => Ok(()),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("expected the role `echo`, not {:?}", other.unwrap_or("")),
        )),
    }
}

/// How long a connection may be idle, where that is limited.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// `echo timers COUNT` has as many timers live meanwhile; `echo idle-timeout COUNT` also limits how long a connection
/// may be idle, so that every message moves a deadline on.
#[derive(Default)]
pub struct Timed {
    count: usize,
    pub idle_timeout: bool,
}

/// What the command line says about timers.
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
    /// Whether there is anything to time.
    pub fn any(&self) -> bool {
        self.count > 0 || self.idle_timeout
    }

    /// When each is due: within a minute of each other, and not before all is over.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        (0..self.count).map(|i| Duration::from_secs(3600) + timer_work::far(i))
    }
}

/// Bytes of memory that are a process's own: anonymous and resident. `"self"` is the one that asks.
pub fn resident(pid: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Where a fan-in client is to connect to, and how often.
pub fn fan_in_arguments() -> io::Result<(SocketAddr, usize)> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().and_then(|address| address.parse().ok());
    let count = arguments.next().and_then(|count| count.parse().ok());
    address.zip(count).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "expected ADDRESS COUNT"))
}
