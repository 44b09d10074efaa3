//! TLS under a [`Conn`], by way of rustls: the machine above it reads and writes plain bytes and notices nothing, but
//! that `opened` comes after the handshake.
//!
//! ```no_run
//! use enjamb::{Conn, Input, Protocol, Reactor, tls};
//! # struct Fetch;
//! # impl Protocol for Fetch {
//! #     fn received(&mut self, _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> std::io::Result<()> { Ok(()) }
//! # }
//!
//! let client = tls::Client::new();
//! let mut reactor = Reactor::new()?;
//! reactor.cx(&mut ()).connect(([203, 0, 113, 5], 443), Fetch).secure(&client, "example.org")?;
//! reactor.run(&mut ())?;
//! # std::io::Result::Ok(())
//! ```
//!
//! A connection costs some ten kilobytes more than a plain one, for its keys and record buffers. An end without
//! close_notify, which anybody on the way could have made, is an error, never an end (RFC 8446, section 6.1).

mod insecure;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::base::error;
use crate::base::slots::Key;
use crate::net::socket::Socket;
use crate::reactor::core::Core;
use crate::stream::Stream;
use crate::{Conn, Listener};

pub use crate::net::tls::Info;
use crate::net::tls::Session;

/// How a client makes sure whom it talks to. Clones share what is remembered for resuming sessions.
#[derive(Debug, Clone)]
pub struct Client(Arc<ClientConfig>);

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Trusts Mozilla's root certificates, as of the `webpki-roots` crate.
    pub fn new() -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self::from(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }

    /// Whether one is a clone of the other.
    pub(crate) fn is_same(&self, other: &Client) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Trusts the certificates in `pem`, and no others: a private authority's, or a server's own.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) where there is none in it, or one that cannot be read.
    pub fn with_roots(pem: impl AsRef<[u8]>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem.as_ref())? {
            roots
                .add(certificate)
                .map_err(|error| invalid(format!("a root certificate cannot be used: {error}")))?;
        }
        Ok(Self::from(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
    }

    /// Trusts anybody: what is sent is encrypted, but to whom nobody knows. For trying things out.
    pub fn insecure() -> Self {
        let builder = ClientConfig::builder();
        let verifier = Arc::new(insecure::Anybody(Arc::clone(builder.crypto_provider())));
        Self::from(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }

    /// Offers these protocols to the server (ALPN, RFC 7301), such as `http/1.1`.
    pub fn offering(self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self::from(config)
    }
}

/// A configuration of rustls's own, for whatever else it can do.
impl From<ClientConfig> for Client {
    fn from(config: ClientConfig) -> Self {
        Client(Arc::new(config))
    }
}

/// What a server shows of itself.
#[derive(Debug, Clone)]
pub struct Server(Arc<ServerConfig>);

impl Server {
    /// A server with its chain of certificates, its own first, and the private key to that, both in PEM.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) saying what is missing, unreadable, or does not fit together.
    pub fn new(certificates_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> io::Result<Self> {
        let chain = certificates(certificates_pem.as_ref())?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_ref())
            .map_err(|error| invalid(format!("no private key in the PEM given: {error}")))?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        config
            .map(Self::from)
            .map_err(|error| invalid(format!("certificate and key cannot be used: {error}")))
    }

    /// Takes these protocols of those that a client offers (ALPN), the first of its own list that is offered. A client
    /// that offers some, but none of these, is refused.
    pub fn offering(self, protocols: &[&str]) -> Self {
        let mut config = ServerConfig::clone(&self.0);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self::from(config)
    }
}

/// A configuration of rustls's own, for whatever else it can do.
impl From<ServerConfig> for Server {
    fn from(config: ServerConfig) -> Self {
        Server(Arc::new(config))
    }
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => {
            Err(invalid("no certificate in the PEM given: it begins with -----BEGIN CERTIFICATE-----".into()))
        }
        Err(error) => Err(invalid(format!("a certificate in the PEM given cannot be read: {error}"))),
    }
}

fn invalid(message: String) -> io::Error {
    error::new(io::ErrorKind::InvalidInput, message)
}

impl Client {
    fn session(&self, name: &str) -> io::Result<Session> {
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            invalid(format!("\"{name}\" is no host name or address to check a certificate against"))
        })?;
        Session::client(&self.0, server)
    }
}

impl<S> Conn<'_, S> {
    /// Has this connection speak TLS, as the client: the server must have a certificate that is good for `name`, a host
    /// name or an address. Right after [`connect`](crate::Cx::connect), the handshake is part of connecting, within
    /// the same time.
    ///
    /// On a connection that is open (STARTTLS), what was written before is sent in plain; it counts as unsent until then.
    /// What is written from now on waits for the handshake, which begins behind those bytes and has
    /// [`Config::connect_timeout`](crate::Config::connect_timeout). The machine is not called before the handshake is
    /// done. A [deadline](Self::deadline) stays armed; if it passes during the handshake, the handshake has timed out.
    ///
    /// Input that comes before the handshake is plain, and an attacker may have put it there (RFC 3207, section 4.2;
    /// CVE-2011-0411). So the upgrade is refused while any of it is left: of the [`Input`](crate::Input) of the callback at
    /// hand, or from before. A machine takes all of its input, looks at what comes behind the line that asks for TLS, and
    /// then calls this. Bytes that are still to be read are taken for the handshake, and fail it.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a name that is none, a connection that is over or secure already,
    /// and one with input that is not consumed. Nothing of TLS is sent then: the connection goes on in plain, unless the
    /// callback returns the error, which ends it.
    pub fn secure(&mut self, client: &Client, name: &str) -> io::Result<()> {
        let session = client.session(name)?;
        let (core, key) = self.parts();
        core.secure(key, session)
    }

    /// The same as the server, for a connection that has begun in plain. For one that begins with TLS, see
    /// [`Listener::secure`].
    ///
    /// # Errors
    /// As for [`secure`](Self::secure).
    pub fn secure_as_server(&mut self, server: &Server) -> io::Result<()> {
        let session = Session::server(&server.0)?;
        let (core, key) = self.parts();
        core.secure(key, session)
    }

    /// What the handshake has come to; `None` where there was none (yet).
    pub fn tls(&mut self) -> Option<Info> {
        let (core, key) = self.parts();
        core.slots.stream(key)?.socket.as_ref()?.tls()
    }
}

impl<S> Listener<'_, S> {
    /// Has the connections accepted from now on speak TLS, as this server. `opened` comes after the handshake, for
    /// which a peer has [`Config::connect_timeout`](crate::Config::connect_timeout).
    pub fn secure(&mut self, server: &Server) {
        self.acceptor().tls = Some(Arc::clone(&server.0));
    }
}

impl<S> Core<S> {
    fn secure(&mut self, key: Key, session: Session) -> io::Result<()> {
        self.uncork();
        self.push_out(key);
        let Some(stream) = self.slots.stream(key) else { return Ok(()) };
        if stream.state.is_doomed() {
            return Ok(()); // it could not connect, and `closed` will tell
        }
        let connecting = stream.state.is_connecting();
        let against = if stream.state.peer_has_ended() || !stream.state.takes_output() {
            "it has come to its end"
        } else if stream.socket.as_ref().is_some_and(Socket::is_secure) {
            "it is secure already"
        } else if stream.unread() > 0 || self.running == Some(key) && self.untaken.get() > 0 {
            "input that came before has not been consumed" // it is plain: RFC 3207, section 4.2
        } else {
            ""
        };
        if !against.is_empty() {
            return Err(error::cannot_secure(&stream.peer, against));
        }
        if stream.socket.is_none() {
            self.sessions.insert(key, session); // until there is one
            return Ok(());
        }
        stream.secure(session);
        if !connecting {
            self.shake_hands(key);
        }
        Ok(())
    }

    /// Gives a handshake a limit of its own, beside the deadline, which stays as it is armed.
    pub(crate) fn limit_handshake(&mut self, key: Key, within: Duration) {
        let limit = self.clock.tick_after(within);
        if let Some(stream) = self.slots.stream(key)
            && let Some(socket) = &stream.socket
        {
            socket.limit_handshake(limit);
            self.set_deadline_timer(key);
        }
    }

    /// Sends what an upgrade to TLS has found unsent, in plain; the handshake begins when that is done. Returns whether
    /// it is.
    #[cold]
    pub(crate) fn send_plain(&mut self, key: Key) -> bool {
        let has_room = |stream: &mut Stream| stream.plain_left() > 0 && stream.state.is_writable();
        while self.slots.stream(key).is_some_and(has_room) {
            if let Err(error) = self.flush(key) {
                self.write_failed(key, error);
                return false;
            }
        }
        let sent = self.slots.stream(key).is_some_and(|stream| stream.plain_left() == 0);
        if sent {
            self.shake_hands(key);
        }
        sent
    }
}
