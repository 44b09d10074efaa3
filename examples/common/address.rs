//! Addresses on the command line: `[HOST:]PORT`.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;

/// A parser for clap: a bare port means 127.0.0.1, IPv6 is written `[::1]:10000`, and names are looked up here,
/// before anything else starts, because a lookup blocks.
pub fn with_port(ports: RangeInclusive<u16>) -> impl Fn(&str) -> Result<SocketAddr, String> + Clone {
    move |text| {
        let address = parse(text).ok_or_else(|| expected(&ports))??;
        if ports.contains(&address.port()) { Ok(address) } else { Err(expected(&ports)) }
    }
}

fn expected(ports: &RangeInclusive<u16>) -> String {
    format!(
        "expected [HOST:]PORT with a port from {} to {}, such as 10000, localhost:10000 or [::1]:10000",
        ports.start(),
        ports.end()
    )
}

/// `None` if the text does not have the form of an address, an error if its host cannot be found.
fn parse(text: &str) -> Option<Result<SocketAddr, String>> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Ok(address));
    }
    if let Ok(port) = text.parse::<u16>() {
        return Some(Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok()?;
    if host.is_empty() || host.contains([':', '[', ']']) {
        return None;
    }
    Some(look_up(host, port))
}

fn look_up(host: &str, port: u16) -> Result<SocketAddr, String> {
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot find the host `{host}` ({error}): is it spelt right?"))?
        .collect();
    // `localhost` often means ::1 first, but the servers here listen on 127.0.0.1 unless told otherwise.
    let ipv4 = found.iter().find(|address| address.is_ipv4());
    ipv4.or(found.first()).copied().ok_or_else(|| format!("the host `{host}` has no address"))
}
