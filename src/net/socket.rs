//! The socket of a connection: plain, or TLS over a plain one. One list of methods for both.

#[cfg(feature = "tls")]
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use mio::Token;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;

use crate::base::peer::Peer;
use crate::net::plain::Plain;
use crate::net::poll::Poller;
#[cfg(feature = "tls")]
use crate::net::tls::{Info, Session, TlsSocket};

/// A connected stream socket that [`Cx::adopt`](crate::Cx::adopt) takes over: made from the standard library's
/// `TcpStream` or, on Unix, `UnixStream`.
#[derive(Debug)]
pub struct Socket(Kind);

#[derive(Debug)]
enum Kind {
    Plain(Plain),
    #[cfg(feature = "tls")]
    Tls(Box<RefCell<TlsSocket>>),
}

/// One thing for a plain socket, and another for TLS.
macro_rules! either {
    ($socket:expr, $plain:ident => $does:expr, $tls:ident => $secures:expr) => {
        match $socket {
            Kind::Plain($plain) => $does,
            #[cfg(feature = "tls")]
            Kind::Tls($tls) => $secures,
        }
    };
}

impl From<Plain> for Socket {
    fn from(plain: Plain) -> Self {
        Socket(Kind::Plain(plain))
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Plain::Tcp(stream).into()
    }
}

impl From<std::net::TcpStream> for Socket {
    fn from(stream: std::net::TcpStream) -> Self {
        TcpStream::from_std(stream).into()
    }
}

#[cfg(unix)]
impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Plain::Unix(stream).into()
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixStream> for Socket {
    fn from(stream: std::os::unix::net::UnixStream) -> Self {
        UnixStream::from_std(stream).into()
    }
}

/// What only TLS has.
#[cfg(feature = "tls")]
impl Socket {
    /// Speaks TLS over this socket; `reached` if it is connected already. The first `plain` bytes that are written are
    /// sent as they are, before the handshake.
    pub(crate) fn secured(self, session: Session, reached: bool, plain: usize) -> Self {
        match self.0 {
            Kind::Plain(socket) => {
                Socket(Kind::Tls(Box::new(RefCell::new(TlsSocket::new(socket, session, reached, plain)))))
            }
            Kind::Tls(_) => self, // it was asked for twice: the first session stands
        }
    }

    /// The plain socket below TLS.
    pub(crate) fn unsecured(self) -> Self {
        either!(self.0, plain => plain.into(), tls => tls.into_inner().into_inner().into())
    }

    /// What the handshake has agreed on, when it is done.
    pub(crate) fn tls(&self) -> Option<Info> {
        either!(&self.0, _plain => None, tls => tls.borrow().info())
    }

    /// The TLS handshake is under way, on a connection that stands.
    pub(crate) fn is_shaking_hands(&self) -> bool {
        either!(&self.0, _plain => false, tls => tls.borrow().is_shaking_hands())
    }

    /// How many of the bytes that are written next are sent as they are, before the handshake.
    pub(crate) fn plain_left(&self) -> usize {
        either!(&self.0, _plain => 0, tls => tls.borrow().plain_left())
    }

    pub(crate) fn limit_handshake(&self, tick: u64) {
        either!(&self.0, _plain => {}, tls => tls.borrow_mut().set_limit(tick));
    }

    /// Sends the records of TLS's own; whether that was all.
    pub(crate) fn flush(&self) -> bool {
        either!(&self.0, _plain => true, tls => tls.borrow_mut().flush_own())
    }
}

impl Socket {
    /// The plain socket that bytes go through, below TLS if there is TLS.
    fn with_plain<T>(&self, ask: impl FnOnce(&Plain) -> T) -> T {
        either!(&self.0, plain => ask(plain), tls => ask(tls.borrow().inner()))
    }

    /// Most sockets are plain TCP. On the path of a message this is asked once, and the socket is used as it is.
    #[inline]
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match &self.0 {
            Kind::Plain(Plain::Tcp(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self.0, Kind::Plain(Plain::Simulated(_)))
    }

    pub(crate) fn is_secure(&self) -> bool {
        either!(&self.0, _plain => false, _tls => true)
    }

    /// TCP is connected; TLS is not yet.
    pub(crate) fn is_reached(&self) -> bool {
        either!(&self.0, _plain => false, tls => tls.borrow().is_reached())
    }

    /// The tick by which the TLS handshake must be done, where that has a limit of its own.
    pub(crate) fn handshake_limit(&self) -> Option<u64> {
        either!(&self.0, _plain => None, tls => tls.borrow().limit())
    }

    /// TLS has records of its own that found no room: the end of a handshake, a session ticket.
    #[inline]
    pub(crate) fn owes(&self) -> bool {
        either!(&self.0, _plain => false, tls => tls.borrow().owes())
    }

    /// Whether the connection stands, with its handshake: `None` while either is under way.
    pub(crate) fn connected(&self) -> Option<io::Result<()>> {
        either!(&self.0, plain => plain.connected(), tls => tls.borrow_mut().connected())
    }

    /// See [`Plain::check_connected`].
    pub(crate) fn check_connected(&self) -> io::Result<Option<io::Error>> {
        self.with_plain(Plain::check_connected)
    }

    /// The socket's error, which this clears: SO_ERROR, socket(7).
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.with_plain(Plain::take_error)
    }

    /// Whether a read would give bytes. An error that it would give is returned.
    pub(crate) fn has_unread(&self) -> io::Result<bool> {
        either!(&self.0, plain => plain.has_unread(), tls => tls.borrow_mut().has_unread())
    }

    pub(crate) fn set_options(&self) {
        self.with_plain(Plain::set_options);
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        self.with_plain(Plain::set_nonblocking)
    }

    /// A read shorter than its buffer has drained the socket. Of TLS that is not known: bytes may be left that are
    /// decrypted.
    #[inline]
    pub(crate) fn short_read_drains(&self) -> bool {
        either!(&self.0, plain => plain.short_read_drains(), _tls => false)
    }

    #[inline]
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(&self.0, plain => plain.read(buffer), tls => tls.borrow_mut().read(buffer))
    }

    #[inline]
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        either!(&self.0, plain => plain.write(bytes), tls => tls.borrow_mut().write(bytes))
    }

    /// Shuts down writing: the peer reads an end.
    pub(crate) fn finish(&self) -> io::Result<()> {
        either!(&self.0, plain => plain.finish(), tls => tls.borrow_mut().finish())
    }

    /// See [`Plain::reset_on_close`].
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        either!(&self.0, plain => plain.reset_on_close(), tls => tls.borrow_mut().reset_on_close())
    }

    /// Says the end of TLS, where there is TLS, and closes.
    pub(crate) fn close(self) {
        either!(self.0, plain => drop(plain), tls => tls.into_inner().close());
    }

    /// Registers it once, for both directions.
    pub(crate) fn register(&mut self, poll: &Poller, token: Token) -> io::Result<()> {
        either!(&mut self.0, plain => plain.register(poll, token), tls => tls.get_mut().inner_mut().register(poll, token))
    }

    pub(crate) fn deregister(&mut self, poll: &Poller) {
        either!(&mut self.0, plain => plain.deregister(poll), tls => tls.get_mut().inner_mut().deregister(poll));
    }

    pub(crate) fn peer(&self) -> Peer {
        self.with_plain(Plain::peer)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.with_plain(Plain::local_addr)
    }
}
