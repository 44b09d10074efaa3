//! An address in words: `localhost port 10000`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub struct Place(pub SocketAddr);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.ip() {
            IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => f.write_str("localhost")?,
            ip => write!(f, "{ip}")?,
        }
        write!(f, " port {}", self.0.port())
    }
}
