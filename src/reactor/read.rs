//! Driving one connection: what it is ready for becomes callbacks. The machine is taken out of its slot, called, and
//! put back.

use std::io;

use mio::Token;

use crate::base::buffer::Buffer;
use crate::base::clock::NO_DEADLINE;
use crate::base::error::{self, while_doing};
use crate::base::input::Input;
use crate::base::slots::Key;
use crate::net::socket::Socket;
use crate::reactor::core::Core;
use crate::reactor::protocol::Protocol;
use crate::reactor::slot::{Connection, Slot};
use crate::stream::Stream;
use crate::stream::state::Phase;
use crate::{Conn, Cx, Readiness};

impl<S> Core<S> {
    /// Takes in what the kernel says of a source. Nearly always that is a message for an open connection, which is
    /// delivered at once; everything else is noted, and queued. `is_usual` tells the kind of socket that nearly all are
    /// where the event comes from: known to the compiler, so that nothing is chosen here.
    #[inline(always)] // in the loop over the events, which is where the time goes
    pub(crate) fn take_event(
        &mut self,
        state: &mut S,
        token: Token,
        ready: Readiness,
        scratch: &mut [u8],
        is_usual: impl FnOnce(&Socket) -> bool,
    ) {
        let Some((key, Connection { machine, stream })) = self.slots.by_token::<Connection<S>>(token) else {
            return self.mark_other_ready(token, ready);
        };
        stream.state.ready(ready);
        if !stream.only_reads(is_usual) {
            return self.queue_stream(key);
        }
        match stream.read(scratch) {
            Ok(n @ 1..) => {
                let more = stream.state.is_readable();
                let Some(machine) = machine.take() else { return };
                self.cork.open(key);
                let mut input = Input::lent(&scratch[..n], &self.untaken);
                self.lend(state, key, machine, |machine, conn| machine.received(conn, &mut input));
                if !input.is_empty() {
                    self.keep(key, None, input.peek(), input.expected());
                }
                if more {
                    self.receive(state, key, scratch, self.config.read_budget.saturating_sub(n));
                }
            }
            result => self.read_nothing(state, key, result),
        }
    }

    /// Notes what the kernel says of a source without doing anything about it.
    pub(crate) fn mark_ready(&mut self, token: Token, ready: Readiness) {
        match self.slots.by_token::<Connection<S>>(token) {
            Some((key, Connection { stream, .. })) => {
                stream.state.ready(ready);
                self.queue_stream(key);
            }
            None => self.mark_other_ready(token, ready),
        }
    }

    /// Drives one source of the run queue.
    pub(crate) fn drive(&mut self, state: &mut S, key: Key, scratch: &mut [u8]) {
        match self.slots.by_key(key) {
            Some(Slot::Connection(_)) => self.drive_stream(state, key, scratch),
            Some(Slot::Listener(_)) => self.drive_listener(state, key),
            Some(Slot::Watch(_)) => self.drive_watch(state, key),
            Some(Slot::Attempt(_)) => {
                // It is opened in this turn: what came in time counts, also if the time is up now.
                if let Some(connection) = self.drive_attempt(key) {
                    self.drive_stream(state, connection, scratch);
                }
            }
            None => {}
        }
    }

    /// Does what a stream is ready for, in the order in which it matters: establish, send, then receive.
    fn drive_stream(&mut self, state: &mut S, key: Key, scratch: &mut [u8]) {
        let Some(stream) = self.stream(key) else { return };
        stream.state.dequeue();
        if stream.state.phase() != Phase::Open && !self.establish(state, key) {
            return;
        }
        let Some(stream) = self.stream(key) else { return };
        if stream.may_send() || stream.may_finish() || stream.state.is_ending() {
            self.push_out(key);
        }
        let Some(stream) = self.stream(key) else { return };
        if stream.has_drained() {
            stream.drain();
            if !stream.state.is_ending() && !stream.state.is_broken() {
                self.call(state, key, |machine, conn| machine.drained(conn));
            }
        }
        let Some(stream) = self.stream(key) else { return };
        if stream.state.may_offer() {
            stream.state.offered();
            if stream.input.is_some() {
                self.offer(state, key, &[]);
            }
        }
        self.receive(state, key, scratch, self.config.read_budget);
        self.drain(state, key, scratch);
        self.look_for_reset(key);
    }

    #[inline]
    fn stream(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.stream(key)
    }

    /// Sees whether a connect has come through, and opens what is new. Returns whether the connection stands.
    fn establish(&mut self, state: &mut S, key: Key) -> bool {
        let Some(stream) = self.slots.stream(key) else { return false };
        if stream.state.is_doomed() {
            return false;
        }
        if stream.state.is_connecting() {
            #[cfg(feature = "tls")]
            if stream.plain_left() > 0 && !self.send_plain(key) {
                return false;
            }
            let Some(stream) = self.slots.stream(key) else { return false };
            let Some(socket) = &stream.socket else { return false };
            match socket.connected() {
                None => {
                    stream.state.not_connected(); // a spurious event, or a handshake goes on
                    return false;
                }
                Some(Err(error)) => {
                    let error = while_doing(error::CONNECTING, &stream.peer, error);
                    self.doom(key, Err(error));
                    return false;
                }
                Some(Ok(())) => {
                    if socket.is_secure() {
                        stream.state.shook_hands();
                    } else {
                        stream.state.connected();
                    }
                    // Where the handshake had no limit of its own, the deadline was that of connecting.
                    let is_past = socket.handshake_limit().is_none() && !stream.state.is_ending();
                    let deadline = if is_past { NO_DEADLINE } else { stream.deadline };
                    self.set_deadline(key, deadline);
                }
            }
        }
        self.open(state, key);
        true
    }

    /// Calls `opened`, once.
    pub(crate) fn open(&mut self, state: &mut S, key: Key) {
        if let Some(stream) = self.stream(key)
            && stream.state.open()
        {
            self.call(state, key, |machine, conn| machine.opened(conn));
        }
    }

    /// Reads until the socket is drained, the budget is used up, or nobody wants more.
    #[inline(never)]
    fn receive(&mut self, state: &mut S, key: Key, scratch: &mut [u8], mut budget: usize) {
        while let Some(stream) = self.slots.stream(key)
            && stream.state.may_read()
        {
            if budget == 0 {
                if stream.state.enqueue() {
                    self.over_budget.push(key);
                }
                return;
            }
            match stream.read(scratch) {
                Ok(n @ 1..) => {
                    budget = budget.saturating_sub(n);
                    self.offer(state, key, &scratch[..n]);
                }
                result => self.read_nothing(state, key, result),
            }
        }
    }

    /// Reads and throws away what still comes to a connection that is closing.
    fn drain(&mut self, state: &mut S, key: Key, scratch: &mut [u8]) {
        let mut budget = self.config.read_budget;
        while let Some(stream) = self.slots.stream(key)
            && stream.state.may_discard()
        {
            if budget == 0 {
                return self.queue_stream(key);
            }
            match stream.read(scratch) {
                Ok(n) if n > 0 => {
                    budget = budget.saturating_sub(n);
                    if stream.state.is_lingering() {
                        self.extend_closing(key);
                    }
                }
                // TLS has missed close_notify, but what is thrown away cannot be cut off.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !stream.state.is_broken() => {
                    return self.peer_ended(state, key);
                }
                result => return self.read_nothing(state, key, result),
            }
        }
    }

    /// Two connections hear of a reset by this alone: one whose peer has ended, as reading goes on saying that this is
    /// the end, and a paused one, which does not read.
    fn look_for_reset(&mut self, key: Key) {
        let Some(stream) = self.slots.stream(key).filter(|stream| stream.state.may_have_reset()) else {
            return;
        };
        match stream.look_for_reset() {
            Ok(true) => {}
            Ok(false) => stream.state.not_reset(),
            Err(error) => {
                let error = while_doing(error::READING, &stream.peer, error);
                self.doom(key, Err(error));
            }
        }
    }

    /// A read brought no bytes, but the end, an error, or the news that there is nothing yet.
    #[cold]
    fn read_nothing(&mut self, state: &mut S, key: Key, result: io::Result<usize>) {
        let Some(stream) = self.stream(key) else { return };
        match result {
            Ok(_) => self.peer_ended(state, key),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.state.not_readable();
                if stream.state.is_broken() {
                    self.give_up(key); // all that had come is read
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.queue_stream(key),
            // The write that failed has taken the error that says why: SO_ERROR, socket(7).
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && stream.state.is_broken() => {
                self.give_up(key);
            }
            Err(error) => {
                let error = while_doing(error::READING, &stream.peer, error);
                self.doom(key, Err(error));
            }
        }
    }

    /// Calls `received` with what the machine had left before, and what has come now behind it.
    fn offer(&mut self, state: &mut S, key: Key, new: &[u8]) {
        let Some(mut left) = self.stream(key).and_then(|stream| stream.input.take()) else {
            let mut input = Input::lent(new, &self.untaken);
            self.call(state, key, |machine, conn| machine.received(conn, &mut input));
            if !input.is_empty() {
                self.keep(key, None, input.peek(), input.expected());
            }
            return;
        };
        left.push(new);
        let mut input = Input::lent(left.as_slice(), &self.untaken);
        self.call(state, key, |machine, conn| machine.received(conn, &mut input));
        let (taken, expected) = (left.len().saturating_sub(input.len()), input.expected());
        left.consume(taken);
        if left.is_empty() {
            self.spares.give(left);
        } else {
            self.keep(key, Some(left), &[], expected);
        }
    }

    /// Keeps what a machine has left of its input, within the limit, or as much as its framing has said to expect.
    #[inline(never)]
    fn keep(&mut self, key: Key, left: Option<Box<Buffer>>, new: &[u8], expected: usize) {
        let mut left = left.unwrap_or_else(|| self.spares.take());
        left.push(new);
        let Some(stream) = self.stream(key) else { return };
        let (length, limit) = (left.len(), expected.max(stream.input_limit as usize));
        stream.input = Some(left);
        // Whoever paused has said that it will come back to it; and more does not come meanwhile.
        let now = stream.state;
        let waits = now.is_paused() || now.is_held() || now.has_offer() || now.is_ending();
        if length >= limit && !waits {
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
        stream.state.peer_ended();
        let (broken, ending) = (stream.state.is_broken(), stream.state.is_ending());
        if broken && !self.forgive(key) {
            return self.give_up(key);
        }
        if ending {
            return self.push_out(key);
        }
        let Some(stream) = self.stream(key) else { return };
        let left = stream.input.take();
        let mut rest = Input::new(left.as_ref().map_or(&[], |left| left.as_slice()));
        self.call(state, key, |machine, conn| machine.ended(conn, &mut rest));
        let unread = rest.len();
        if let Some(mut left) = left {
            left.consume(left.len().saturating_sub(unread));
            match self.stream(key) {
                Some(stream) if unread > 0 => stream.input = Some(left),
                _ => self.spares.give(left),
            }
        }
        if self.stream(key).is_some_and(|stream| stream.state.is_over()) {
            self.doom(key, Ok(()));
        }
    }

    /// Takes a machine out of its slot and calls it.
    #[inline(never)]
    pub(crate) fn call(
        &mut self,
        state: &mut S,
        key: Key,
        callback: impl FnOnce(&mut dyn Protocol<S>, &mut Conn<'_, S>) -> io::Result<()>,
    ) {
        let Some(Connection { machine, stream }) = self.slots.get(key) else { return };
        let corks = stream.may_cork();
        let Some(machine) = machine.take_if(|_| !stream.state.is_doomed()) else { return };
        if corks {
            self.cork.open(key);
        }
        self.lend(state, key, machine, callback);
    }

    /// Calls a machine that was taken out of its slot, puts it back, and sends what it wrote. An error that the machine
    /// returns ends the connection.
    ///
    /// Two steps may run a user's `Drop`, which may panic: an error is dropped if the connection has ended before, and the
    /// machine is dropped if it was switched away. Only behind them is `running` cleared and the cork closed. So recovery
    /// knows which connection has panicked, and to which one the corked bytes belong.
    #[inline(always)]
    fn lend(
        &mut self,
        state: &mut S,
        key: Key,
        mut machine: Box<dyn Protocol<S>>,
        callback: impl FnOnce(&mut dyn Protocol<S>, &mut Conn<'_, S>) -> io::Result<()>,
    ) {
        self.running = Some(key);
        let result = callback(&mut *machine, &mut Conn::new(Cx { state, core: self }, key));
        if let Err(error) = result {
            self.doom(key, Err(error));
        }
        self.look_at_the_time("a connection", Some(key));
        let Some(connection) = self.slots.get::<Connection<S>>(key) else { return };
        connection.take_back(machine);
        let stream = &mut connection.stream;
        self.running = None;
        self.cork.close();
        if !self.cork.is_empty() {
            let sent = stream.send_corked(&mut self.cork, &mut self.spares);
            if sent.is_err() || stream.output.is_some() {
                self.after_flush(key, sent);
            }
        }
        if !self.dirty.is_empty() {
            self.settle();
        }
    }
}
