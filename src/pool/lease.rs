//! A lease: a connection that the caller holds without a protocol.

use std::fmt;
use std::io;
use std::rc::Rc;

use crate::pool::Reuse;
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::Ticket;
use crate::pool::error::Error;
use crate::pool::hub::{Hub, WeakHub};
use crate::reactor::posted::Deferred;
use crate::reactor::protocol::{End, Protocol};
use crate::{Conn, ConnId, Cx, Input};

/// A leased connection without a protocol, from [`Pool::acquire_lease`](crate::pool::Pool::acquire_lease).
/// [Release](Self::release) it, or [start](Self::start) a protocol on it.
///
/// Until then the connection is not read: the peer's bytes stay in the kernel. Dropping the lease closes the connection
/// and logs a warning with the place where it was acquired.
#[must_use = "a lease that is dropped is closed, and warned about: release it, or start a machine on it"]
pub struct Lease<S: 'static = ()> {
    hub: Hub<S>,
    ticket: Ticket,
    conn: ConnId,
    deferred: Rc<Deferred<S>>,
    /// Neither released nor started.
    open: bool,
}

impl<S: 'static> Lease<S> {
    /// The id of the connection.
    pub fn id(&self) -> ConnId {
        self.conn
    }

    /// The connection. `None` if it was lost.
    pub fn conn<'a>(&self, cx: &'a mut Cx<'_, S>) -> Option<Conn<'a, S>> {
        cx.conn(self.conn)
    }

    /// Starts a protocol on the connection. The loop calls its `opened` next; the protocol [releases](Conn::release)
    /// the connection at its end. If the connection was lost meanwhile, the loop calls only `closed`.
    pub fn start(mut self, cx: &mut Cx<'_, S>, protocol: impl Protocol<S> + 'static) {
        self.open = false;
        self.hub.start(cx, self.ticket, Box::new(protocol));
    }

    /// Returns the connection to the pool. It is reused only if it is clean: no output to send, no input to read, and
    /// neither side has finished.
    pub fn release(mut self, cx: &mut Cx<'_, S>, reuse: Reuse) {
        self.open = false;
        self.hub.release(cx, self.ticket, reuse);
    }
}

impl<S: 'static> Drop for Lease<S> {
    fn drop(&mut self) {
        if self.open {
            // Weak, since the pool may own the queue in which this closure waits. The connection itself keeps the pool
            // alive.
            let (hub, ticket) = (self.hub.downgrade(), self.ticket);
            self.deferred.post(move |cx| {
                if let Some(hub) = hub.upgrade() {
                    hub.leaked(cx, ticket);
                }
            });
        }
    }
}

impl<S: 'static> fmt::Debug for Lease<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("conn", &self.conn).finish_non_exhaustive()
    }
}

type Callback<S> = Box<dyn FnOnce(&mut Cx<'_, S>, Result<Lease<S>, io::Error>)>;

/// The protocol of a leased connection. It passes the lease to the callback, and then does nothing.
pub(super) struct Handover<S: 'static> {
    /// Weak, since the pool owns this.
    hub: WeakHub<S>,
    callback: Option<Callback<S>>,
}

impl<S: 'static> Handover<S> {
    pub(super) fn new(
        hub: &Hub<S>,
        callback: impl FnOnce(&mut Cx<'_, S>, Result<Lease<S>, io::Error>) + 'static,
    ) -> Self {
        Handover { hub: hub.downgrade(), callback: Some(Box::new(callback)) }
    }
}

impl<S: 'static> Protocol<S> for Handover<S> {
    fn opened(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        conn.pause();
        if let (Some(loan), Some(hub)) = (&conn.loan, self.hub.upgrade())
            && let Some(callback) = self.callback.take()
        {
            let ticket = Ticket::from_parts(loan.claim);
            hub.hold(ticket, true);
            let (conn_id, deferred) = (conn.id(), Rc::clone(&conn.cx().core.deferred));
            callback(conn.cx(), Ok(Lease { hub, ticket, conn: conn_id, deferred, open: true }));
        }
        Ok(())
    }

    /// Another callback resumed the connection. The input stays for the protocol that the lease starts.
    fn received(&mut self, _: &mut Conn<'_, S>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, S>, end: End) {
        if let Some(callback) = self.callback {
            let error = end.result.err().unwrap_or_else(|| Error::Closed.into());
            callback(cx, Err(error));
        }
    }
}

impl<S: 'static> Hub<S> {
    fn hold(&self, ticket: Ticket, held: bool) {
        if let Some(claim) = self.inner().table.claims.get_mut(ticket.claim) {
            claim.held = held;
            claim.was_held = true;
        }
    }

    fn member_of(&self, ticket: Ticket) -> Option<usize> {
        self.inner().table.find(ticket)?.member
    }

    fn start(&self, cx: &mut Cx<'_, S>, ticket: Ticket, machine: Box<dyn Protocol<S>>) {
        let Some(member) = self.member_of(ticket) else {
            let lost = crate::base::error::new(
                io::ErrorKind::NotConnected,
                "the connection of this lease was lost before a protocol was started on it",
            );
            return cx.core.refuse(machine, lost);
        };
        self.hold(ticket, false);
        let mut inner = self.inner();
        inner.table.members[member].delivered = false;
        let (before, conn) = (inner.put_machine(ticket.claim, machine), inner.conn(member));
        drop(inner);
        drop(before);
        if let Some(conn) = conn {
            if let Some(mut conn) = cx.conn(conn) {
                conn.resume();
            }
            cx.core.reopen(conn.0);
        }
    }

    fn release(&self, cx: &mut Cx<'_, S>, ticket: Ticket, reuse: Reuse) {
        let Some(member) = self.member_of(ticket) else { return };
        let machine = self.inner().take_machine(ticket.claim);
        drop(machine);
        self.give_back(cx, member, reuse, None);
    }

    fn leaked(&self, cx: &mut Cx<'_, S>, ticket: Ticket) {
        let Some(member) = self.member_of(ticket) else { return };
        let lease = self.inner().table.lease(member);
        if let Some((key, site)) = lease {
            log::warn!(
                "a lease of a connection to {key}, acquired at {site}, was dropped: release it on every path; its \
                 connection is closed"
            );
        }
        self.close_one(member, Reason::Leaked, cx.now());
        self.doom(cx, member, Ok(()));
        self.act(cx);
    }
}
