//! To whom a connection goes.

use std::fmt;

use crate::Target;

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
    target: Target,
    one_shot: bool,
}

impl Key {
    /// To this target.
    pub fn new(target: impl Into<Target>) -> Self {
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

    pub(super) fn target(&self) -> &Target {
        &self.target
    }
}

impl<T: Into<Target>> From<T> for Key {
    fn from(target: T) -> Self {
        Key::new(target)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}
