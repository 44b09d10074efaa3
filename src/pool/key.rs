//! To whom a connection goes.

use std::fmt;
#[cfg(feature = "tls")]
use std::hash::{Hash, Hasher};
#[cfg(feature = "tls")]
use std::sync::Arc;

use crate::Target;
#[cfg(feature = "tls")]
use crate::tls;

/// To whom a connection goes: all that ask for the same [target](Target) share its connections and its limit. A name and
/// an address are two targets, also if one stands for the other; which address a name has is asked for every connection.
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

/// What tells one host of a pool from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub(super) target: Target,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Secured>,
}

/// Whom a server must prove to be, and who makes sure of that: who trusts others must not get the same connections.
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
    /// To this target.
    pub fn new(target: impl Into<Target>) -> Self {
        let destination = Destination {
            target: target.into(),
            #[cfg(feature = "tls")]
            tls: None,
        };
        Key { destination, one_shot: false, fresh: false }
    }

    /// A connection acquired with this key is a new one, and idle ones to the same target are closed: for who has found
    /// one dead that was idle, and will not meet the next.
    pub fn fresh(self) -> Self {
        Key { fresh: true, ..self }
    }

    /// The same through TLS: see [`Conn::secure`](crate::Conn::secure). Connections are shared by those keys only that
    /// were made with the same name and the same client, or a clone of it.
    #[cfg(feature = "tls")]
    pub fn secure(mut self, client: &tls::Client, name: &str) -> Self {
        self.destination.tls = Some(Secured { client: client.clone(), name: name.into() });
        self
    }

    /// A connection acquired with this key is not used again, whatever it is released as: for protocols in which the
    /// server closes after its answer, as in WHOIS (RFC 3912, section 2).
    pub fn one_shot(self) -> Self {
        Key { one_shot: true, ..self }
    }

    /// Whether a connection acquired with this key is not used again.
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
