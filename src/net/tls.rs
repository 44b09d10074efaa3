//! A socket that speaks TLS over another.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::base::error;
use crate::net::plain::Plain;

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
    inner: Plain,
    session: Connection,
    /// The connection below stands.
    reached: bool,
    /// How many of the bytes that are written next were written before the upgrade, and are sent in plain.
    plain_left: usize,
    /// The tick by which the handshake must be done. `None` if it is part of connecting, which the deadline limits.
    limit: Option<u64>,
    /// Plain bytes that are encrypted and not all sent: they are not said to be written before they are.
    owed: usize,
    /// Our end is said, or is not to be said any more.
    ended: bool,
}

/// The socket below, as rustls wants it.
struct Below<'a>(&'a Plain);

impl Read for Below<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.0.read(buffer))
    }
}

impl Write for Below<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| self.0.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a system call again as long as a signal interrupts it. To report the interruption would end a handshake, and
/// lose count of the records that were sent before it.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn is_blocked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl TlsSocket {
    pub(crate) fn new(inner: Plain, session: Session, reached: bool, plain_left: usize) -> Self {
        TlsSocket { inner, session: session.0, reached, plain_left, limit: None, owed: 0, ended: false }
    }

    pub(crate) fn inner(&self) -> &Plain {
        &self.inner
    }

    pub(crate) fn inner_mut(&mut self) -> &mut Plain {
        &mut self.inner
    }

    pub(crate) fn into_inner(self) -> Plain {
        self.inner
    }

    pub(crate) fn plain_left(&self) -> usize {
        self.plain_left
    }

    pub(crate) fn limit(&self) -> Option<u64> {
        self.limit
    }

    pub(crate) fn set_limit(&mut self, tick: u64) {
        self.limit = Some(tick);
    }

    /// Sends what is to be sent; whether that was all.
    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Below(&self.inner)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if is_blocked(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether records of TLS's own are left to send: the end of a handshake, a session ticket, a key update.
    pub(crate) fn owes(&self) -> bool {
        !self.ended && self.session.wants_write()
    }

    /// Sends those; whether that was all. A failure is not reported here, as the machine has written none of them: reading
    /// tells how the connection has ended, and so does the machine's next write.
    pub(crate) fn flush_own(&mut self) -> bool {
        self.flush().unwrap_or_else(|_| {
            self.ended = true;
            true
        })
    }

    /// Reads and decrypts what has come: `None` if nothing has, `Some(0)` if that was the end.
    fn fill(&mut self) -> io::Result<Option<usize>> {
        let came = match self.session.read_tls(&mut Below(&self.inner)) {
            Ok(n) => n,
            Err(error) if is_blocked(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Err(error) = self.session.process_new_packets() {
            self.flush().ok(); // the alert that says why; the peer may be gone already
            return Err(failed(error));
        }
        Ok(Some(came))
    }

    /// Whether the one below is known to stand.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached
    }

    /// Whether a handshake is under way, on a connection that stands.
    pub(crate) fn is_shaking_hands(&self) -> bool {
        self.reached && self.session.is_handshaking()
    }

    /// Whether the connection stands and the handshake is done: `None` while either is under way.
    pub(crate) fn connected(&mut self) -> Option<io::Result<()>> {
        if !self.reached {
            match self.inner.connected()? {
                Ok(()) => self.reached = true,
                Err(error) => return Some(Err(error)),
            }
        }
        self.shake_hands().transpose()
    }

    fn shake_hands(&mut self) -> io::Result<Option<()>> {
        loop {
            // What finds no room does not hold up reading: the peer may be waiting for that too. At the end of the handshake
            // it is left to be sent with what comes behind it.
            let sent = self.flush();
            if !self.session.is_handshaking() {
                return Ok(Some(()));
            }
            match self.fill()? {
                None => return sent.map(|_| None),
                Some(0) => {
                    let message = "the peer has ended in the midst of the TLS handshake; does it speak TLS on this port?";
                    return Err(error::new(io::ErrorKind::UnexpectedEof, message));
                }
                Some(_) => {}
            }
        }
    }

    /// Decrypted bytes: until the socket below has no more, since bytes read there may not be all of a record.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if is_blocked(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let message = "the peer's end came without close_notify: something may have been cut off";
                    return Err(error::new(error.kind(), message));
                }
                result => return result,
            }
            let came = self.fill()?;
            // What came may want an answer: a key update.
            if self.owes() {
                self.flush_own();
            }
            if came.is_none() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    /// Whether bytes are to be read, decrypted or not.
    pub(crate) fn has_unread(&mut self) -> io::Result<bool> {
        let state = self.session.process_new_packets().map_err(failed)?; // nothing new has come: only to ask
        if state.plaintext_bytes_to_read() > 0 { Ok(true) } else { self.inner.has_unread() }
    }

    /// Encrypts and sends. What was encrypted and is not all sent counts as not taken: it will be offered again, and
    /// by then is only looked after. What was written before an upgrade is sent as it is, and nothing else with it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.plain_left > 0 {
            let sent = self.inner.write(&bytes[..bytes.len().min(self.plain_left)])?;
            self.plain_left -= sent;
            return Ok(sent);
        }
        let mut taken = 0;
        loop {
            if !self.flush()? {
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
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if !self.say_end()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.inner.finish()
    }

    pub(crate) fn reset_on_close(&mut self) -> io::Result<()> {
        self.ended = true; // it is to look like what it is
        self.inner.reset_on_close()
    }

    pub(crate) fn close(mut self) {
        if !self.session.is_handshaking() {
            self.say_end().ok(); // nearly always there is room, or it was said before
        }
    }

    /// Says that this is the end (close_notify); whether that is sent.
    fn say_end(&mut self) -> io::Result<bool> {
        if !std::mem::replace(&mut self.ended, true) {
            self.session.send_close_notify();
        }
        self.flush()
    }

    /// What the handshake has come to, when it is done.
    pub(crate) fn info(&self) -> Option<Info> {
        if self.session.is_handshaking() {
            return None;
        }
        let protocol = self.session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let version =
            self.session.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
        let resumed = self.session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        Some(Info { protocol, version, resumed })
    }
}

/// The most plain bytes in a record: RFC 8446, section 5.1.
const RECORD: usize = 16 * 1024;

impl fmt::Debug for TlsSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSocket").field("inner", &self.inner).finish_non_exhaustive()
    }
}
