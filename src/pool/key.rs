//! To whom a connection goes.

use std::fmt;
use std::net::SocketAddr;

/// To whom a connection goes: all that ask for the same target share its connections and its limit.
///
/// ```
/// use enjamb::pool::Key;
///
/// let key = Key::new(([127, 0, 0, 1], 43)).one_shot();
/// assert_eq!(key.to_string(), "127.0.0.1:43");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    target: SocketAddr,
    one_shot: bool,
}

impl Key {
    /// To this target.
    pub fn new(target: impl Into<SocketAddr>) -> Self {
        Key { target: target.into(), one_shot: false }
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

    pub(super) fn target(&self) -> &SocketAddr {
        &self.target
    }
}

impl<T: Into<SocketAddr>> From<T> for Key {
    fn from(target: T) -> Self {
        Key::new(target)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}
