//! How sources end: closing in good order, giving up, and being reaped, which is where `closed` is called.

use std::io;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::error::{self, while_doing};
use crate::base::slots::Key;
use crate::net::socket::Socket;
use crate::reactor::core::Core;
use crate::reactor::protocol::End;
use crate::reactor::slot::{Connection, Slot};
use crate::stream::state::WriteHalf;
use crate::stream::{Farewell, Stream};
use crate::{Config, Cx};

/// How long a connection that has sent everything, and said so, waits for the peer to say the same, or anything: as long as
/// what was sent last may be on its way to the other end of the world, and the peer's answer on its way back.
const LINGER: Duration = Duration::from_secs(1);

impl<S> Core<S> {
    /// Takes the steps of finishing and closing that are due: they come after the last byte is sent.
    pub(crate) fn wind_up(&mut self, key: Key) {
        let closing = self.slots.stream(key).is_some_and(|stream| stream.state.is_ending());
        if closing && self.has_lost(key) {
            return self.give_up(key);
        }
        let Some(stream) = self.slots.stream(key) else { return };
        if stream.output.is_some() || stream.state.is_doomed() {
            return;
        }
        if closing && stream.farewell() == Farewell::Close {
            return self.doom(key, Ok(()));
        }
        if closing {
            stream.state.finish();
        }
        // A peer that has ended may be gone: that our own end does not reach it is no failure, as nothing else is unsent.
        if let Err(error) = stream.finish_if_due()
            && !stream.state.peer_has_ended()
        {
            return self.end_failed(key, error);
        }
        if stream.state.is_over() {
            self.doom(key, Ok(()));
        } else if closing && stream.state.write_half() == WriteHalf::Shut {
            self.linger(key);
        }
    }

    /// Has a closing connection that has sent everything wait for the peer's end.
    fn linger(&mut self, key: Key) {
        let (time, _) = self.closing_times(true);
        let Some(stream) = self.slots.stream(key) else { return };
        if stream.state.is_lingering() {
            return;
        }
        stream.state.linger();
        let until = self.clock.tick_after(time).min(stream.deadline);
        self.latest_ends.remove(&key);
        self.set_closing_deadline(key, until);
    }

    /// How long a closing connection may go without progress, and how long it may take in all: to send what is unsent, or
    /// to see the peer's end behind what that still sends.
    fn closing_times(&self, lingering: bool) -> (Duration, Duration) {
        let Config { close_timeout, close_total, .. } = self.config;
        let (time, total) = if lingering { (LINGER, close_timeout) } else { (close_timeout, close_total) };
        (time.min(total), total)
    }

    /// Moves a closing connection's deadline, without making it final, as a deadline that the user sets is.
    fn set_closing_deadline(&mut self, key: Key, tick: u64) {
        let stream = self.slots.stream(key);
        let extensible = stream.is_some_and(|stream| stream.state.is_extensible());
        self.set_deadline(key, tick);
        if extensible && let Some(stream) = self.slots.stream(key) {
            stream.state.extend();
        }
    }

    /// A closing connection has made progress, so its time without any begins anew. The total counts from the deadline that
    /// it had until now: nothing is kept for connections that close without delay.
    pub(crate) fn extend_closing(&mut self, key: Key) {
        let Some(stream) = self.slots.stream(key) else { return };
        if !stream.state.is_extensible() {
            return;
        }
        let (deadline, lingering) = (stream.deadline, stream.state.is_lingering());
        let (time, total) = self.closing_times(lingering);
        let latest = deadline.saturating_add(Clock::tick_at(total - time));
        let latest = *self.latest_ends.entry(key).or_insert(latest);
        self.set_closing_deadline(key, self.clock.tick_after(time).min(latest));
    }

    /// Whether a broken write half has lost output, and not only our own end.
    fn has_lost(&self, key: Key) -> bool {
        self.broken.iter().any(|broken| broken.key == key && broken.lost)
    }

    /// The peer of a connection with a broken write half has ended in good order. If only our own end could not be sent,
    /// that is no failure any more: returns whether it is so.
    pub(crate) fn forgive(&mut self, key: Key) -> bool {
        if self.has_lost(key) {
            return false;
        }
        self.broken.retain(|broken| broken.key != key);
        if let Some(stream) = self.slots.stream(key) {
            stream.state.shut();
        }
        true
    }

    /// Ends a connection whose write half had failed, when there is nothing more to read from it.
    pub(crate) fn give_up(&mut self, key: Key) {
        let failed = self.broken.iter().position(|broken| broken.key == key);
        let error = failed.map(|failed| self.broken.swap_remove(failed).error);
        let error = error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        let Some(stream) = self.slots.stream(key) else { return };
        // "Not connected", of shutdown(2), says less than the error that has cut the connection off.
        let cause = stream.socket.as_ref().and_then(Socket::take_error);
        let error = while_doing(error::WRITING, &stream.peer, cause.unwrap_or(error));
        self.doom(key, Err(error));
    }

    /// `close`: no more callbacks but `closed`, which comes when all is sent or the time is up.
    pub(crate) fn close(&mut self, key: Key) {
        self.uncork();
        let (time, _) = self.closing_times(false);
        let Some(stream) = self.slots.stream(key) else { return };
        if !stream.state.close() {
            return; // asking again does not give it more time
        }
        #[cfg(feature = "tls")]
        stream.give_up_handshake();
        let nothing_to_do = stream.state.is_connecting() || stream.farewell() == Farewell::Close;
        if nothing_to_do && stream.output.is_none() {
            return self.doom(key, Ok(()));
        }
        self.set_closing_deadline(key, self.clock.tick_after(time));
        self.mark_dirty(key);
    }

    /// Marks a source to be reaped at the end of the turn. The first cause stands.
    pub(crate) fn doom(&mut self, key: Key, result: io::Result<()>) {
        self.uncork();
        let dooms = match self.slots.by_key(key) {
            Some(Slot::Connection(connection)) => connection.stream.state.doom(),
            Some(Slot::Watch(watcher)) => !std::mem::replace(&mut watcher.doomed, true),
            _ => false,
        };
        if dooms {
            self.doomed.push_back((key, result));
        }
    }

    /// Removes one source for good and tells its machine. Its descriptor is closed before `closed` is called.
    pub(crate) fn reap(&mut self, state: &mut S, key: Key, result: io::Result<()>) {
        match self.slots.remove(key) {
            Some(Slot::Connection(Connection { machine, stream })) => {
                let end = self.dismantle(stream, key, result);
                if let Some(machine) = machine {
                    self.running = Some(key);
                    machine.closed(&mut Cx { state, core: self }, end);
                    self.returned("a connection", Some(key));
                }
            }
            Some(Slot::Watch(mut watcher)) => {
                if let Some(mut pair) = watcher.pair.take() {
                    pair.deregister(&self.poll);
                    self.running = Some(key);
                    pair.closed(&mut Cx { state, core: self }, result);
                    self.returned("a watch", Some(key));
                }
            }
            Some(Slot::Listener(_) | Slot::Attempt(_)) | None => {}
        }
    }

    pub(crate) fn dismantle(&mut self, mut stream: Stream, key: Key, result: io::Result<()>) -> End {
        self.streams -= usize::from(stream.socket.is_some());
        if stream.state.is_connecting() {
            self.cancel_connecting(key);
        }
        self.paused -= usize::from(stream.state.is_paused());
        if let Some(timer) = stream.timer {
            self.timers.cancel(timer);
        }
        if !self.latest_ends.is_empty() {
            self.latest_ends.remove(&key);
        }
        if stream.state.is_broken() {
            self.broken.retain(|broken| broken.key != key);
        }
        let end = End { result, unsent: stream.unsent(), unread: stream.unread() };
        if end.unsent > 0 {
            stream.reset_on_close(key); // what was cut off must not look whole
        }
        if let Some(mut socket) = stream.socket.take() {
            if stream.state.is_adopted() {
                socket.deregister(&self.poll);
            }
            socket.close();
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
        end
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
            self.close(key);
            match self.slots.stream(key) {
                Some(stream) if stream.state.is_lingering() && stream.deadline < by => {}
                _ => self.set_deadline(key, by),
            }
        }
    }

    /// The reactor is dropped, and closes every socket with it: a connection with output unsent is reset, as by `abort`.
    pub(crate) fn cut_off(&mut self) {
        self.uncork();
        // All that its machine wrote may be sent, but the callback did not come to its end.
        let panicked = self.running;
        for (key, slot) in self.slots.iter() {
            if let Slot::Connection(Connection { stream, .. }) = slot
                && (stream.unsent() > 0 || panicked == Some(key))
            {
                stream.reset_on_close(key);
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
