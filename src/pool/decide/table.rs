//! The table of connections and requests: it makes all of a pool's decisions, without I/O.
//!
//! Only [`Table::set`] changes a connection's state, together with the lists and counts. After each change at a host,
//! [`Table::refresh`] updates its demand. [`Table::step`] returns the hub's next action.

use std::collections::HashMap;
use std::panic::Location;
use std::time::Instant;

use slab::Slab;

use crate::pool::config::Config;
use crate::pool::decide::entry::{ByAge, Claim, Counts, Host, Member, State, Turns};
use crate::pool::decide::list::{Links, List};
use crate::pool::decide::stats::{Reason, Stats};
use crate::pool::key::{Destination, Key};

/// Identifies a request for a connection, for [`Pool::cancel`](crate::pool::Pool::cancel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(in crate::pool) claim: usize,
    serial: u32,
}

impl Ticket {
    /// The ticket of a refused request. It matches no claim.
    pub(in crate::pool) const NOBODY: Ticket = Ticket { claim: usize::MAX, serial: 0 };

    pub(in crate::pool) fn parts(self) -> (usize, u32) {
        (self.claim, self.serial)
    }

    pub(in crate::pool) fn from_parts((claim, serial): (usize, u32)) -> Self {
        Ticket { claim, serial }
    }
}

/// The reason for refusing new requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Refusal {
    Draining,
    Closed,
}

/// A request that is about to become a claim.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Request<'a> {
    pub(in crate::pool) key: &'a Key,
    pub(in crate::pool) now: Instant,
    pub(in crate::pool) site: &'static Location<'static>,
}

/// The next state of a released connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Returned {
    /// Leased to the next claim of its host.
    Handed,
    Idle,
    /// To be closed.
    Close,
}

/// The situation of a claim when it was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Cancelled {
    /// It had no connection. Or its connecting member went to the next claim of its host.
    Waiting,
    /// It had a connecting member that no other claim needs. The member is to be closed.
    Connecting(usize),
    /// It had a connection on which it was not called yet, nor had a `Lease`. The connection is to be released.
    Undelivered(usize),
    /// It uses a connection. The claim stays until the connection is gone.
    Running(usize),
}

pub(in crate::pool) struct Table {
    config: Config,
    pub(in crate::pool) refusal: Option<Refusal>,
    /// The last handle is gone, so no request can follow: a released connection is not kept.
    pub(in crate::pool) abandoned: bool,
    pub(in crate::pool) by_destination: HashMap<Destination, usize>,
    pub(in crate::pool) hosts: Slab<Host>,
    pub(in crate::pool) members: Slab<Member>,
    pub(in crate::pool) claims: Slab<Claim>,
    serial: u32,
    pub(in crate::pool) counts: Counts,
    /// Idle connections, least recently used first.
    pub(in crate::pool) idle: List<ByAge>,
    /// Leases, oldest first.
    pub(in crate::pool) leases: List<ByAge>,
    /// The oldest lease that has not been warned about.
    pub(in crate::pool) unwarned: Option<usize>,
    /// All waiting claims, oldest first.
    pub(in crate::pool) queue: List<ByAge>,
    /// The hosts that could connect if there were a place, in the order of their turns.
    pub(in crate::pool) turns: List<Turns>,
    /// The sum of the hosts' demands.
    pub(in crate::pool) demand: usize,
    /// The number of places being freed for the hosts in line. These connections have no output left, so they close
    /// within the turn. Other closing connections may linger and do not count.
    pub(in crate::pool) making_room: usize,
    /// The number of connections that passed to the next claim of their own host while a host was in line.
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

    /// The number of free places in the pool and at a host.
    pub(in crate::pool) fn room(&self, host: Option<usize>) -> (usize, usize) {
        let left =
            |limit: Option<usize>, counts: &Counts| limit.map_or(usize::MAX, |limit| limit - counts.all());
        let at_host = host.map_or(Counts::default(), |host| self.hosts[host].counts);
        (left(self.config.limit, &self.counts), left(self.config.limit_per_host, &at_host))
    }

    // Acquiring.

    /// The most recently used idle connection of a host. A host with waiting claims has none.
    pub(in crate::pool) fn candidate(&self, key: &Key) -> Option<usize> {
        self.hosts[*self.by_destination.get(key.destination())?].idle.front()
    }

    /// Leases an idle connection to a new claim.
    pub(in crate::pool) fn lend(&mut self, member: usize, request: Request<'_>) -> Ticket {
        let host = self.members[member].host;
        let ticket = self.claim(host, request);
        self.hand_out(member, ticket.claim, request.now);
        ticket
    }

    /// Leases an idle connection to an existing claim.
    pub(in crate::pool) fn hand_out(&mut self, member: usize, claim: usize, now: Instant) {
        self.own(member, claim);
        self.set(member, State::Leased, now);
    }

    /// Whether a new request would have to wait while the queue is full.
    pub(in crate::pool) fn is_full_for(&self, key: &Key) -> bool {
        let host = self.by_destination.get(key.destination()).copied();
        let (room, at_host) = self.room(host);
        // A place that can be freed counts as free, if it is not promised to another claim.
        let can_be_freed = !self.idle.is_empty() || self.counts[State::Closing] > self.demand;
        let waits = host.is_some_and(|host| !self.hosts[host].waiting.is_empty())
            || at_host == 0
            || room == 0 && !can_be_freed;
        waits && self.config.max_waiters.is_some_and(|most| self.queue.len() >= most)
    }

    /// Adds a request as the last of its host. Then call [`step`](Self::step) for the actions that follow.
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

    /// Removes a connection's owner. Returns its claim.
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

    // The life of a connection.

    pub(in crate::pool) fn unqueue(&mut self, claim: usize) {
        let host = self.claims[claim].host;
        self.hosts[host].waiting.remove(&mut self.claims, claim);
        self.queue.remove(&mut self.claims, claim);
    }

    /// Notes that a connection is open and that its owner is about to be called. Returns whether it is a new one.
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

    /// Whether the first waiting claim of a host accepts only a new connection.
    fn wants_fresh(&self, host: usize) -> bool {
        self.hosts[host].waiting.front().is_some_and(|claim| self.claims[claim].fresh)
    }

    /// Releases a connection from its owner. It is reused unless there is a reason against it.
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

    /// Marks a connection as closing. It keeps its owner until it is gone. Only the first reason counts.
    pub(in crate::pool) fn close(&mut self, member: usize, reason: Reason, now: Instant) {
        if self.members[member].state != State::Closing {
            self.stats.count(reason);
            self.set(member, State::Closing, now);
            self.members[member].makes_room = reason == Reason::Evicted;
            self.making_room += usize::from(reason == Reason::Evicted);
        }
    }

    /// Removes a connection whose descriptor is closed. Returns the claim of its owner. `reason` counts if the
    /// connection was not yet closing.
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

    /// Cancels a claim.
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

    /// Recomputes what a host wants. Removes a host that has no connection and no claim.
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
