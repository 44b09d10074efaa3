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
use crate::net::options::{listens, set_tcp_options};
use crate::net::plain::Plain;
use crate::net::poll::Poller;
use crate::net::simulated::SimSocket;
#[cfg(unix)]
use crate::net::unix::{self, SocketFile};

pub(crate) enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
    Simulated(SimSocket),
}

impl ListeningSocket {
    pub(crate) fn bind(poll: &Poller, addr: SocketAddr, backlog: u32) -> io::Result<Self> {
        match poll {
            Poller::Mio(_) => bind(addr, backlog).map(ListeningSocket::Tcp),
            Poller::Simulated(kernel) => kernel.listen(addr, backlog).map(ListeningSocket::Simulated),
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
    pub(crate) fn bind_to_path(poll: &Poller, path: &Path, backlog: u32) -> io::Result<Self> {
        poll.has_descriptors()?;
        unix::bind(path, backlog).map(|(listener, file)| ListeningSocket::Unix(listener, file))
    }

    #[inline]
    pub(crate) fn accept(&self) -> io::Result<(Plain, Peer)> {
        match self {
            ListeningSocket::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (Plain::Tcp(stream), Peer::from(peer)))
            }
            #[cfg(unix)]
            ListeningSocket::Unix(listener, file) => listener
                .accept()
                .map(|(stream, _)| (Plain::Unix(stream), Peer::ClientOf(Arc::clone(&file.path)))),
            ListeningSocket::Simulated(socket) => {
                socket.accept().map(|(socket, peer)| (Plain::from(socket), Peer::from(peer)))
            }
        }
    }

    /// What it listens on, for messages.
    pub(crate) fn name(&self) -> String {
        match self {
            #[cfg(unix)]
            ListeningSocket::Unix(_, file) => file.path.display().to_string(),
            _ => self.local_addr().map_or_else(|_| "?".into(), |addr| addr.to_string()),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            ListeningSocket::Tcp(listener) => listener.local_addr(),
            #[cfg(unix)]
            ListeningSocket::Unix(_, file) => Peer::Path(Arc::clone(&file.path)).addr(),
            ListeningSocket::Simulated(socket) => socket.local_addr(),
        }
    }

    pub(crate) fn register(&mut self, poll: &Poller, token: Token) -> io::Result<()> {
        match self {
            ListeningSocket::Tcp(listener) => poll.register(listener, token, Interest::READABLE),
            #[cfg(unix)]
            ListeningSocket::Unix(listener, _) => poll.register(listener, token, Interest::READABLE),
            ListeningSocket::Simulated(socket) => {
                socket.register(token);
                Ok(())
            }
        }
    }

    /// Takes it out of the poll, where a duplicate of an adopted listener would go on reporting events, and closes it.
    pub(crate) fn close(self, poll: &Poller) {
        match self {
            ListeningSocket::Tcp(mut listener) => poll.deregister(&mut listener),
            #[cfg(unix)]
            ListeningSocket::Unix(mut listener, _) => poll.deregister(&mut listener),
            ListeningSocket::Simulated(_) => {}
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

pub(crate) fn cannot_listen(addr: SocketAddr, error: io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; is it running already? another port will do, or 0 for any free one",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: try one above",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    };
    error::new(error.kind(), format!("listening on {addr}: {error}{hint}"))
}
