//! Errors that say what was being done, to whom, what happened and what to try.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::peer::Peer;

/// The kernel's error with its circumstances around it.
#[derive(Debug)]
struct Failure {
    doing: &'static str,
    peer: Peer,
    source: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.peer, self.source)?;
        match hint(self.doing, &self.peer, self.source.kind()) {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

pub(crate) const RESOLVING: &str = "resolving";
pub(crate) const CONNECTING: &str = "connecting to";
/// Of what is below, it has come through.
pub(crate) const SHAKING_HANDS: &str = "the TLS handshake with";
pub(crate) const READING: &str = "reading from";
pub(crate) const WRITING: &str = "writing to";
pub(crate) const WAITING: &str = "waiting for";
pub(crate) const CLOSING: &str = "closing";

fn hint(doing: &str, peer: &Peer, kind: io::ErrorKind) -> Option<&'static str> {
    if peer.is_path() && doing == CONNECTING {
        return match kind {
            io::ErrorKind::NotFound => Some("is a server running, and is that its path?"),
            io::ErrorKind::ConnectionRefused => Some("nobody listens there; is the server running?"),
            io::ErrorKind::PermissionDenied => Some("connecting takes permission to write to that file"),
            io::ErrorKind::TimedOut => Some("the server does not accept: is it stuck?"),
            _ => None,
        };
    }
    match kind {
        _ if doing == RESOLVING => Some("is it spelt right, and does the network work?"),
        io::ErrorKind::ConnectionRefused => Some("is a server listening there?"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            Some("the peer cut the connection; its own log may say why")
        }
        io::ErrorKind::TimedOut if doing == CONNECTING => {
            Some("is the address right, and does a firewall let it through?")
        }
        io::ErrorKind::TimedOut if doing == SHAKING_HANDS => Some("does it speak TLS on this port?"),
        io::ErrorKind::AddrNotAvailable if doing == CONNECTING => {
            Some("is port 0 meant, or are all local ports in use?")
        }
        _ => None,
    }
}

/// Wraps the kernel's error; the kind stays, the error number is found through `source()`.
pub(crate) fn while_doing(doing: &'static str, peer: &Peer, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Failure { doing, peer: peer.clone(), source })
}

/// An error that is told to several.
#[derive(Debug)]
struct Shared(Arc<io::Error>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// The same error for another who is to be told it; one that is more than a number is found through `source()`.
pub(crate) fn copy(error: &Arc<io::Error>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), Shared(Arc::clone(error))),
    }
}

/// Why a connection to a name did not come about: in words, and how far it came.
#[derive(Debug)]
struct Unreached {
    /// `None` if the name was still being looked up.
    tried: Option<Vec<SocketAddr>>,
    message: String,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Unreached {}

pub(crate) fn unreached(kind: io::ErrorKind, tried: Option<Vec<SocketAddr>>, message: String) -> io::Error {
    io::Error::new(kind, Unreached { tried, message })
}

/// How far a connect to a name had come that failed: the addresses that were tried, or `None` if it was still being
/// looked up.
pub(crate) fn how_far(error: &io::Error) -> Option<Vec<SocketAddr>> {
    let of = |error: &io::Error| error.get_ref()?.downcast_ref::<Failure>().map(|failure| failure.doing);
    let connecting = error.get_ref().and_then(|inner| inner.downcast_ref::<Failure>());
    let Some(Failure { source, .. }) = connecting else { return Some(Vec::new()) };
    match source.get_ref().and_then(|inner| inner.downcast_ref::<Unreached>()) {
        Some(unreached) => unreached.tried.clone(),
        None => (of(source) != Some(RESOLVING)).then(Vec::new),
    }
}

/// An error of the loop's own.
pub(crate) fn new(kind: io::ErrorKind, message: impl Into<String>) -> io::Error {
    io::Error::new(kind, message.into())
}

/// What those are told who come while everything is being closed.
pub(crate) fn shutting_down() -> io::Error {
    new(io::ErrorKind::ConnectionAborted, "the loop is shutting down")
}

#[cfg(feature = "tls")]
pub(crate) fn cannot_secure(peer: &Peer, against: &str) -> io::Error {
    new(io::ErrorKind::InvalidInput, format!("the connection to {peer} cannot be made secure: {against}"))
}
