//! Values as text: addresses, durations and numbers on the command line, bytes and addresses in messages.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::time::Duration;

/// A parser for clap: an address to connect to, as `[HOST:]PORT`.
pub fn remote_address(text: &str) -> Result<SocketAddr, String> {
    address(text, 1..=u16::MAX)
}

/// A parser for clap: an address to listen on, as `[HOST:]PORT`. Port 0 asks the system for any free port.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    address(text, 0..=u16::MAX)
}

/// A port without a host is a port of 127.0.0.1, and IPv6 is written `[::1]:10000`. A name is looked up here: the
/// look-up blocks, and the event loop does not run yet.
fn address(text: &str, ports: RangeInclusive<u16>) -> Result<SocketAddr, String> {
    parse_address(text)?.filter(|address| ports.contains(&address.port())).ok_or_else(|| {
        format!(
            "expected [HOST:]PORT with a port from {} to {}, such as 10000, localhost:10000 or [::1]:10000",
            ports.start(),
            ports.end()
        )
    })
}

/// `None` if the text is not an address; an error if the look-up of its host fails.
fn parse_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if let Ok(address) = text.parse() {
        return Ok(Some(address));
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    }
    let host_and_port = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match host_and_port {
        Some((host, port)) if !host.is_empty() && !host.contains([':', '[', ']']) => {
            look_up(host, port).map(Some)
        }
        _ => Ok(None),
    }
}

fn look_up(host: &str, port: u16) -> Result<SocketAddr, String> {
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot find the host `{host}` ({error}): is the name correct?"))?
        .collect();
    // `localhost` often resolves to ::1 first, but the servers here listen on 127.0.0.1 by default.
    let ipv4 = found.iter().find(|address| address.is_ipv4());
    ipv4.or(found.first()).copied().ok_or_else(|| format!("the host `{host}` has no address"))
}

const LONGEST_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// A parser for clap: a duration such as `500ms`, `1s`, `1.5s`, `2m` or `1h`. The least value is 0 ms for a pause and
/// 1 ms for a timeout.
pub fn duration_from_ms(least: u64) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    let range = Duration::from_millis(least)..=LONGEST_DURATION;
    move |text| {
        parse_duration(text).filter(|duration| range.contains(duration)).ok_or_else(|| {
            format!("expected a number with its unit, from {least}ms to 24h, such as 500ms, 1s, 1.5s or 2m")
        })
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    // The parser of floats accepts a sign too. A duration has none.
    if !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds_per_unit).ok()
}

/// A parser for clap: a number in this range. `things` names the counted things in the error message.
pub fn number_of(
    things: &'static str,
    range: impl RangeBounds<usize> + Clone,
) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected a number of {things} {}", in_words(&range)))
    }
}

/// `from 1 up`, `from 1 to 9`.
fn in_words(range: &impl RangeBounds<usize>) -> String {
    let start = match range.start_bound() {
        Bound::Included(start) => format!("from {start} "),
        Bound::Excluded(start) => format!("above {start} "),
        Bound::Unbounded => String::new(),
    };
    match range.end_bound() {
        Bound::Included(end) => format!("{start}to {end}"),
        Bound::Excluded(end) => format!("{start}below {end}"),
        Bound::Unbounded => format!("{start}up"),
    }
}

/// Shows bytes on one line in Python's notation, such as `b'one\r\n\xff'`.
pub struct ByteString<'a>(pub &'a [u8]);

impl Display for ByteString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Python chooses the quotes that need no escape.
        let double = self.0.contains(&b'\'') && !self.0.contains(&b'"');
        let quote = if double { '"' } else { '\'' };
        write!(f, "b{quote}")?;
        for &byte in self.0 {
            match byte {
                b'"' => f.write_str("\"")?,
                b'\'' if double => f.write_str("'")?,
                _ => write!(f, "{}", byte.escape_ascii())?,
            }
        }
        write!(f, "{quote}")
    }
}

/// Shows an address in words: `localhost port 10000`.
pub struct Place(pub SocketAddr);

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.ip() {
            IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => f.write_str("localhost")?,
            ip => write!(f, "{ip}")?,
        }
        write!(f, " port {}", self.0.port())
    }
}
