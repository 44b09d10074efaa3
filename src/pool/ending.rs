//! The end of a pool: closed, drained, or its last handle dropped.

use std::time::Duration;

use crate::Cx;
use crate::pool::decide::entry::State;
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::Refusal;
use crate::pool::error::Error;
use crate::pool::hub::Hub;

impl<S: 'static> Hub<S> {
    /// Closes the pool: refuses all requests without a connection, and closes idle connections.
    pub(super) fn close(&self, cx: &mut Cx<'_, S>, refusal: Refusal) {
        let earlier = self.inner().table.refusal.replace(refusal);
        if earlier == Some(Refusal::Closed) {
            self.inner().table.refusal = earlier;
        }
        self.fail_waiters(cx, || Error::from(refusal).into());
        for member in self.all(State::Connecting) {
            let ticket = {
                let inner = self.inner();
                inner.table.members[member].claim.map(|claim| inner.table.ticket(claim))
            };
            if let Some(ticket) = ticket {
                self.withdraw(cx, ticket, refusal.into());
            }
        }
        self.close_idle(cx);
        self.act(cx);
    }

    /// Drains the pool: as `close`, and aborts the leases that last longer than `within`.
    pub(super) fn drain(&self, cx: &mut Cx<'_, S>, within: Duration) {
        self.close(cx, Refusal::Draining);
        let by = cx.now().checked_add(within);
        let mut inner = self.inner();
        let sooner = match (by, inner.deadline) {
            (Some(by), Some((_, set))) => by < set,
            (by, _) => by.is_some(),
        };
        if sooner && !inner.table.members.is_empty() {
            if let Some((timer, _)) = inner.deadline.take() {
                cx.cancel(timer);
            }
            let hub = self.clone();
            let timer = cx.after(within, move |cx| hub.abort_leases(cx));
            inner.deadline = by.map(|by| (timer, by));
        }
    }

    fn abort_leases(&self, cx: &mut Cx<'_, S>) {
        self.inner().deadline = None;
        for member in self.all(State::Leased) {
            self.close_one(member, Reason::Closed, cx.now());
            self.doom(cx, member, Err(Error::Draining.into()));
        }
        self.act(cx);
    }

    /// Completes a drain when the last connection is gone.
    pub(super) fn end_of_drain(&self, cx: &mut Cx<'_, S>) {
        let mut inner = self.inner();
        if inner.table.refusal == Some(Refusal::Draining) && inner.table.members.is_empty() {
            inner.table.refusal = Some(Refusal::Closed);
        }
        if inner.table.members.is_empty()
            && let Some((timer, _)) = inner.deadline.take()
        {
            cx.cancel(timer);
        }
    }

    /// The last handle was dropped. No request can follow, so no idle connection is kept.
    pub(super) fn abandon(&self, cx: &mut Cx<'_, S>) {
        self.inner().table.abandoned = true;
        self.close_idle(cx);
        self.act(cx);
    }

    fn close_idle(&self, cx: &mut Cx<'_, S>) {
        loop {
            let mut inner = self.inner();
            let Some(member) = inner.table.idle.front() else { return };
            inner.table.close(member, Reason::Closed, cx.now());
            drop(inner);
            self.doom(cx, member, Ok(()));
        }
    }

    fn all(&self, state: State) -> Vec<usize> {
        let inner = self.inner();
        let members = inner.table.members.iter();
        members.filter(|(_, member)| member.state == state).map(|(member, _)| member).collect()
    }
}
