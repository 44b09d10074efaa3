//! Racing the addresses of one name for each other: "happy eyeballs", RFC 8305. A host that has both an IPv6 and an
//! IPv4 address may be reachable at one of them only, and the other may fail by never answering.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::base::peer::Peer;
use crate::base::readiness::Readiness;
use crate::base::slots::Key;
use crate::net::connecting::{Attempt, Connecting, Race};
use crate::net::plain::Plain;
use crate::net::socket::Socket;
use crate::reactor::core::Core;
use crate::reactor::slot::Slot;
use crate::reactor::timers::Task;

/// How long an attempt has before the next address is tried beside it: RFC 8305, section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

impl<S> Core<S> {
    /// Begins to try the addresses of a connection that was looked up.
    pub(crate) fn race(&mut self, key: Key, addrs: Vec<SocketAddr>) {
        self.connecting.insert(key, Connecting::Racing(Race::new(addrs)));
        self.try_next(key);
    }

    fn racing(&mut self, key: Key) -> Option<&mut Race> {
        match self.connecting.get_mut(&key) {
            Some(Connecting::Racing(race)) => Some(race),
            _ => None,
        }
    }

    /// Tries the next address; those that fail within the call are done with at once.
    pub(crate) fn try_next(&mut self, key: Key) {
        while let Some(addr) = self.racing(key).and_then(|race| race.untried.pop_front()) {
            log::debug!("connection {key} tries {addr}");
            let attempt = self.attempt(key, addr);
            let timer = Task::Connecting(key);
            let due = self.clock.tick_after(ATTEMPT_DELAY);
            let Some(Connecting::Racing(race)) = self.connecting.get_mut(&key) else { return };
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
        if let Some(Connecting::Racing(race)) = self.end_connecting(owner) {
            self.cancel_race(race);
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
        let Some(Connecting::Racing(race)) = self.connecting.get_mut(&owner) else { return };
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
    pub(crate) fn cancel_race(&mut self, race: Race) {
        for (attempt, _) in race.trying {
            self.close_attempt(attempt);
        }
        if let Some(timer) = race.timer {
            self.timers.cancel(timer);
        }
    }
}
