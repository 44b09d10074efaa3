//! What a slot of the loop holds: a connection, or one of the other sources.

use std::num::NonZeroU32;

use crate::base::slots::{self, Tenant};
use crate::connect::race::Attempt;
use crate::listen::Acceptor;
use crate::stream::Stream;
use crate::watch::Watcher;

/// What a slot holds. Listeners, watched sources and attempts are few and boxed, so that a slot is as small as a stream.
pub(crate) enum Slot<S> {
    Stream(Stream<S>),
    Listener(Box<Acceptor<S>>),
    Watch(Box<Watcher<S>>),
    /// No source of its own: it belongs to a stream.
    Attempt(Box<Attempt>),
}

impl<S> slots::Slot for Slot<S> {
    fn serial(&mut self) -> NonZeroU32 {
        match self {
            Slot::Stream(stream) => *stream.serial(),
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
