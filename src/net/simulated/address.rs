//! Addresses and ports as Linux understands them: ip(7), ipv6(7).
//!
//! A socket of IPv6 takes part in IPv4 too, as IPV6_V6ONLY is off unless a program or the system sets it: there, an
//! address of IPv4 is told as an IPv4-mapped one (`::ffff:10.0.0.1`, RFC 4291, section 2.5.5.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::simulated::network::Network;

/// The ports that clients get: those that RFC 6335, section 6, sets aside for it.
pub(crate) const FIRST_PORT: u16 = 49152;

/// The address without its mapping: the same for sockets of both families.
pub(crate) fn canonical(mut addr: SocketAddr) -> SocketAddr {
    addr.set_ip(addr.ip().to_canonical());
    addr
}

/// The same address as a socket tells it whose own is of the family of `own`.
pub(crate) fn in_family(addr: SocketAddr, own: SocketAddr) -> SocketAddr {
    match canonical(addr) {
        SocketAddr::V4(v4) if own.is_ipv6() => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        addr => addr,
    }
}

/// What a connect to this address reaches: for the unspecified one that is loopback.
pub(crate) fn reached(addr: SocketAddr) -> SocketAddr {
    let mut addr = canonical(addr);
    if addr.ip().is_unspecified() {
        addr.set_ip(loopback(addr));
    }
    addr
}

/// Whether a listener on one address answers to another: on the unspecified one it answers to all of its family, and
/// on that of IPv6 to IPv4 too.
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
    /// An address for a client of this server: its port may be that of another client, but of another server.
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

    /// The next port that no listener has, on whatever address, and that `is_free`.
    fn free_port(&mut self, is_free: impl Fn(&Network, u16) -> bool) -> Option<u16> {
        let next = self.last_port.checked_add(1).unwrap_or(FIRST_PORT);
        let port = (next..=u16::MAX).chain(FIRST_PORT..next).find(|&port| {
            self.listeners.values().all(|listening| listening.addr.port() != port) && is_free(self, port)
        })?;
        self.last_port = port;
        Some(port)
    }

    /// Whether another listener has this address, or a client.
    pub(crate) fn is_taken(&self, addr: SocketAddr) -> bool {
        let clients = self.ends.values().filter(|end| canonical(end.remote) == end.wire.server);
        let mut taken = self.listeners.values().map(|other| other.addr).chain(clients.map(|end| end.local));
        taken.any(|other| answers(other, addr) || answers(addr, other))
    }
}
