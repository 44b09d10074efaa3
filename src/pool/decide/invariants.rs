//! The invariants between two operations. Debug builds and tests check them after each operation, by counting
//! everything anew.

use crate::pool::decide::entry::{Counts, State};
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::Table;
use crate::pool::decide::turns::MOST_BYPASSED;

impl Table {
    /// Panics if an invariant does not hold, and names it.
    pub(in crate::pool) fn check(&self) {
        self.check_counts();
        self.check_wake_ups();
        self.check_owners();
        self.check_hosts();
    }

    /// I1: the totals are the sums over the states, and within the limits.
    fn check_counts(&self) {
        let mut counts = Counts::default();
        for (_, member) in &self.members {
            counts[member.state] += 1;
        }
        assert_eq!(self.counts, counts, "I1: the totals are the sums over the states");
        assert_eq!(self.idle.len(), counts[State::Idle], "I1: all that are idle are in the list");
        assert_eq!(self.leases.len(), counts[State::Leased], "I1: all leases are in the list");
        let warned = |member: usize| self.members.get(member).is_none_or(|member| member.warned);
        assert!(!self.unwarned.is_some_and(warned), "I1: the next lease to warn about is a lease");
        let (limit, per_host) = (self.config().limit, self.config().limit_per_host);
        assert!(limit.is_none_or(|limit| counts.all() <= limit), "I1: within the limit");
        let (mut sum, mut waiting) = ([0; 4], 0);
        for (_, host) in &self.hosts {
            assert!(per_host.is_none_or(|limit| host.counts.all() <= limit), "I1: within the host's limit");
            assert_eq!(host.idle.len(), host.counts[State::Idle], "I1: a host's idle ones are in its list");
            waiting += host.waiting.len();
            for (sum, state) in sum.iter_mut().zip(State::ALL) {
                *sum += host.counts[state];
            }
        }
        assert_eq!(sum, State::ALL.map(|state| counts[state]), "I1: the hosts' counts add up");
        assert_eq!(waiting, self.queue.len(), "I1: all waiting claims are in the queue");
        let closed: u64 = Reason::ALL.into_iter().map(|reason| self.stats.closed(reason)).sum();
        let open = counts.all() - counts[State::Closing];
        assert_eq!(self.stats.opened, closed + open as u64, "I1: every connection is closed once");
    }

    /// I2: no claim waits that could be served.
    fn check_wake_ups(&self) {
        let mut demand = 0;
        for (index, host) in &self.hosts {
            let (room, at_host) = self.room(Some(index));
            assert_eq!(host.demand, at_host.min(host.waiting.len()), "I2: what a host wants");
            demand += host.demand;
            if host.waiting.is_empty() {
                continue;
            }
            assert!(host.idle.is_empty(), "I2: {} has waiters and idle connections", host.key);
            // A place that is being freed for a waiting host counts as free.
            let nothing_to_evict = self.idle.is_empty() || self.making_room >= self.demand;
            let held_back = at_host == 0 || room == 0 && nothing_to_evict;
            assert!(held_back, "I2: {} has waiters, and room", host.key);
        }
        assert_eq!(self.demand, demand, "I2: what is wanted in all");
        let making_room = self.members.iter().filter(|(_, member)| member.makes_room).count();
        assert_eq!(self.making_room, making_room, "I2: the places that are being freed");
        for host in self.in_line().skip(self.making_room).map(|host| &self.hosts[host]) {
            let bypassed = self.handed - host.bypassed_from;
            assert!(bypassed <= MOST_BYPASSED, "I2: {} was bypassed {bypassed} times", host.key);
        }
    }

    /// I3: each lease and each connecting member has one owner. All other claims wait.
    fn check_owners(&self) {
        let mut owned = 0;
        for (index, member) in &self.members {
            let owner = member.claim.map(|claim| self.claims[claim].member);
            match member.state {
                State::Connecting | State::Leased => assert_eq!(owner, Some(Some(index)), "I3: one owner"),
                State::Idle => assert_eq!(owner, None, "I3: what is idle has no owner"),
                State::Closing => assert!(owner.is_none_or(|of| of == Some(index)), "I3: one owner"),
            }
            owned += usize::from(owner.is_some());
        }
        assert_eq!(self.claims.len(), owned + self.queue.len(), "I3: a claim owns a connection or waits");
    }

    /// I4: a host without connections and waiting claims has no entry.
    fn check_hosts(&self) {
        assert_eq!(self.hosts.len(), self.by_destination.len(), "I4: every host is found");
        let mut wanting = 0;
        for (index, host) in &self.hosts {
            assert!(host.counts.all() + host.waiting.len() > 0, "I4: {} has nothing", host.key);
            assert_eq!(self.by_destination.get(host.key.destination()), Some(&index), "I4: by its name");
            wanting += usize::from(host.demand > 0);
        }
        assert_eq!(self.turns.len(), wanting, "I2: a host that wants a place has its turn");
    }
}
