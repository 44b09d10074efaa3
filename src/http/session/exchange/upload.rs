//! Writes the request's body as the server accepts it, and sets the time limits.

use std::io;
use std::time::Duration;

use super::{Exchange, Phase};
use crate::Conn;
use crate::base::error;
use crate::http::body::content::PIECE;
use crate::http::session::call::BURST;
use crate::http::{Body, BodyWriter};

/// The progress of the request's body.
pub(super) enum Upload {
    /// Waiting for a 100.
    Waits,
    /// The body is in memory, and this many bytes of it are written.
    Bytes(usize),
    /// The receiver writes the body.
    Stream,
    /// The whole body is written. Some of it may not be sent yet.
    Done,
    /// The response began first.
    Stopped,
}

impl<S: 'static> Exchange<S> {
    pub(super) fn begin_upload(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        match self.request.body() {
            Body::Empty => self.written(),
            Body::Bytes(_) => {
                self.attempt.upload = Upload::Bytes(0);
                self.go_on_uploading(conn)?;
            }
            Body::Stream(_) => {
                self.attempt.upload = Upload::Stream;
                self.call.state.borrow_mut().writer = Some(BodyWriter::new(&self.request));
                self.go_on_uploading(conn)?;
            }
        }
        Ok(())
    }

    /// Continues after the output has drained, or in the turn after a burst.
    pub(super) fn go_on_uploading(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        self.call.state.borrow_mut().burst = 0;
        if let (Upload::Bytes(at), Body::Bytes(bytes)) = (&mut self.attempt.upload, self.request.body()) {
            let most = bytes.len().min(*at + BURST);
            while *at < most && !conn.is_full() {
                let piece = &bytes[*at..most.min(*at + PIECE)];
                conn.write(piece);
                *at += piece.len();
            }
            if *at == bytes.len() {
                self.written();
            }
        }
        let wanted = self.call.state.borrow().writer.is_some();
        if wanted && let Err(error) = self.receiver.wanted(conn.cx(), &self.call) {
            self.attempt.ours = true;
            return Err(error);
        }
        self.note_written();
        self.call.state.borrow_mut().prompted = false; // this call has handled the prompt
        Ok(())
    }

    fn written(&mut self) {
        self.attempt.upload = Upload::Done;
        self.attempt.parser.request_written();
    }

    /// Another callback may have finished the streamed body.
    pub(super) fn note_written(&mut self) {
        if matches!(self.attempt.upload, Upload::Stream) && self.call.state.borrow().written {
            self.written();
        }
    }

    /// Sets the time limit for the current wait.
    pub(super) fn set_deadline(&self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        if self.call.state.borrow().prompted {
            return Ok(()); // the exchange is called at once anyway
        }
        let session = self.session()?;
        let (first_byte, between_bytes) = (session.config.first_byte, session.config.between_bytes);
        // Once the response has begun, only the response has a limit.
        let unsent = if self.attempt.decoder.is_none() { conn.send_now() } else { 0 };
        self.call.state.borrow_mut().unsent = unsent;
        let is_full = conn.is_full();
        let now = conn.cx().now();
        let continue_within = self.attempt.continue_by.map(|by| by.saturating_duration_since(now));
        conn.deadline(match self.attempt.upload {
            _ if self.holds() => None,
            Upload::Waits => continue_within,
            Upload::Bytes(_) if !is_full => Some(Duration::ZERO), // for the next burst
            Upload::Stream if !is_full && self.call.state.borrow().burst >= BURST => Some(Duration::ZERO),
            Upload::Stream if unsent == 0 => None, // the receiver has to write, not the server
            Upload::Done if unsent == 0 && self.attempt.parser.received() == 0 => first_byte,
            _ => between_bytes,
        });
        if unsent > 0 && matches!(self.attempt.upload, Upload::Done) {
            conn.drain_whole(); // `drained` then starts the limit on the first byte
        }
        Ok(())
    }

    /// The deadline of the current wait has passed.
    pub(super) fn is_over_time(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        self.note_written();
        let is_full = conn.is_full();
        let burst = self.call.state.borrow().burst;
        match self.attempt.upload {
            Upload::Waits => {
                self.begin_upload(conn)?;
                return self.set_deadline(conn);
            }
            Upload::Bytes(_) if !is_full => {
                self.go_on_uploading(conn)?;
                return self.set_deadline(conn);
            }
            Upload::Stream if !is_full && burst >= BURST => {
                self.go_on_uploading(conn)?;
                return self.set_deadline(conn);
            }
            _ => {}
        }
        let before = self.call.state.borrow().unsent;
        if self.attempt.decoder.is_none() && conn.unsent() < before {
            return self.set_deadline(conn); // the server makes progress, however slow
        }
        self.attempt.ours = true;
        let session = self.session()?;
        let config = &session.config;
        let (what, limit, name) = match self.phase() {
            Phase::Send => ("nothing was taken", config.between_bytes, "between_bytes"),
            Phase::FirstByte => ("no byte came", config.first_byte, "first_byte"),
            _ => ("no more came", config.between_bytes, "between_bytes"),
        };
        let within = limit.unwrap_or_default();
        let message = format!("{what} within {within:.1?} (Config::{name} sets this limit)");
        Err(error::new(io::ErrorKind::TimedOut, message))
    }
}

impl<S> Conn<'_, S> {
    /// Sends as much as the kernel accepts, and returns the number of unsent bytes.
    fn send_now(&mut self) -> usize {
        let (core, key) = self.parts();
        core.send_now(key)
    }

    /// Calls `drained` when all output is sent, instead of at the low-water mark.
    fn drain_whole(&mut self) {
        let (core, key) = self.parts();
        core.drain_whole(key);
    }
}
