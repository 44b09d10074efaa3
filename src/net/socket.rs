//! The kinds of stream socket a connection can have.

#[cfg(feature = "tls")]
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::path::Path;

use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Token};
use socket2::SockRef;

use crate::base::clock::NO_DEADLINE;
use crate::base::peer::Peer;
use crate::net::listening::listens;
use crate::net::poll::Driver;
use crate::net::simulated::SocketId;
#[cfg(feature = "tls")]
use crate::net::tls::{Info, Session, TlsSocket};

/// The first port that a kernel chooses by itself (RFC 6056, section 3.2). Most servers have one below it, and then the
/// client's own address need not be asked for.
const FIRST_EPHEMERAL: u16 = 1024;

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

/// Bytes that the kernel takes of a connection beyond what it can send at once: TCP_NOTSENT_LOWAT, tcp(7).
///
/// Without this limit it takes what its send buffer holds, up to 4 MiB, and tells of room only when a third of that is
/// free: for seconds, a peer that reads slowly looks like one that does not read. With it, what is unsent falls in steps of
/// about 100 KiB, and a slow peer holds less of the kernel's memory. Streaming over loopback is as fast as before.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_SENT_LOWAT: u32 = 128 * 1024;

/// Sets what every TCP socket here has; accepted sockets inherit it from their listener, at no call per connection.
pub(crate) fn set_tcp_options<'a>(socket: impl Into<socket2::SockRef<'a>>) -> io::Result<()> {
    let socket = socket.into();
    // Output is gathered and sent when a callback returns: Nagle's algorithm could only delay it.
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(NOT_SENT_LOWAT)?;
    Ok(())
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

    /// Speaks TLS over it; `reached` if it is connected already. The first `plain` bytes that are written are sent in
    /// plain, before the handshake.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(self, session: Session, reached: bool, plain: usize) -> Self {
        Socket(Kind::Tls(Box::new(RefCell::new(TlsSocket::new(self, session, reached, plain)))))
    }

    /// The socket below, where it speaks TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn unsecured(self) -> Self {
        match self.0 {
            Kind::Tls(tls) => tls.into_inner().into_inner(),
            plain => Socket(plain),
        }
    }

    /// What was agreed on, where it speaks TLS and the handshake is done.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<Info> {
        match &self.0 {
            Kind::Tls(tls) => tls.borrow().info(),
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

    /// Whether the TLS handshake is under way.
    #[cfg(feature = "tls")]
    pub(crate) fn is_shaking_hands(&self) -> bool {
        each!(&self.0, _stream => false, _id => false, tls => tls.borrow().is_shaking_hands())
    }

    /// How many of the bytes that are written next are to be sent in plain, before the TLS handshake.
    #[cfg(feature = "tls")]
    pub(crate) fn plain_left(&self) -> usize {
        each!(&self.0, _stream => 0, _id => 0, tls => tls.borrow().plain_left())
    }

    /// The tick by which the TLS handshake must be done, where that has a limit of its own.
    pub(crate) fn handshake_limit(&self) -> u64 {
        each!(&self.0, _stream => NO_DEADLINE, _id => NO_DEADLINE, tls => tls.borrow().limit())
    }

    #[cfg(feature = "tls")]
    pub(crate) fn limit_handshake(&self, tick: u64) {
        each!(&self.0, _stream => {}, _id => {}, tls => tls.borrow_mut().set_limit(tick));
    }

    /// Whether a connect has come through: `None` while it is under way. Only a socket that stands has a peer,
    /// getpeername(2); one that does not may have an error, and asking for that clears it, so it is done only here.
    pub(crate) fn connected(&self, driver: &Driver) -> Option<io::Result<()>> {
        let peer = each!(
            &self.0,
            stream => SockRef::from(stream).peer_addr(),
            id => return driver.network().connected(*id),
            tls => return tls.borrow_mut().connected(driver)
        );
        let no_peer = match peer {
            Ok(peer) => {
                self.set_options();
                return Some(peer.as_socket().map_or(Ok(()), |peer| self.refuse_itself(peer)));
            }
            Err(no_peer) => no_peer,
        };
        match self.take_error(driver) {
            None if no_peer.kind() == io::ErrorKind::NotConnected => None,
            failure => Some(Err(failure.unwrap_or(no_peer))),
        }
    }

    /// Refuses a TCP socket that has connected to itself. That happens if no server listens at an address of this host,
    /// and the kernel chooses the same port for the client: its SYN meets itself, which is a simultaneous open
    /// (RFC 9293, section 3.5). The socket is reset when it is closed: an orderly close would keep the port in
    /// TIME-WAIT, and the server that is to have it could not bind it.
    fn refuse_itself(&self, peer: SocketAddr) -> io::Result<()> {
        let Some(stream) = self.tcp().filter(|_| peer.port() >= FIRST_EPHEMERAL) else { return Ok(()) };
        if stream.local_addr().ok() != Some(peer) {
            return Ok(());
        }
        SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)).ok();
        let message = "it connected to itself: no server listens there, and the kernel chose the same port for the client";
        Err(crate::base::error::new(io::ErrorKind::ConnectionRefused, message))
    }

    /// Refuses a nonblocking socket from outside that is not connected and never was. A connected socket has a peer,
    /// getpeername(2). One whose connection is over has none either, but still gives what the peer sent before; where
    /// it gives an error, that is returned, as the kernel reports it only once.
    pub(crate) fn check_connected(&self) -> io::Result<Option<io::Error>> {
        let socket = match &self.0 {
            Kind::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Kind::Unix(stream) => SockRef::from(stream),
            Kind::Sim(_) => return Ok(None),
            #[cfg(feature = "tls")]
            Kind::Tls(tls) => return tls.borrow().inner().check_connected(),
        };
        if socket.peer_addr().is_ok() {
            return Ok(None);
        }
        let (kind, wrong) = match socket.peek(&mut [MaybeUninit::uninit()]) {
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
            None => Peer::Unix.to_string(),
        };
        Err(crate::base::error::new(kind, format!("adopting {name}: {wrong}")))
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

    /// Whether a read would give bytes. What else it would give counts as none, but for an error: that is returned.
    pub(crate) fn has_unread(&self, driver: &Driver) -> io::Result<bool> {
        let peeked = each!(
            &self.0,
            stream => socket2::SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]),
            id => return Ok(driver.network().has_unread(*id)),
            tls => return tls.borrow_mut().has_unread(driver)
        );
        match peeked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            peeked => peeked.map(|n| n > 0),
        }
    }

    /// Sets the options of a connected socket. Where this fails, the connection is gone already, and will say so itself.
    pub(crate) fn set_options(&self) {
        if let Some(stream) = self.tcp() {
            set_tcp_options(stream).ok();
        }
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        each!(&self.0, stream => SockRef::from(stream).set_nonblocking(true), _id => Ok(()), tls => tls.borrow().inner().set_nonblocking())
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

    /// Whether TLS has something to say that found no room: the end of a handshake, a session ticket.
    pub(crate) fn owes(&self) -> bool {
        each!(&self.0, _stream => false, _id => false, tls => tls.borrow().owes())
    }

    /// Sends that; whether it was all.
    #[cfg(feature = "tls")]
    pub(crate) fn flush(&self, driver: &Driver) -> bool {
        each!(&self.0, _stream => true, _id => true, tls => tls.borrow_mut().flush_own(driver))
    }

    pub(crate) fn finish(&self, driver: &Driver) -> io::Result<()> {
        each!(&self.0, stream => stream.shutdown(Shutdown::Write), id => driver.network().finish(*id), tls => tls.borrow_mut().finish(driver))
    }

    /// Makes the close that follows a reset instead of an orderly end: RFC 9293, section 3.10.5, by way of
    /// SO_LINGER with zero, socket(7). On a Unix socket that does nothing, and there is nothing else: closing with input
    /// unread is what the peer gets ECONNRESET for, unix(7), and input cannot be put back.
    pub(crate) fn reset_on_close(&self, driver: &Driver) -> io::Result<()> {
        each!(
            &self.0,
            stream => SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// With simultaneous open, a socket that connects to the address it is bound to is connected with itself.
    fn connected_to_itself() -> (Socket, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let addr = socket.local_addr().unwrap();
        socket.connect(&addr).unwrap();
        (Socket::from(std::net::TcpStream::from(socket)), addr.as_socket().unwrap())
    }

    #[test]
    fn a_connection_to_itself_is_refused_and_reset() {
        let (socket, addr) = connected_to_itself();
        let driver = Driver::new().unwrap();
        assert_eq!(socket.local_addr(&driver).unwrap(), addr);
        assert_eq!(socket.peer(&driver).addr().unwrap(), addr);
        let error = socket.connected(&driver).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().starts_with("it connected to itself"), "{error}");
        // An orderly close would leave the port in TIME-WAIT, and the server that is to have it could not bind it.
        let linger = SockRef::from(socket.tcp().unwrap()).linger().unwrap();
        assert_eq!(linger, Some(std::time::Duration::ZERO));
    }
}
