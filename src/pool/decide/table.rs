//! Who has which connection, who waits, and what is to be done next: all of a pool's decisions, without any I/O.
//!
//! A connection's state changes in one place ([`Table::set`]), where the lists and counts change with it; and whatever
//! has changed at a host, [`Table::refresh`] draws the conclusions. What is to be done about it is handed out, a step at
//! a time, by [`Table::step`].

use std::collections::HashMap;
use std::panic::Location;
use std::time::Instant;

use slab::Slab;

use crate::pool::config::Config;
use crate::pool::decide::entry::{ByAge, Claim, Counts, Host, Member, State, Turns};
use crate::pool::decide::list::{Links, List};
use crate::pool::decide::stats::{Reason, Stats};
use crate::pool::key::{Destination, Key};

/// Names a request for a connection, for [`Pool::cancel`](crate::pool::Pool::cancel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(in crate::pool) claim: usize,
    serial: u32,
}

impl Ticket {
    /// What names nobody: the ticket of somebody who was refused.
    pub(in crate::pool) const NOBODY: Ticket = Ticket { claim: usize::MAX, serial: 0 };

    pub(in crate::pool) fn parts(self) -> (usize, u32) {
        (self.claim, self.serial)
    }

    pub(in crate::pool) fn from_parts((claim, serial): (usize, u32)) -> Self {
        Ticket { claim, serial }
    }
}

/// Why nobody new is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Refusal {
    Draining,
    Closed,
}

/// A request that is to become a claim.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Request<'a> {
    pub(in crate::pool) key: &'a Key,
    pub(in crate::pool) now: Instant,
    pub(in crate::pool) site: &'static Location<'static>,
}

/// What has become of a connection that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Returned {
    /// It goes straight to the next of its host.
    Handed,
    Idle,
    /// It is to be closed.
    Close,
}

/// What a cancelled claim had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Cancelled {
    /// Nothing yet; or a connection being made, which goes to the next of its host.
    Waiting,
    /// A connection being made, which nobody else wants: it is to be given up.
    Connecting(usize),
    /// A connection that it has not been called with, nor anybody had in the hand: it comes back.
    Undelivered(usize),
    /// A connection that it is using. The claim stays until that is gone.
    Running(usize),
}

pub(in crate::pool) struct Table {
    config: Config,
    pub(in crate::pool) refusal: Option<Refusal>,
    /// Nobody will ask any more: what comes back is not kept.
    pub(in crate::pool) abandoned: bool,
    pub(in crate::pool) by_destination: HashMap<Destination, usize>,
    pub(in crate::pool) hosts: Slab<Host>,
    pub(in crate::pool) members: Slab<Member>,
    pub(in crate::pool) claims: Slab<Claim>,
    serial: u32,
    pub(in crate::pool) counts: Counts,
    /// The least recently used first.
    pub(in crate::pool) idle: List<ByAge>,
    /// The oldest first.
    pub(in crate::pool) leases: List<ByAge>,
    /// The first of the leases that has not been warned about.
    pub(in crate::pool) unwarned: Option<usize>,
    /// All who wait, the oldest first.
    pub(in crate::pool) queue: List<ByAge>,
    /// The hosts that could connect if there were a place, in the order in which it is their turn.
    pub(in crate::pool) turns: List<Turns>,
    /// The sum of the hosts' demands.
    pub(in crate::pool) demand: usize,
    /// How many places are being freed for the next in line. That takes no longer than the turn: nothing is left to send on
    /// these. What is closing for another reason may linger, so nobody is made to wait for it.
    pub(in crate::pool) making_room: usize,
    /// How many connections were handed on while somebody was in line.
    pub(in crate::pool) handed: u64,
    pub(in crate::pool) stats: Stats,
}

impl Table {
    pub(in crate::pool) fn new(config: Config) -> Self {
        Table {
            config,
            refusal: None,
            abandoned: false,
            by_destination: HashMap::new(),
            hosts: Slab::new(),
            members: Slab::new(),
            claims: Slab::new(),
            serial: 0,
            counts: Counts::default(),
            idle: List::new(),
            leases: List::new(),
            unwarned: None,
            queue: List::new(),
            turns: List::new(),
            demand: 0,
            making_room: 0,
            handed: 0,
            stats: Stats::default(),
        }
    }

    pub(in crate::pool) fn config(&self) -> &Config {
        &self.config
    }

    /// How many places are free in the pool, and at a host.
    pub(in crate::pool) fn room(&self, host: Option<usize>) -> (usize, usize) {
        let left =
            |limit: Option<usize>, counts: &Counts| limit.map_or(usize::MAX, |limit| limit - counts.all());
        let at_host = host.map_or(Counts::default(), |host| self.hosts[host].counts);
        (left(self.config.limit, &self.counts), left(self.config.limit_per_host, &at_host))
    }

    // Acquiring.

    /// The most recently used of a host's idle connections. Where others wait there is none.
    pub(in crate::pool) fn candidate(&self, key: &Key) -> Option<usize> {
        self.hosts[*self.by_destination.get(key.destination())?].idle.front()
    }

    /// Leases an idle connection.
    pub(in crate::pool) fn lend(&mut self, member: usize, request: Request<'_>) -> Ticket {
        let host = self.members[member].host;
        let ticket = self.claim(host, request);
        self.hand_out(member, ticket.claim, request.now);
        ticket
    }

    /// Gives an idle connection to a claim that has none.
    pub(in crate::pool) fn hand_out(&mut self, member: usize, claim: usize, now: Instant) {
        self.own(member, claim);
        self.set(member, State::Leased, now);
    }

    /// Whether a newcomer has nowhere to wait.
    pub(in crate::pool) fn is_full_for(&self, key: &Key) -> bool {
        let host = self.by_destination.get(key.destination()).copied();
        let (room, at_host) = self.room(host);
        // A place that is being freed beyond what others have been promised, or can be, is as good as a free one.
        let can_be_freed = !self.idle.is_empty() || self.counts[State::Closing] > self.demand;
        let waits = host.is_some_and(|host| !self.hosts[host].waiting.is_empty())
            || at_host == 0
            || room == 0 && !can_be_freed;
        waits && self.config.max_waiters.is_some_and(|most| self.queue.len() >= most)
    }

    /// Takes a newcomer in as the last of its host. What comes of it is told by [`step`](Self::step).
    pub(in crate::pool) fn wait(&mut self, request: Request<'_>) -> Ticket {
        let host = match self.by_destination.get(request.key.destination()) {
            Some(host) => *host,
            None => {
                let host = self.hosts.insert(Host::new(request.key.clone()));
                self.by_destination.insert(request.key.destination().clone(), host);
                host
            }
        };
        let ticket = self.claim(host, request);
        self.hosts[host].waiting.push_back(&mut self.claims, ticket.claim);
        self.queue.push_back(&mut self.claims, ticket.claim);
        self.refresh(host);
        ticket
    }

    fn claim(&mut self, host: usize, request: Request<'_>) -> Ticket {
        self.serial = self.serial.wrapping_add(1);
        let claim = self.claims.insert(Claim {
            serial: self.serial,
            host,
            member: None,
            since: request.now,
            site: request.site,
            one_shot: request.key.is_one_shot(),
            fresh: request.key.is_fresh(),
            held: false,
            was_held: false,
            by_age: Links::NONE,
            of_host: Links::NONE,
        });
        Ticket { claim, serial: self.serial }
    }

    pub(in crate::pool) fn own(&mut self, member: usize, claim: usize) {
        self.claims[claim].member = Some(member);
        self.members[member].claim = Some(claim);
        self.members[member].delivered = false;
    }

    /// Parts a connection from its owner, and returns which claim that was.
    fn disown(&mut self, member: usize) -> Option<usize> {
        let claim = self.members[member].claim.take()?;
        self.claims.remove(claim);
        Some(claim)
    }

    pub(in crate::pool) fn find(&self, ticket: Ticket) -> Option<&Claim> {
        self.claims.get(ticket.claim).filter(|claim| claim.serial == ticket.serial)
    }

    #[cfg(feature = "http")]
    pub(in crate::pool) fn is_connecting(&self, ticket: Ticket) -> bool {
        let member = self.find(ticket).and_then(|claim| claim.member);
        member.is_some_and(|member| self.members[member].state == State::Connecting)
    }

    pub(in crate::pool) fn ticket(&self, claim: usize) -> Ticket {
        Ticket { claim, serial: self.claims[claim].serial }
    }

    // What happens to connections.

    pub(in crate::pool) fn unqueue(&mut self, claim: usize) {
        let host = self.claims[claim].host;
        self.hosts[host].waiting.remove(&mut self.claims, claim);
        self.queue.remove(&mut self.claims, claim);
    }

    /// A connection stands, and its owner is about to be called. Returns whether it is a new one.
    pub(in crate::pool) fn deliver(&mut self, member: usize, is_used: bool, now: Instant) -> bool {
        self.stats.reused += u64::from(is_used);
        let entry = &mut self.members[member];
        entry.delivered = true;
        let is_new = entry.state == State::Connecting;
        if is_new {
            entry.born = now;
            self.set(member, State::Leased, now);
        }
        is_new
    }

    /// Whether the first who waits at a host takes only a new connection.
    fn wants_fresh(&self, host: usize) -> bool {
        self.hosts[host].waiting.front().is_some_and(|claim| self.claims[claim].fresh)
    }

    /// A connection comes back from its owner, reusable unless there is a reason against it.
    pub(in crate::pool) fn give_back(
        &mut self,
        member: usize,
        against: Option<Reason>,
        now: Instant,
    ) -> Returned {
        let host = self.members[member].host;
        let one_shot = self.members[member].claim.is_some_and(|claim| self.claims[claim].one_shot);
        self.disown(member);
        let against = against
            .or_else(|| one_shot.then_some(Reason::OneShot))
            .or_else(|| self.stale(member, now))
            .or_else(|| {
                (self.refusal.is_some() || self.abandoned && self.hosts[host].waiting.is_empty())
                    .then_some(Reason::Closed)
            })
            .or_else(|| self.wants_fresh(host).then_some(Reason::Evicted))
            .or_else(|| self.yields(host).then_some(Reason::Evicted));
        if let Some(reason) = against {
            self.close(member, reason, now);
            return Returned::Close;
        }
        self.members[member].reused = true;
        if self.give_to_first(host, member) {
            self.set(member, State::Leased, now);
            return Returned::Handed;
        }
        self.set(member, State::Idle, now);
        Returned::Idle
    }

    /// A connection is to be closed; it keeps its owner, if it has one, until it is gone. The first reason counts.
    pub(in crate::pool) fn close(&mut self, member: usize, reason: Reason, now: Instant) {
        if self.members[member].state != State::Closing {
            self.stats.count(reason);
            self.set(member, State::Closing, now);
            self.members[member].makes_room = reason == Reason::Evicted;
            self.making_room += usize::from(reason == Reason::Evicted);
        }
    }

    /// A connection's descriptor is closed. Returns the claim of its owner, if it had one; the reason counts if it was
    /// not to be closed anyway.
    pub(in crate::pool) fn gone(&mut self, member: usize, reason: Reason, now: Instant) -> Option<usize> {
        self.close(member, reason, now);
        let host = self.members[member].host;
        let claim = self.disown(member);
        self.making_room -= usize::from(self.members.remove(member).makes_room);
        self.counts[State::Closing] -= 1;
        self.hosts[host].counts[State::Closing] -= 1;
        self.refresh(host);
        claim
    }

    /// Takes a claim back.
    pub(in crate::pool) fn cancel(&mut self, ticket: Ticket, now: Instant) -> Option<Cancelled> {
        let (host, member) = (self.find(ticket)?.host, self.find(ticket)?.member);
        let Some(member) = member else {
            self.unqueue(ticket.claim);
            self.claims.remove(ticket.claim);
            self.refresh(host);
            return Some(Cancelled::Waiting);
        };
        Some(match self.members[member].state {
            State::Connecting => {
                self.disown(member);
                if self.give_to_first(host, member) {
                    Cancelled::Waiting
                } else {
                    self.close(member, Reason::Cancelled, now);
                    Cancelled::Connecting(member)
                }
            }
            State::Leased if !self.members[member].delivered && !self.claims[ticket.claim].was_held => {
                Cancelled::Undelivered(member)
            }
            _ => Cancelled::Running(member),
        })
    }

    // Keeping the books.

    fn set(&mut self, member: usize, state: State, now: Instant) {
        let entry = &mut self.members[member];
        let (host, from) = (entry.host, std::mem::replace(&mut entry.state, state));
        entry.since = now;
        entry.warned = false;
        match from {
            State::Idle => {
                self.idle.remove(&mut self.members, member);
                self.hosts[host].idle.remove(&mut self.members, member);
            }
            State::Leased => {
                if self.unwarned == Some(member) {
                    self.unwarned = self.leases.after(&self.members, member);
                }
                self.leases.remove(&mut self.members, member);
            }
            State::Connecting | State::Closing => {}
        }
        match state {
            State::Idle => {
                self.idle.push_back(&mut self.members, member);
                self.hosts[host].idle.push_front(&mut self.members, member);
            }
            State::Leased => {
                self.leases.push_back(&mut self.members, member);
                self.unwarned.get_or_insert(member);
            }
            State::Connecting | State::Closing => {}
        }
        for counts in [&mut self.counts, &mut self.hosts[host].counts] {
            counts[from] -= 1;
            counts[state] += 1;
        }
    }

    /// Works out anew how much a host wants, and forgets it when it has nothing.
    pub(in crate::pool) fn refresh(&mut self, host: usize) {
        let room = self.room(Some(host)).1;
        let entry = &mut self.hosts[host];
        let demand = room.min(entry.waiting.len());
        let before = std::mem::replace(&mut entry.demand, demand);
        self.demand = self.demand - before + demand;
        if before == 0 && demand > 0 {
            entry.bypassed_from = self.handed;
            self.turns.push_back(&mut self.hosts, host);
        } else if before > 0 && demand == 0 {
            self.turns.remove(&mut self.hosts, host);
        }
        let entry = &self.hosts[host];
        if entry.waiting.is_empty() && entry.counts.all() == 0 {
            self.by_destination.remove(entry.key.destination());
            self.hosts.remove(host);
        }
    }
}
