//! The name of the other end of a connection.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

/// Who is at the other end, in 24 bytes: it stands in every connection, for messages after the kernel has forgotten.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    V4(SocketAddrV4),
    V6 {
        ip: Ipv6Addr,
        scope: u32,
        port: u16,
    },
    /// What is connected to while it has no address yet.
    Name(Arc<str>),
    /// The path of a Unix socket.
    #[cfg(unix)]
    Path(Arc<Path>),
    /// Who has connected to one.
    #[cfg(unix)]
    ClientOf(Arc<Path>),
    #[cfg(unix)]
    Unix,
    Unknown,
}

impl From<SocketAddr> for Peer {
    #[inline]
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => Peer::V4(addr),
            SocketAddr::V6(addr) => Peer::V6 { ip: *addr.ip(), scope: addr.scope_id(), port: addr.port() },
        }
    }
}

impl Peer {
    #[inline]
    pub(crate) fn addr(&self) -> io::Result<SocketAddr> {
        match self {
            Peer::V4(addr) => Ok(SocketAddr::V4(*addr)),
            Peer::V6 { ip, scope, port } => Ok(SocketAddrV6::new(*ip, *port, 0, *scope).into()),
            Peer::Name(_) => Err(io::ErrorKind::NotConnected.into()),
            other => Err(other.no_address()),
        }
    }

    /// Whether this is the path of a Unix socket.
    pub(crate) fn is_path(&self) -> bool {
        #[cfg(unix)]
        return matches!(self, Peer::Path(_));
        #[cfg(not(unix))]
        return false;
    }

    pub(crate) fn no_address(&self) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, format!("{self} has no internet address"))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::V4(addr) => write!(f, "{addr}"),
            Peer::V6 { ip, scope, port } => SocketAddrV6::new(*ip, *port, 0, *scope).fmt(f),
            Peer::Name(name) => f.write_str(name),
            #[cfg(unix)]
            Peer::Path(path) => path.display().fmt(f),
            #[cfg(unix)]
            Peer::ClientOf(path) => write!(f, "a client of {}", path.display()),
            #[cfg(unix)]
            Peer::Unix => f.write_str("a Unix socket"),
            Peer::Unknown => f.write_str("a peer that is gone"),
        }
    }
}
