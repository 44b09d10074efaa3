//! The handle on a call in progress.

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

/// The number of body bytes to write before the loop gets another turn. If the kernel accepts everything at once, other
/// connections and the response must not wait for the whole body.
pub(super) const BURST: usize = 256 * 1024;

/// A handle on a call in progress. It pauses and cancels the call and writes its body. Clones refer to the same call.
/// Dropping a handle has no effect on the call.
///
/// After the end of the call, the methods do nothing; their return values tell so.
pub struct Call<S: 'static = ()> {
    pub(super) session: Weak<Inner<S>>,
    pub(super) state: Rc<RefCell<State>>,
}

/// The state that a call's handles and its exchange share.
pub(super) struct State {
    /// The URL of the current or last request.
    pub(super) url: Option<Url>,
    pub(super) ticket: Option<Ticket>,
    pub(super) conn: Option<ConnId>,
    pub(super) received: u64,
    /// The head of the response has arrived. From then on, a pause also pauses the connection.
    pub(super) begun: bool,
    pub(super) paused: bool,
    /// Another callback changed the call. A deadline of zero calls the exchange at once.
    pub(super) prompted: bool,
    /// Set while a streamed body may be written.
    pub(super) writer: Option<BodyWriter>,
    /// The number of body bytes written since the last turn of the loop.
    pub(super) burst: usize,
    /// The number of unsent request bytes at the last check, plus the bytes written since.
    pub(super) unsent: usize,
    /// The streamed body is completely written.
    pub(super) written: bool,
    /// The error with which the call was ended early.
    pub(super) verdict: Option<io::Error>,
    /// The call was ended early while it was connecting.
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

    /// Whether deliveries are held back.
    pub(super) fn holds(&self) -> bool {
        self.begun && self.paused || self.verdict.is_some()
    }
}

impl<S: 'static> Call<S> {
    /// The URL of the current request: after redirects, the last one. `None` if the caller's URL was not valid.
    pub fn url(&self) -> Option<Url> {
        self.state.borrow().url.clone()
    }

    /// The number of response bytes received, before decoding.
    pub fn received(&self) -> u64 {
        self.state.borrow().received
    }

    /// Whether the call waits for a place within the pool's limits. It can wait before the first request, and after a
    /// redirect to another server. A [paused](Self::pause) call keeps its place. So check this before pausing one call
    /// until another makes progress.
    pub fn is_waiting(&self) -> bool {
        let state = self.state.borrow();
        let (Some(session), Some(ticket)) = (self.session.upgrade(), state.ticket) else { return false };
        !state.over && state.conn.is_none() && !session.pool.is_connecting(ticket)
    }

    /// Whether the call has ended.
    pub fn is_over(&self) -> bool {
        self.state.borrow().over
    }

    fn conn<'a>(&self, cx: &'a mut Cx<'_, S>) -> Option<Conn<'a, S>> {
        let id = self.state.borrow().conn?;
        cx.conn(id)
    }

    /// Stops delivering the body. The rest stays with the server, apart from the kernel's buffers and one read. The
    /// call keeps its connection, which still counts against the pool's limits. The total time limit goes on; the other
    /// limits are suspended.
    pub fn pause(&self, cx: &mut Cx<'_, S>) {
        self.state.borrow_mut().paused = true;
        if self.state.borrow().begun
            && let Some(mut conn) = self.conn(cx)
        {
            conn.pause();
            conn.deadline(None);
        }
    }

    /// Resumes delivering the body.
    pub fn resume(&self, cx: &mut Cx<'_, S>) {
        let was_paused = std::mem::replace(&mut self.state.borrow_mut().paused, false);
        if was_paused
            && self.state.borrow().begun
            && let Some(mut conn) = self.conn(cx)
        {
            conn.resume();
            // Data that was held back is in the exchange, not in the connection's input, so the exchange must be
            // called.
            conn.deadline(Duration::ZERO);
            self.state.borrow_mut().prompted = true;
        }
    }

    /// Cancels the call. It ends with [`ConnectionAborted`](io::ErrorKind::ConnectionAborted). Returns `false` if it
    /// has already ended.
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

    /// Writes a piece of a streamed body. It takes the whole piece; bytes that the server does not accept yet are
    /// buffered.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected): the body is not [wanted](crate::http::Receiver::wanted) yet, or
    /// no longer, because the response began before the body's end.
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), with [`Error::Length`](crate::http::Error::Length) inside: the
    /// body becomes longer than announced.
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
                conn.deadline(Duration::ZERO); // `wanted` is called again in the loop's next turn
            } else if before == 0 {
                conn.deadline(within);
            }
        }
        Ok(())
    }

    /// Whether so much is buffered that the caller should wait for the next call of
    /// [`wanted`](crate::http::Receiver::wanted).
    pub fn is_full(&self, cx: &mut Cx<'_, S>) -> bool {
        self.state.borrow().burst >= BURST || self.conn(cx).is_some_and(|mut conn| conn.is_full())
    }

    /// Ends a streamed body.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write). A body that is shorter than announced ends the call.
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
            conn.deadline(Duration::ZERO); // the exchange then sets the limit for the next wait
            self.state.borrow_mut().prompted = true;
        }
        Ok(())
    }
}

fn unwanted() -> io::Error {
    error::new(
        io::ErrorKind::NotConnected,
        "the body is not wanted: wait for Receiver::wanted, and stop when the response begins",
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
