//! What a slot of the loop holds: a connection, or one of the other sources.

use std::num::NonZeroU32;

use crate::base::slots::{self, Tenant};
use crate::base::slots::{Key, Slots};
use crate::connect::race::Attempt;
use crate::listen::Acceptor;
use crate::reactor::protocol::Protocol;
use crate::stream::Stream;
use crate::watch::Watcher;

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
