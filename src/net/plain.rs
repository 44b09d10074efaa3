//! A stream socket without TLS: TCP, Unix, or simulated. TLS stands on one of these.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Token};
use socket2::SockRef;

use crate::base::error;
use crate::base::peer::Peer;
use crate::net::options::{listens, set_tcp_options};
use crate::net::poll::Poller;
use crate::net::simulated::SimSocket;

/// The first port that a kernel chooses by itself (RFC 6056, section 3.2). Most servers have one below it, and then the
/// client's own address need not be asked for.
const FIRST_EPHEMERAL: u16 = 1024;

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

/// Makes a call again that a signal has interrupted: signal(7).
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Looks for a byte to read, without taking it: how many there are, up to one.
fn peek(socket: &SockRef<'_>) -> io::Result<usize> {
    uninterrupted(|| socket.peek(&mut [MaybeUninit::uninit()]))
}

impl Plain {
    /// Begins to connect. After EINTR the connect goes on, connect(2), but mio has closed the socket with it: another one
    /// takes its place.
    pub(crate) fn connect(poll: &Poller, addr: SocketAddr) -> io::Result<Self> {
        match poll {
            Poller::Mio(_) => uninterrupted(|| TcpStream::connect(addr)).map(Plain::Tcp),
            Poller::Simulated(kernel) => kernel.connect(addr).map(Plain::from),
        }
    }

    #[cfg(unix)]
    pub(crate) fn connect_to_path(poll: &Poller, path: &Path) -> io::Result<Self> {
        poll.has_descriptors()?;
        uninterrupted(|| UnixStream::connect(path)).map(Plain::Unix)
    }

    /// Whether a connect has come through: `None` while it is under way. Only a socket that is connected has a peer,
    /// getpeername(2). One that is not may have an error; asking for that clears it, so that is done only here.
    pub(crate) fn connected(&self) -> Option<io::Result<()>> {
        let peer =
            each!(self, stream => SockRef::from(stream).peer_addr(), socket => return socket.connected());
        match peer {
            Ok(peer) => {
                self.set_options();
                Some(peer.as_socket().map_or(Ok(()), |peer| self.refuse_itself(peer)))
            }
            Err(no_peer) => match self.take_error() {
                None if no_peer.kind() == io::ErrorKind::NotConnected => None,
                failure => Some(Err(failure.unwrap_or(no_peer))),
            },
        }
    }

    /// Refuses a TCP socket that has connected to itself. That happens if no server listens at an address of this host,
    /// and the kernel chooses the same port for the client: its SYN meets itself, which is a simultaneous open
    /// (RFC 9293, section 3.5). The socket is reset when it is closed: an orderly close would keep the port in
    /// TIME-WAIT, and the server that is to have it could not bind it.
    fn refuse_itself(&self, peer: SocketAddr) -> io::Result<()> {
        let Plain::Tcp(stream) = self else { return Ok(()) };
        if peer.port() < FIRST_EPHEMERAL || stream.local_addr().ok() != Some(peer) {
            return Ok(());
        }
        SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
        let message = "it connected to itself: no server listens there, and the kernel chose the same port for the client";
        Err(error::new(io::ErrorKind::ConnectionRefused, message))
    }

    /// Refuses a nonblocking socket from outside that is not connected and never was. A connected socket has a peer,
    /// getpeername(2). One whose connection is over has none either, but still gives what the peer sent before; where
    /// it gives an error, that is returned, as the kernel reports it only once.
    pub(crate) fn check_connected(&self) -> io::Result<Option<io::Error>> {
        let socket = each!(self, stream => SockRef::from(stream), _socket => return Ok(None));
        if socket.peer_addr().is_ok() {
            return Ok(None);
        }
        let (kind, wrong) = match peek(&socket) {
            Ok(_) => return Ok(None),
            Err(_) if listens(&socket) == Some(true) => {
                (io::ErrorKind::InvalidInput, "it listens: give it to Cx::listen_on")
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => (
                    io::ErrorKind::NotConnected,
                    "it is still connecting: wait until it is connected, or have Cx::connect do it",
                ),
                // recv(2) says ENOTCONN to a TCP socket, EINVAL to a Unix one.
                io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput => (
                    io::ErrorKind::NotConnected,
                    "it is not connected: connect it first, or have Cx::connect do it",
                ),
                _ => return Ok(Some(error)),
            },
        };
        let name = match socket.local_addr().ok().and_then(|addr| addr.as_socket()) {
            Some(addr) => addr.to_string(),
            None => "a Unix socket".to_owned(),
        };
        Err(error::new(kind, format!("adopting {name}: {wrong}")))
    }

    /// Sets the options of a connected socket. Where this fails, the connection is gone already, and its next system call
    /// says so.
    pub(crate) fn set_options(&self) {
        if let Plain::Tcp(stream) = self {
            set_tcp_options(stream).ok();
        }
    }

    /// Whether a read would give bytes. An error that it would give is returned.
    pub(crate) fn has_unread(&self) -> io::Result<bool> {
        let peeked = each!(
            self,
            stream => peek(&SockRef::from(stream)),
            socket => return Ok(socket.has_unread())
        );
        match peeked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            peeked => peeked.map(|n| n > 0),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// With simultaneous open, a socket that connects to the address it is bound to is connected with itself.
    fn connected_to_itself() -> (Plain, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let addr = socket.local_addr().unwrap();
        socket.connect(&addr).unwrap();
        (Plain::Tcp(TcpStream::from_std(socket.into())), addr.as_socket().unwrap())
    }

    #[test]
    fn a_connection_to_itself_is_refused_and_reset() {
        let (socket, addr) = connected_to_itself();
        assert_eq!(socket.local_addr().unwrap(), addr);
        assert_eq!(socket.peer().addr().unwrap(), addr);
        let error = socket.connected().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().starts_with("it connected to itself"), "{error}");
        // An orderly close would leave the port in TIME-WAIT, and the server that is to have it could not bind it.
        let linger = each!(&socket, stream => SockRef::from(stream).linger().unwrap(), _socket => None);
        assert_eq!(linger, Some(Duration::ZERO));
    }
}
