//! Time limits: requests that waited too long, connections idle too long, leases held too long.

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::pool::decide::entry::State;
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::{Table, Ticket};
use crate::pool::error::Held;
use crate::pool::key::Key;

impl Table {
    /// The time of the next check. Each list is in the order of age, so its first entry is the next one due.
    pub(in crate::pool) fn next_due(&self) -> Option<Instant> {
        let config = self.config();
        let after =
            |since: Instant, limit: Option<Duration>| limit.and_then(|limit| since.checked_add(limit));
        let idle = self.idle.front().and_then(|first| after(self.members[first].since, config.idle_timeout));
        let lease = self.unwarned.and_then(|first| after(self.members[first].since, config.long_hold));
        let waiter =
            self.queue.front().and_then(|first| after(self.claims[first].since, config.wait_timeout));
        idle.into_iter().chain(lease).chain(waiter).min()
    }

    /// The reason against leasing a connection that still works.
    pub(in crate::pool) fn stale(&self, member: usize, now: Instant) -> Option<Reason> {
        let member = &self.members[member];
        let past = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        if self.config().max_lifetime.is_some_and(|most| past(member.born, most)) {
            Some(Reason::Lifetime)
        } else if member.good_until.is_some_and(|until| until <= now)
            || member.state == State::Idle
                && self.config().idle_timeout.is_some_and(|most| past(member.since, most))
        {
            Some(Reason::Idle)
        } else {
            None
        }
    }

    /// The next connection that was idle too long. It is closing after this call.
    pub(in crate::pool) fn idle_too_long(&mut self, now: Instant) -> Option<usize> {
        let (first, limit) = (self.idle.front()?, self.config().idle_timeout?);
        if now.saturating_duration_since(self.members[first].since) < limit {
            return None;
        }
        self.close(first, Reason::Idle, now);
        Some(first)
    }

    /// The next request that waited too long, and its waiting time.
    pub(in crate::pool) fn waited_too_long(&self, now: Instant) -> Option<(Ticket, Duration)> {
        let (first, limit) = (self.queue.front()?, self.config().wait_timeout?);
        let waited = now.saturating_duration_since(self.claims[first].since);
        (waited >= limit).then(|| (self.ticket(first), waited))
    }

    /// The next lease that is held too long, and its time. Each lease is returned once.
    pub(in crate::pool) fn held_too_long(&mut self, now: Instant) -> Option<(usize, Duration)> {
        let (first, limit) = (self.unwarned?, self.config().long_hold?);
        let held = now.saturating_duration_since(self.members[first].since);
        if held < limit {
            return None;
        }
        self.members[first].warned = true;
        self.unwarned = self.leases.after(&self.members, first);
        Some((first, held))
    }

    /// The current use of the connections.
    pub(in crate::pool) fn held(&self, now: Instant) -> Held {
        let oldest = self.leases.front().map(|first| &self.members[first]);
        Held {
            leases: self.counts[State::Leased],
            connecting: self.counts[State::Connecting],
            oldest: oldest.and_then(|member| {
                let site = self.claims[member.claim?].site;
                Some((now.saturating_duration_since(member.since), site))
            }),
        }
    }

    /// The destination of a leased connection, and the place where it was acquired.
    pub(in crate::pool) fn lease(&self, member: usize) -> Option<(Key, &'static Location<'static>)> {
        let member = &self.members[member];
        let site = self.claims[member.claim?].site;
        Some((self.hosts[member.host].key.clone(), site))
    }
}
