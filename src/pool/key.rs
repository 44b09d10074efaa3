//! The destination of a connection.

use std::fmt;
#[cfg(feature = "tls")]
use std::hash::{Hash, Hasher};
#[cfg(feature = "tls")]
use std::sync::Arc;

use crate::Target;
#[cfg(feature = "tls")]
use crate::tls;

/// The destination of a connection. Requests for the same [target](Target) share its connections and its limit.
///
/// A name and an address are different targets, even if the name resolves to the address. The pool looks up a name anew
/// for each connection.
///
/// ```
/// use enjamb::pool::Key;
///
/// let key = Key::new(([127, 0, 0, 1], 43)).one_shot();
/// assert_eq!(key.to_string(), "127.0.0.1:43");
/// let key = Key::new("whois.iana.org:43");
/// # #[cfg(unix)]
/// let key = Key::new(std::path::Path::new("/run/whois.sock"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    destination: Destination,
    one_shot: bool,
    fresh: bool,
}

/// The identity of a host in the pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub(super) target: Target,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Secured>,
}

/// The name that the server must prove, and the client that verifies it. Clients with other trust must not share the
/// connection.
#[cfg(feature = "tls")]
#[derive(Debug, Clone)]
pub(super) struct Secured {
    pub(super) client: tls::Client,
    pub(super) name: Arc<str>,
}

#[cfg(feature = "tls")]
impl PartialEq for Secured {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.client.is_same(&other.client)
    }
}

#[cfg(feature = "tls")]
impl Eq for Secured {}

#[cfg(feature = "tls")]
impl Hash for Secured {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Key {
    /// Creates a key for this target.
    pub fn new(target: impl Into<Target>) -> Self {
        let destination = Destination {
            target: target.into(),
            #[cfg(feature = "tls")]
            tls: None,
        };
        Key { destination, one_shot: false, fresh: false }
    }

    /// Makes requests with this key get a new connection, and close idle ones to the same target. Use it after an idle
    /// connection turned out dead, since the other idle ones may be dead too.
    pub fn fresh(self) -> Self {
        Key { fresh: true, ..self }
    }

    /// Makes connections with this key use TLS: see [`Conn::secure`](crate::Conn::secure). Keys share connections only
    /// if they have the same name and the same client or a clone of it.
    #[cfg(feature = "tls")]
    pub fn secure(mut self, client: &tls::Client, name: &str) -> Self {
        self.destination.tls = Some(Secured { client: client.clone(), name: name.into() });
        self
    }

    /// Makes connections with this key single-use, regardless of how they are released. It suits protocols in which the
    /// server closes after its answer, such as WHOIS (RFC 3912, section 2).
    pub fn one_shot(self) -> Self {
        Key { one_shot: true, ..self }
    }

    /// Whether connections with this key are single-use.
    pub fn is_one_shot(&self) -> bool {
        self.one_shot
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }
}

impl<T: Into<Target>> From<T> for Key {
    fn from(target: T) -> Self {
        Key::new(target)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.destination.target.fmt(f)?;
        #[cfg(feature = "tls")]
        if let Some(Secured { name, .. }) = &self.destination.tls {
            write!(f, " (TLS, {name})")?;
        }
        Ok(())
    }
}
