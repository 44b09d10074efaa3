//! The protocol of a call on its connections: it writes the request with its body ([upload]), reads the [response], and
//! decides whether to repeat or redirect.

mod response;
mod upload;

use std::io;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::call::Call;
use super::failure::{Failure, Phase, server};
use super::total::Total;
use super::{Inner, Receiver};
use crate::base::error;
use crate::http::{Attempt, Body, ContentDecoder, Headers, Redirects, Request, ResponseParser};
use crate::pool;
use crate::reactor::protocol::{End, Protocol};
use crate::{Conn, Cx, Input};
use upload::Upload;

/// The time that a body waits for a 100. RFC 9110 section 10.1.1 forbids waiting for ever, since many servers never
/// send one.
const CONTINUE_WITHIN: Duration = Duration::from_secs(1);

/// A call, across all its connections.
pub(super) struct Exchange<S: 'static> {
    /// Weak, since the session's pool owns the exchange.
    session: Weak<Inner<S>>,
    call: Call<S>,
    request: Request,
    receiver: Box<dyn Receiver<S>>,
    redirects: Redirects,
    total: Total<S>,
    /// The caller's source location.
    site: &'static Location<'static>,
    /// The request was already sent twice.
    repeated: bool,
    attempt: Attempted,
}

/// The state of one attempt, on one connection.
struct Attempted {
    parser: ResponseParser,
    opened: bool,
    reused: bool,
    upload: Upload,
    /// The time at which the body is sent even without a 100.
    continue_by: Option<Instant>,
    decoder: Option<ContentDecoder>,
    /// Received data that is not decoded yet because the call is paused.
    held_back: Option<Vec<u8>>,
    /// The server has ended its stream.
    at_end: bool,
    trailers: Headers,
    kept_for: Option<Duration>,
    /// The client ended the attempt: a time limit passed, or the receiver failed.
    ours: bool,
    outcome: Option<Outcome>,
}

enum Outcome {
    Complete,
    Redirected,
}

impl Attempted {
    fn new(request: &Request) -> Self {
        Attempted {
            parser: ResponseParser::new(request),
            opened: false,
            reused: false,
            upload: Upload::Waits,
            continue_by: None,
            decoder: None,
            held_back: None,
            at_end: false,
            trailers: Headers::new(),
            kept_for: None,
            ours: false,
            outcome: None,
        }
    }
}

impl<S: 'static> Exchange<S> {
    pub(super) fn new(
        session: &Rc<Inner<S>>,
        call: Call<S>,
        request: Request,
        receiver: Box<dyn Receiver<S>>,
        total: Total<S>,
        site: &'static Location<'static>,
    ) -> Self {
        let redirects = Redirects {
            limit: session.config.redirects.unwrap_or_default(),
            allow_downgrade: session.config.allow_downgrade,
            ..Redirects::default()
        };
        Exchange {
            session: Rc::downgrade(session),
            attempt: Attempted::new(&request),
            call,
            request,
            receiver,
            redirects,
            total,
            site,
            repeated: false,
        }
    }

    fn session(&self) -> io::Result<Rc<Inner<S>>> {
        self.session.upgrade().ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
    }

    fn holds(&self) -> bool {
        self.call.state.borrow().holds()
    }

    // Decisions on the next step.

    fn phase(&self) -> Phase {
        let attempt = &self.attempt;
        match attempt.upload {
            _ if !attempt.opened && self.call.state.borrow().unconnected => Phase::Connect,
            _ if !attempt.opened => Phase::Pool,
            _ if attempt.decoder.is_some() => Phase::Body,
            _ if attempt.parser.received() > 0 => Phase::Head,
            Upload::Done if self.call.state.borrow().unsent == 0 => Phase::FirstByte,
            _ => Phase::Send,
        }
    }

    fn may_be_repeated(&self, session: &Inner<S>) -> bool {
        let attempt = Attempt {
            reused: self.attempt.reused,
            answered: self.attempt.parser.received(),
            repeated: self.repeated,
        };
        session.config.retry && !self.attempt.ours && attempt.may_be_repeated(&self.request)
    }

    /// Sends the current request, as a repetition or after a redirect, over another connection or the one just
    /// released.
    fn send_again(mut self: Box<Self>, cx: &mut Cx<'_, S>, session: &Inner<S>) {
        let key = match session.key(self.request.url()) {
            Ok(key) if self.repeated => key.fresh(),
            Ok(key) => key,
            Err(error) => return self.fail(cx, error.into()),
        };
        self.attempt = Attempted::new(&self.request);
        let call = self.call.clone();
        let mut state = call.state.borrow_mut();
        state.url = Some(self.request.url().clone());
        (state.ticket, state.writer, state.written, state.received) = (None, None, false, 0);
        state.unsent = 0;
        drop(state);
        let site = self.site;
        let ticket = session.pool.acquire_at(cx, &key, self, site);
        call.state.borrow_mut().ticket = Some(ticket);
    }

    fn fail(self: Box<Self>, cx: &mut Cx<'_, S>, source: io::Error) {
        let (url, received) = (self.request.url(), self.attempt.parser.received());
        let failure = Failure::new(Some(url), self.phase(), received, source);
        self.end(cx, Err(failure));
    }

    fn end(mut self: Box<Self>, cx: &mut Cx<'_, S>, result: Result<Headers, Failure>) {
        let mut state = self.call.state.borrow_mut();
        (state.over, state.writer) = (true, None);
        drop(state);
        self.total.cancel(cx);
        self.receiver.end(cx, result);
    }
}

impl<S: 'static> Protocol<S> for Exchange<S> {
    fn opened(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        let session = self.session()?;
        self.attempt.opened = true;
        self.attempt.reused = conn.is_reused();
        self.call.state.borrow_mut().conn = Some(conn.id());
        conn.read_while_full(true); // the response may arrive before the whole request is sent
        let cookies = if session.config.cookies {
            session.cookies.borrow_mut().header(self.request.url(), SystemTime::now())
        } else {
            None
        };
        let mut head = Vec::with_capacity(256);
        self.request.write_head(cookies.as_deref(), &mut head);
        conn.write(&head);
        if self.request.expects_continue() {
            self.attempt.continue_by = conn.cx().now().checked_add(CONTINUE_WITHIN);
        } else {
            self.begin_upload(conn)?;
        }
        if let (Upload::Done, Body::Empty) = (&self.attempt.upload, self.request.body()) {
            conn.deadline(session.config.first_byte); // the head is small: it is sent at once when this callback returns
            return Ok(());
        }
        self.set_deadline(conn)
    }

    fn received(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> io::Result<()> {
        self.go_on(conn, input)
    }

    fn drained(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        if matches!(self.attempt.upload, Upload::Bytes(_) | Upload::Stream) {
            self.go_on_uploading(conn)?;
        }
        self.set_deadline(conn)
    }

    fn ended(&mut self, conn: &mut Conn<'_, S>, rest: &mut Input<'_>) -> io::Result<()> {
        self.attempt.at_end = true;
        self.go_on(conn, rest)
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        if std::mem::take(&mut self.call.state.borrow_mut().prompted) {
            return self.go_on(conn, &mut Input::new(&[]));
        }
        self.is_over_time(conn)
    }

    fn closed(mut self: Box<Self>, cx: &mut Cx<'_, S>, end: End) {
        let mut state = self.call.state.borrow_mut();
        (state.conn, state.begun, state.unsent) = (None, false, end.unsent);
        let verdict = state.verdict.take();
        drop(state);
        let outcome = self.attempt.outcome.take();
        if let Some(Outcome::Complete) = outcome {
            let trailers = std::mem::take(&mut self.attempt.trailers);
            return self.end(cx, Ok(trailers));
        }
        if let Some(verdict) = verdict {
            return self.fail(cx, verdict);
        }
        let Some(session) = self.session.upgrade() else {
            return self.fail(cx, io::ErrorKind::ConnectionAborted.into());
        };
        if let Some(Outcome::Redirected) = outcome {
            self.repeated = false;
            return self.send_again(cx, &session);
        }
        let source = end.result.err().unwrap_or_else(|| match cx.core.shutdown_by {
            Some(_) => error::shutting_down(),
            None => error::new(
                io::ErrorKind::ConnectionAborted,
                "another callback closed the connection before the response was complete",
            ),
        });
        if pool::Error::of(&source).is_none() && self.may_be_repeated(&session) {
            log::debug!("{} is sent again, since a reused connection was lost: {source}", self.request.url());
            self.repeated = true;
            session.retried.set(session.retried.get() + 1);
            return self.send_again(cx, &session);
        }
        self.fail(cx, source);
    }
}
