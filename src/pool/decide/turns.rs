//! The order in which hosts get places when there are too few.
//!
//! The hosts that could connect if there were a place take turns. The host that has waited longest is next, counted
//! from when it was last served, or from its first waiting claim if it had none then. The age of the claims does not
//! count: otherwise a host that was flooded with requests before the others came would get every place until its flood
//! was over. With turns, it delays each other host by one place. A host at its own limit delays no other.

use std::time::Instant;

use crate::pool::decide::entry::{Member, State};
use crate::pool::decide::list::Links;
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::Table;

/// The maximum number of times that a connection passes to the next claim of its own host while another host waits only
/// for the total limit. Passing a connection on saves a connect, but without this limit a busy host would keep all
/// places for ever.
pub(in crate::pool) const MOST_BYPASSED: u64 = 8;

/// The next action for the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Step {
    /// Connect this new member.
    Connect(usize),
    /// Close this idle member.
    Evict(usize),
}

impl Table {
    /// Returns the next action. Call it after every change, until it returns `None`.
    pub(in crate::pool) fn step(&mut self, now: Instant) -> Option<Step> {
        let host = self.turns.front()?;
        if self.room(None).0 > 0 {
            let member = self.members.insert(Member {
                host,
                state: State::Connecting,
                claim: None,
                delivered: false,
                reused: false,
                born: now,
                since: now,
                warned: false,
                conn: None,
                makes_room: false,
                good_until: None,
                by_age: Links::NONE,
                of_host: Links::NONE,
            });
            self.stats.opened += 1;
            self.counts[State::Connecting] += 1;
            self.hosts[host].counts[State::Connecting] += 1;
            self.give_to_first(host, member);
            return Some(Step::Connect(member));
        }
        // Evict one connection for each claim that wants a place, and no more.
        if self.demand > self.making_room
            && let Some(member) = self.idle.front()
        {
            self.close(member, Reason::Evicted, now);
            return Some(Step::Evict(member));
        }
        None
    }

    /// Gives a connection to the first waiting claim of its host.
    pub(in crate::pool) fn give_to_first(&mut self, host: usize, member: usize) -> bool {
        let Some(claim) = self.hosts[host].waiting.front() else { return false };
        self.unqueue(claim);
        self.own(member, claim);
        // The new first claim has not been bypassed yet, and its host has had its turn.
        if self.hosts[host].demand > 0 {
            self.turns.remove(&mut self.hosts, host);
            self.turns.push_back(&mut self.hosts, host);
            self.hosts[host].bypassed_from = self.handed;
        }
        self.refresh(host);
        true
    }

    /// Whether a released connection must make room for another host, instead of passing to the next claim of its own.
    pub(in crate::pool) fn yields(&mut self, host: usize) -> bool {
        if self.hosts[host].waiting.is_empty() {
            return false;
        }
        // The hosts before this one in line already have places being freed for them.
        let Some(next) = self.in_line().nth(self.making_room) else { return false };
        // The hosts behind it were bypassed at most as often.
        let is_overdue = self.handed - self.hosts[next].bypassed_from >= MOST_BYPASSED;
        self.handed += u64::from(!is_overdue);
        is_overdue && next != host // on this host's own turn, its next claim gets the connection
    }

    /// The hosts in the order of their turns. The places being freed go to the first of them.
    pub(in crate::pool) fn in_line(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(self.turns.front(), |host| self.turns.after(&self.hosts, *host))
    }
}
