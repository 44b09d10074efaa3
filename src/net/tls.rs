//! A socket that speaks TLS over another.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::base::buffer::Buffer;
use crate::base::error;
use crate::net::poll::Driver;
use crate::net::socket::Socket;

/// A session on its way to a socket, which there may not be yet.
pub(crate) struct Session(Connection);

impl Session {
    pub(crate) fn client(config: &Arc<ClientConfig>, server: ServerName<'static>) -> io::Result<Self> {
        Ok(Session(ClientConnection::new(Arc::clone(config), server).map_err(failed)?.into()))
    }

    pub(crate) fn server(config: &Arc<ServerConfig>) -> io::Result<Self> {
        Ok(Session(ServerConnection::new(Arc::clone(config)).map_err(failed)?.into()))
    }
}

/// What rustls finds wrong, with what to try.
fn failed(error: rustls::Error) -> io::Error {
    let hint = match error {
        rustls::Error::InvalidCertificate(_) => {
            "; is it the right host, and its authority among those trusted?"
        }
        rustls::Error::InvalidMessage(_) => "; does the other side speak TLS on this port?",
        _ => "",
    };
    error::new(io::ErrorKind::InvalidData, format!("TLS: {error}{hint}"))
}

/// What a handshake has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The protocol that was agreed on (ALPN).
    pub protocol: Option<String>,
    /// The version, such as `TLSv1_3`.
    pub version: String,
    /// Whether an earlier session was resumed, which saves a round trip and the certificates.
    pub resumed: bool,
}

/// A socket that speaks TLS over another.
pub(crate) struct TlsSocket {
    inner: Socket,
    session: Connection,
    /// The connection below stands.
    reached: bool,
    /// What has to be sent in plain first.
    before: Option<Box<Buffer>>,
    /// Plain bytes that are encrypted and not all sent: they are not said to be written before they are.
    owed: usize,
    /// Our end is said, or is not to be said any more.
    ended: bool,
}

/// The socket below, as rustls wants it.
struct Below<'a> {
    socket: &'a Socket,
    driver: &'a Driver,
}

impl Read for Below<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(self.driver, buffer)
    }
}

impl Write for Below<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(self.driver, bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_blocked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl TlsSocket {
    pub(crate) fn new(inner: Socket, session: Session, reached: bool, before: Option<Box<Buffer>>) -> Self {
        TlsSocket { inner, session: session.0, reached, before, owed: 0, ended: false }
    }

    pub(crate) fn inner(&self) -> &Socket {
        &self.inner
    }

    pub(crate) fn inner_mut(&mut self) -> &mut Socket {
        &mut self.inner
    }

    /// Sends what is to be sent; whether that was all.
    fn flush(&mut self, driver: &Driver) -> io::Result<bool> {
        while let Some(before) = &mut self.before {
            match self.inner.write(driver, before.as_slice()) {
                Ok(n) => before.consume(n),
                Err(error) if is_blocked(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
            if before.is_empty() {
                self.before = None;
            }
        }
        while self.session.wants_write() {
            match self.session.write_tls(&mut Below { socket: &self.inner, driver }) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if is_blocked(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads and decrypts what has come: `None` if nothing has, `Some(0)` if that was the end.
    fn fill(&mut self, driver: &Driver) -> io::Result<Option<usize>> {
        let came = match self.session.read_tls(&mut Below { socket: &self.inner, driver }) {
            Ok(n) => n,
            Err(error) if is_blocked(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Err(error) = self.session.process_new_packets() {
            self.flush(driver).ok(); // the alert that says why; the peer may be gone already
            return Err(failed(error));
        }
        Ok(Some(came))
    }

    /// Whether the one below is known to stand.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached
    }

    /// Whether the connection stands and the handshake is done: `None` while either is under way.
    pub(crate) fn connected(&mut self, driver: &Driver) -> Option<io::Result<()>> {
        if !self.reached {
            match self.inner.connected(driver)? {
                Ok(()) => self.reached = true,
                Err(error) => return Some(Err(error)),
            }
        }
        self.shake_hands(driver).transpose()
    }

    fn shake_hands(&mut self, driver: &Driver) -> io::Result<Option<()>> {
        loop {
            let sent = self.flush(driver)?;
            if !self.session.is_handshaking() {
                return Ok(Some(()));
            }
            if !sent {
                return Ok(None);
            }
            match self.fill(driver)? {
                None => return Ok(None),
                Some(0) => {
                    let message = "the peer has ended in the midst of the TLS handshake; does it speak TLS on this port?";
                    return Err(error::new(io::ErrorKind::UnexpectedEof, message));
                }
                Some(_) => {}
            }
        }
    }

    /// Decrypted bytes: until the socket below has no more, since bytes read there may not be all of a record.
    pub(crate) fn read(&mut self, driver: &Driver, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if is_blocked(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let message = "the peer's end came without close_notify: something may have been cut off";
                    return Err(error::new(error.kind(), message));
                }
                result => return result,
            }
            let came = self.fill(driver)?;
            // What came may want an answer: a key update. But as long as a write waits for its turn, that is for the write
            // to send: the event that it waits for comes only to who was refused.
            if !self.ended && self.owed == 0 {
                self.flush(driver)?;
            }
            if came.is_none() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    /// Encrypts and sends. What was encrypted and is not all sent counts as not taken: it will be offered again, and
    /// by then is only looked after.
    pub(crate) fn write(&mut self, driver: &Driver, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            if !self.flush(driver)? {
                break;
            }
            taken += std::mem::take(&mut self.owed);
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(taken);
            }
            self.owed = self.session.writer().write(&rest[..rest.len().min(RECORD)])?;
        }
        if taken > 0 { Ok(taken) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Says that this is the end, and when that is sent ends below.
    pub(crate) fn finish(&mut self, driver: &Driver) -> io::Result<()> {
        if !self.say_end(driver)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.inner.finish(driver)
    }

    pub(crate) fn reset_on_close(&mut self, driver: &Driver) -> io::Result<()> {
        self.ended = true; // it is to look like what it is
        self.inner.reset_on_close(driver)
    }

    pub(crate) fn close(mut self, driver: &Driver) {
        if !self.session.is_handshaking() {
            self.say_end(driver).ok(); // nearly always there is room, or it was said before
        }
        self.inner.close(driver);
    }

    /// Says that this is the end (close_notify); whether that is sent.
    fn say_end(&mut self, driver: &Driver) -> io::Result<bool> {
        if !std::mem::replace(&mut self.ended, true) {
            self.session.send_close_notify();
        }
        self.flush(driver)
    }

    pub(crate) fn info(&self) -> Info {
        let protocol = self.session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let version =
            self.session.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
        let resumed = self.session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        Info { protocol, version, resumed }
    }
}

/// The most plain bytes in a record: RFC 8446, section 5.1.
const RECORD: usize = 16 * 1024;

impl fmt::Debug for TlsSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSocket").field("inner", &self.inner).finish_non_exhaustive()
    }
}
