//! Addresses and ports, with the rules of Linux: ip(7), ipv6(7).
//!
//! An IPv6 socket handles IPv4 too, since IPV6_V6ONLY is off by default. Such a socket reports an IPv4 address as an
//! IPv4-mapped one (`::ffff:10.0.0.1`, RFC 4291, section 2.5.5.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::simulated::network::Network;

/// The first port for clients. RFC 6335, section 6, reserves the ports from here on for them.
pub(crate) const FIRST_PORT: u16 = 49152;

/// The address without an IPv4 mapping, so that sockets of both families compare equal.
pub(crate) fn canonical(mut addr: SocketAddr) -> SocketAddr {
    addr.set_ip(addr.ip().to_canonical());
    addr
}

/// The address as a socket of the family of `own` reports it.
pub(crate) fn in_family(addr: SocketAddr, own: SocketAddr) -> SocketAddr {
    match canonical(addr) {
        SocketAddr::V4(v4) if own.is_ipv6() => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        addr => addr,
    }
}

/// The address that a connect reaches: loopback for the unspecified address.
pub(crate) fn reached(addr: SocketAddr) -> SocketAddr {
    let mut addr = canonical(addr);
    if addr.ip().is_unspecified() {
        addr.set_ip(loopback(addr));
    }
    addr
}

/// Whether a listener accepts connects to another address. A listener on the unspecified address accepts all of its
/// family; on the unspecified IPv6 address, IPv4 too.
pub(crate) fn answers(listening: SocketAddr, asked: SocketAddr) -> bool {
    let (listening, asked) = (canonical(listening), canonical(asked));
    listening.port() == asked.port()
        && (listening.ip() == asked.ip()
            || listening.ip().is_unspecified() && (listening.is_ipv6() || asked.is_ipv4()))
}

fn loopback(family: SocketAddr) -> IpAddr {
    if family.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

impl Network {
    /// An address for a client of this server. Clients of different servers may share a port.
    pub(crate) fn client_addr(&mut self, server: SocketAddr) -> Option<SocketAddr> {
        let own = |port| SocketAddr::new(loopback(server), port);
        let port = self.free_port(|network, port| {
            let (near, far) = (own(port), server);
            !network.pairs.contains(&(near, far)) && !network.pairs.contains(&(far, near))
        });
        port.map(own)
    }

    /// A port for a listener on this address.
    pub(crate) fn listener_port(&mut self, on: SocketAddr) -> Option<u16> {
        self.free_port(|network, port| !network.is_taken(SocketAddr::new(on.ip(), port)))
    }

    /// The next port that satisfies `is_free` and that no listener has, on any address.
    fn free_port(&mut self, is_free: impl Fn(&Network, u16) -> bool) -> Option<u16> {
        let next = self.last_port.checked_add(1).unwrap_or(FIRST_PORT);
        let port = (next..=u16::MAX).chain(FIRST_PORT..next).find(|&port| {
            self.listeners.values().all(|listening| listening.addr.port() != port) && is_free(self, port)
        })?;
        self.last_port = port;
        Some(port)
    }

    /// Whether another listener or a client has this address.
    pub(crate) fn is_taken(&self, addr: SocketAddr) -> bool {
        let clients = self.ends.values().filter(|end| canonical(end.remote) == end.wire.server);
        let mut taken = self.listeners.values().map(|other| other.addr).chain(clients.map(|end| end.local));
        taken.any(|other| answers(other, addr) || answers(addr, other))
    }
}
