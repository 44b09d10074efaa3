//! The events of a simulation, and the passage of time: the clock jumps to the next event when nothing is ready.

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
    /// A client's SYN arrives at the server's host.
    Syn {
        client: SocketId,
        tries: u32,
    },
    /// The server's answer arrives at the client. `other` has the listener and the server's end; `None` is a refusal.
    Answer {
        client: SocketId,
        other: Option<(SocketId, SocketId)>,
    },
    /// The client's ACK arrives at the server, whose end can now be accepted.
    Established {
        listener: SocketId,
        end: SocketId,
    },
    /// A segment in flight may have arrived.
    Arrive(SocketId),
    /// There may be room to send more.
    Room(SocketId),
    Reset(SocketId),
    /// The retransmissions have lasted too long.
    GiveUp(SocketId),
}

impl Event {
    /// The socket that the event concerns.
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

/// The minimum duration of a turn. Otherwise a timer that is set again and again for now would stop the clock.
const TURN: Duration = Duration::from_micros(1);

/// A loop that only goes round, for a timer without delay that sets itself again, takes longer turns from some time
/// on. So what is on its way arrives before the loop counts as spinning.
const LONG_TURN: Duration = Duration::from_micros(100);
const SHORT_TURNS: u32 = MOST_IDLE_TURNS / 2;

/// The maximum number of turns in a row without progress.
const MOST_IDLE_TURNS: u32 = 10_000;

/// The time before a client repeats its SYN. It doubles with each repetition: RFC 6298, section 2.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The number of repetitions: tcp(7), tcp_syn_retries. They take 127 s in all.
const RETRIES: u32 = 6;

impl Network {
    /// Lets time pass until a source is ready or `timeout` has passed. Returns `false` if no source will ever be ready.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        most: usize,
        ready: &mut Vec<(Token, Readiness)>,
    ) -> io::Result<bool> {
        let until = timeout.and_then(|timeout| self.now.checked_add(timeout)).filter(|until| *until <= LAST);
        self.set_time(self.now + if self.idle_turns < SHORT_TURNS { TURN } else { LONG_TURN });
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

    /// The time of the next event. Events of closed sockets are dropped, and let no time pass.
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

    /// Performs the events that are due.
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

    /// The partitioned server whose connection this event concerns, if it is partitioned.
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
            // The client has given up: it answers with a reset, and the connection is never accepted.
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
        self.arrive(id); // data that is due arrived before the reset
        let Some(endpoint) = self.ends.get(&id) else { return };
        // Linux reports a different error to a socket whose peer had finished (state CLOSE-WAIT).
        let closing = endpoint.incoming.has_ended() && !endpoint.finished;
        let kind = if closing { io::ErrorKind::BrokenPipe } else { io::ErrorKind::ConnectionReset };
        self.fail(id, kind, What::Reset);
    }

    fn give_up(&mut self, id: SocketId) {
        self.fail(id, io::ErrorKind::TimedOut, What::GiveUp);
    }

    /// Ends the connection at this end. Data in flight to it is dropped.
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

    /// Crashes a host: it forgets its connections. Only its own sockets see an error.
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

    /// Delivers the events that a partition has held.
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
