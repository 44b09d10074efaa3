//! Racing the addresses of one name for each other: "happy eyeballs", RFC 8305. A host that has both an IPv6 and an
//! IPv4 address may be reachable at one of them only, and the other may fail by never answering.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::base::error;
use crate::base::peer::Peer;
use crate::base::readiness::Readiness;
use crate::base::slots::{Key, Tenant};
use crate::base::wheel::TimerKey;
use crate::connect::Dial;
use crate::net::plain::Plain;
use crate::net::socket::Socket;
use crate::reactor::core::Core;
use crate::reactor::slot::Slot;
use crate::reactor::timers::Alarm;

/// How long an attempt has before the next address is tried beside it: RFC 8305, section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

pub(crate) struct Race {
    untried: VecDeque<SocketAddr>,
    /// Under way, each with the slot in which it is.
    trying: Vec<(Key, SocketAddr)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// When the next address is due.
    pub(crate) timer: Option<TimerKey>,
}

/// One attempt: a socket that connects, for a connection that has none yet.
pub(crate) struct Attempt {
    socket: Socket,
    addr: SocketAddr,
    owner: Key,
    queued: bool,
    serial: NonZeroU32,
}

impl<S> Tenant<Slot<S>> for Attempt {
    fn serial(&mut self) -> &mut NonZeroU32 {
        &mut self.serial
    }
    fn of(slot: &mut Slot<S>) -> Option<&mut Self> {
        match slot {
            Slot::Attempt(attempt) => Some(attempt),
            _ => None,
        }
    }
    fn into_slot(self) -> Slot<S> {
        Slot::Attempt(Box::new(self))
    }
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
    /// Why nobody was reached. What a host has answered says more than that there is no way to another.
    fn failure(&self) -> io::Error {
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

impl<S> Core<S> {
    /// Begins to try the addresses of a connection that was looked up.
    pub(crate) fn race(&mut self, key: Key, addrs: Vec<SocketAddr>) {
        let mut untried = interleave(addrs);
        let mut seen = HashSet::new();
        untried.retain(|addr| seen.insert(*addr));
        let race = Race { untried, trying: Vec::new(), failed: Vec::new(), timer: None };
        self.dials.insert(key, Dial::Racing(race));
        self.try_next(key);
    }

    fn racing(&mut self, key: Key) -> Option<&mut Race> {
        match self.dials.get_mut(&key) {
            Some(Dial::Racing(race)) => Some(race),
            _ => None,
        }
    }

    /// Tries the next address; those that fail within the call are done with at once.
    pub(crate) fn try_next(&mut self, key: Key) {
        while let Some(addr) = self.racing(key).and_then(|race| race.untried.pop_front()) {
            log::debug!("connection {key} tries {addr}");
            let attempt = self.attempt(key, addr);
            let timer = Alarm::Redial(key);
            let due = self.clock.tick_after(ATTEMPT_DELAY);
            let Some(Dial::Racing(race)) = self.dials.get_mut(&key) else { return };
            match attempt {
                Ok(attempt) => {
                    race.trying.push((attempt, addr));
                    if !race.untried.is_empty() {
                        race.timer = Some(self.timers.insert(due, timer));
                    }
                    return;
                }
                Err(error) => race.failed.push((addr, error)),
            }
        }
        let Some(race) = self.racing(key) else { return };
        if race.trying.is_empty() {
            let failure = race.failure();
            self.cannot_connect(key, failure);
        }
    }

    fn attempt(&mut self, owner: Key, addr: SocketAddr) -> io::Result<Key> {
        let socket = Socket::from(Plain::connect(&self.poll, addr)?);
        let attempt =
            self.slots.insert(Attempt { socket, addr, owner, queued: false, serial: NonZeroU32::MIN });
        if let Some(Attempt { socket, .. }) = self.slots.get(attempt)
            && let Err(error) = socket.register(&self.poll, attempt.token())
        {
            self.close_attempt(attempt);
            return Err(error);
        }
        Ok(attempt)
    }

    pub(crate) fn queue_attempt(&mut self, key: Key) {
        if let Some(attempt) = self.slots.get::<Attempt>(key)
            && !std::mem::replace(&mut attempt.queued, true)
        {
            self.run_queue.push(key);
        }
    }

    /// Sees what has become of an attempt, and returns the connection that stands now if it has won.
    pub(crate) fn drive_attempt(&mut self, key: Key) -> Option<Key> {
        let attempt = self.slots.get::<Attempt>(key)?;
        attempt.queued = false;
        let owner = attempt.owner;
        match attempt.socket.connected()? {
            Ok(()) => {
                self.attempt_has_won(owner, key);
                return Some(owner);
            }
            Err(error) => self.attempt_has_failed(owner, key, error),
        }
        None
    }

    /// The first that connects: its socket becomes the connection's, and the others are closed.
    fn attempt_has_won(&mut self, owner: Key, winner: Key) {
        let Some(Slot::Attempt(attempt)) = self.slots.remove(winner) else { return };
        let Attempt { mut socket, addr, .. } = *attempt;
        socket.deregister(&self.poll); // it comes back with the connection's own token
        if let Some(Dial::Racing(race)) = self.undial(owner) {
            self.call_off(race);
        }
        if let Some(stream) = self.slots.stream(owner) {
            stream.peer = Peer::from(addr);
            stream.state.ready(Readiness::writable());
        }
        if let Err(error) = self.install(owner, socket) {
            self.cannot_connect(owner, error);
        }
    }

    fn attempt_has_failed(&mut self, owner: Key, loser: Key, error: io::Error) {
        let Some(addr) = self.close_attempt(loser) else { return };
        let Some(Dial::Racing(race)) = self.dials.get_mut(&owner) else { return };
        log::debug!("connection {owner} cannot connect to {addr}: {error}");
        race.trying.retain(|(trying, _)| *trying != loser);
        race.failed.push((addr, error));
        if let Some(timer) = race.timer.take() {
            self.timers.cancel(timer);
        }
        self.try_next(owner);
    }

    /// Returns to which address it was.
    fn close_attempt(&mut self, key: Key) -> Option<SocketAddr> {
        let Some(Slot::Attempt(attempt)) = self.slots.remove(key) else { return None };
        attempt.socket.close();
        Some(attempt.addr)
    }

    /// Closes all attempts of a race.
    pub(crate) fn call_off(&mut self, race: Race) {
        for (attempt, _) in race.trying {
            self.close_attempt(attempt);
        }
        if let Some(timer) = race.timer {
            self.timers.cancel(timer);
        }
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
