//! A connect under way that has no socket yet: a name that is looked up, addresses that race, a backlog without room.
//!
//! These are states only; `connect` moves them on.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
#[cfg(unix)]
use std::path::Path;
#[cfg(unix)]
use std::sync::Arc;
use std::time::Duration;

use crate::base::error;
use crate::base::slots::Key;
use crate::base::wheel::TimerKey;
use crate::net::names::Ticket;
use crate::net::socket::Socket;

/// What stands in for the socket of a connection that has none yet. It is kept beside the streams, most of which never need
/// one.
pub(crate) enum Connecting {
    /// Its name is being looked up.
    Resolving(Resolving),
    /// Its addresses are being tried.
    Racing(Race),
    /// There was no room in the backlog of a Unix listener.
    #[cfg(unix)]
    Retrying(Retry),
}

pub(crate) struct Resolving {
    pub(crate) ticket: Ticket,
    /// The tick until which the look-up may wait for a thread; `None` once it has begun.
    pub(crate) waits_until: Option<u64>,
    /// How long it may take from when it begins.
    pub(crate) look_up: Duration,
    /// How long connecting may take after it, if that has a limit of its own.
    pub(crate) connect: Option<Duration>,
}

impl fmt::Display for Resolving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.waits_until {
            Some(_) => {
                "waiting for a thread to look it up: all are busy with other names (Config::resolver_threads, \
                 Config::resolver_wait)"
            }
            None => "resolving",
        })
    }
}

impl Connecting {
    /// The addresses that were tried; `None` if they are not known yet.
    pub(crate) fn tried(&self) -> Option<Vec<SocketAddr>> {
        match self {
            Connecting::Resolving(_) => None,
            Connecting::Racing(race) => Some(race.tried()),
            #[cfg(unix)]
            Connecting::Retrying(_) => Some(Vec::new()),
        }
    }
}

impl fmt::Display for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Connecting::Resolving(resolving) => resolving.fmt(f),
            Connecting::Racing(race) => race.fmt(f),
            #[cfg(unix)]
            Connecting::Retrying(retry) => retry.fmt(f),
        }
    }
}

pub(crate) struct Race {
    pub(crate) untried: VecDeque<SocketAddr>,
    /// Under way, each with the slot in which it is.
    pub(crate) trying: Vec<(Key, SocketAddr)>,
    pub(crate) failed: Vec<(SocketAddr, io::Error)>,
    /// When the next address is due.
    pub(crate) timer: Option<TimerKey>,
}

/// One attempt: a socket that connects, for a connection that has none yet.
pub(crate) struct Attempt {
    pub(crate) socket: Socket,
    pub(crate) addr: SocketAddr,
    pub(crate) owner: Key,
    pub(crate) queued: bool,
    pub(crate) serial: NonZeroU32,
}

/// The addresses as they are tried: the families take turns, beginning with the one that is preferred: RFC 8305,
/// section 4, with a First Address Family Count of 1.
fn interleave(addrs: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first = addrs.first().map(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addrs.into_iter().partition(|addr| Some(addr.is_ipv6()) == first);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    let mut turns = VecDeque::new();
    loop {
        let before = turns.len();
        turns.extend(preferred.next());
        turns.extend(other.next());
        if turns.len() == before {
            return turns;
        }
    }
}

impl Race {
    /// Of the addresses of one name, each once.
    pub(crate) fn new(addrs: Vec<SocketAddr>) -> Self {
        let mut untried = interleave(addrs);
        let mut seen = HashSet::new();
        untried.retain(|addr| seen.insert(*addr));
        Race { untried, trying: Vec::new(), failed: Vec::new(), timer: None }
    }

    /// Why no address was reached. A host's refusal is preferred to a routing error.
    pub(crate) fn failure(&self) -> io::Error {
        use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
        let mut kinds = self.failed.iter().map(|(_, error)| error.kind());
        let answer =
            |kind: &io::ErrorKind| !matches!(kind, AddrNotAvailable | HostUnreachable | NetworkUnreachable);
        let kind = kinds.clone().find(answer).or(kinds.next()).unwrap_or(io::ErrorKind::Other);
        error::unreached(kind, Some(self.tried()), self.to_string())
    }

    pub(crate) fn tried(&self) -> Vec<SocketAddr> {
        let failed = self.failed.iter().map(|(addr, _)| *addr);
        failed.chain(self.trying.iter().map(|(_, addr)| *addr)).collect()
    }
}

/// Each address, with what has become of it.
impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed.iter().map(|(addr, error)| format!("{addr}: {error}"));
        let trying = self.trying.iter().map(|(_, addr)| format!("{addr}: no answer yet"));
        let untried = self.untried.iter().map(|addr| format!("{addr}: not tried yet"));
        f.write_str(&failed.chain(trying).chain(untried).collect::<Vec<_>>().join(", "))
    }
}

/// A connect that had no room in the backlog. On Linux that is `EAGAIN`, connect(2), and unlike with TCP nothing is
/// under way then: no event will tell when there is room.
#[cfg(unix)]
pub(crate) struct Retry {
    pub(crate) path: Arc<Path>,
    pub(crate) wait: Duration,
    pub(crate) timer: TimerKey,
}

#[cfg(unix)]
impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("waiting for room in the listener's backlog")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(addrs: &[&str]) -> Vec<String> {
        interleave(addrs.iter().map(|addr| addr.parse().unwrap()).collect())
            .into_iter()
            .map(|addr| addr.ip().to_string())
            .collect()
    }

    #[test]
    fn the_families_take_turns_beginning_with_the_preferred_one() {
        let v6_first = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.0:1", "2.0.0.0:1"];
        assert_eq!(order(&v6_first), ["::1", "1.0.0.0", "::2", "2.0.0.0", "::3"]);
        let v4_first = ["1.0.0.0:1", "[::1]:1", "[::2]:1"];
        assert_eq!(order(&v4_first), ["1.0.0.0", "::1", "::2"]);
        assert_eq!(order(&["2.0.0.0:1", "1.0.0.0:1"]), ["2.0.0.0", "1.0.0.0"]);
        assert!(order(&[]).is_empty());
    }
}
