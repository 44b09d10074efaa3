//! What happens in a simulation as time passes, and how it passes: at once to the next event when nothing is ready.

use std::cmp::Reverse;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mio::Token;

use crate::driver::Readiness;
use crate::sim::network::{Network, SocketId};
use crate::sim::record::What;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A client's request to connect comes to the server's host.
    Syn {
        client: SocketId,
        tries: u32,
    },
    /// The server's answer comes to the client.
    Answer {
        client: SocketId,
        accepted: bool,
    },
    /// Something that was under way may have arrived.
    Arrive(SocketId),
    /// There may be room to send more.
    Room(SocketId),
    Reset(SocketId),
}

/// A turn takes time, if only this much: else a timer set again and again for now would never let it pass.
const TURN: Duration = Duration::from_micros(1);

/// How often in a row the loop may go round with nothing to show for it.
const MOST_IDLE_TURNS: u32 = 10_000;

/// How long a client waits before it asks again, at first; doubled each time: RFC 6298, section 2.
const FIRST_RETRY: Duration = Duration::from_secs(1);

impl Network {
    /// Lets time pass until something is ready, or `timeout` is over. Returns `false` if nothing will ever be.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        most: usize,
        ready: &mut Vec<(Token, Readiness)>,
    ) -> io::Result<bool> {
        self.set_time(self.now + TURN);
        let until = timeout.map(|timeout| self.now.saturating_add(timeout));
        loop {
            self.happen();
            self.report(most, ready);
            if !ready.is_empty() || until.is_some_and(|until| until <= self.now) {
                break;
            }
            let next = self.events.peek().map(|Reverse((at, ..))| *at);
            match (next, until) {
                (None, None) => return Ok(false),
                (Some(at), None) => self.set_time(at),
                (at, Some(until)) => self.set_time(at.map_or(until, |at| at.min(until))),
            }
            self.idle_turns = 0;
        }
        self.idle_turns += 1;
        if self.idle_turns > MOST_IDLE_TURNS {
            return Err(self.spinning());
        }
        Ok(true)
    }

    fn spinning(&self) -> io::Error {
        crate::error::new(
            io::ErrorKind::Other,
            format!(
                "the loop spins: {MOST_IDLE_TURNS} turns in a row have neither waited nor moved a byte; what goes on \
                 asking to be called again? (a timer without delay, a watch that says Again; the seed is {})",
                self.seed
            ),
        )
    }

    /// Does what is due.
    fn happen(&mut self) {
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= self.now
            && let Some(Reverse((_, _, event))) = self.events.pop()
        {
            match event {
                Event::Syn { client, tries } => self.syn(client, tries),
                Event::Answer { client, accepted } => self.answer(client, accepted),
                Event::Arrive(id) => self.arrive(id),
                Event::Room(id) => self.wake(id),
                Event::Reset(id) => self.reset(id),
            }
        }
    }

    fn is_cut_off(&self, id: SocketId) -> bool {
        self.ends
            .get(&id)
            .is_some_and(|end| end.wire.is_stalled() || self.partitions.contains(&end.wire.server))
    }

    fn syn(&mut self, client: SocketId, tries: u32) {
        let Some(endpoint) = self.ends.get(&client) else { return };
        let (wire, from, server) = (Rc::clone(&endpoint.wire), endpoint.local, endpoint.remote);
        if tries == 0 && self.random.chance(wire.link.silent) {
            return self.note(client, What::Unanswered);
        }
        let listener = self.listeners.iter().find(|(_, listening)| answers(listening.addr(), server));
        let no_place = listener.is_some_and(|(_, listening)| !self.has_place(listening));
        if no_place || self.is_cut_off(client) {
            let again = self.now + FIRST_RETRY * 2u32.saturating_pow(tries.min(6));
            return self.schedule(again, Event::Syn { client, tries: tries + 1 });
        }
        let listener = listener.map(|(id, _)| *id);
        let accepted = listener.filter(|_| !self.random.chance(wire.link.refused));
        let at = self.now + self.latency(&wire.link);
        self.schedule(at, Event::Answer { client, accepted: accepted.is_some() });
        let Some(listener) = accepted else { return };
        let end = self.insert(server, from, wire);
        if let Some(end) = self.ends.get_mut(&end) {
            end.peer = Some(client);
        }
        if let Some(client) = self.ends.get_mut(&client) {
            client.peer = Some(end);
        }
        if let Some(listening) = self.listeners.get_mut(&listener) {
            listening.waiting.push_back(end);
        }
        self.wake(listener);
    }

    fn answer(&mut self, client: SocketId, accepted: bool) {
        let Some(endpoint) = self.ends.get_mut(&client) else { return };
        endpoint.connecting = false;
        if !accepted {
            endpoint.error = Some(io::ErrorKind::ConnectionRefused);
            endpoint.reset = true;
        }
        self.note(client, if accepted { What::Connected } else { What::Refused });
        self.wake(client);
    }

    fn arrive(&mut self, id: SocketId) {
        if self.is_cut_off(id) {
            return;
        }
        let now = self.now;
        let Some(endpoint) = self.ends.get_mut(&id) else { return };
        let arrival = endpoint.incoming.arrive(now);
        if arrival.bytes > 0 {
            self.note(id, What::Arrive(arrival.bytes));
        }
        if arrival.end {
            self.note(id, What::End);
        }
        if arrival.bytes > 0 || arrival.end {
            self.wake(id);
        }
    }

    fn reset(&mut self, id: SocketId) {
        if self.is_cut_off(id) {
            return;
        }
        let Some(endpoint) = self.ends.get_mut(&id) else { return };
        if !endpoint.reset {
            endpoint.reset = true;
            endpoint.connecting = false;
            endpoint.error = Some(io::ErrorKind::ConnectionReset);
            self.note(id, What::Reset);
            self.wake(id);
        }
    }

    /// Sends again what a partition has held up.
    pub(crate) fn heal(&mut self, server: SocketAddr) {
        self.partitions.remove(&server);
        let held: Vec<SocketId> =
            self.ends.iter().filter(|(_, end)| end.wire.server == server).map(|(id, _)| *id).collect();
        for id in held {
            let Some(wire) = self.ends.get(&id).map(|end| Rc::clone(&end.wire)) else { continue };
            let at = self.now + self.latency(&wire.link);
            if let Some(end) = self.ends.get_mut(&id) {
                end.incoming.delay(at);
                let gone = end.peer.is_none() && !end.connecting && !end.incoming.is_flying();
                self.schedule(at, Event::Arrive(id));
                if gone {
                    self.schedule(at, Event::Reset(id));
                }
            }
        }
    }

    /// Tells what is ready, as far as there is place.
    fn report(&mut self, most: usize, ready: &mut Vec<(Token, Readiness)>) {
        let mut woken = std::mem::take(&mut self.ready);
        if self.polling.shuffled {
            self.random.shuffle(&mut woken);
        }
        let later = woken.split_off(woken.len().min(most));
        self.ready = later;
        for id in woken {
            let Some((token, state)) = self.readiness(id) else { continue };
            if state == Readiness::NONE {
                continue;
            }
            self.note(id, What::Ready(state.bits()));
            let both = state.is_readable() && state.is_writable();
            if both && self.random.chance(self.polling.split) {
                ready.push((token, Readiness::when(false, true, false)));
                ready.push((token, Readiness::when(true, false, state.is_read_closed())));
            } else {
                ready.push((token, state));
            }
        }
        if self.random.chance(self.polling.spurious) && !self.ends.is_empty() {
            let nth = self.random.within(0..=self.ends.len() as u64 - 1) as usize;
            if let Some(token) = self.ends.values().nth(nth).and_then(|end| end.token) {
                ready.push((token, Readiness::when(true, true, false)));
            }
        }
    }
}

/// Whether a listener on one address answers to another: on the unspecified one it answers to all.
fn answers(listening: SocketAddr, asked: SocketAddr) -> bool {
    listening.port() == asked.port()
        && (listening.ip() == asked.ip()
            || listening.ip().is_unspecified() && listening.is_ipv4() == asked.is_ipv4())
}
