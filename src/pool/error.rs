//! What a pool says no with.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use crate::pool::decide::table::Refusal;
use crate::pool::key::Key;

/// What a pool says no with. A protocol that gets no connection finds it in its [`End`](crate::End): see
/// [`of`](Self::of).
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The pool was closed.
    Closed,
    /// The pool is being drained.
    Draining,
    /// As many wait as may: [`Config::max_waiters`](crate::pool::Config::max_waiters).
    QueueFull {
        /// How many that is.
        waiting: usize,
        /// Who has the connections.
        held: Held,
    },
    /// No connection became free in time: [`Config::wait_timeout`](crate::pool::Config::wait_timeout).
    WaitTimeout {
        /// How long this one has waited.
        waited: Duration,
        /// Who has the connections.
        held: Held,
    },
    /// No connection could be made.
    Connect {
        /// To whom.
        key: Key,
        /// At what it failed.
        phase: Phase,
        /// The addresses that were tried. None of a Unix socket, which has only a path.
        tried: Vec<SocketAddr>,
        /// Why.
        source: io::Error,
    },
    /// A limit that cannot be.
    Config(String),
    /// It was cancelled by its ticket.
    Cancelled,
}

/// What a connection failed at that did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the name.
    Resolve,
    /// Connecting to the address, or to one after the other of those that the name has.
    Connect,
    /// The TLS handshake.
    Tls,
}

/// Who has the connections that somebody waited for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// How many are leased.
    pub leases: usize,
    /// How many are being made.
    pub connecting: usize,
    /// How long the oldest lease has been held, and where it was acquired.
    pub oldest: Option<(Duration, &'static Location<'static>)>,
}

impl Error {
    /// The pool's error in an error of a connection, if it is one.
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
            Error::Draining => {
                f.write_str("the pool is being drained: it takes nobody new, and ends who takes too long")
            }
            Error::QueueFull { waiting, held } => write!(
                f,
                "no connection is free, and {waiting} wait already, as many as may (Config::max_waiters); {held}"
            ),
            Error::WaitTimeout { waited, held } => {
                write!(f, "no connection became free within {waited:.1?} (Config::wait_timeout); {held}")
            }
            // The source says it all: what was being done, to whom, what happened, what to try.
            Error::Connect { source, .. } => source.fmt(f),
            Error::Config(message) => f.write_str(message),
            Error::Cancelled => f.write_str("it was cancelled by its ticket"),
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
