//! The protocol of a pooled connection for its whole life. It forwards callbacks to the protocol that currently owns
//! the connection, and closes an idle connection that receives input.

use std::io;

use crate::base::error;
use crate::pool::Reuse;
use crate::pool::decide::entry::{Member as Entry, State};
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::Ticket;
use crate::pool::error::{Error, Phase};
use crate::pool::hooks::unexpected;
use crate::pool::hub::Hub;
use crate::reactor::conn::Loan;
use crate::reactor::protocol::{End, Protocol};
use crate::{Conn, Cx, Input};

pub(super) struct Member<S: 'static> {
    hub: Hub<S>,
    index: usize,
    /// It has left the pool.
    gone: bool,
    /// The connect has completed. If its key says so, the TLS handshake comes next.
    reached: bool,
}

impl<S: 'static> Member<S> {
    pub(super) fn new(hub: Hub<S>, index: usize) -> Self {
        Member { hub, index, gone: false, reached: false }
    }

    /// The owner of this connection, and its protocol.
    fn owner(&self) -> Option<(Ticket, bool, Box<dyn Protocol<S>>)> {
        let mut inner = self.hub.inner();
        let Entry { claim, reused, .. } = inner.table.members[self.index];
        let claim = claim?;
        let machine = inner.take_machine(claim)?;
        Some((inner.table.ticket(claim), reused, machine))
    }

    /// Calls the owner's protocol. Returns `false` if there is no owner.
    fn call(
        &self,
        conn: &mut Conn<'_, S>,
        input: Option<&mut Input<'_>>,
        callback: impl FnOnce(&mut dyn Protocol<S>, &mut Conn<'_, S>, &mut Input<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let Some((ticket, reused, mut machine)) = self.owner() else { return Ok(false) };
        let mut nothing = Input::new(&[]);
        let input = input.unwrap_or(&mut nothing);
        conn.loan = Some(Loan { claim: ticket.parts(), reused, released: None });
        let result = callback(&mut *machine, conn, input);
        let released = conn.loan.take().and_then(|loan| loan.released);
        let machine = conn.take_switched().unwrap_or(machine);
        if self.hub.inner().table.find(ticket).is_none() {
            return result.map(|()| true); // its lease was released meanwhile
        }
        if let Some(reuse) = released
            && result.is_ok()
        {
            self.release(conn, machine, reuse, input);
            return Ok(true);
        }
        let id = conn.id();
        if result.is_err() || conn.cx().core.is_ending(id.0) {
            self.hub.close_one(self.index, Reason::Lost, conn.cx().now());
        }
        let mut inner = self.hub.inner();
        // A lease may have started another protocol meanwhile. Then this call was the last for the old one.
        let (machine, before) = match inner.take_machine(ticket.claim) {
            Some(given) => (given, Some(machine)),
            None => (machine, None),
        };
        inner.put_machine(ticket.claim, machine);
        drop(inner);
        drop(before);
        result.map(|()| true)
    }

    fn release(
        &self,
        conn: &mut Conn<'_, S>,
        machine: Box<dyn Protocol<S>>,
        reuse: Reuse,
        input: &mut Input<'_>,
    ) {
        let end = End { result: Ok(()), unsent: conn.unsent(), unread: input.len() + conn.unread() };
        // A dirty release implies that input may be left.
        let unread = !input.is_empty() && reuse != Reuse::Dirty;
        let left = unread.then(|| unexpected(conn.id().0, input.take_all(), None));
        self.hub.give_back(conn.cx(), self.index, reuse, left);
        machine.closed(conn.cx(), end);
    }

    /// Begins the TLS handshake if the key asks for one. Returns whether it did.
    #[cfg(feature = "tls")]
    fn begin_tls(&self, conn: &mut Conn<'_, S>) -> io::Result<bool> {
        let inner = self.hub.inner();
        let host = inner.table.members[self.index].host;
        let Some(tls) = inner.table.hosts[host].key.destination().tls.clone() else { return Ok(false) };
        let within = inner.table.config().tls_timeout;
        drop(inner);
        conn.secure(&tls.client, &tls.name)?;
        let id = conn.id();
        if let Some(within) = within {
            conn.cx().core.limit_handshake(id.0, within);
        }
        conn.cx().core.reopen(id.0);
        Ok(true)
    }

    #[cfg(not(feature = "tls"))]
    fn begin_tls(&self, _: &mut Conn<'_, S>) -> io::Result<bool> {
        Ok(false)
    }

    /// Closes a connection without an owner.
    fn end(&self, conn: &mut Conn<'_, S>, reason: Reason) {
        self.hub.close_one(self.index, reason, conn.cx().now());
        let id = conn.id();
        conn.cx().core.doom(id.0, Ok(()));
    }
}

impl<S: 'static> Protocol<S> for Member<S> {
    /// Called after the connect, after a TLS handshake, and for every new owner.
    fn opened(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        if !std::mem::replace(&mut self.reached, true) && self.begin_tls(conn)? {
            return Ok(());
        }
        if self.hub.deliver(conn.cx(), self.index) {
            self.call(conn, None, |machine, conn, _| machine.opened(conn))?;
        }
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> io::Result<()> {
        if !self.call(conn, Some(&mut *input), |machine, conn, input| machine.received(conn, input))? {
            let farewell = self.hub.inner().table.config().farewell;
            let reason = unexpected(conn.id().0, input.take_all(), farewell);
            self.end(conn, reason);
        }
        Ok(())
    }

    fn drained(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        self.call(conn, None, |machine, conn, _| machine.drained(conn)).map(|_| ())
    }

    fn ended(&mut self, conn: &mut Conn<'_, S>, rest: &mut Input<'_>) -> io::Result<()> {
        if !self.call(conn, Some(rest), |machine, conn, rest| machine.ended(conn, rest))? {
            self.end(conn, Reason::Ended);
        }
        Ok(())
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        if !self.call(conn, None, |machine, conn, _| machine.timed_out(conn))? {
            self.end(conn, Reason::Idle);
        }
        Ok(())
    }

    fn closed(mut self: Box<Self>, cx: &mut Cx<'_, S>, mut end: End) {
        self.gone = true;
        self.hub.note_return(self.index, cx.now());
        let mut inner = self.hub.inner();
        let entry = &inner.table.members[self.index];
        let (state, delivered) = (entry.state, entry.delivered);
        let key = inner.table.hosts[entry.host].key.clone();
        let reason = match state {
            State::Connecting => Reason::Unconnected,
            State::Idle => Reason::Ended,
            State::Leased | State::Closing => Reason::Lost,
        };
        let machine =
            inner.table.gone(self.index, reason, cx.now()).and_then(|claim| inner.take_machine(claim));
        drop(inner);
        self.hub.act(cx);
        let Some(machine) = machine else { return };
        end.result = match end.result {
            Err(source) if state == State::Connecting => {
                let (phase, tried) = match (error::how_far(&source), key.destination().target.addr()) {
                    (_, addr) if self.reached => (Phase::Tls, addr.into_iter().collect()),
                    (_, Some(addr)) => (Phase::Connect, vec![addr]),
                    (Some(tried), None) => (Phase::Connect, tried),
                    (None, None) => (Phase::Resolve, Vec::new()),
                };
                Err(Error::Connect { key, phase, tried, source }.into())
            }
            Ok(()) if !delivered && cx.core.shutdown_by.is_some() => Err(error::shutting_down()),
            Ok(()) if !delivered => Err(error::new(
                io::ErrorKind::NotConnected,
                "the connection was closed before it was used: somebody who knew its id has done that",
            )),
            result => result,
        };
        machine.closed(cx, end);
    }
}

/// If a callback panics, or `switch` replaces this protocol from outside, the place is freed here.
impl<S: 'static> Drop for Member<S> {
    fn drop(&mut self) {
        if !self.gone {
            self.hub.lost(self.index);
        }
    }
}
