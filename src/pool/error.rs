//! The errors of a pool.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use crate::pool::decide::table::Refusal;
use crate::pool::key::Key;

/// An error of a pool. A protocol that gets no connection finds it in its [`End`](crate::End): see [`of`](Self::of).
///
/// It converts into an [`io::Error`]. The kind is `ConnectionAborted` for `Closed`, `Draining` and `Cancelled`,
/// `ResourceBusy` for `QueueFull`, `TimedOut` for `WaitTimeout`, `InvalidInput` for `Config`, and that of the source
/// for `Connect`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The pool was closed.
    Closed,
    /// The pool is being drained.
    Draining,
    /// The queue is full: [`Config::max_waiters`](crate::pool::Config::max_waiters).
    QueueFull {
        /// The number of waiting requests.
        waiting: usize,
        /// The use of the connections at that time.
        held: Held,
    },
    /// No connection became free in time: [`Config::wait_timeout`](crate::pool::Config::wait_timeout).
    WaitTimeout {
        /// The time that this request waited.
        waited: Duration,
        /// The use of the connections at that time.
        held: Held,
    },
    /// No connection could be established.
    Connect {
        /// The host.
        key: Key,
        /// The phase that failed.
        phase: Phase,
        /// The addresses that were tried. Empty for a Unix socket, which has only a path.
        tried: Vec<SocketAddr>,
        /// The cause.
        source: io::Error,
    },
    /// A limit is invalid. The text names it.
    Config(String),
    /// The request was cancelled by its ticket.
    Cancelled,
}

/// The phase in which a connection could not be established.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the name.
    Resolve,
    /// Connecting to the address, or to the addresses of the name one after the other.
    Connect,
    /// The TLS handshake.
    Tls,
}

/// The use of the pool's connections when a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The number of leases.
    pub leases: usize,
    /// The number of connections being established.
    pub connecting: usize,
    /// The time for which the oldest lease has been held, and the place where it was acquired.
    pub oldest: Option<(Duration, &'static Location<'static>)>,
}

impl Error {
    /// Finds the pool's error inside a connection's error.
    ///
    /// ```
    /// use enjamb::pool;
    /// use std::io;
    ///
    /// let error = io::Error::from(pool::Error::Closed);
    /// assert!(matches!(pool::Error::of(&error), Some(pool::Error::Closed)));
    /// assert!(pool::Error::of(&io::ErrorKind::ConnectionReset.into()).is_none());
    /// ```
    pub fn of(error: &io::Error) -> Option<&Error> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Draining => Error::Draining,
            Refusal::Closed => Error::Closed,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Closed | Error::Draining | Error::Cancelled => io::ErrorKind::ConnectionAborted,
            Error::QueueFull { .. } => io::ErrorKind::ResourceBusy,
            Error::WaitTimeout { .. } => io::ErrorKind::TimedOut,
            Error::Connect { source, .. } => source.kind(),
            Error::Config(_) => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Closed => f.write_str("the pool is closed"),
            Error::Draining => f.write_str(
                "the pool is being drained: it refuses new requests, and aborts leases at the deadline",
            ),
            Error::QueueFull { waiting, held } => write!(
                f,
                "no connection is free, and the queue is full with {waiting} requests (Config::max_waiters); {held}"
            ),
            Error::WaitTimeout { waited, held } => {
                write!(f, "no connection became free within {waited:.1?} (Config::wait_timeout); {held}")
            }
            // The source's message is complete: operation, address, cause and advice.
            Error::Connect { source, .. } => source.fmt(f),
            Error::Config(message) => f.write_str(message),
            Error::Cancelled => f.write_str("the request was cancelled by its ticket"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } => source.get_ref().map(|source| source as _),
            _ => None,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "TLS handshake",
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.leases {
            1 => f.write_str("1 lease held")?,
            n => write!(f, "{n} leases held")?,
        }
        if let Some((held, site)) = self.oldest {
            write!(f, ", oldest {held:.0?}, acquired at {site}")?;
        }
        match self.connecting {
            0 => Ok(()),
            n => write!(f, ", {n} connecting"),
        }
    }
}
