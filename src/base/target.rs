//! What can be connected to: an address, a name, a path.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::base::error;
use crate::base::peer::Peer;

/// Where [`Cx::connect`](crate::Cx::connect) connects to. Made from
///
/// - an address: whatever `SocketAddr` can be made from;
/// - a string, `"host:port"`: a name, or an address, an IPv6 one in brackets;
/// - a host and a port, `("example.org", 80)`, the host a name or an address;
/// - on Unix, a path (`&Path`, `PathBuf`): the file of a Unix socket.
///
/// ```
/// use enjamb::Target;
///
/// let target = Target::from("example.org:80"); // looked up when it is connected to
/// assert_eq!(Target::from(("::1", 80)), Target::from("[::1]:80"));
/// # #[cfg(unix)]
/// let target = Target::from(std::path::Path::new("/run/echo.sock"));
/// ```
///
/// A string that is nothing of the kind becomes a target too, to which connecting fails as to any other that cannot be
/// reached: in [`closed`](crate::Protocol::closed). To refuse it earlier, an option of a program for one, parse it:
///
/// ```
/// let error = "example.org".parse::<enjamb::Target>().unwrap_err();
/// assert_eq!(error.to_string(), "\"example.org\" has no port: write it as example.org:80 or [::1]:80");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target(pub(crate) Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Addr(SocketAddr),
    Name {
        host: String,
        port: u16,
    },
    #[cfg(unix)]
    Path(PathBuf),
    /// A text that is none of these, and what is wrong with it.
    Malformed {
        text: String,
        why: &'static str,
    },
}

/// The longest a name can be: RFC 1035, section 2.3.4, less the octets that only the wire has.
const LONGEST_NAME: usize = 253;

const NO_PORT: &str = "has no port: write it as example.org:80 or [::1]:80";
const BAD_PORT: &str = "has a port that is no number from 0 to 65535: write it as example.org:80";
const NO_HOST: &str = "has no host: write it as localhost:80 or 127.0.0.1:80";
const BARE_V6: &str = "has more than one colon: an IPv6 address goes into brackets, as in [::1]:80";
const BAD_BRACKETS: &str =
    "has something other than an IPv6 address in brackets: only those need them, as in [::1]:80";
const BAD_HOST: &str =
    "has a character in its host that no name has: is there a space or a line end too many?";
const LONG_HOST: &str = "has a host of more than 253 bytes, which no name has (RFC 1035, section 2.3.4)";

fn parse(text: &str) -> Result<Kind, &'static str> {
    if let Ok(addr) = text.parse() {
        return Ok(Kind::Addr(addr));
    }
    let (host, port) = text.rsplit_once(':').ok_or(NO_PORT)?;
    if text.ends_with(']') || text.parse::<Ipv6Addr>().is_ok() {
        return Err(if host.starts_with('[') { NO_PORT } else { BARE_V6 });
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits).ok_or(BAD_PORT)?;
    match host.strip_prefix('[') {
        Some(inner) => {
            named(inner.strip_suffix(']').filter(|inner| is_scoped(inner)).ok_or(BAD_BRACKETS)?, port)
        }
        None if host.contains(':') => Err(BARE_V6),
        None => named(host, port),
    }
}

/// Whether this is an address whose zone has a name, which only the look-up can turn into a number: RFC 4007, section 11.
fn is_scoped(host: &str) -> bool {
    host.split_once('%').is_some_and(|(ip, zone)| ip.parse::<Ipv6Addr>().is_ok() && !zone.is_empty())
}

fn named(host: &str, port: u16) -> Result<Kind, &'static str> {
    if host.is_empty() {
        return Err(NO_HOST);
    }
    if host.len() > LONGEST_NAME {
        return Err(LONG_HOST);
    }
    if host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(BAD_HOST);
    }
    Ok(Kind::Name { host: host.to_string(), port })
}

impl Target {
    /// The address, if it is one.
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        match self.0 {
            Kind::Addr(addr) => Some(addr),
            _ => None,
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        match &self.0 {
            Kind::Addr(addr) => Peer::from(*addr),
            Kind::Name { .. } => Peer::Name(self.to_string().into()),
            #[cfg(unix)]
            Kind::Path(path) => Peer::Path(path.as_path().into()),
            Kind::Malformed { text, .. } => Peer::Name(format!("{text:?}").into()),
        }
    }
}

impl FromStr for Target {
    type Err = io::Error;

    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), with what is wrong and how it should be written.
    fn from_str(text: &str) -> io::Result<Self> {
        let wrong = |why| error::new(io::ErrorKind::InvalidInput, format!("{text:?} {why}"));
        parse(text).map(Target).map_err(wrong)
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        Target(parse(text).unwrap_or_else(|why| Kind::Malformed { text: text.to_string(), why }))
    }
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        Target::from(text.as_str())
    }
}

impl From<&String> for Target {
    fn from(text: &String) -> Self {
        Target::from(text.as_str())
    }
}

impl From<(&str, u16)> for Target {
    fn from((host, port): (&str, u16)) -> Self {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Target::from((ip, port));
        }
        let named = if is_scoped(host) || !host.contains(':') { named(host, port) } else { Err(BARE_V6) };
        Target(named.unwrap_or_else(|why| Kind::Malformed { text: host.to_string(), why }))
    }
}

impl From<(String, u16)> for Target {
    fn from((host, port): (String, u16)) -> Self {
        Target::from((host.as_str(), port))
    }
}

/// Whatever an address of the standard library's is made from. One rule for all of them would stand in the way of
/// strings, for which the standard library could have a rule one day.
macro_rules! from_addresses {
    ($($of:ty),*) => {
        $(impl From<$of> for Target {
            fn from(addr: $of) -> Self {
                Target(Kind::Addr(addr.into()))
            }
        })*
    };
}

from_addresses!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
    ([u8; 4], u16),
    ([u8; 16], u16),
    ([u16; 8], u16)
);

#[cfg(unix)]
impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        Target(Kind::Path(path))
    }
}

#[cfg(unix)]
impl From<&PathBuf> for Target {
    fn from(path: &PathBuf) -> Self {
        Target(Kind::Path(path.clone()))
    }
}

#[cfg(unix)]
impl From<&Path> for Target {
    fn from(path: &Path) -> Self {
        Target(Kind::Path(path.to_path_buf()))
    }
}

impl From<&Target> for Target {
    fn from(target: &Target) -> Self {
        target.clone()
    }
}

/// As it would be written to parse it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Addr(addr) => addr.fmt(f),
            Kind::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Kind::Name { host, port } => write!(f, "{host}:{port}"),
            #[cfg(unix)]
            Kind::Path(path) => path.display().fmt(f),
            Kind::Malformed { text, .. } => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_names() {
        for addr in ["127.0.0.1:80", "[::1]:80", "[fe80::1%3]:80", "255.255.255.255:65535"] {
            assert_eq!(Target::from(addr).0, Kind::Addr(addr.parse().unwrap()));
        }
        for (host, port) in [("localhost", 80), ("example.org", 0), ("1.2.3", 9), ("a_b-c.", 65535), ("é", 1)]
        {
            let name = Kind::Name { host: host.into(), port };
            assert_eq!(Target::from(format!("{host}:{port}")).0, name);
            assert_eq!(Target::from((host, port)).0, name);
        }
        assert_eq!(Target::from(("127.0.0.1", 80)).0, Kind::Addr(([127, 0, 0, 1], 80).into()));
    }

    #[test]
    fn a_zone_with_a_name_is_looked_up() {
        let target = Target::from("[fe80::1%eth0]:80");
        assert_eq!(target.0, Kind::Name { host: "fe80::1%eth0".into(), port: 80 });
        assert_eq!(target.to_string(), "[fe80::1%eth0]:80");
        assert_eq!(target, Target::from(("fe80::1%eth0", 80)));
    }

    #[test]
    fn what_is_wrong_with_a_text_is_told() {
        let long = format!("{}:80", "x".repeat(254));
        for (text, expected) in [
            ("", NO_PORT),
            ("example.org", NO_PORT),
            ("[::1]", NO_PORT),
            (":80", NO_HOST),
            (":", BAD_PORT),
            ("example.org:", BAD_PORT),
            ("example.org:http", BAD_PORT),
            ("example.org:65536", BAD_PORT),
            ("example.org:+80", BAD_PORT),
            ("example.org:-1", BAD_PORT),
            ("127.0.0.1:99999999999999999999", BAD_PORT),
            ("::1", BARE_V6),
            ("::1:80", BARE_V6),
            ("a:b:80", BARE_V6),
            ("[]:80", BAD_BRACKETS),
            ("[::1:80", BAD_BRACKETS),
            ("[example.org]:80", BAD_BRACKETS),
            ("[fe80::1%]:80", BAD_BRACKETS),
            ("exa mple.org:80", BAD_HOST),
            ("example.org\n:80", BAD_HOST),
            ("a\0b:80", BAD_HOST),
            (&long, LONG_HOST),
        ] {
            assert_eq!(parse(text), Err(expected), "{text:?}");
            assert!(matches!(Target::from(text).0, Kind::Malformed { .. }));
        }
        assert!(matches!(Target::from(("::g", 80)).0, Kind::Malformed { why: BARE_V6, .. }));
        assert!(matches!(Target::from(("", 80)).0, Kind::Malformed { why: NO_HOST, .. }));
    }
}
