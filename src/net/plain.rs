//! A stream socket without TLS: TCP, Unix, or simulated. TLS stands on one of these.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Token};
use socket2::SockRef;

use crate::base::peer::Peer;
use crate::net::poll::Poller;
use crate::net::simulated::SimSocket;

#[derive(Debug)]
pub(crate) enum Plain {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// Boxed, so that a real socket is no larger for it.
    Simulated(Box<SimSocket>),
}

/// The same for both kinds of real socket, and something else for a simulated one.
macro_rules! each {
    ($plain:expr, $real:ident => $does:expr, $simulated:ident => $simulates:expr) => {
        match $plain {
            Plain::Tcp($real) => $does,
            #[cfg(unix)]
            Plain::Unix($real) => $does,
            Plain::Simulated($simulated) => $simulates,
        }
    };
}

impl Plain {
    pub(crate) fn connect(poll: &Poller, addr: SocketAddr) -> io::Result<Self> {
        match poll {
            Poller::Mio(_) => TcpStream::connect(addr).map(Plain::Tcp),
            Poller::Simulated(simulation) => simulation.connect(addr).map(Plain::from),
        }
    }

    #[cfg(unix)]
    pub(crate) fn connect_to_path(poll: &Poller, path: &Path) -> io::Result<Self> {
        poll.has_descriptors()?;
        UnixStream::connect(path).map(Plain::Unix)
    }

    /// Whether a connect has come through: `None` while it is under way. Only a socket that is connected has a peer,
    /// getpeername(2). One that is not may have an error; asking for that clears it, so that is done only here.
    pub(crate) fn connected(&self) -> Option<io::Result<()>> {
        let no_peer = each!(self, stream => stream.peer_addr().map(drop), socket => return socket.connected());
        let Some(no_peer) = no_peer.err() else {
            if let Plain::Tcp(stream) = self {
                // Output is corked and sent when a callback returns: Nagle's algorithm could only delay it. Where this
                // fails, the connection is gone already, and its next system call says so.
                stream.set_nodelay(true).ok();
            }
            return Some(Ok(()));
        };
        match self.take_error() {
            None if no_peer.kind() == io::ErrorKind::NotConnected => None,
            failure => Some(Err(failure.unwrap_or(no_peer))),
        }
    }

    /// The socket's error, which this clears: SO_ERROR, socket(7).
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        each!(self, stream => stream.take_error().unwrap_or_else(Some), socket => socket.take_error())
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        each!(self, stream => SockRef::from(stream).set_nonblocking(true), _socket => Ok(()))
    }

    /// Whether a read shorter than its buffer has drained the socket. On a Unix socket, it may only have come to where a
    /// descriptor was passed along: unix(7), SCM_RIGHTS.
    #[inline]
    pub(crate) fn short_read_drains(&self) -> bool {
        matches!(self, Plain::Tcp(_) | Plain::Simulated(_))
    }

    #[inline]
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, stream => (&*stream).read(buffer), socket => socket.read(buffer))
    }

    /// Never raises SIGPIPE, as the standard library's write to a socket does not (its vectored one does).
    #[inline]
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, stream => (&*stream).write(bytes), socket => socket.write(bytes))
    }

    /// Shuts down writing: the peer reads an end.
    pub(crate) fn finish(&self) -> io::Result<()> {
        each!(self, stream => stream.shutdown(Shutdown::Write), socket => socket.finish())
    }

    /// Makes the close that follows a reset instead of an orderly end: RFC 9293, section 3.10.5, by way of SO_LINGER with
    /// zero, socket(7). On a Unix socket that does nothing, and there is nothing else: closing with input unread is what
    /// the peer gets ECONNRESET for, unix(7), and input cannot be put back.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        each!(
            self,
            stream => SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            socket => {
                socket.reset_on_close();
                Ok(())
            }
        )
    }

    /// Registers it once, for both directions.
    pub(crate) fn register(&mut self, poll: &Poller, token: Token) -> io::Result<()> {
        each!(self, stream => poll.register(stream, token, Interest::READABLE | Interest::WRITABLE), socket => {
            socket.register(token);
            Ok(())
        })
    }

    pub(crate) fn deregister(&mut self, poll: &Poller) {
        each!(self, stream => poll.deregister(stream), socket => socket.deregister());
    }

    pub(crate) fn peer(&self) -> Peer {
        match self {
            Plain::Tcp(stream) => stream.peer_addr().map_or(Peer::Unknown, Peer::from),
            #[cfg(unix)]
            Plain::Unix(stream) => {
                let addr = stream.peer_addr().ok();
                addr.and_then(|addr| Some(Peer::Path(addr.as_pathname()?.into()))).unwrap_or(Peer::Unix)
            }
            Plain::Simulated(socket) => socket.peer().map_or(Peer::Unknown, Peer::from),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Plain::Tcp(stream) => stream.local_addr(),
            #[cfg(unix)]
            Plain::Unix(_) => Err(Peer::Unix.no_address()),
            Plain::Simulated(socket) => socket.local_addr(),
        }
    }
}

impl From<SimSocket> for Plain {
    fn from(socket: SimSocket) -> Self {
        Plain::Simulated(Box::new(socket))
    }
}
