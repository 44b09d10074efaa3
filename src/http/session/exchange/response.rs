//! Reads a response: parses, decodes and delivers it.

use std::io;
use std::time::SystemTime;

use super::{Exchange, Outcome, Upload, server};
use crate::base::error;
use crate::http::body::content::PIECE;
use crate::http::{ContentDecoder, Error, Event, Head, ResponseError, Rule, keep_alive};
use crate::pool::Reuse;
use crate::{Conn, Input};

impl<S: 'static> Exchange<S> {
    pub(super) fn go_on(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> io::Result<()> {
        self.note_written();
        if let Some(held_back) = self.attempt.held_back.take() {
            self.unpack(conn, &mut Input::new(&held_back))?;
        }
        while !self.holds() {
            let event = self.attempt.parser.next(input);
            self.call.state.borrow_mut().received = self.attempt.parser.received();
            match event.map_err(|error| self.broken(error))? {
                Event::More if self.attempt.at_end => {
                    self.attempt.parser.ended().map_err(|error| self.broken(error))?;
                    return self.complete(conn, input);
                }
                Event::More => break,
                Event::Interim(head) => {
                    if head.status == 100 && matches!(self.attempt.upload, Upload::Waits) {
                        self.begin_upload(conn)?;
                    }
                }
                Event::Head(head) => {
                    self.begin_response(conn, head, input)?;
                    if self.attempt.outcome.is_some() {
                        return Ok(());
                    }
                }
                Event::Data(data) => self.unpack(conn, &mut Input::new(data))?,
                Event::Trailers(trailers) => self.attempt.trailers = trailers,
                Event::End => return self.complete(conn, input),
            }
        }
        self.call.state.borrow_mut().prompted = false;
        self.set_deadline(conn)
    }

    fn begin_response(
        &mut self,
        conn: &mut Conn<'_, S>,
        head: Head,
        input: &mut Input<'_>,
    ) -> io::Result<()> {
        let session = self.session()?;
        if session.config.cookies {
            let now = SystemTime::now();
            session.cookies.borrow_mut().store(self.request.url(), &head.headers, now);
        }
        if !matches!(self.attempt.upload, Upload::Done) {
            self.attempt.upload = Upload::Stopped;
            self.call.state.borrow_mut().writer = None;
        }
        self.attempt.kept_for = keep_alive(&head.headers);
        self.attempt.decoder = Some(ContentDecoder::of(&self.request, &head));
        if session.config.redirects.is_some() {
            let before = self.request.url().clone();
            match self.redirects.follow(&mut self.request, &head) {
                Ok(false) => {}
                Ok(true) => {
                    log::debug!("{before} redirects to {} with status {}", self.request.url(), head.status);
                    self.attempt.parser.drain(input); // a body that is not discarded to its end makes the connection not reusable
                    self.attempt.outcome = Some(Outcome::Redirected);
                    self.release(conn, input);
                    return Ok(());
                }
                Err(error) => return Err(Error::from(error).into()),
            }
        }
        self.call.state.borrow_mut().begun = true;
        let delivered = self.receiver.head(conn.cx(), &self.call, head);
        self.delivered(delivered)?;
        if self.call.state.borrow().paused {
            conn.pause(); // the call may have been paused before its response began
        }
        Ok(())
    }

    /// Decodes a piece of the body and delivers it, until the call is paused.
    fn unpack(&mut self, conn: &mut Conn<'_, S>, data: &mut Input<'_>) -> io::Result<()> {
        let Some(decoder) = &mut self.attempt.decoder else { return Ok(()) };
        if decoder.is_identity() {
            let delivered = self.receiver.data(conn.cx(), &self.call, data.take_all());
            return self.delivered(delivered);
        }
        let mut unpacked = Vec::new();
        loop {
            if self.holds() {
                self.attempt.held_back = Some(data.take_all().to_vec());
                return Ok(());
            }
            let Some(decoder) = &mut self.attempt.decoder else { return Ok(()) };
            unpacked.clear();
            let made = decoder.decode(data, &mut unpacked, PIECE);
            if !unpacked.is_empty() {
                let delivered = self.receiver.data(conn.cx(), &self.call, &unpacked);
                self.delivered(delivered)?;
            }
            if made.map_err(|rule| self.broken_rule(rule))? < PIECE {
                return Ok(());
            }
        }
    }

    fn delivered(&mut self, result: io::Result<()>) -> io::Result<()> {
        self.attempt.ours |= result.is_err();
        result
    }

    fn complete(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> io::Result<()> {
        if let Some(decoder) = &self.attempt.decoder {
            decoder.finish().map_err(|rule| self.broken_rule(rule))?;
        }
        self.attempt.outcome = Some(Outcome::Complete);
        self.release(conn, input);
        Ok(())
    }

    fn release(&mut self, conn: &mut Conn<'_, S>, input: &Input<'_>) {
        if !matches!(self.attempt.upload, Upload::Done) || conn.unsent() > 0 {
            // The response is complete. The place in the pool is not held while the server reads the rest of the
            // request.
            return conn.abort(error::new(
                io::ErrorKind::ConnectionAborted,
                "the response ended before the request was completely sent",
            ));
        }
        // The pool itself checks for bytes after the response, and logs them.
        conn.release(match self.attempt.parser.reusable(0) {
            Ok(()) => self.attempt.kept_for.map_or(Reuse::Reusable, Reuse::ReusableFor),
            Err(why) => {
                let left = input.len();
                log::debug!(
                    "a connection to {} is closed: {why}; {left} bytes unread",
                    server(self.request.url())
                );
                Reuse::Dirty
            }
        });
    }

    /// Adds the server's name to a response error.
    fn broken(&self, error: ResponseError) -> io::Error {
        error.from_server(server(self.request.url())).into()
    }

    fn broken_rule(&self, rule: Rule) -> io::Error {
        self.broken(ResponseError::new(rule, self.attempt.parser.received()))
    }
}
