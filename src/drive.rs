//! Driving one connection: what it is ready for becomes callbacks. The machine is taken out of its slot, called, and
//! put back.

use std::io;

use crate::core::Core;
use crate::error::{self, while_doing};
use crate::input::Input;
use crate::protocol::Protocol;
use crate::slots::Key;
use crate::stream::{Flags, NO_DEADLINE, SHORT_READ_DRAINS, Stream};
use crate::{Conn, Cx};

impl<S> Core<S> {
    /// Does what a stream is ready for, in the order in which it matters: establish, send, then receive.
    pub(crate) fn drive_stream(&mut self, state: &mut S, key: Key, scratch: &mut [u8]) {
        let Some(stream) = self.stream(key) else { return };
        stream.flags.clear(Flags::QUEUED);
        if stream.flags.any(Flags::DOOMED | Flags::CONNECTING | Flags::FRESH) && !self.establish(state, key) {
            return;
        }
        let Some(stream) = self.stream(key) else { return };
        if stream.may_write() || stream.flags.any(Flags::FINISHING | Flags::CLOSING) {
            self.push_out(key);
        }
        let Some(stream) = self.stream(key) else { return };
        if stream.has_drained() {
            stream.flags.clear(Flags::FULL);
            if !stream.flags.any(Flags::CLOSING | Flags::BROKEN) {
                self.call(state, key, |machine, conn| machine.drained(conn));
            }
        }
        let Some(stream) = self.stream(key) else { return };
        if stream.may_offer_again() {
            stream.flags.clear(Flags::REOFFER);
            if stream.input.is_some() {
                self.offer(state, key, &[]);
            }
        }
        self.receive(state, key, scratch);
    }

    fn stream(&mut self, key: Key) -> Option<&mut Stream<S>> {
        self.slots.get(key)
    }

    /// Sees whether a connect has come through, and opens what is new. Returns whether the connection stands.
    fn establish(&mut self, state: &mut S, key: Key) -> bool {
        let Some(stream) = self.stream(key) else { return false };
        if stream.flags.any(Flags::DOOMED) {
            return false;
        }
        if stream.flags.any(Flags::CONNECTING) {
            let Some(socket) = &stream.socket else { return false };
            match socket.connected() {
                None => {
                    stream.flags.clear(Flags::WRITABLE); // a spurious event
                    return false;
                }
                Some(Err(error)) => {
                    let error = while_doing(error::CONNECTING, &stream.peer, error);
                    self.doom(key, Err(error));
                    return false;
                }
                Some(Ok(())) => {
                    stream.flags.clear(Flags::CONNECTING);
                    if !stream.flags.any(Flags::CLOSING) {
                        self.set_deadline(key, NO_DEADLINE); // it was the connect timeout
                    }
                }
            }
        }
        let Some(stream) = self.stream(key) else { return false };
        if stream.flags.take(Flags::FRESH) && !stream.flags.any(Flags::CLOSING) {
            self.call(state, key, |machine, conn| machine.opened(conn));
        }
        true
    }

    /// Reads until the socket is drained, the budget is used up, or nobody wants more.
    fn receive(&mut self, state: &mut S, key: Key, scratch: &mut [u8]) {
        let mut budget = self.config.read_budget;
        while let Some(stream) = self.stream(key) {
            let draining = stream.may_drain();
            if !draining && !stream.may_read() {
                return;
            }
            if budget == 0 {
                return self.queue_stream(key); // to the back of the queue: the others have their turn
            }
            let Some(socket) = &stream.socket else { return };
            match socket.read(scratch) {
                Ok(0) => return self.peer_ended(state, key),
                Ok(n) => {
                    budget = budget.saturating_sub(n);
                    let drained = n < scratch.len() && SHORT_READ_DRAINS;
                    if drained && !stream.flags.any(Flags::READ_CLOSED) {
                        stream.flags.clear(Flags::READABLE);
                    }
                    if !draining {
                        self.offer(state, key, &scratch[..n]);
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        stream.flags.clear(Flags::READABLE);
                        return;
                    }
                    _ => {
                        let error = while_doing(error::READING, &stream.peer, error);
                        return self.doom(key, Err(error));
                    }
                },
            }
        }
    }

    /// Calls `received` with what the machine left last time and what has come now, and keeps what it leaves.
    fn offer(&mut self, state: &mut S, key: Key, new: &[u8]) {
        let Some(stream) = self.stream(key) else { return };
        match stream.input.take() {
            None => {
                let mut input = Input::new(new);
                self.call(state, key, |machine, conn| machine.received(conn, &mut input));
                if !input.is_empty() {
                    let mut left = self.spares.take();
                    left.push(input.peek());
                    self.keep(key, left);
                }
            }
            Some(mut left) => {
                left.push(new);
                let mut input = Input::new(left.as_slice());
                self.call(state, key, |machine, conn| machine.received(conn, &mut input));
                let taken = left.len() - input.len();
                left.consume(taken);
                if left.is_empty() {
                    self.spares.give(left);
                } else {
                    self.keep(key, left);
                }
            }
        }
    }

    fn keep(&mut self, key: Key, left: Box<crate::buffer::Buffer>) {
        let Some(stream) = self.stream(key) else { return };
        let (length, limit) = (left.len(), stream.input_limit as usize);
        stream.input = Some(left);
        // Whoever paused has said that it will come back to it; and more does not come meanwhile.
        let waiting = Flags::PAUSED | Flags::FULL | Flags::REOFFER | Flags::CLOSING | Flags::DOOMED;
        if length >= limit && !stream.flags.any(waiting) {
            let message = format!(
                "reading from {}: {length} bytes have come and were not consumed, and the input limit is {limit}; is it \
                 the right protocol? Conn::input_limit raises it",
                stream.peer
            );
            self.doom(key, Err(error::new(io::ErrorKind::InvalidData, message)));
        }
    }

    fn peer_ended(&mut self, state: &mut S, key: Key) {
        let Some(stream) = self.stream(key) else { return };
        stream.flags.set(Flags::ENDED);
        stream.flags.clear(Flags::READABLE);
        if stream.flags.any(Flags::CLOSING) {
            return self.push_out(key);
        }
        if stream.flags.any(Flags::BROKEN) {
            let error = while_doing(error::WRITING, &stream.peer, io::ErrorKind::BrokenPipe.into());
            return self.doom(key, Err(error));
        }
        let left = stream.input.take();
        let mut rest = Input::new(left.as_ref().map_or(&[], |left| left.as_slice()));
        self.call(state, key, |machine, conn| machine.ended(conn, &mut rest));
        let unread = rest.len();
        if let Some(mut left) = left {
            left.consume(left.len() - unread);
            match self.stream(key) {
                Some(stream) if unread > 0 => stream.input = Some(left),
                _ => self.spares.give(left),
            }
        }
    }

    /// Takes the machine out, calls it, puts it back; an error it returns ends the connection.
    #[inline]
    pub(crate) fn call(
        &mut self,
        state: &mut S,
        key: Key,
        callback: impl FnOnce(&mut dyn Protocol<S>, &mut Conn<'_, S>) -> io::Result<()>,
    ) {
        let Some(stream) = self.stream(key) else { return };
        let Some(mut machine) = stream.machine.take() else { return };
        self.running = Some(key);
        let result = callback(&mut *machine, &mut Conn::new(Cx { state, core: self }, key));
        if let Some(stream) = self.stream(key) {
            stream.machine.get_or_insert(machine); // unless it has put another in its place
        }
        if let Err(error) = result {
            self.doom(key, Err(error));
        }
        self.returned("a connection", Some(key));
    }

    /// A connection's timer has fired: its deadline may have moved on since it was set.
    pub(crate) fn deadline_due(&mut self, state: &mut S, key: Key) {
        let now = self.clock.tick();
        let Some(stream) = self.stream(key) else { return };
        stream.timer = None;
        if stream.deadline > now {
            let deadline = stream.deadline;
            return self.set_deadline(key, deadline);
        }
        stream.deadline = NO_DEADLINE;
        if stream.flags.any(Flags::CONNECTING) {
            let error = while_doing(error::CONNECTING, &stream.peer, io::ErrorKind::TimedOut.into());
            self.doom(key, Err(error));
        } else if stream.flags.any(Flags::CLOSING) {
            let result = match stream.unsent() {
                0 => Ok(()), // all was sent; only the peer's own end did not come
                _ => Err(while_doing(error::CLOSING, &stream.peer, io::ErrorKind::TimedOut.into())),
            };
            self.doom(key, result);
        } else {
            self.call(state, key, |machine, conn| machine.timed_out(conn));
        }
    }
}
