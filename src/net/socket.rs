//! The kinds of stream socket a connection can have.

#[cfg(feature = "tls")]
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::path::Path;

use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Token};

#[cfg(feature = "tls")]
use crate::base::buffer::Buffer;
use crate::base::peer::Peer;
use crate::net::poll::Driver;
use crate::net::simulated::SocketId;
#[cfg(feature = "tls")]
use crate::net::tls::{Info, Session, TlsSocket};

/// A connected stream socket that [`Cx::adopt`](crate::Cx::adopt) takes over: made from the standard library's
/// `TcpStream` or, on Unix, `UnixStream`.
#[derive(Debug)]
pub struct Socket(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// The socket itself is the driver's.
    Sim(SocketId),
    /// TLS over one of the others.
    #[cfg(feature = "tls")]
    Tls(Box<RefCell<TlsSocket>>),
}

/// The same for both kinds of real socket, and something else for a simulated one and for one over another.
macro_rules! each {
    ($socket:expr, $stream:ident => $does:expr, $id:ident => $simulates:expr, $tls:ident => $secures:expr) => {
        match $socket {
            Kind::Tcp($stream) => $does,
            #[cfg(unix)]
            Kind::Unix($stream) => $does,
            Kind::Sim($id) => $simulates,
            #[cfg(feature = "tls")]
            Kind::Tls($tls) => $secures,
        }
    };
}

impl From<std::net::TcpStream> for Socket {
    fn from(stream: std::net::TcpStream) -> Self {
        Socket(Kind::Tcp(TcpStream::from_std(stream)))
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixStream> for Socket {
    fn from(stream: std::os::unix::net::UnixStream) -> Self {
        Socket(Kind::Unix(UnixStream::from_std(stream)))
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Socket(Kind::Tcp(stream))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Socket(Kind::Unix(stream))
    }
}

impl Socket {
    pub(crate) fn connect(driver: &Driver, addr: SocketAddr) -> io::Result<Self> {
        if let Driver::Sim(sim) = driver {
            return sim.network().connect(addr).map(Socket::simulated);
        }
        TcpStream::connect(addr).map(|stream| Socket(Kind::Tcp(stream)))
    }

    pub(crate) fn simulated(id: SocketId) -> Self {
        Socket(Kind::Sim(id))
    }

    #[cfg(unix)]
    pub(crate) fn connect_to_path(driver: &Driver, path: &Path) -> io::Result<Self> {
        driver.has_descriptors()?;
        UnixStream::connect(path).map(|stream| Socket(Kind::Unix(stream)))
    }

    /// Speaks TLS over it; `reached` if it is connected already, and `before` is what it has to send in plain first.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(self, session: Session, reached: bool, before: Option<Box<Buffer>>) -> Self {
        Socket(Kind::Tls(Box::new(RefCell::new(TlsSocket::new(self, session, reached, before)))))
    }

    /// What was agreed on, where it speaks TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<Info> {
        match &self.0 {
            Kind::Tls(tls) => Some(tls.borrow().info()),
            _ => None,
        }
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_secure(&self) -> bool {
        each!(&self.0, _stream => false, _id => false, _tls => true)
    }

    /// Whether it speaks TLS over one that is known to be connected.
    pub(crate) fn is_reached(&self) -> bool {
        each!(&self.0, _stream => false, _id => false, tls => tls.borrow().is_reached())
    }

    /// Whether a connect has come through: `None` while it is under way. Only a socket that stands has a peer,
    /// getpeername(2); one that does not may have an error, and asking for that clears it, so it is done only here.
    pub(crate) fn connected(&self, driver: &Driver) -> Option<io::Result<()>> {
        let no_peer = each!(
            &self.0,
            stream => stream.peer_addr().map(|_| ()),
            id => return driver.network().connected(*id),
            tls => return tls.borrow_mut().connected(driver)
        );
        let Some(no_peer) = no_peer.err() else {
            if let Some(stream) = self.tcp() {
                // Output is gathered and sent when a callback returns: Nagle's algorithm could only delay it. Where
                // this fails, the connection is gone already, and will say so itself.
                stream.set_nodelay(true).ok();
            }
            return Some(Ok(()));
        };
        match self.take_error(driver) {
            None if no_peer.kind() == io::ErrorKind::NotConnected => None,
            failure => Some(Err(failure.unwrap_or(no_peer))),
        }
    }

    /// The socket's error, which this clears: SO_ERROR, socket(7).
    pub(crate) fn take_error(&self, driver: &Driver) -> Option<io::Error> {
        each!(
            &self.0,
            stream => stream.take_error().unwrap_or_else(Some),
            id => driver.network().take_error(*id),
            tls => tls.borrow().inner().take_error(driver)
        )
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        each!(&self.0, stream => socket2::SockRef::from(stream).set_nonblocking(true), _id => Ok(()), tls => tls.borrow().inner().set_nonblocking())
    }

    /// Whether a read shorter than its buffer has drained the socket. On a Unix socket it may only have come to where
    /// a descriptor was passed along: unix(7), SCM_RIGHTS.
    #[inline]
    pub(crate) fn short_read_drains(&self) -> bool {
        matches!(self.0, Kind::Tcp(_) | Kind::Sim(_))
    }

    /// The kind that nearly all are, as itself: choosing among the kinds would show in every message.
    #[inline]
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match &self.0 {
            Kind::Tcp(stream) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self.0, Kind::Sim(_))
    }

    #[inline]
    pub(crate) fn read(&self, driver: &Driver, buffer: &mut [u8]) -> io::Result<usize> {
        each!(&self.0, stream => (&*stream).read(buffer), id => driver.network().read(*id, buffer), tls => tls.borrow_mut().read(driver, buffer))
    }

    /// Never raises SIGPIPE, as the standard library's write to a socket does not (its vectored one does).
    #[inline]
    pub(crate) fn write(&self, driver: &Driver, bytes: &[u8]) -> io::Result<usize> {
        each!(&self.0, stream => (&*stream).write(bytes), id => driver.network().write(*id, bytes), tls => tls.borrow_mut().write(driver, bytes))
    }

    pub(crate) fn finish(&self, driver: &Driver) -> io::Result<()> {
        each!(&self.0, stream => stream.shutdown(Shutdown::Write), id => driver.network().finish(*id), tls => tls.borrow_mut().finish(driver))
    }

    /// Makes the close that follows a reset instead of an orderly end: RFC 9293, section 3.10.5, by way of
    /// SO_LINGER with zero, socket(7).
    pub(crate) fn reset_on_close(&self, driver: &Driver) -> io::Result<()> {
        each!(
            &self.0,
            stream => socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)),
            id => {
                driver.network().reset_on_close(*id);
                Ok(())
            },
            tls => tls.borrow_mut().reset_on_close(driver)
        )
    }

    /// A real socket closes its descriptor when it is dropped; a simulated one is only a name.
    pub(crate) fn close(self, driver: &Driver) {
        each!(self.0, _stream => {}, id => driver.network().close(id), tls => tls.into_inner().close(driver));
    }

    /// Registers it once, for both directions.
    pub(crate) fn register(&mut self, driver: &Driver, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        each!(&mut self.0, stream => driver.register(stream, token, both), id => {
            driver.network().register(*id, token);
            Ok(())
        }, tls => tls.get_mut().inner_mut().register(driver, token))
    }

    pub(crate) fn deregister(&mut self, driver: &Driver) {
        each!(&mut self.0, stream => driver.deregister(stream), id => driver.network().deregister(*id), tls => tls.get_mut().inner_mut().deregister(driver));
    }

    pub(crate) fn peer(&self, driver: &Driver) -> Peer {
        match &self.0 {
            Kind::Tcp(stream) => stream.peer_addr().map_or(Peer::Unknown, Peer::from),
            #[cfg(unix)]
            Kind::Unix(stream) => {
                let addr = stream.peer_addr().ok();
                addr.and_then(|addr| Some(Peer::Path(addr.as_pathname()?.into()))).unwrap_or(Peer::Unix)
            }
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => tls.borrow().inner().peer(driver),
            Kind::Sim(id) => driver.network().peer_of(*id).map_or(Peer::Unknown, Peer::from),
        }
    }

    pub(crate) fn local_addr(&self, driver: &Driver) -> io::Result<SocketAddr> {
        match &self.0 {
            Kind::Tcp(stream) => stream.local_addr(),
            #[cfg(unix)]
            Kind::Unix(_) => Err(Peer::Unix.no_address()),
            Kind::Sim(id) => driver.network().addr_of(*id).ok_or(io::ErrorKind::NotConnected.into()),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => tls.borrow().inner().local_addr(driver),
        }
    }
}
