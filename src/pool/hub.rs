//! The actions of a pool: it connects, closes, and calls protocols, as the table decides.
//!
//! The pool is never borrowed while user code runs: not in a callback, not when a protocol is dropped, not when a
//! message is logged.

use std::cell::{RefCell, RefMut};
use std::io;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use crate::base::error;
use crate::pool::Reuse;
use crate::pool::config::Config;
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::{Cancelled, Request, Returned, Table, Ticket};
use crate::pool::decide::turns::Step;
use crate::pool::error::Error;
use crate::pool::key::Key;
use crate::pool::member::Member;
use crate::reactor::posted::Deferred;
use crate::reactor::protocol::Protocol;
use crate::{ConnId, Cx, TimerId};

/// Prepares a connection for its next owner: resets its settings, and makes the loop call `opened`.
pub(super) fn make_ready<S>(cx: &mut Cx<'_, S>, conn: ConnId) {
    cx.core.make_like_new(conn.0);
    cx.core.reopen(conn.0);
}

/// A connection is closed this much earlier than its server would close it.
const AHEAD_OF_SERVER: Duration = Duration::from_secs(1);

const TAKEN_AWAY: &str =
    "the connection was taken away: another machine was put on it, or panicked as it gave it back";

type Machine<S> = Box<dyn Protocol<S>>;

pub(super) struct Inner<S> {
    pub(super) table: Table,
    /// The protocols, by claim. A protocol is taken out for the length of a callback.
    machines: Vec<Option<Machine<S>>>,
    /// The timer for the next time limit in the table. It may be set too early.
    timer: Option<(TimerId, Instant)>,
    /// The time at which leases are aborted.
    pub(super) deadline: Option<(TimerId, Instant)>,
    pub(super) local: Option<Rc<Deferred<S>>>,
}

impl<S> Inner<S> {
    pub(super) fn take_machine(&mut self, claim: usize) -> Option<Machine<S>> {
        self.machines.get_mut(claim)?.take()
    }

    /// Returns the protocol that was there before.
    pub(super) fn put_machine(&mut self, claim: usize, machine: Machine<S>) -> Option<Machine<S>> {
        if self.machines.len() <= claim {
            self.machines.resize_with(claim + 1, || None);
        }
        self.machines[claim].replace(machine)
    }

    pub(super) fn conn(&self, member: usize) -> Option<ConnId> {
        self.table.members.get(member)?.conn
    }
}

pub(super) struct Hub<S>(Rc<RefCell<Inner<S>>>);

impl<S> Clone for Hub<S> {
    fn clone(&self) -> Self {
        Hub(Rc::clone(&self.0))
    }
}

pub(super) struct WeakHub<S>(Weak<RefCell<Inner<S>>>);

impl<S> WeakHub<S> {
    pub(super) fn upgrade(&self) -> Option<Hub<S>> {
        self.0.upgrade().map(Hub)
    }
}

impl<S: 'static> Hub<S> {
    pub(super) fn new(config: Config) -> Self {
        Hub(Rc::new(RefCell::new(Inner {
            table: Table::new(config),
            machines: Vec::new(),
            timer: None,
            deadline: None,
            local: None,
        })))
    }

    pub(super) fn inner(&self) -> RefMut<'_, Inner<S>> {
        self.0.borrow_mut()
    }

    pub(super) fn downgrade(&self) -> WeakHub<S> {
        WeakHub(Rc::downgrade(&self.0))
    }

    /// Leases an idle connection that works, or queues the request and acts on that.
    pub(super) fn acquire(&self, cx: &mut Cx<'_, S>, request: Request<'_>, machine: Machine<S>) -> Ticket {
        let mut inner = self.inner();
        inner.local.get_or_insert_with(|| Rc::clone(&cx.core.deferred));
        if let Some(refusal) = inner.table.refusal {
            drop(inner);
            return self.refuse(cx, machine, refusal.into());
        }
        drop(inner);
        let idle = self.idle_and_fit(cx, request.key, request.key.is_fresh());
        let mut inner = self.inner();
        if let Some((member, conn)) = idle {
            let ticket = inner.table.lend(member, request);
            inner.put_machine(ticket.claim, machine);
            drop(inner);
            make_ready(cx, conn);
            self.act(cx);
            return ticket;
        }
        if inner.table.is_full_for(request.key) {
            let (waiting, held) = (inner.table.queue.len(), inner.table.held(request.now));
            drop(inner);
            self.act(cx);
            return self.refuse(cx, machine, Error::QueueFull { waiting, held });
        }
        let ticket = inner.table.wait(request);
        inner.put_machine(ticket.claim, machine);
        drop(inner);
        self.act(cx);
        ticket
    }

    /// The most recently used idle connection of a host that is usable as far as is known. Unusable ones before it are
    /// closed.
    pub(super) fn idle_and_fit(&self, cx: &mut Cx<'_, S>, key: &Key, fresh: bool) -> Option<(usize, ConnId)> {
        let now = cx.now();
        loop {
            let inner = self.inner();
            let member = inner.table.candidate(key)?;
            let conn = inner.conn(member)?;
            let farewell = inner.table.config().farewell;
            let stale = fresh.then_some(Reason::Evicted).or_else(|| inner.table.stale(member, now));
            drop(inner);
            let Some(reason) = stale.or_else(|| cx.core.unfit(conn.0, farewell)) else {
                return Some((member, conn));
            };
            self.inner().table.close(member, reason, now);
            cx.core.doom(conn.0, Ok(()));
        }
    }

    pub(super) fn refuse(&self, cx: &mut Cx<'_, S>, machine: Machine<S>, error: Error) -> Ticket {
        cx.core.refuse(machine, error.into());
        Ticket::NOBODY
    }

    /// Performs all actions that are due after a change.
    pub(super) fn act(&self, cx: &mut Cx<'_, S>) {
        let now = cx.now();
        if cx.core.shutdown_by.is_some() {
            self.fail_waiters(cx, error::shutting_down);
        }
        loop {
            let mut inner = self.inner();
            match inner.table.step(now) {
                None => break,
                Some(Step::Evict(member)) => {
                    if let Some(conn) = inner.conn(member) {
                        cx.core.doom(conn.0, Ok(()));
                    }
                }
                Some(Step::Connect(member)) => {
                    let host = inner.table.members[member].host;
                    let target = inner.table.hosts[host].key.destination().target.clone();
                    drop(inner);
                    let conn = cx.connect(&target, Member::new(self.clone(), member)).id();
                    let mut inner = self.inner();
                    let by_default = cx.core.config.connect_timeout;
                    let limit = |own: Option<Duration>| own.unwrap_or(by_default);
                    let config = inner.table.config();
                    let (look_up, connect) = (limit(config.resolve_timeout), limit(config.connect_timeout));
                    cx.core.limit_connect(conn.0, look_up, Some(connect));
                    inner.table.members[member].conn = Some(conn);
                }
            }
        }
        self.set_timer(cx);
        self.end_of_drain(cx);
        if cfg!(any(test, debug_assertions)) {
            self.inner().table.check();
        }
    }

    /// Sets the only timer, for the next time limit. A timer that is set too early stays and is set again when it
    /// fires. So a connection that is leased and released touches no timer.
    fn set_timer(&self, cx: &mut Cx<'_, S>) {
        let mut inner = self.inner();
        let due = inner.table.next_due();
        if let Some((timer, at)) = inner.timer {
            if due.is_some_and(|due| at <= due) || due.is_none() && !inner.table.members.is_empty() {
                return;
            }
            inner.timer = None;
            cx.cancel(timer);
        }
        if let Some(due) = due {
            let hub = self.clone();
            let timer = cx.after(due.saturating_duration_since(cx.now()), move |cx| hub.look(cx));
            inner.timer = Some((timer, due));
        }
    }

    /// Acts on the time limits when the timer has fired.
    fn look(&self, cx: &mut Cx<'_, S>) {
        let now = cx.now();
        self.inner().timer = None;
        loop {
            let inner = self.inner();
            let Some((ticket, waited)) = inner.table.waited_too_long(now) else { break };
            let held = inner.table.held(now);
            drop(inner);
            self.withdraw(cx, ticket, Error::WaitTimeout { waited, held });
        }
        loop {
            let Some(member) = self.inner().table.idle_too_long(now) else { break };
            self.doom(cx, member, Ok(()));
        }
        loop {
            let Some((member, held)) = self.inner().table.held_too_long(now) else { break };
            self.warn_long_hold(member, held);
        }
        self.act(cx);
    }

    fn warn_long_hold(&self, member: usize, held: Duration) {
        let lease = self.inner().table.lease(member);
        if let Some((key, site)) = lease {
            log::warn!(
                "a connection to {key}, acquired at {site}, has been held for {held:.0?}; is it released on every path? \
                 (pool::Config::long_hold sets when to warn)"
            );
        }
    }

    /// Marks a connection as closing. Its lease, if any, is over.
    pub(super) fn close_one(&self, member: usize, reason: Reason, now: Instant) {
        self.note_return(member, now);
        self.inner().table.close(member, reason, now);
    }

    /// Logs the end of a lease that was warned about.
    pub(super) fn note_return(&self, member: usize, now: Instant) {
        let inner = self.inner();
        let entry = &inner.table.members[member];
        if !entry.warned {
            return;
        }
        let (held, lease) = (now.saturating_duration_since(entry.since), inner.table.lease(member));
        drop(inner);
        if let Some((key, site)) = lease {
            log::warn!("the connection to {key}, acquired at {site}, has come back after {held:.0?}");
        }
    }

    pub(super) fn doom(&self, cx: &mut Cx<'_, S>, member: usize, result: io::Result<()>) {
        if let Some(conn) = self.inner().conn(member) {
            cx.core.doom(conn.0, result);
        }
    }

    /// Releases a connection. Its owner's protocol has been taken out before.
    pub(super) fn give_back(&self, cx: &mut Cx<'_, S>, member: usize, reuse: Reuse, against: Option<Reason>) {
        let now = cx.now();
        let Some(conn) = self.inner().conn(member) else { return };
        self.note_return(member, now);
        let dirty = (reuse == Reuse::Dirty).then_some(Reason::Dirty);
        let farewell = self.inner().table.config().farewell;
        let against = against.or(dirty).or_else(|| cx.core.unfit(conn.0, farewell));
        #[cfg(feature = "tls")]
        let against = against.or_else(|| self.was_secured(cx, member, conn).then_some(Reason::Dirty));
        let good_for = match reuse {
            Reuse::ReusableFor(time) => Some(time.saturating_sub(AHEAD_OF_SERVER)),
            Reuse::Reusable | Reuse::Dirty => None,
        };
        let mut inner = self.inner();
        inner.table.members[member].good_until = good_for.and_then(|time| now.checked_add(time));
        let returned = inner.table.give_back(member, against, now);
        drop(inner);
        match returned {
            Returned::Close => cx.core.let_go(conn.0),
            Returned::Handed => make_ready(cx, conn),
            Returned::Idle => {
                cx.core.make_like_new(conn.0);
                if let Some(time) = good_for {
                    // The pool's timer covers only the idle timeout. This connection has an earlier limit.
                    let tick = cx.core.clock.tick_after(time);
                    cx.core.set_deadline(conn.0, tick);
                }
            }
        }
        self.act(cx);
    }

    /// Whether a plain connection was upgraded to TLS, so that its key no longer describes it.
    #[cfg(feature = "tls")]
    fn was_secured(&self, cx: &mut Cx<'_, S>, member: usize, conn: ConnId) -> bool {
        let inner = self.inner();
        let host = inner.table.members[member].host;
        inner.table.hosts[host].key.destination().tls.is_none() && cx.core.is_secure(conn.0)
    }

    /// Cancels a claim. Its protocol ends with `why`; its connection goes to another claim.
    pub(super) fn withdraw(&self, cx: &mut Cx<'_, S>, ticket: Ticket, why: Error) -> bool {
        let mut inner = self.inner();
        if inner.table.find(ticket).is_none_or(|claim| claim.held) {
            return false; // it has ended, or the caller holds its lease
        }
        let Some(cancelled) = inner.table.cancel(ticket, cx.now()) else { return false };
        if let Cancelled::Running(member) = cancelled {
            drop(inner);
            self.close_one(member, Reason::Cancelled, cx.now());
            self.doom(cx, member, Err(why.into())); // the protocol ends with its connection
            return true;
        }
        let machine = inner.take_machine(ticket.claim);
        drop(inner);
        match cancelled {
            Cancelled::Connecting(member) => self.doom(cx, member, Ok(())),
            Cancelled::Undelivered(member) => {
                let reuse = self.as_it_was(member, cx.now());
                self.give_back(cx, member, reuse, None);
            }
            Cancelled::Waiting | Cancelled::Running(_) => {}
        }
        if let Some(machine) = machine {
            cx.core.refuse(machine, why.into());
        }
        self.act(cx);
        true
    }

    /// How the last user of a connection released it.
    fn as_it_was(&self, member: usize, now: Instant) -> Reuse {
        let left = self.inner().table.members[member].good_until;
        let left = left.map(|until| until.saturating_duration_since(now));
        left.map_or(Reuse::Reusable, |left| Reuse::ReusableFor(left + AHEAD_OF_SERVER))
    }

    /// A connection has disappeared without `closed`. Its place is free, and the loop acts on that later. A protocol
    /// that is still stored was not in a callback: its `closed` is called.
    pub(super) fn lost(&self, member: usize) {
        let mut inner = self.inner();
        let claim = inner.table.gone(member, Reason::Lost, Instant::now());
        let machine = claim.and_then(|claim| inner.take_machine(claim));
        let local = inner.local.clone();
        drop(inner);
        let Some(local) = local else { return };
        if local.is_gone() {
            return self.forget_machines();
        }
        let hub = self.downgrade();
        local.post(move |cx| {
            if let Some(machine) = machine {
                cx.core.refuse(machine, error::new(io::ErrorKind::ConnectionAborted, TAKEN_AWAY));
            }
            if let Some(hub) = hub.upgrade() {
                hub.act(cx);
            }
        });
    }

    /// Drops the protocols after the reactor was dropped, since none will be called any more. A waiting protocol may
    /// hold a handle on the pool, which would be a cycle.
    fn forget_machines(&self) {
        let machines = std::mem::take(&mut self.inner().machines);
        drop(machines);
    }

    pub(super) fn fail_waiters(&self, cx: &mut Cx<'_, S>, why: impl Fn() -> io::Error) {
        loop {
            let mut inner = self.inner();
            let Some(first) = inner.table.queue.front() else { return };
            let ticket = inner.table.ticket(first);
            inner.table.cancel(ticket, cx.now());
            let machine = inner.take_machine(first);
            drop(inner);
            if let Some(machine) = machine {
                cx.core.refuse(machine, why());
            }
        }
    }
}
