//! The last check of a reused connection, just before its next protocol is called. Other work of the loop can lie
//! between the decision to reuse a connection and that call. So the socket is asked at this point, and only here.

use std::time::Instant;

use crate::Cx;
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::Table;
use crate::pool::hub::{Hub, make_ready};

impl Table {
    /// Whether this connection is about to be reused by a protocol that has sent nothing on it yet.
    pub(super) fn is_to_be_looked_at(&self, member: usize) -> bool {
        let entry = &self.members[member];
        let said_nothing = entry.claim.is_some_and(|claim| !self.claims[claim].was_held);
        entry.reused && !entry.delivered && said_nothing
    }

    /// Closes a connection before its owner was called. Returns the claim of that owner, which is to get another
    /// connection.
    pub(super) fn take_back(&mut self, member: usize, reason: Reason, now: Instant) -> Option<usize> {
        let claim = self.members[member].claim.take()?;
        self.claims[claim].member = None;
        self.close(member, reason, now);
        Some(claim)
    }

    /// Puts a claim first in its host's queue again. Its waiting time starts anew, since the queue of all waiting
    /// requests is ordered by that time.
    pub(super) fn wait_first(&mut self, claim: usize, now: Instant) {
        let host = self.claims[claim].host;
        self.claims[claim].since = now;
        self.hosts[host].waiting.push_front(&mut self.claims, claim);
        self.queue.push_back(&mut self.claims, claim);
        self.refresh(host);
    }
}

impl<S: 'static> Hub<S> {
    /// Notes that a connection's owner is about to be called, and acts on that. If the connection turns out unusable,
    /// it is closed, its owner gets another connection without notice, and this returns `false`.
    pub(super) fn deliver(&self, cx: &mut Cx<'_, S>, member: usize) -> bool {
        let mut inner = self.inner();
        let is_used = inner.table.is_to_be_looked_at(member);
        if let Some(conn) = inner.conn(member).filter(|_| is_used) {
            let farewell = inner.table.config().farewell;
            drop(inner);
            if let Some(reason) = cx.core.unfit_now(conn.0, farewell) {
                self.note_return(member, cx.now());
                self.replace(cx, member, reason);
                cx.core.doom(conn.0, Ok(()));
                self.act(cx);
                return false;
            }
            inner = self.inner();
        }
        let is_new = inner.table.deliver(member, is_used, cx.now());
        drop(inner);
        if is_new {
            self.act(cx); // the new lease has a time limit
        }
        true
    }

    fn replace(&self, cx: &mut Cx<'_, S>, member: usize, reason: Reason) {
        let now = cx.now();
        let mut inner = self.inner();
        let Some(claim) = inner.table.take_back(member, reason, now) else { return };
        if let Some(refusal) = inner.table.refusal {
            inner.table.claims.remove(claim);
            let machine = inner.take_machine(claim);
            drop(inner);
            if let Some(machine) = machine {
                self.refuse(cx, machine, refusal.into());
            }
            return;
        }
        let key = inner.table.hosts[inner.table.claims[claim].host].key.clone();
        drop(inner);
        match self.idle_and_fit(cx, &key, false) {
            Some((other, conn)) => {
                self.inner().table.hand_out(other, claim, now);
                make_ready(cx, conn);
            }
            None => self.inner().table.wait_first(claim, now),
        }
    }
}
