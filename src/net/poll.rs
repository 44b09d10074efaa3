//! Where readiness comes from: mio and the kernel, or a simulation.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll, Token};

use crate::base::clock::Time;
use crate::base::readiness::Readiness;
use crate::base::slots::WAKER;
use crate::net::simulated::Simulation;

/// Where the loop waits.
pub(crate) enum Poller {
    Mio(Poll),
    #[cfg_attr(
        not(feature = "sim"),
        expect(dead_code, reason = "there is no value of it: see simulated/absent.rs")
    )]
    Simulated(Simulation),
}

/// What one wait has brought.
pub(crate) struct Batch {
    events: Events,
    simulated: Vec<(Token, Readiness)>,
}

impl Batch {
    pub(crate) fn new(capacity: usize) -> Self {
        Batch { events: Events::with_capacity(capacity), simulated: Vec::new() }
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, Readiness)> {
        self.events.iter().map(|event| (event.token(), Readiness::of(event)))
    }

    /// Whether more may be ready than there was place for: epoll_wait(2) and kevent(2) tell of that with the next call.
    pub(crate) fn is_full(&self) -> bool {
        self.events.iter().count().max(self.simulated.len()) >= self.events.capacity()
    }

    /// What a simulation has brought.
    #[inline]
    pub(crate) fn simulated(&self) -> &[(Token, Readiness)] {
        &self.simulated
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Poller::Mio(Poll::new()?))
    }

    #[cfg(unix)]
    pub(crate) fn as_raw_fd(&self) -> std::os::fd::RawFd {
        match self {
            Poller::Mio(poll) => std::os::fd::AsRawFd::as_raw_fd(poll),
            Poller::Simulated(_) => -1,
        }
    }

    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match self {
            Poller::Mio(poll) => Some(std::os::fd::AsFd::as_fd(poll.registry())),
            Poller::Simulated(_) => None,
        }
    }

    pub(crate) fn waker(&self) -> io::Result<Waker> {
        match self {
            Poller::Mio(poll) => mio::Waker::new(poll.registry(), WAKER).map(Waker::Mio),
            Poller::Simulated(kernel) => Ok(Waker::Simulated(kernel.woken())),
        }
    }

    #[inline]
    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self, Poller::Simulated(_))
    }

    /// Where the loop's clock gets its time from, if not from the system.
    pub(crate) fn simulated_time(&self) -> Option<Time> {
        match self {
            Poller::Mio(_) => None,
            Poller::Simulated(kernel) => Some(kernel.clock()),
        }
    }

    /// Waits for events: no longer than [`LONGEST_WAIT`](crate::base::clock::LONGEST_WAIT), or as long as it takes.
    #[inline]
    pub(crate) fn wait(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Poller::Mio(poll) => poll.poll(&mut batch.events, timeout),
            Poller::Simulated(kernel) => kernel.wait(&mut batch.simulated, batch.events.capacity(), timeout),
        }
    }

    /// Registers a source, once and for all it may become ready for.
    pub(crate) fn register(
        &self,
        source: &mut dyn Source,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Poller::Mio(poll) => poll.registry().register(source, token, interest),
            Poller::Simulated(_) => self.has_descriptors(),
        }
    }

    /// An error in a simulation.
    pub(crate) fn has_descriptors(&self) -> io::Result<()> {
        match self {
            Poller::Mio(_) => Ok(()),
            Poller::Simulated(_) => Err(crate::base::error::new(
                io::ErrorKind::Unsupported,
                "a simulation has no descriptors: what is watched or adopted, and what has a path, needs a real reactor",
            )),
        }
    }

    /// Takes a source out that may have a duplicate elsewhere, which would go on reporting events. An error means
    /// that it was not in: Linux says so, kqueue does not.
    pub(crate) fn deregister(&self, source: &mut dyn Source) {
        if let Poller::Mio(poll) = self
            && let Err(error) = poll.registry().deregister(source)
        {
            log::debug!("a source was not registered any more: {error}");
        }
    }
}

/// Ends a wait from another thread.
pub(crate) enum Waker {
    Mio(mio::Waker),
    Simulated(Arc<AtomicBool>),
}

impl Waker {
    pub(crate) fn wake(&self) -> io::Result<()> {
        match self {
            Waker::Mio(waker) => waker.wake(),
            Waker::Simulated(woken) => {
                woken.store(true, Ordering::Release);
                Ok(())
            }
        }
    }
}
