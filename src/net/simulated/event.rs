//! What happens in a simulation as time passes, and how it passes: at once to the next event when nothing is ready.

use std::cmp::Reverse;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mio::Token;

use crate::base::readiness::Readiness;
use crate::net::simulated::address::{answers, canonical, in_family};
use crate::net::simulated::network::{LAST, Network, SocketId};
use crate::net::simulated::record::What;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A client's request to connect comes to the server's host.
    Syn {
        client: SocketId,
        tries: u32,
    },
    /// The server's answer comes to the client: the listener and the other end, or a refusal.
    Answer {
        client: SocketId,
        other: Option<(SocketId, SocketId)>,
    },
    /// The client's confirmation comes to the server, whose end can be accepted now.
    Established {
        listener: SocketId,
        end: SocketId,
    },
    /// Something that was under way may have arrived.
    Arrive(SocketId),
    /// There may be room to send more.
    Room(SocketId),
    Reset(SocketId),
    /// Something was sent again and again for too long.
    GiveUp(SocketId),
}

impl Event {
    /// The socket to which it happens.
    fn whose(self) -> SocketId {
        match self {
            Event::Syn { client: id, .. }
            | Event::Answer { client: id, .. }
            | Event::Established { end: id, .. }
            | Event::Arrive(id)
            | Event::Room(id)
            | Event::Reset(id)
            | Event::GiveUp(id) => id,
        }
    }
}

/// A turn takes time, if only this much: else a timer set again and again for now would never let it pass.
const TURN: Duration = Duration::from_micros(1);

/// How often in a row the loop may go round with nothing to show for it.
const MOST_IDLE_TURNS: u32 = 10_000;

/// How long a client waits before it asks again, at first; doubled each time: RFC 6298, section 2.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How often it asks again: tcp(7), tcp_syn_retries. That makes 127 s.
const RETRIES: u32 = 6;

impl Network {
    /// Lets time pass until something is ready, or `timeout` is over. Returns `false` if nothing will ever be.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        most: usize,
        ready: &mut Vec<(Token, Readiness)>,
    ) -> io::Result<bool> {
        let until = timeout.and_then(|timeout| self.now.checked_add(timeout)).filter(|until| *until <= LAST);
        self.set_time(self.now + TURN);
        loop {
            self.happen();
            self.report(most, ready);
            if !ready.is_empty() || until.is_some_and(|until| until <= self.now) {
                break;
            }
            match self.next_event().into_iter().chain(until).min() {
                Some(at) => self.set_time(at),
                None => return Ok(false),
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
        crate::base::error::new(
            io::ErrorKind::Other,
            format!(
                "the loop spins: {MOST_IDLE_TURNS} turns in a row have neither waited nor moved a byte (seed {}); who \
                 asks to be called again and again? a call that posts itself, a timer without delay that sets itself, or \
                 a machine that resumes or switches with input left in each `received`",
                self.seed
            ),
        )
    }

    /// When the next event is. Those of sockets that are closed let no time pass.
    fn next_event(&mut self) -> Option<Duration> {
        while let Some(&Reverse((at, _, event))) = self.events.peek() {
            let end = self.ends.get(&event.whose());
            let is_moot = match event {
                Event::Answer { other: Some(_), .. } => false,
                Event::GiveUp(_) => end.is_none_or(|end| end.reset),
                _ => end.is_none(),
            };
            if !is_moot {
                return Some(at).filter(|at| *at <= LAST);
            }
            self.events.pop();
        }
        None
    }

    /// Does what is due.
    pub(crate) fn happen(&mut self) {
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= self.now
            && let Some(Reverse((_, _, event))) = self.events.pop()
        {
            match (event, self.partition_of(event)) {
                (Event::Syn { client, tries }, cut_off) => self.syn(client, tries, cut_off.is_some()),
                (_, Some(server)) => self.held.push((server, event)),
                (Event::Answer { client, other }, None) => self.answer(client, other),
                (Event::Established { listener, end }, None) => self.established(listener, end),
                (Event::Arrive(id), None) => self.arrive(id),
                (Event::Room(id), None) => self.wake_writer(id),
                (Event::Reset(id), None) => self.reset(id),
                (Event::GiveUp(id), None) => self.give_up(id),
            }
        }
    }

    /// The server from which what happens here is cut off.
    fn partition_of(&self, event: Event) -> Option<SocketAddr> {
        let server = self.ends.get(&event.whose()).map(|end| end.wire.server);
        server.filter(|server| self.partitions.contains(server))
    }

    fn syn(&mut self, client: SocketId, tries: u32, cut_off: bool) {
        let Some(endpoint) = self.ends.get(&client) else { return };
        if tries > RETRIES {
            return self.fail(client, io::ErrorKind::TimedOut, What::GiveUp);
        }
        let (wire, from, server) = (Rc::clone(&endpoint.wire), endpoint.local, endpoint.wire.server);
        let listener = self.listeners.iter_mut().find(|(_, listening)| answers(listening.addr, server));
        let no_place = listener.as_ref().is_some_and(|(_, listening)| !listening.has_place());
        if endpoint.unanswered || no_place || cut_off || wire.is_silent() {
            let again = self.now + FIRST_RETRY * 2u32.pow(tries);
            self.schedule(again, Event::Syn { client, tries: tries + 1 });
            return self.note(client, What::Unanswered);
        }
        let mut other = None;
        if let Some((listener, listening)) = listener
            && !self.random.chance(wire.link.refused)
        {
            listening.half_open += 1;
            let (listener, on) = (*listener, listening.addr);
            let end = self.insert(in_family(server, on), in_family(from, on), Rc::clone(&wire));
            self.ends.entry(end).and_modify(|end| end.peer = Some(client));
            other = Some((listener, end));
        }
        let at = self.arrival(&wire.link);
        self.schedule(at, Event::Answer { client, other });
    }

    fn answer(&mut self, client: SocketId, other: Option<(SocketId, SocketId)>) {
        let crashed = other.is_some_and(|(_, end)| self.ends.get(&end).is_some_and(|end| end.peer.is_none()));
        match (self.ends.get_mut(&client), other) {
            (Some(endpoint), Some((listener, end))) => {
                endpoint.connecting = false;
                endpoint.peer = Some(end).filter(|_| !crashed);
                let wire = Rc::clone(&endpoint.wire);
                self.note(client, What::Connected(end));
                self.wake(client);
                let at = self.arrival(&wire.link);
                self.schedule(at, Event::Established { listener, end });
            }
            (Some(_), None) => self.fail(client, io::ErrorKind::ConnectionRefused, What::Refused),
            // Who has given up meanwhile answers with a reset, and the connection is never accepted.
            (None, Some((listener, end))) => {
                self.remove(end);
                self.listeners.entry(listener).and_modify(|listening| listening.half_open -= 1);
            }
            (None, None) => {}
        }
    }

    fn established(&mut self, listener: SocketId, end: SocketId) {
        let Some(listening) = self.listeners.get_mut(&listener) else { return self.break_off(end) };
        listening.half_open -= 1;
        listening.waiting.push_back(end);
        self.wake(listener);
    }

    fn arrive(&mut self, id: SocketId) {
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
        self.arrive(id); // what is due came before it
        let Some(endpoint) = self.ends.get(&id) else { return };
        // As Linux tells it, to one whose peer had finished (the state CLOSE-WAIT) and to others.
        let closing = endpoint.incoming.has_ended() && !endpoint.finished;
        let kind = if closing { io::ErrorKind::BrokenPipe } else { io::ErrorKind::ConnectionReset };
        self.fail(id, kind, What::Reset);
    }

    fn give_up(&mut self, id: SocketId) {
        self.fail(id, io::ErrorKind::TimedOut, What::GiveUp);
    }

    /// The connection is no more, and what is under way to this end comes too late.
    fn fail(&mut self, id: SocketId, kind: io::ErrorKind, what: What) {
        if let Some(endpoint) = self.ends.get_mut(&id).filter(|endpoint| !endpoint.reset) {
            endpoint.reset = true;
            endpoint.connecting = false;
            endpoint.error = Some(kind);
            endpoint.incoming.cut();
            self.note(id, what);
            self.wake(id);
        }
    }

    /// A host forgets its connections, and tells nobody but its own programs.
    pub(crate) fn crash(&mut self, server: SocketAddr) {
        let theirs = self.ends.iter();
        let theirs = theirs.filter(|(_, end)| canonical(end.local) == server && end.wire.server == server);
        let theirs: Vec<SocketId> = theirs.map(|(id, _)| *id).collect();
        for id in theirs {
            let Some(endpoint) = self.ends.get_mut(&id) else { continue };
            let (peer, under_way) = (endpoint.peer.take(), endpoint.incoming.next());
            let wire = Rc::clone(&endpoint.wire);
            self.fail(id, io::ErrorKind::ConnectionReset, What::Crash);
            let Some(peer) = peer else { continue };
            let now = self.now;
            if let Some(peer) = self.ends.get_mut(&peer) {
                peer.peer = None;
                peer.incoming.cut_unsent(now);
            }
            if let Some(at) = under_way {
                self.send_reset(peer, at.max(now), &wire);
            }
        }
    }

    /// Sends again what a partition has held up.
    pub(crate) fn heal(&mut self, server: SocketAddr) {
        self.partitions.remove(&server);
        let held = std::mem::take(&mut self.held);
        let (free, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|(cut_off, _)| *cut_off == server);
        self.held = held;
        let link = Rc::clone(self.links.get(&server).unwrap_or(&self.link));
        let at = self.arrival(&link);
        free.into_iter().for_each(|(_, event)| self.schedule(at, event));
    }
}
