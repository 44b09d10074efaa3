//! Sending what callbacks have written: the corked bytes, the flush, and what follows when it fails or goes above a limit.

use std::io;

use crate::base::error;
use crate::base::slots::Key;
use crate::reactor::core::{Broken, Core};

impl<S> Core<S> {
    /// Hands what the callback at hand has written so far over to its connection, and gathers no more from it: for
    /// whoever looks at a connection's output, or ends it.
    #[inline]
    pub(crate) fn uncork(&mut self) {
        if let Some(key) = self.cork.close()
            && !self.cork.is_empty()
        {
            self.hand_over_corked(key);
        }
    }

    #[inline(never)]
    fn hand_over_corked(&mut self, key: Key) {
        if let Some(stream) = self.slots.stream(key) {
            stream.output.get_or_insert_with(|| self.spares.take()).push(self.cork.bytes());
        }
        self.cork.clear();
        self.mark_dirty(key);
    }

    /// Sends what was written, and finishes and closes what is due, for all that were touched.
    #[inline(never)] // most callbacks leave nothing for it, and see to that first
    pub(crate) fn settle(&mut self) {
        while let Some(key) = self.dirty.pop() {
            let Some(stream) = self.slots.stream(key) else { continue };
            stream.state.clean();
            self.push_out(key);
        }
    }

    /// Sends what a stream has waiting, and takes the steps that become due when all is sent.
    pub(crate) fn push_out(&mut self, key: Key) {
        let may_send = self.slots.stream(key).is_some_and(|stream| stream.may_send());
        let sent = if may_send { self.flush(key) } else { Ok(()) };
        self.after_flush(key, sent);
    }

    /// Sends what a stream has waiting, as far as the kernel takes it. If the stream is closing, that is progress.
    pub(crate) fn flush(&mut self, key: Key) -> io::Result<()> {
        let Some(stream) = self.slots.stream(key) else { return Ok(()) };
        let before = stream.state.is_extensible().then(|| stream.unsent());
        let sent = stream.flush(&mut self.spares);
        if before.is_some_and(|before| stream.unsent() < before) {
            self.extend_closing(key);
        }
        sent
    }

    #[cold]
    pub(crate) fn after_flush(&mut self, key: Key, sent: io::Result<()>) {
        if let Err(error) = sent {
            return self.write_failed(key, error);
        }
        if self.slots.stream(key).is_some_and(|stream| stream.state.winds_up()) {
            self.wind_up(key);
        }
        // No event comes for what is left to do: output after a send that a signal interrupted, a call of `drained`.
        self.queue_stream(key);
    }

    /// Sends what is written as far as the kernel takes it, and returns how much that leaves.
    #[cfg(feature = "http")]
    pub(crate) fn send_now(&mut self, key: Key) -> usize {
        self.uncork();
        if self.slots.stream(key).is_some_and(|stream| stream.state.takes_output()) {
            self.push_out(key);
        }
        self.slots.stream(key).map_or(0, |stream| stream.unsent())
    }

    /// Has `drained` called when everything is sent, and not before.
    #[cfg(feature = "http")]
    pub(crate) fn drain_whole(&mut self, key: Key) {
        if let Some(stream) = self.slots.stream(key) {
            stream.low_water = 0;
            stream.state.fill();
        }
    }

    /// Nothing more can be sent, but what the peer said before may still be there to read: the final answer to a
    /// request that it did not want to the end, say. So the error is reported when reading comes to its end too.
    #[cold]
    pub(crate) fn write_failed(&mut self, key: Key, error: io::Error) {
        let Some(stream) = self.slots.stream(key) else { return };
        let reads_on = stream.state.reads_on() && !stream.state.is_ending();
        let reads_on = reads_on || stream.is_paused_before_bytes();
        self.break_off(key, Broken { key, error, lost: true }, reads_on);
    }

    /// Our own end could not be sent, behind everything else. That is no failure if the peer's end has come before, which
    /// only reading tells, also where a closing connection throws away what it reads.
    #[cold]
    pub(crate) fn end_failed(&mut self, key: Key, error: io::Error) {
        let Some(stream) = self.slots.stream(key) else { return };
        let reads_on = stream.state.reads_on();
        self.break_off(key, Broken { key, error, lost: false }, reads_on);
    }

    fn break_off(&mut self, key: Key, broken: Broken, reads_on: bool) {
        let Some(stream) = self.slots.stream(key) else { return };
        stream.state.break_off();
        self.broken.push(broken);
        if reads_on {
            self.queue_stream(key);
        } else {
            self.give_up(key);
        }
    }

    /// The output went above the high-water mark, or has reached the limit. What was only gathered goes out first, but even
    /// if all of it does, the machine is full for this time: the others have their turn.
    #[cold]
    pub(crate) fn overflow(&mut self, key: Key) {
        let Some(stream) = self.slots.stream(key) else { return };
        if stream.unsent() > stream.high_water as usize {
            stream.state.fill();
        }
        if stream.may_send()
            && let Err(error) = stream.flush(&mut self.spares)
        {
            return self.write_failed(key, error);
        }
        let (unsent, limit) = (stream.unsent(), self.config.output_limit);
        if unsent >= limit {
            let message = format!(
                "writing to {}: {unsent} bytes are unsent, and Config::output_limit is {limit}; the peer does not read \
                 as fast as it is written to: stop at Conn::is_full and go on in drained",
                stream.peer,
            );
            self.doom(key, Err(error::new(io::ErrorKind::OutOfMemory, message)));
        }
    }
}
