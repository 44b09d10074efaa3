//! A call under way, as its caller holds it.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Inner;
use crate::base::error;
use crate::http::{BodyWriter, Url};
use crate::pool::Ticket;
use crate::{Conn, ConnId, Cx};

/// How many bytes of a body are written before the loop is let go on: a kernel that takes all at once must not hold up
/// everything else, the answer included.
pub(super) const BURST: usize = 256 * 1024;

/// A call under way: a handle to pause and to cancel it by, and to write its body. Clones are the same call. Dropping it
/// changes nothing.
///
/// Once the call is over, all of it does nothing, and says so.
pub struct Call<S: 'static = ()> {
    pub(super) session: Weak<Inner<S>>,
    pub(super) state: Rc<RefCell<State>>,
}

/// What a call and its exchange share.
pub(super) struct State {
    /// Where the request goes, or went last.
    pub(super) url: Option<Url>,
    pub(super) ticket: Option<Ticket>,
    pub(super) conn: Option<ConnId>,
    pub(super) received: u64,
    /// The head of the answer has come: from then on, pausing holds up the connection.
    pub(super) begun: bool,
    pub(super) paused: bool,
    /// Something was done to it from outside, and it is called at once to see to that.
    pub(super) prompted: bool,
    /// While a streamed body may be written.
    pub(super) writer: Option<BodyWriter>,
    /// How many bytes of a body were written since the loop has gone on.
    pub(super) burst: usize,
    /// How many bytes of the request were unsent at the last look, and what was written since.
    pub(super) unsent: usize,
    /// The streamed body has been written whole.
    pub(super) written: bool,
    /// Why it was given up.
    pub(super) verdict: Option<io::Error>,
    /// It was given up while it was connecting.
    pub(super) unconnected: bool,
    pub(super) over: bool,
}

impl State {
    pub(super) fn new(url: Option<Url>) -> Self {
        State {
            url,
            ticket: None,
            conn: None,
            received: 0,
            begun: false,
            paused: false,
            prompted: false,
            writer: None,
            burst: 0,
            unsent: 0,
            written: false,
            verdict: None,
            unconnected: false,
            over: false,
        }
    }

    /// Whether nothing is to be delivered now.
    pub(super) fn holds(&self) -> bool {
        self.begun && self.paused || self.verdict.is_some()
    }
}

impl<S: 'static> Call<S> {
    /// Where the request goes: after redirects, the last place. `None` where that was no URL.
    pub fn url(&self) -> Option<Url> {
        self.state.borrow().url.clone()
    }

    /// How many bytes of the answer have come, as they were sent.
    pub fn received(&self) -> u64 {
        self.state.borrow().received
    }

    /// Whether it waits for a place within the pool's limits: at first, and again where a redirect leads it elsewhere. Calls
    /// that are [paused](Self::pause) keep theirs; whoever pauses one until another gets on needs to know.
    pub fn is_waiting(&self) -> bool {
        let state = self.state.borrow();
        let (Some(session), Some(ticket)) = (self.session.upgrade(), state.ticket) else { return false };
        !state.over && state.conn.is_none() && !session.pool.is_connecting(ticket)
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.state.borrow().over
    }

    fn conn<'a>(&self, cx: &'a mut Cx<'_, S>) -> Option<Conn<'a, S>> {
        let id = self.state.borrow().conn?;
        cx.conn(id)
    }

    /// Stops delivering the body: the rest stays with the server, within what the kernel's buffers and one read hold. The
    /// connection is kept, in the pool's limits too, and so is the total limit in time; the others rest.
    pub fn pause(&self, cx: &mut Cx<'_, S>) {
        self.state.borrow_mut().paused = true;
        if self.state.borrow().begun
            && let Some(mut conn) = self.conn(cx)
        {
            conn.pause();
            conn.deadline(None);
        }
    }

    /// Goes on delivering.
    pub fn resume(&self, cx: &mut Cx<'_, S>) {
        let was_paused = std::mem::replace(&mut self.state.borrow_mut().paused, false);
        if was_paused
            && self.state.borrow().begun
            && let Some(mut conn) = self.conn(cx)
        {
            conn.resume();
            // What was unpacked and not delivered is not the connection's to offer again.
            conn.deadline(Duration::ZERO);
            self.state.borrow_mut().prompted = true;
        }
    }

    /// Gives the call up: its end is told [`ConnectionAborted`](io::ErrorKind::ConnectionAborted). `false` if it is over.
    pub fn cancel(&self, cx: &mut Cx<'_, S>) -> bool {
        self.give_up(cx, error::new(io::ErrorKind::ConnectionAborted, "it was cancelled"))
    }

    pub(super) fn give_up(&self, cx: &mut Cx<'_, S>, why: io::Error) -> bool {
        let mut state = self.state.borrow_mut();
        if state.over || state.verdict.is_some() {
            return false;
        }
        (state.verdict, state.writer) = (Some(why), None);
        let ticket = state.ticket;
        drop(state);
        if let (Some(session), Some(ticket)) = (self.session.upgrade(), ticket) {
            self.state.borrow_mut().unconnected = session.pool.is_connecting(ticket);
            session.pool.cancel(cx, ticket);
        }
        true
    }

    /// Writes a piece of a streamed body: all of it, always; what the server does not take is kept.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected): the body is not [wanted](crate::http::Receiver::wanted), not yet or no
    /// more: an answer that comes before its end ends it. [`Error::Length`](crate::http::Error::Length): it is more than
    /// was announced.
    pub fn write(&self, cx: &mut Cx<'_, S>, piece: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(piece.len() + 20);
        self.state.borrow_mut().writer.as_mut().ok_or_else(unwanted)?.write(piece, &mut out)?;
        let mut state = self.state.borrow_mut();
        state.burst += out.len();
        let (burst, before) = (state.burst, state.unsent);
        state.unsent += out.len();
        drop(state);
        let within = self.session.upgrade().and_then(|session| session.config.between_bytes);
        if let Some(mut conn) = self.conn(cx) {
            conn.write(&out);
            if burst >= BURST && !conn.is_full() {
                conn.deadline(Duration::ZERO); // it is wanted again as soon as the loop has gone round
            } else if before == 0 {
                conn.deadline(within);
            }
        }
        Ok(())
    }

    /// Whether so much of the body was written that it is better to wait until it is [wanted](crate::http::Receiver::wanted)
    /// again.
    pub fn is_full(&self, cx: &mut Cx<'_, S>) -> bool {
        self.state.borrow().burst >= BURST || self.conn(cx).is_some_and(|mut conn| conn.is_full())
    }

    /// Ends a streamed body.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); a body that is shorter than was announced ends the call.
    pub fn finish(&self, cx: &mut Cx<'_, S>) -> io::Result<()> {
        let mut out = Vec::new();
        let writer = self.state.borrow_mut().writer.take().ok_or_else(unwanted)?;
        if let Err(error) = writer.finish(&mut out) {
            self.give_up(cx, error.clone().into());
            return Err(error.into());
        }
        self.state.borrow_mut().written = true;
        if let Some(mut conn) = self.conn(cx) {
            conn.write(&out);
            conn.deadline(Duration::ZERO); // for what is waited for now
            self.state.borrow_mut().prompted = true;
        }
        Ok(())
    }
}

fn unwanted() -> io::Error {
    error::new(
        io::ErrorKind::NotConnected,
        "the body is not wanted: wait until Receiver::wanted is called, and stop when the answer has come",
    )
}

impl<S: 'static> Clone for Call<S> {
    fn clone(&self) -> Self {
        Call { session: self.session.clone(), state: Rc::clone(&self.state) }
    }
}

impl<S: 'static> fmt::Debug for Call<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("url", &self.state.borrow().url).finish_non_exhaustive()
    }
}
