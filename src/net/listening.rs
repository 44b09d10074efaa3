//! Listening sockets: how they are made, and how they accept.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
#[cfg(unix)]
use std::sync::Arc;

use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Token};
use socket2::SockRef;

use crate::base::error;
use crate::base::peer::Peer;
use crate::net::poll::Driver;
use crate::net::simulated::SocketId;
use crate::net::socket::{Socket, set_tcp_options};
#[cfg(unix)]
use crate::net::unix::{self, SocketFile};

pub(crate) enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
    /// The socket itself is the driver's.
    Sim(SocketId),
}

impl ListeningSocket {
    pub(crate) fn bind(driver: &Driver, addr: SocketAddr, backlog: u32) -> io::Result<Self> {
        match driver {
            Driver::Mio(_) => bind(addr, backlog).map(ListeningSocket::Tcp),
            Driver::Sim(sim) => sim.network().listen(addr, backlog).map(ListeningSocket::Sim),
        }
    }

    /// Makes a listener of somebody else's what [`bind`] makes.
    pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<Self> {
        let socket = SockRef::from(&listener);
        if listens(&socket) == Some(false) {
            let message = "it does not listen: call listen(2) first, or have Cx::listen do it";
            return Err(error::new(io::ErrorKind::InvalidInput, message));
        }
        socket.set_nonblocking(true)?;
        set_tcp_options(&listener)?;
        Ok(ListeningSocket::Tcp(TcpListener::from_std(listener)))
    }

    #[cfg(unix)]
    pub(crate) fn bind_to_path(driver: &Driver, path: &Path, backlog: u32) -> io::Result<Self> {
        driver.has_descriptors()?;
        unix::bind(path, backlog).map(|(listener, file)| ListeningSocket::Unix(listener, file))
    }

    #[inline]
    pub(crate) fn accept(&self, driver: &Driver) -> io::Result<(Socket, Peer)> {
        match self {
            ListeningSocket::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (stream.into(), Peer::from(peer)))
            }
            #[cfg(unix)]
            ListeningSocket::Unix(listener, file) => {
                listener.accept().map(|(stream, _)| (stream.into(), Peer::ClientOf(Arc::clone(&file.path))))
            }
            ListeningSocket::Sim(id) => {
                driver.network().accept(*id).map(|(id, peer)| (Socket::simulated(id), Peer::from(peer)))
            }
        }
    }

    /// What it listens on, for messages.
    pub(crate) fn name(&self, driver: &Driver) -> String {
        match self {
            #[cfg(unix)]
            ListeningSocket::Unix(_, file) => file.path.display().to_string(),
            _ => self.local_addr(driver).map_or_else(|_| "?".into(), |addr| addr.to_string()),
        }
    }

    pub(crate) fn local_addr(&self, driver: &Driver) -> io::Result<SocketAddr> {
        match self {
            ListeningSocket::Tcp(listener) => listener.local_addr(),
            #[cfg(unix)]
            ListeningSocket::Unix(_, file) => Peer::Path(Arc::clone(&file.path)).addr(),
            ListeningSocket::Sim(id) => {
                driver.network().addr_of(*id).ok_or(io::ErrorKind::NotConnected.into())
            }
        }
    }

    pub(crate) fn register(&mut self, driver: &Driver, token: Token) -> io::Result<()> {
        match self {
            ListeningSocket::Tcp(listener) => driver.register(listener, token, Interest::READABLE),
            #[cfg(unix)]
            ListeningSocket::Unix(listener, _) => driver.register(listener, token, Interest::READABLE),
            ListeningSocket::Sim(id) => {
                driver.network().register(*id, token);
                Ok(())
            }
        }
    }

    pub(crate) fn close(self, driver: &Driver) {
        match self {
            ListeningSocket::Tcp(mut listener) => driver.deregister(&mut listener),
            #[cfg(unix)]
            ListeningSocket::Unix(mut listener, _) => driver.deregister(&mut listener),
            ListeningSocket::Sim(id) => driver.network().close(id),
        }
    }
}

/// A listening TCP socket as it should be: SO_REUSEADDR (on Unix: elsewhere it means something else), a backlog that
/// holds a rush, and the options that accepted sockets inherit.
fn bind(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(addr),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    set_tcp_options(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Whether a socket listens: SO_ACCEPTCONN, socket(7). `None` where socket2 does not ask the system, or has no answer.
pub(crate) fn listens(socket: &SockRef<'_>) -> Option<bool> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    return socket.is_listener().ok();
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    return None;
}

pub(crate) fn cannot_listen(addr: SocketAddr, error: io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; is it running already? another port will do, or 0 for any free one",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: try one above",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    };
    error::new(error.kind(), format!("listening on {addr}: {error}{hint}"))
}
