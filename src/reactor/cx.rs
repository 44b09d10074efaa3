//! What a callback may do to the loop.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::Conn;
use crate::base::clock::Clock;
use crate::base::error::{self, while_doing};
use crate::base::peer::Peer;
use crate::base::slots::Key;
use crate::base::target::Target;
use crate::base::wheel::TimerKey;
use crate::net::socket::Socket;
use crate::reactor::core::Core;
use crate::reactor::protocol::Protocol;
use crate::reactor::timers::{Periodic, Task};
use crate::stream::Stream;
use crate::stream::state::State;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub(crate) Key);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Names a connection, also after it is gone: then it finds nobody, never a newcomer.
    ///
    /// It is a name within the reactor that gave it. Reactors share nothing and count alike, so in another one it may name
    /// a connection of that one. A program with several reactors keeps their ids apart; where they meet, in a map or a
    /// message between threads, the reactor is part of the key.
    ConnId
}
id! {
    /// Names a listener, within the reactor that gave it: see [`ConnId`].
    ListenerId
}
id! {
    /// Names a watched source, within the reactor that gave it: see [`ConnId`].
    WatchId
}

/// Names a timer, within the reactor that gave it: see [`ConnId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId(pub(crate) TimerKey);

/// The loop, as a callback sees it, and the state lent to it.
///
/// Whatever is done here to other connections, listeners and timers takes effect, but calls nobody back before the
/// callback at hand has returned.
pub struct Cx<'a, S = ()> {
    /// The state given to [`Reactor::run`](crate::Reactor::run).
    pub state: &'a mut S,
    pub(crate) core: &'a mut Core<S>,
}

impl<S> Cx<'_, S> {
    /// Connects without waiting: `opened` is called when the connection stands. Every failure, also one that is known at
    /// once, arrives in `closed`, with the [target](Target) in its message.
    ///
    /// The target is an address, a name with a port, or on Unix the path of a Unix socket:
    ///
    /// ```no_run
    /// # use enjamb::{Conn, Input, Protocol};
    /// # struct Hello;
    /// # impl Protocol for Hello {
    /// #     fn received(&mut self, _: &mut Conn<'_>, input: &mut Input<'_>) -> std::io::Result<()> {
    /// #         input.take_all();
    /// #         Ok(())
    /// #     }
    /// # }
    /// let mut reactor = enjamb::Reactor::new()?;
    /// let mut state = ();
    /// let mut cx = reactor.cx(&mut state);
    /// cx.connect(([127, 0, 0, 1], 80), Hello);
    /// cx.connect("[::1]:80", Hello);
    /// cx.connect("example.org:80", Hello).deadline(std::time::Duration::from_secs(3));
    /// # #[cfg(unix)]
    /// cx.connect(std::path::Path::new("/run/hello.sock"), Hello);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// A name is looked up by a helper thread ([`resolve`](Self::resolve)). Its addresses are tried in the resolver's
    /// order, IPv6 and IPv4 in turns, each as soon as the one before has failed or has gone 250 ms without an answer;
    /// the first that connects is taken, and the other attempts are closed (RFC 8305, "happy eyeballs"). If all fail,
    /// the error lists each address and why it failed; its kind is that of the first that a host has answered with.
    ///
    /// The connection is returned as it is now: what is written to it is kept until it stands.
    /// [`Config::connect_timeout`](crate::Config::connect_timeout) limits how long it may take with everything, from when
    /// the look-up of the name begins; [`Config::resolver_wait`](crate::Config::resolver_wait) limits how long that may wait
    /// for a thread. `cx.connect(target, machine).deadline(limit)` sets another limit for this one, for all of it.
    ///
    /// If no server listens at an address of this host, and the kernel chooses the same port for the client, TCP connects
    /// the socket to itself (simultaneous open: RFC 9293, section 3.5). That is an error too:
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused).
    ///
    /// A Unix listener whose backlog is full is asked again, at growing intervals up to 64 ms, until there is room or the
    /// time is up: where TCP would go on trying, Linux says `EAGAIN` and leaves it at that, connect(2).
    pub fn connect(
        &mut self,
        target: impl Into<Target>,
        protocol: impl Protocol<S> + 'static,
    ) -> Conn<'_, S> {
        let key = self.core.connect(target.into(), Box::new(protocol));
        Conn::new(Cx { state: self.state, core: self.core }, key)
    }

    /// Takes over a connected socket of the standard library's, with `protocol` as its machine. It is set nonblocking,
    /// and TCP_NODELAY, as are those that the loop connects or accepts. What its former owner has written may still be
    /// with the kernel, so [closing](Conn::close) waits for the peer's end in any case.
    ///
    /// A socket whose connection is over already is taken too, as a peer can do that at any time: what came before is
    /// received, and `closed` tells how it ended.
    ///
    /// # Errors
    /// With the address of the socket: [`InvalidInput`](io::ErrorKind::InvalidInput) for a listener, which belongs to
    /// [`listen_on`](Self::listen_on), on Linux, Android and FreeBSD, where the system says whether a socket listens;
    /// [`NotConnected`](io::ErrorKind::NotConnected) for a listener elsewhere, and for a socket that was never connected or
    /// is still connecting. What the kernel says to making it nonblocking or to registering it (a socket
    /// that is none, one that another reactor has). And that the loop is shutting down. It is closed then.
    pub fn adopt(
        &mut self,
        socket: impl Into<Socket>,
        protocol: impl Protocol<S> + 'static,
    ) -> io::Result<Conn<'_, S>> {
        let socket = socket.into();
        if self.core.shutdown_by.is_some() {
            return Err(error::shutting_down());
        }
        socket.set_nonblocking()?;
        let failed = socket.check_connected()?;
        socket.set_options();
        let state = if socket.is_simulated() { State::ACCEPTED } else { State::ADOPTED };
        let peer = socket.peer();
        let mut stream = Stream::new(Some(socket), state, &self.core.config);
        stream.peer = peer;
        let key = self.core.insert_stream(stream, Box::new(protocol));
        if let Err(error) = self.core.register_stream(key) {
            self.core.discard(key);
            return Err(error);
        }
        match failed {
            Some(error) => self.core.doom(key, Err(while_doing(error::READING, &Peer::Unknown, error))),
            None => self.core.queue_stream(key),
        }
        Ok(Conn::new(Cx { state: self.state, core: self.core }, key))
    }

    /// The connection with this id; `None` if it is gone. It may be any, the caller's own included.
    pub fn conn(&mut self, id: ConnId) -> Option<Conn<'_, S>> {
        let stream = self.core.slots.stream(id.0)?;
        if stream.state.is_doomed() {
            return None;
        }
        Some(Conn::new(Cx { state: self.state, core: self.core }, id.0))
    }

    /// Calls `call` once, `delay` from now: never earlier, and as much later as the rest of the loop makes it, at
    /// least to the next whole millisecond. Timers that are due in the same millisecond fire in the order in which
    /// they were set.
    ///
    /// A timer without delay fires in the turn at hand or in the next, and the loop does not wait before. Timers fire once in
    /// a turn, after the events: so a timer that sets another one like it, again and again, has one call in each turn and
    /// holds up nothing else. What becomes due while callbacks run may be for the next turn.
    pub fn after(&mut self, delay: Duration, call: impl FnOnce(&mut Cx<'_, S>) + 'static) -> TimerId {
        let due = self.core.clock.fresh_tick_after(delay);
        TimerId(self.core.timers.insert(due, Task::Once(Box::new(call))))
    }

    /// Calls `call` every `period`, first one period from now. It keeps to that grid whatever each call takes; a
    /// time that was missed is left out, not caught up with. A period under a millisecond is taken as one.
    pub fn every(&mut self, period: Duration, call: impl FnMut(&mut Cx<'_, S>) + 'static) -> TimerId {
        let period = period.max(Duration::from_millis(1));
        let due = self.core.clock.fresh_after(period);
        let periodic = Periodic { period, due, call: Box::new(call) };
        TimerId(self.core.timers.insert(Clock::tick_at(due), Task::Every(Box::new(periodic))))
    }

    /// Cancels a timer; `false` if it has fired for the last time or was cancelled before.
    pub fn cancel(&mut self, timer: TimerId) -> bool {
        // A periodic timer cancelled by its own call is out of the wheel, but not over.
        let firing = self.core.firing.take_if(|firing| *firing == timer.0).is_some();
        self.core.timers.cancel(timer.0) || firing
    }

    /// The loop's time: read when the callback at hand began. Monotonic.
    pub fn now(&self) -> Instant {
        self.core.clock.now()
    }

    /// Makes [`run`](crate::Reactor::run) return after this turn. Everything stays as it is, and `run` can be called
    /// again.
    pub fn stop(&mut self) {
        self.core.stopping = true;
    }

    /// Ends in good order: closes all listeners, and all connections as [`Conn::close`] does, but within `within`. When the
    /// last is gone, [`run`](crate::Reactor::run) returns; timers, watched sources and handles no longer keep it.
    ///
    /// `within` limits all that closing takes, and replaces the limits of [`Config`](crate::Config). A connection that has
    /// output unsent by then is cut off, even if its peer reads steadily, and its `closed` says so. A second call sets the
    /// time anew.
    ///
    /// A panic that leaves [`run`](crate::Reactor::run) does not end a shutdown: running again goes on with it. Only if it
    /// came from the last `closed`, [`Reactor::cx`](crate::Reactor::cx) can set up new work at once.
    pub fn shutdown(&mut self, within: Duration) {
        self.core.shutdown(within);
    }
}

impl<S: fmt::Debug> fmt::Debug for Cx<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("state", &self.state).finish_non_exhaustive()
    }
}
