//! The error of a call.

use std::fmt;
use std::io;

use crate::http::{Error, Response, Url};
use crate::pool;

/// The phase of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// The request is invalid and was not sent.
    Request,
    /// Waiting for a connection.
    Pool,
    /// Looking up the server's name.
    Resolve,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Sending the request.
    Send,
    /// Waiting for the first byte of the response.
    FirstByte,
    /// Reading the head of the response.
    Head,
    /// Reading the body of the response.
    Body,
}

/// The server's name in error messages.
pub(super) fn server(url: &Url) -> String {
    format!("{}:{}", url.host(), url.port())
}

/// The error of a call.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The URL of the last request, after redirects. `None` if the caller's URL was not valid.
    pub url: Option<String>,
    /// The server, as host and port.
    pub server: Option<String>,
    /// The phase in which the call failed.
    pub phase: Phase,
    /// The number of response bytes received.
    pub received: u64,
    /// The received part of the response. Set if whole bodies are collected and the head had arrived.
    pub partial: Option<Box<Response>>,
    /// The error itself. [`http`](Self::http) and [`pool`](Self::pool) give the typed error.
    pub source: io::Error,
}

impl Failure {
    pub(super) fn new(url: Option<&Url>, phase: Phase, received: u64, source: io::Error) -> Self {
        let phase = match pool::Error::of(&source) {
            Some(pool::Error::Connect { phase: pool::Phase::Resolve, .. }) => Phase::Resolve,
            Some(pool::Error::Connect { phase: pool::Phase::Tls, .. }) => Phase::Tls,
            Some(pool::Error::Connect { .. }) => Phase::Connect,
            _ => phase,
        };
        Failure {
            url: url.map(Url::to_string),
            server: url.map(server),
            phase,
            received,
            partial: None,
            source,
        }
    }

    /// The error of this module, if the request was invalid or the response broke a rule.
    pub fn http(&self) -> Option<&Error> {
        self.source.get_ref()?.downcast_ref()
    }

    /// The pool's error, if the pool did not supply a connection.
    pub fn pool(&self) -> Option<&pool::Error> {
        pool::Error::of(&self.source)
    }

    /// The kind of the error. Each of the time limits gives [`TimedOut`](io::ErrorKind::TimedOut).
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(url) = &self.url {
            write!(f, "{url}: ")?;
        }
        // A response error already names the server and the number of bytes; a connect error names the address.
        if self.http().is_some()
            || self.phase == Phase::Request
            || self.pool().is_some() && self.phase > Phase::Pool
        {
            return self.source.fmt(f);
        }
        write!(f, "{}", self.phase)?;
        if let Some(server) = self.server.as_ref().filter(|_| self.phase > Phase::Pool) {
            write!(f, " {server}")?;
        }
        write!(f, ": {}", self.source)?;
        match self.phase {
            Phase::Pool => Ok(()),
            _ => write!(f, "; {} bytes had come", self.received),
        }
    }
}

/// `source` returns nothing, since the message contains the source's text. Otherwise a report of the error chain would
/// print it twice.
impl std::error::Error for Failure {}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        io::Error::new(failure.kind(), failure)
    }
}

/// The text that precedes the server's name in a message.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Request => "making the request to",
            Phase::Pool => "waiting for a connection",
            Phase::Resolve => "looking up",
            Phase::Connect => "connecting to",
            Phase::Tls => "the TLS handshake with",
            Phase::Send => "sending the request to",
            Phase::FirstByte => "waiting for the response of",
            Phase::Head => "reading the head of the response of",
            Phase::Body => "reading the body of the response of",
        })
    }
}
