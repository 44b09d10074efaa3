//! Connecting: an address is connected to at once, a name is looked up first, and a Unix listener without room is
//! asked again.

pub(crate) mod race;
pub(crate) mod resolve;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::error::{self, while_doing};
use crate::base::slots::Key;
use crate::base::target::{Kind, Target};
use crate::connect::race::Race;
use crate::connect::resolve::{Asker, Ticket};
use crate::net::plain::Plain;
use crate::net::resolver::Answer;
use crate::net::socket::Socket;
#[cfg(unix)]
use crate::net::unix::Knock;
use crate::reactor::core::Core;
use crate::reactor::protocol::Protocol;
use crate::stream::Stream;
use crate::stream::state::State;

/// What stands in for the socket of a connection that has none yet. Kept beside the streams, most of which never need
/// it. As long as there is one, its stream counts as having a socket: see [`Core::streams`].
pub(crate) enum Dial {
    /// Its name is being looked up.
    Resolving(Resolving),
    /// Its addresses are being tried.
    Racing(Race),
    /// There was no room in the backlog of a Unix listener.
    #[cfg(unix)]
    Knocking(Knock),
}

pub(crate) struct Resolving {
    ticket: Ticket,
    /// The tick until which the look-up may wait for a thread; `None` once it has begun.
    waits_until: Option<u64>,
    /// How long it may take from when it begins.
    look_up: Duration,
    /// How long connecting may take after it, if that has a limit of its own.
    connect: Option<Duration>,
}

impl fmt::Display for Resolving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.waits_until {
            Some(_) => {
                "waiting for a thread to look it up: all are busy with other names (Config::resolver_threads, \
                 Config::resolver_wait)"
            }
            None => "resolving",
        })
    }
}

impl Dial {
    /// The addresses that were tried; `None` if they are not known yet.
    fn tried(&self) -> Option<Vec<SocketAddr>> {
        match self {
            Dial::Resolving(_) => None,
            Dial::Racing(race) => Some(race.tried()),
            #[cfg(unix)]
            Dial::Knocking(_) => Some(Vec::new()),
        }
    }
}

pub(crate) type Dials = HashMap<Key, Dial>;

impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dial::Resolving(resolving) => resolving.fmt(f),
            Dial::Racing(race) => race.fmt(f),
            #[cfg(unix)]
            Dial::Knocking(knock) => knock.fmt(f),
        }
    }
}

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
        let deadline = match self.dials.get_mut(&key) {
            Some(Dial::Resolving(resolving)) => {
                (resolving.look_up, resolving.connect) = (look_up, connect);
                resolving.waits_until.unwrap_or_else(|| self.clock.tick_after(look_up))
            }
            _ => self.clock.tick_after(connect.unwrap_or(look_up)),
        };
        self.set_deadline(key, deadline);
    }

    /// A look-up that had to wait has begun: its own limit counts from now. A deadline that was set meanwhile stands (one
    /// for the very tick until which it could wait is taken for that limit).
    pub(crate) fn limit_look_up(&mut self, key: Key) {
        if let Some(Dial::Resolving(resolving)) = self.dials.get_mut(&key)
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
                self.dial(key, Dial::Resolving(Resolving { ticket, waits_until, look_up, connect: None }));
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
    pub(crate) fn dial(&mut self, key: Key, dial: Dial) {
        self.streams += 1;
        self.dials.insert(key, dial);
    }

    pub(crate) fn undial(&mut self, key: Key) -> Option<Dial> {
        let dial = self.dials.remove(&key)?;
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
        if let Some(dial) = self.dials.get(&key) {
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
                if let Some(Dial::Resolving(Resolving { connect: Some(within), .. })) = self.dials.get(&key) {
                    let deadline = self.clock.tick_after(*within);
                    self.set_deadline(key, deadline);
                }
                self.race(key, found);
            }
            Err(error) => self.cannot_connect(key, error),
        }
    }

    /// Drops whatever stands in for a connection's socket.
    pub(crate) fn hang_up(&mut self, key: Key) {
        #[cfg(feature = "tls")]
        self.sessions.remove(&key);
        match self.undial(key) {
            Some(Dial::Resolving(Resolving { ticket, .. })) => self.cancel_look_up(ticket),
            Some(Dial::Racing(race)) => self.call_off(race),
            #[cfg(unix)]
            Some(Dial::Knocking(knock)) => {
                self.timers.cancel(knock.timer);
            }
            None => {}
        }
    }

    /// The timer of a connection has fired that has no socket yet.
    pub(crate) fn redial(&mut self, key: Key) {
        match self.dials.get_mut(&key) {
            Some(Dial::Racing(race)) => {
                race.timer = None;
                self.try_next(key);
            }
            #[cfg(unix)]
            Some(Dial::Knocking(_)) => self.knock_again(key),
            Some(Dial::Resolving(_)) | None => {}
        }
    }
}
