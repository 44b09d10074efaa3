//! Connecting: an address is connected to at once, a name is looked up first, and a Unix listener without room is
//! asked again.

mod race;
mod resolve;
#[cfg(unix)]
mod retry;

use std::io;
use std::time::Duration;

use crate::base::error::{self, while_doing};
use crate::base::slots::Key;
use crate::base::target::{Kind, Target};
use crate::net::connecting::{Connecting, Resolving};
use crate::net::plain::Plain;
use crate::net::resolver::Answer;
use crate::net::socket::Socket;
use crate::reactor::core::Core;
use crate::reactor::posted::Asker;
use crate::reactor::protocol::Protocol;
use crate::stream::Stream;
use crate::stream::state::State;

impl<S> Core<S> {
    /// Makes a connection and begins to connect it. Every failure, also one that is known at once, dooms it.
    pub(crate) fn connect(&mut self, target: Target, machine: Box<dyn Protocol<S>>) -> Key {
        let mut stream = Stream::new(None, State::CONNECTING, &self.config);
        stream.peer = target.peer();
        let key = self.insert_stream(stream, machine);
        match self.begin_to_connect(key, target) {
            Ok(()) => self.limit_connect(key, self.config.connect_timeout, None),
            Err(error) => self.cannot_connect(key, error),
        }
        key
    }

    /// Limits looking a name up and connecting: together, or each if `connect` is given.
    pub(crate) fn limit_connect(&mut self, key: Key, look_up: Duration, connect: Option<Duration>) {
        let deadline = match self.connecting.get_mut(&key) {
            Some(Connecting::Resolving(resolving)) => {
                (resolving.look_up, resolving.connect) = (look_up, connect);
                resolving.waits_until.unwrap_or_else(|| self.clock.tick_after(look_up))
            }
            _ => self.clock.tick_after(connect.unwrap_or(look_up)),
        };
        self.set_deadline(key, deadline);
    }

    /// A look-up that had to wait has begun: its own limit counts from now. A deadline that was set meanwhile stands,
    /// unless it is for the same tick as the limit on the wait: the two cannot be told apart.
    pub(crate) fn limit_look_up(&mut self, key: Key) {
        if let Some(Connecting::Resolving(resolving)) = self.connecting.get_mut(&key)
            && let Some(waited_until) = resolving.waits_until.take()
            && let Some(stream) = self.slots.stream(key)
            && stream.deadline == waited_until
            && !stream.state.is_ending()
        {
            let deadline = self.clock.tick_after(resolving.look_up);
            self.set_deadline(key, deadline);
        }
    }

    fn begin_to_connect(&mut self, key: Key, target: Target) -> io::Result<()> {
        if self.shutdown_by.is_some() {
            return Err(error::shutting_down());
        }
        match target.0 {
            Kind::Addr(addr) => self.install(key, Plain::connect(&self.poll, addr)?.into()),
            Kind::Name { host, port } => {
                let ticket = self.look_up(&host, port, Asker::Connection(key));
                let waits_until = self.clock.tick_after(self.config.resolver_wait);
                let waits_until = self.look_ups.waits(ticket).then_some(waits_until);
                let look_up = self.config.connect_timeout;
                self.begin_connecting(
                    key,
                    Connecting::Resolving(Resolving { ticket, waits_until, look_up, connect: None }),
                );
                Ok(())
            }
            #[cfg(unix)]
            Kind::Path(path) => self.connect_to_path(key, &path),
            Kind::Malformed { why, .. } => Err(error::new(io::ErrorKind::InvalidInput, format!("it {why}"))),
        }
    }

    /// Gives a connection its socket.
    pub(crate) fn install(&mut self, key: Key, socket: Socket) -> io::Result<()> {
        #[cfg(feature = "tls")]
        let socket = match self.sessions.remove(&key) {
            Some(session) => socket.secured(session, false, 0),
            None => socket,
        };
        if let Some(stream) = self.slots.stream(key) {
            stream.socket = Some(socket);
            self.streams += 1;
        }
        self.register_stream(key)
    }

    /// Lets a connection be without a socket for a while.
    pub(crate) fn begin_connecting(&mut self, key: Key, state: Connecting) {
        self.streams += 1;
        self.connecting.insert(key, state);
    }

    pub(crate) fn end_connecting(&mut self, key: Key) -> Option<Connecting> {
        let dial = self.connecting.remove(&key)?;
        self.streams -= 1;
        Some(dial)
    }

    pub(crate) fn cannot_connect(&mut self, key: Key, error: io::Error) {
        let Some(stream) = self.slots.stream(key) else { return };
        let error = while_doing(error::CONNECTING, &stream.peer, error);
        self.doom(key, Err(error));
    }

    /// The time to connect is over: says what has come of it so far.
    pub(crate) fn connect_timed_out(&mut self, key: Key) {
        let timed_out = io::ErrorKind::TimedOut;
        if let Some(dial) = self.connecting.get(&key) {
            let error = error::unreached(timed_out, dial.tried(), format!("timed out, {dial}"));
            return self.cannot_connect(key, error);
        }
        let Some(stream) = self.slots.stream(key) else { return };
        let shakes_hands = stream.socket.as_ref().is_some_and(Socket::is_reached);
        let doing = if shakes_hands { error::SHAKING_HANDS } else { error::CONNECTING };
        let error = while_doing(doing, &stream.peer, timed_out.into());
        self.doom(key, Err(error));
    }

    /// The addresses of a connection's name have come.
    pub(crate) fn resolved(&mut self, key: Key, answer: Answer) {
        match answer {
            Ok(found) => {
                if let Some(Connecting::Resolving(Resolving { connect: Some(within), .. })) =
                    self.connecting.get(&key)
                {
                    let deadline = self.clock.tick_after(*within);
                    self.set_deadline(key, deadline);
                }
                self.race(key, found);
            }
            Err(error) => self.cannot_connect(key, error),
        }
    }

    /// Drops whatever stands in for a connection's socket.
    pub(crate) fn cancel_connecting(&mut self, key: Key) {
        #[cfg(feature = "tls")]
        self.sessions.remove(&key);
        match self.end_connecting(key) {
            Some(Connecting::Resolving(Resolving { ticket, .. })) => self.cancel_look_up(ticket),
            Some(Connecting::Racing(race)) => self.cancel_race(race),
            #[cfg(unix)]
            Some(Connecting::Retrying(retry)) => {
                self.timers.cancel(retry.timer);
            }
            None => {}
        }
    }

    /// The timer of a connection has fired that has no socket yet.
    pub(crate) fn connecting_due(&mut self, key: Key) {
        match self.connecting.get_mut(&key) {
            Some(Connecting::Racing(race)) => {
                race.timer = None;
                self.try_next(key);
            }
            #[cfg(unix)]
            Some(Connecting::Retrying(_)) => self.retry_path(key),
            Some(Connecting::Resolving(_)) | None => {}
        }
    }
}
