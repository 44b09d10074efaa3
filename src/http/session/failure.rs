//! Why a call came to nothing: where, with whom, how far it had got.

use std::fmt;
use std::io;

use crate::http::{Error, Response, Url};
use crate::pool;

/// How far a call has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// It could not be sent at all.
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
    /// Waiting for the first byte of the answer.
    FirstByte,
    /// Reading the head of the answer.
    Head,
    /// Reading its body.
    Body,
}

/// As a server is called in errors.
pub(super) fn server(url: &Url) -> String {
    format!("{}:{}", url.host(), url.port())
}

/// Why a call came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Where the request went last, after redirects; `None` where its URL was none.
    pub url: Option<String>,
    /// The server: its host and port.
    pub server: Option<String>,
    /// How far the call had got.
    pub phase: Phase,
    /// How many bytes of the answer had come.
    pub received: u64,
    /// What of the answer had come, where the head had, and whole bodies are collected.
    pub partial: Option<Box<Response>>,
    /// What happened: see [`http`](Self::http) and [`pool`](Self::pool).
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

    /// The rule that was broken, or what else was wrong with the request or the answer, if that is it.
    pub fn http(&self) -> Option<&Error> {
        self.source.get_ref()?.downcast_ref()
    }

    /// What the pool said, if it gave no connection.
    pub fn pool(&self) -> Option<&pool::Error> {
        pool::Error::of(&self.source)
    }

    /// Of what kind the error is: [`TimedOut`](io::ErrorKind::TimedOut) for each of the limits in time.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(url) = &self.url {
            write!(f, "{url}: ")?;
        }
        // An answer that broke a rule says whose it is, and how much had come; a connect says to whom.
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

/// Without a source, as its text has all that the source says: who prints a chain of errors would print that twice.
impl std::error::Error for Failure {}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        io::Error::new(failure.kind(), failure)
    }
}

/// As it fits in front of the server's name.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Request => "making the request to",
            Phase::Pool => "waiting for a connection",
            Phase::Resolve => "looking up",
            Phase::Connect => "connecting to",
            Phase::Tls => "the TLS handshake with",
            Phase::Send => "sending the request to",
            Phase::FirstByte => "waiting for the answer of",
            Phase::Head => "reading the head of the answer of",
            Phase::Body => "reading the body of the answer of",
        })
    }
}
