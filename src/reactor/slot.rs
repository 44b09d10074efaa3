//! What a slot of the loop holds: a connection, or one of the other sources.

use std::num::NonZeroU32;

use crate::Cx;
use crate::base::peer::Peer;
use crate::base::readiness::Readiness;
use crate::base::slots::{self, Tenant};
use crate::base::slots::{Key, Slots};
use crate::base::wheel::TimerKey;
use crate::net::connecting::Attempt;
use crate::net::listening::ListeningSocket;
use crate::net::poll::Poller;
use crate::reactor::protocol::Protocol;
use crate::stream::Stream;
use mio::{Interest, Token};
use std::io;
use std::time::Duration;

/// What a slot holds. Listeners, watched sources and attempts are few and boxed, so that a slot is as small as a stream.
pub(crate) enum Slot<S> {
    Connection(Connection<S>),
    Listener(Box<Acceptor<S>>),
    Watch(Box<Watcher<S>>),
    /// No source of its own: it belongs to a stream.
    Attempt(Box<Attempt>),
}

/// A machine and its connection's I/O.
pub(crate) struct Connection<S> {
    /// Out of its slot for the length of a callback.
    pub(crate) machine: Option<Box<dyn Protocol<S>>>,
    pub(crate) stream: Stream,
}

impl<S> Connection<S> {
    /// Takes its machine back after a callback, unless the callback has put another in its place.
    #[inline]
    pub(crate) fn take_back(&mut self, machine: Box<dyn Protocol<S>>) {
        if self.machine.is_none() {
            self.machine = Some(machine);
        }
    }
}

impl<S> Tenant<Slot<S>> for Connection<S> {
    #[inline]
    fn serial(&mut self) -> &mut NonZeroU32 {
        &mut self.stream.serial
    }
    #[inline]
    fn of(slot: &mut Slot<S>) -> Option<&mut Self> {
        match slot {
            Slot::Connection(connection) => Some(connection),
            _ => None,
        }
    }
    fn into_slot(self) -> Slot<S> {
        Slot::Connection(self)
    }
}

impl<S> Slots<Slot<S>> {
    #[inline]
    pub(crate) fn stream(&mut self, key: Key) -> Option<&mut Stream> {
        self.get::<Connection<S>>(key).map(|connection| &mut connection.stream)
    }
}

/// Makes the machine of an accepted connection.
pub(crate) type Accepted<S> = Box<dyn FnMut(&mut Cx<'_, S>, &Peer) -> Box<dyn Protocol<S>>>;

/// A listening socket, and the closure that makes machines.
pub(crate) struct Acceptor<S> {
    pub(crate) socket: ListeningSocket,
    /// Out of its slot for the length of a callback.
    pub(crate) accepted: Option<Accepted<S>>,
    pub(crate) ready: bool,
    pub(crate) queued: bool,
    /// After a failure: how long it waited last, until the backlog has been emptied again.
    pub(crate) backoff: Option<Duration>,
    /// The timer that ends the wait.
    pub(crate) retry: Option<TimerKey>,
    /// Until this tick, failures are logged at debug level only.
    pub(crate) quiet_until: u64,
    pub(crate) open: usize,
    pub(crate) limit: usize,
    /// Its connections speak TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<std::sync::Arc<rustls::ServerConfig>>,
    pub(crate) serial: NonZeroU32,
}

/// A watched source and its machine.
pub(crate) struct Watcher<S> {
    /// Out of its slot for the length of a callback.
    pub(crate) pair: Option<Box<dyn Watched<S>>>,
    pub(crate) ready: Readiness,
    pub(crate) queued: bool,
    pub(crate) doomed: bool,
    pub(crate) serial: NonZeroU32,
}

/// A source and its machine, their types forgotten.
pub(crate) trait Watched<S> {
    fn ready(&mut self, cx: &mut Cx<'_, S>, ready: Readiness) -> io::Result<Step>;
    fn register(&mut self, driver: &Poller, token: Token, interest: Interest) -> io::Result<()>;
    fn deregister(&mut self, driver: &Poller);
    fn closed(self: Box<Self>, cx: &mut Cx<'_, S>, result: io::Result<()>);
}

/// What a watched source needs next. Readiness is edge-triggered: it is told once, so a source that was not used
/// until it said `WouldBlock` will not be heard of again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the loop has to know whether the source was drained"]
pub enum Step {
    /// Every ready direction was used until it said `WouldBlock`: wait for the next event.
    Wait,
    /// There may be more: come back in the next turn, after the others had theirs.
    Again,
    /// Finished: deregister the source.
    Done,
}

impl<S> Tenant<Slot<S>> for Acceptor<S> {
    fn serial(&mut self) -> &mut NonZeroU32 {
        &mut self.serial
    }
    fn of(slot: &mut Slot<S>) -> Option<&mut Self> {
        match slot {
            Slot::Listener(listener) => Some(listener),
            _ => None,
        }
    }
    fn into_slot(self) -> Slot<S> {
        Slot::Listener(Box::new(self))
    }
}

impl<S> Tenant<Slot<S>> for Watcher<S> {
    fn serial(&mut self) -> &mut NonZeroU32 {
        &mut self.serial
    }
    fn of(slot: &mut Slot<S>) -> Option<&mut Self> {
        match slot {
            Slot::Watch(watcher) => Some(watcher),
            _ => None,
        }
    }
    fn into_slot(self) -> Slot<S> {
        Slot::Watch(Box::new(self))
    }
}

impl<S> Tenant<Slot<S>> for Attempt {
    fn serial(&mut self) -> &mut NonZeroU32 {
        &mut self.serial
    }
    fn of(slot: &mut Slot<S>) -> Option<&mut Self> {
        match slot {
            Slot::Attempt(attempt) => Some(attempt),
            _ => None,
        }
    }
    fn into_slot(self) -> Slot<S> {
        Slot::Attempt(Box::new(self))
    }
}

impl<S> slots::Slot for Slot<S> {
    fn serial(&mut self) -> NonZeroU32 {
        match self {
            Slot::Connection(connection) => connection.stream.serial,
            Slot::Listener(listener) => *listener.serial(),
            Slot::Watch(watcher) => *watcher.serial(),
            Slot::Attempt(attempt) => *Tenant::<Slot<S>>::serial(&mut **attempt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_104_bytes() {
        // The budget is 128 with everything, and the slab grows by a quarter. (mio's sockets are larger in debug
        // builds: they remember with which poll they are registered.)
        let socket = size_of::<Option<crate::Socket>>();
        assert_eq!(size_of::<Slot<()>>() - socket, 96);
        assert!(cfg!(debug_assertions) || socket == if cfg!(feature = "tls") { 16 } else { 8 });
    }
}
