//! How sources end: closing in good order, giving up, and being reaped, which is where `closed` is called.

use std::io;
use std::time::Duration;

use crate::Cx;
use crate::base::error::{self, while_doing};
use crate::base::slots::Key;
use crate::reactor::core::Core;
use crate::reactor::protocol::{End, Protocol};
use crate::reactor::slot::Slot;
use crate::stream::{Farewell, Flags, Stream};

/// How long a connection that has sent everything, and said so, waits for the peer to say the same: as long as what
/// was sent last may be on its way to the other end of the world, and the peer's answer on its way back.
const LINGER: Duration = Duration::from_secs(1);

impl<S> Core<S> {
    /// Takes the steps of finishing and closing that are due: they come after the last byte is sent.
    pub(crate) fn wind_up(&mut self, key: Key) {
        let Some(stream) = self.slots.get::<Stream<S>>(key) else { return };
        let closing = stream.flags.any(Flags::CLOSING);
        if closing && stream.flags.any(Flags::BROKEN) {
            return self.give_up(key);
        }
        if stream.output.is_some() || stream.flags.any(Flags::DOOMED) {
            return;
        }
        if closing && stream.farewell() == Farewell::Close {
            return self.doom(key, Ok(()));
        }
        if closing {
            stream.flags.set(Flags::FINISHING);
        }
        // A peer that has ended may be gone: that our own end does not reach it is no failure, as nothing else is unsent.
        if let Err(error) = stream.finish_if_due(&self.driver)
            && !stream.flags.any(Flags::ENDED)
        {
            return self.write_failed(key, error);
        }
        if stream.is_over() {
            self.doom(key, Ok(()));
        } else if closing {
            let lingering = self.clock.tick_after(LINGER).min(stream.deadline);
            self.set_deadline(key, lingering);
        }
    }

    /// Ends a connection whose write had failed, when there is nothing more to read from it.
    pub(crate) fn give_up(&mut self, key: Key) {
        let failed = self.broken.iter().position(|(broken, _)| *broken == key);
        let error = failed.map(|failed| self.broken.swap_remove(failed).1);
        let error = error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        let Some(stream) = self.slots.get::<Stream<S>>(key) else { return };
        let error = while_doing(error::WRITING, &stream.peer, error);
        self.doom(key, Err(error));
    }

    /// `close`: no more callbacks but `closed`, which comes when all is sent or the time is up.
    pub(crate) fn close(&mut self, key: Key, within: Duration) {
        self.ungather();
        let Some(stream) = self.slots.get::<Stream<S>>(key) else { return };
        if stream.flags.any(Flags::DOOMED | Flags::CLOSING) {
            return; // asking again does not give it more time
        }
        stream.flags.set(Flags::CLOSING);
        #[cfg(feature = "tls")]
        stream.give_up_handshake();
        let nothing_to_do = stream.flags.any(Flags::CONNECTING) || stream.farewell() == Farewell::Close;
        if nothing_to_do && stream.output.is_none() {
            return self.doom(key, Ok(()));
        }
        self.set_deadline(key, self.clock.tick_after(within));
        self.mark_dirty(key);
    }

    /// Marks a source to be reaped at the end of the turn. The first cause stands.
    pub(crate) fn doom(&mut self, key: Key, result: io::Result<()>) {
        self.ungather();
        match self.slots.by_key(key) {
            Some(Slot::Stream(stream)) if !stream.flags.any(Flags::DOOMED) => {
                stream.flags.set(Flags::DOOMED);
            }
            Some(Slot::Watch(watcher)) if !watcher.doomed => watcher.doomed = true,
            _ => return,
        }
        self.doomed.push_back((key, result));
    }

    /// Removes one source for good and tells its machine. Its descriptor is closed before `closed` is called.
    pub(crate) fn reap(&mut self, state: &mut S, key: Key, result: io::Result<()>) {
        match self.slots.remove(key) {
            Some(Slot::Stream(stream)) => {
                let (machine, end) = self.dismantle(stream, key, result);
                if let Some(machine) = machine {
                    self.running = Some(key);
                    machine.closed(&mut Cx { state, core: self }, end);
                    self.returned("a connection", Some(key));
                }
            }
            Some(Slot::Watch(mut watcher)) => {
                if let Some(mut pair) = watcher.pair.take() {
                    pair.deregister(&self.driver);
                    self.running = Some(key);
                    pair.closed(&mut Cx { state, core: self }, result);
                    self.returned("a watch", Some(key));
                }
            }
            Some(Slot::Listener(_) | Slot::Attempt(_)) | None => {}
        }
    }

    pub(crate) fn dismantle(
        &mut self,
        mut stream: Stream<S>,
        key: Key,
        result: io::Result<()>,
    ) -> (Option<Box<dyn Protocol<S>>>, End) {
        self.streams -= usize::from(stream.socket.is_some());
        if stream.flags.any(Flags::CONNECTING) {
            self.hang_up(key);
        }
        self.paused -= usize::from(stream.flags.any(Flags::PAUSED));
        if let Some(timer) = stream.timer {
            self.timers.cancel(timer);
        }
        if stream.flags.any(Flags::BROKEN) {
            self.broken.retain(|(broken, _)| *broken != key);
        }
        let end = End { result, unsent: stream.unsent(), unread: stream.unread() };
        if end.unsent > 0 {
            stream.reset_on_close(&self.driver, key); // what was cut off must not look whole
        }
        if let Some(mut socket) = stream.socket.take() {
            if stream.flags.any(Flags::FOREIGN) {
                socket.deregister(&self.driver);
            }
            socket.close(&self.driver);
        }
        stream
            .input
            .take()
            .into_iter()
            .chain(stream.output.take())
            .for_each(|buffer| self.spares.give(buffer));
        if let Some(listener) = stream.listener {
            self.count_out(listener);
        }
        (stream.machine, end)
    }

    /// Closes everything, within a time that holds for all, whatever they set for themselves.
    pub(crate) fn shutdown(&mut self, within: Duration) {
        let by = self.clock.tick_after(within);
        self.shutdown_by = Some(by);
        // What their closures have captured is dropped last, as a `Drop` may panic.
        let _listeners: Vec<_> =
            std::mem::take(&mut self.listeners).into_iter().map(|key| self.remove_listener(key)).collect();
        let sources: Vec<Key> = self.slots.iter().map(|(key, _)| key).collect();
        for key in sources {
            self.close(key, within);
            match self.slots.get::<Stream<S>>(key) {
                Some(stream) if stream.flags.any(Flags::FINISHED) && stream.deadline < by => {} // it only lingers
                _ => self.set_deadline(key, by),
            }
        }
    }

    /// The reactor is dropped, and closes every socket with it: a connection with output unsent is reset, as by `abort`.
    pub(crate) fn cut_off(&mut self) {
        self.ungather();
        let panicked = self.running; // all that its machine wrote may be sent, and more have been to come
        for (key, slot) in self.slots.iter() {
            if let Slot::Stream(stream) = slot
                && (stream.unsent() > 0 || panicked == Some(key))
            {
                stream.reset_on_close(&self.driver, key);
            }
        }
    }

    /// Removes a stream that never came about, without telling its machine.
    pub(crate) fn discard(&mut self, key: Key) {
        if let Some(slot) = self.slots.remove(key) {
            self.streams -= 1;
            drop(slot); // last: a `Drop` may panic
        }
    }
}
