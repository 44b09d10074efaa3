//! Accepting: within a budget, up to a limit, and again after a failure.

use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::Cx;
use crate::base::error;
use crate::base::peer::Peer;
use crate::base::slots::Key;
use crate::net::socket::Socket;
use crate::reactor::core::Core;
use crate::reactor::protocol::Protocol;
use crate::reactor::slot::{Accepted, Acceptor, Slot};
use crate::reactor::timers::Task;
use crate::stream::Stream;
use crate::stream::state::State;

/// After a failed accept, the wait before the next try: doubled each time, from the first to the longest. Most of
/// these failures are a lack of descriptors, and when there are some again no event tells.
const FIRST_RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// At most one warning in this time: clients that come and go where descriptors run out cause a failure each.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

impl<S> Acceptor<S> {
    pub(crate) fn may_accept(&self) -> bool {
        self.ready && self.retry.is_none() && !self.is_full()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open >= self.limit
    }

    /// What it listens on, for messages.
    pub(crate) fn name(&self) -> String {
        self.socket.name()
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }
}

impl<S> Core<S> {
    pub(crate) fn queue_listener(&mut self, key: Key) {
        if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key)
            && acceptor.may_accept()
            && !std::mem::replace(&mut acceptor.queued, true)
        {
            self.run_queue.push(key);
        }
    }

    pub(crate) fn close_listener(&mut self, key: Key) {
        self.listeners.retain(|listener| *listener != key);
        drop(self.remove_listener(key));
    }

    /// Stops listening, and returns what made the machines.
    pub(crate) fn remove_listener(&mut self, key: Key) -> Option<Accepted<S>> {
        let Some(Slot::Listener(acceptor)) = self.slots.remove(key) else { return None };
        acceptor.socket.close(&self.poll);
        if let Some(timer) = acceptor.retry {
            self.timers.cancel(timer); // it would keep the loop from ending
        }
        acceptor.accepted
    }

    /// Counts a connection out of the listener that accepted it, which may have a place for another now.
    pub(crate) fn count_out(&mut self, listener_serial: NonZeroU32) {
        for i in 0..self.listeners.len() {
            let key = self.listeners[i];
            if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key)
                && acceptor.serial == listener_serial
            {
                acceptor.open = acceptor.open.saturating_sub(1);
                self.queue_listener(key);
            }
        }
    }

    /// Tries again, unprompted: of descriptors that are free again, no event tells.
    pub(crate) fn retry_accept(&mut self, key: Key) {
        if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) {
            acceptor.retry = None;
            self.queue_listener(key);
        }
    }

    pub(crate) fn drive_listener(&mut self, state: &mut S, key: Key) {
        let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) else { return };
        acceptor.queued = false;
        let serial = acceptor.serial;
        for _ in 0..self.config.accept_budget {
            let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) else { return };
            if !acceptor.may_accept() {
                return;
            }
            match acceptor.socket.accept() {
                Ok((socket, peer)) => {
                    acceptor.backoff = acceptor.backoff.map(|_| FIRST_RETRY / 2);
                    let socket = Socket::from(socket);
                    #[cfg(feature = "tls")]
                    let socket = match acceptor.tls.as_ref().map(crate::net::tls::Session::server) {
                        Some(Ok(session)) => socket.secured(session, true, 0),
                        Some(Err(error)) => return self.accept_failed(key, error),
                        None => socket,
                    };
                    let Some(mut accepted) = acceptor.accepted.take() else { return };
                    acceptor.open += 1;
                    self.running = Some(key);
                    let machine = accepted(&mut Cx { state, core: self }, &peer);
                    self.returned("a listener", Some(key));
                    if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) {
                        acceptor.accepted = Some(accepted);
                    }
                    self.open_accepted(state, socket, peer, machine, serial);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        acceptor.ready = false;
                        acceptor.backoff = None;
                        return;
                    }
                    // A peer that gave up while it waited, or a signal: the next one may be fine, accept(2).
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => return self.accept_failed(key, error),
                },
            }
        }
        self.queue_listener(key); // the budget is used up; there may be more
    }

    fn accept_failed(&mut self, key: Key, error: io::Error) {
        if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) {
            let first = acceptor.backoff.is_none();
            let wait = acceptor.backoff.map_or(FIRST_RETRY, |last| (last * 2).min(LONGEST_RETRY));
            acceptor.backoff = Some(wait);
            acceptor.retry = Some(self.timers.insert(self.clock.tick_after(wait), Task::Accept(key)));
            let warns = first && acceptor.quiet_until <= self.clock.tick();
            if warns {
                acceptor.quiet_until = self.clock.tick_after(WARNING_INTERVAL);
            }
            let level = if warns { log::Level::Warn } else { log::Level::Debug };
            let name = acceptor.name();
            let hint = match error.kind() {
                // EINVAL, accept(2). It can be made to listen again.
                io::ErrorKind::InvalidInput => {
                    "it listens no more: another owner of the socket has shut it down"
                }
                _ => "out of descriptors? `ulimit -n`, or a limit on the listener",
            };
            log::log!(level, "accepting on {name}: {error}; trying again until it works ({hint})");
        }
    }

    /// Opens what was accepted, at once: all that is left to wait for is what the peer says.
    fn open_accepted(
        &mut self,
        state: &mut S,
        socket: Socket,
        peer: Peer,
        machine: Box<dyn Protocol<S>>,
        listener: NonZeroU32,
    ) {
        let secure = socket.is_secure();
        let mut stream = Stream::new(Some(socket), State::ACCEPTED, &self.config);
        stream.peer = peer;
        stream.listener = Some(listener);
        let key = self.insert_stream(stream, machine);
        if self.shutdown_by.is_some() {
            self.doom(key, Err(error::shutting_down())); // it was `accepted` that asked for it
        } else if let Err(error) = self.register_stream(key) {
            self.doom(key, Err(error));
        } else if secure {
            self.shake_hands(key);
        } else {
            self.open(state, key);
        }
    }
}
