//! Where readiness comes from: mio.

use std::io;
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::slots::{Key, WAKER};

/// What the kernel says of a source. Hints all of them: a source said to be ready may turn out not to be, and only
/// the system call tells how it failed or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// A read may give something: bytes, the end, or an error.
    pub readable: bool,
    /// A write may take something or give an error.
    pub writable: bool,
    /// The peer will send no more, or there is an error: no further event will come for reading.
    pub read_closed: bool,
}

impl Readiness {
    pub(crate) const NONE: Readiness = Readiness { readable: false, writable: false, read_closed: false };

    pub(crate) fn add(&mut self, other: Readiness) {
        self.readable |= other.readable;
        self.writable |= other.writable;
        self.read_closed |= other.read_closed;
    }
}

/// The longest wait in one call: mio hands the kernel a 32-bit count of milliseconds.
const LONGEST_WAIT: Duration = Duration::from_millis(i32::MAX as u64 - 1);

pub(crate) struct Driver {
    poll: Poll,
}

/// What one wait has brought.
pub(crate) struct Batch(Events);

impl Batch {
    pub(crate) fn new(capacity: usize) -> Self {
        Batch(Events::with_capacity(capacity))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, Readiness)> {
        self.0.iter().map(|event| {
            let error = event.is_error();
            let read_closed = event.is_read_closed() || error;
            let readiness = Readiness {
                readable: event.is_readable() || read_closed,
                writable: event.is_writable() || event.is_write_closed() || error,
                read_closed,
            };
            (event.token(), readiness)
        })
    }
}

impl Driver {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Driver { poll: Poll::new()? })
    }

    #[cfg(unix)]
    pub(crate) fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.poll)
    }

    pub(crate) fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), WAKER)
    }

    /// Waits for events, `None` for as long as it takes.
    pub(crate) fn wait(&mut self, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut batch.0, timeout.map(|wait| wait.min(LONGEST_WAIT))) {
            // A signal arrived: nothing is ready, and the caller works out anew how long to wait.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// Registers a source, once and for all it may become ready for.
    pub(crate) fn register(&self, source: &mut dyn Source, key: Key, interest: Interest) -> io::Result<()> {
        self.poll.registry().register(source, key.token(), interest)
    }

    /// Takes a source out that may have a duplicate elsewhere, which would go on reporting events. An error means
    /// that it was not in: Linux says so, kqueue does not.
    pub(crate) fn deregister(&self, source: &mut dyn Source, key: Key) {
        if let Err(error) = self.poll.registry().deregister(source) {
            log::debug!("source {key} was not registered any more: {error}");
        }
    }
}
