//! The pool's hooks into the loop: checking a connection, resetting it for its next user, refusing a request.

use std::io;

use crate::base::clock::NO_DEADLINE;
use crate::base::slots::Key;
use crate::pool::Reason;
use crate::pool::config::Farewell;
use crate::reactor::core::Core;
use crate::reactor::protocol::Protocol;
use crate::stream::state::State;
use crate::stream::{Stream, to_u32};

/// The number of unexpected bytes that the log shows.
const SHOWN: usize = 32;

impl<S> Core<S> {
    /// Returns the reason against leasing this connection, as far as the loop knows it. If the socket may have input,
    /// it is read too.
    pub(super) fn unfit(&mut self, key: Key, farewell: Farewell) -> Option<Reason> {
        self.uncork();
        self.known_against(key, farewell).or_else(|| {
            let stream = self.slots.stream(key)?;
            (stream.state.is_readable() || stream.state.is_read_closed()).then(|| self.hear(key, farewell))?
        })
    }

    /// As `unfit`, just before the next user writes: the socket is always read.
    pub(super) fn unfit_now(&mut self, key: Key, farewell: Farewell) -> Option<Reason> {
        self.known_against(key, farewell).or_else(|| self.hear(key, farewell))
    }

    /// The known reasons: unsent output, unread input, or an end on either side.
    fn known_against(&mut self, key: Key, farewell: Farewell) -> Option<Reason> {
        let Some(stream) = self.slots.stream(key) else { return Some(Reason::Lost) };
        if stream.state.peer_has_ended() {
            Some(Reason::Ended)
        } else if !stream.state.takes_output() || stream.output.is_some() {
            Some(Reason::Dirty)
        } else {
            stream.input.as_ref().map(|input| unexpected(key, input.as_slice(), farewell))
        }
    }

    /// Reads from an idle connection, which should have no input.
    fn hear(&mut self, key: Key, farewell: Farewell) -> Option<Reason> {
        let stream = self.slots.stream(key)?;
        let mut bytes = [0; SHOWN];
        match stream.read(&mut bytes) {
            Ok(0) => Some(Reason::Ended),
            Ok(n) => Some(unexpected(key, &bytes[..n], farewell)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.state.not_readable();
                None
            }
            Err(error) => {
                log::debug!("connection {key} ({}) was lost while it was idle: {error}", stream.peer);
                Some(Reason::Ended)
            }
        }
    }

    /// Resets the settings that a user made on a connection.
    pub(super) fn make_like_new(&mut self, key: Key) {
        self.set_deadline(key, NO_DEADLINE);
        let Some(stream) = self.slots.stream(key) else { return };
        stream.low_water = to_u32(self.config.low_water);
        stream.high_water = to_u32(self.config.high_water);
        stream.input_limit = to_u32(self.config.input_limit);
        self.paused -= usize::from(stream.state.is_paused());
        stream.state.renew();
    }

    #[cfg(feature = "tls")]
    pub(super) fn is_secure(&mut self, key: Key) -> bool {
        let socket = self.slots.stream(key).and_then(|stream| stream.socket.as_ref());
        socket.is_some_and(|socket| socket.is_secure())
    }

    /// Makes the loop call `opened` again, before anything is read. Input that was read while a lease held the
    /// connection is then delivered.
    pub(super) fn reopen(&mut self, key: Key) {
        if let Some(stream) = self.slots.stream(key) {
            stream.state.reopen();
            if stream.input.is_some() {
                stream.state.offer();
            }
            self.queue_stream(key);
        }
    }

    /// Closes an idle connection: at once, unless output is left to send.
    pub(super) fn let_go(&mut self, key: Key) {
        match self.slots.stream(key) {
            Some(stream) if stream.output.is_some() => self.close(key),
            _ => self.doom(key, Ok(())),
        }
    }

    /// Whether a connection is closing.
    pub(super) fn is_ending(&mut self, key: Key) -> bool {
        self.slots.stream(key).is_none_or(|stream| stream.state.is_ending())
    }

    /// Makes the loop call `closed` of a protocol that gets no connection.
    pub(super) fn refuse(&mut self, machine: Box<dyn Protocol<S>>, error: io::Error) {
        let key = self.insert_stream(Stream::new(None, State::CONNECTING, &self.config), machine);
        self.doom(key, Err(error));
    }
}

/// Logs unexpected bytes from a server, unless they are its way to close. The level is debug, since a server could fill
/// a log with them. The pool's [`Stats`](super::Stats) count them.
#[cold]
pub(super) fn unexpected(key: Key, bytes: &[u8], farewell: Farewell) -> Reason {
    if farewell.is_some_and(|is_farewell| is_farewell(bytes)) {
        return Reason::Ended;
    }
    let shown = &bytes[..bytes.len().min(SHOWN)];
    log::debug!(
        "connection {key} of a pool is closed: unexpected bytes came on it, behind the answer or while it was idle, \
         beginning \"{}\"; is an answer read to its end before the connection is released?",
        shown.escape_ascii()
    );
    Reason::Unexpected
}
