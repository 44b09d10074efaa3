//! Whose turn it is when there are fewer places than are wanted.
//!
//! Hosts take turns, those that could connect if there were a place: the host that has waited longest comes first, since it
//! was last served or, if it had nobody waiting then, since somebody has. It is not the one whose waiter is the oldest: a
//! host that was flooded before the others came would have all the places until its flood is over, however often they are
//! freed. So it delays each of the others by its turn, and one at its own limit delays nobody.

use std::time::Instant;

use crate::pool::decide::entry::{Member, State};
use crate::pool::decide::list::Links;
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::Table;

/// How often a waiter that is held back by the total limit only may see a connection pass from one user of another host
/// to the next. Handing on saves a connect; doing nothing else would let a busy host keep all the places for ever.
pub(in crate::pool) const MOST_BYPASSED: u64 = 8;

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum Step {
    /// Connect this new member.
    Connect(usize),
    /// Close this one, which was idle.
    Evict(usize),
}

impl Table {
    /// What is to be done next: to be asked after every change, until there is nothing.
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
        // One for each who wants a place, and no more.
        if self.demand > self.making_room
            && let Some(member) = self.idle.front()
        {
            self.close(member, Reason::Evicted, now);
            return Some(Step::Evict(member));
        }
        None
    }

    /// Gives a connection to the first who waits at its host.
    pub(in crate::pool) fn give_to_first(&mut self, host: usize, member: usize) -> bool {
        let Some(claim) = self.hosts[host].waiting.front() else { return false };
        self.unqueue(claim);
        self.own(member, claim);
        // Whoever is first now has not been bypassed yet, and its host has had its turn.
        if self.hosts[host].demand > 0 {
            self.turns.remove(&mut self.hosts, host);
            self.turns.push_back(&mut self.hosts, host);
            self.hosts[host].bypassed_from = self.handed;
        }
        self.refresh(host);
        true
    }

    /// Whether a connection that could be handed on within its host has to make room for another host.
    pub(in crate::pool) fn yields(&mut self, host: usize) -> bool {
        if self.hosts[host].waiting.is_empty() {
            return false;
        }
        // All who are before this one in line have their places.
        let Some(next) = self.in_line().nth(self.making_room) else { return false };
        // Those behind it were bypassed no more often.
        let is_overdue = self.handed - self.hosts[next].bypassed_from >= MOST_BYPASSED;
        self.handed += u64::from(!is_overdue);
        is_overdue && next != host // if it is this host's own turn, handing on is what is due
    }

    /// The hosts whose turn it is, one after the other. The places that are being made go to as many of the first.
    pub(in crate::pool) fn in_line(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(self.turns.front(), |host| self.turns.after(&self.hosts, *host))
    }
}
