//! Where readiness comes from: mio.

use std::fmt;
use std::io;
use std::time::Duration;

use mio::event::{Event, Source};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::slots::{Key, WAKER};
use crate::stream::Flags;

/// What the kernel says of a source. Hints all of them: a source said to be ready may turn out not to be, and only
/// the system call tells how it failed or ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Readiness(u16);

impl Readiness {
    pub(crate) const NONE: Readiness = Readiness(0);

    /// A read may give something: bytes, the end, or an error.
    pub fn is_readable(self) -> bool {
        self.0 & Flags::READABLE != 0
    }

    /// A write may take something or give an error.
    pub fn is_writable(self) -> bool {
        self.0 & Flags::WRITABLE != 0
    }

    /// The peer will send no more, or there is an error: no further event will come for reading.
    pub fn is_read_closed(self) -> bool {
        self.0 & Flags::READ_CLOSED != 0
    }

    #[inline]
    fn of(event: &Event) -> Self {
        let if_set = |hint: bool, bits: u16| if hint { bits } else { 0 };
        Readiness(
            if_set(event.is_readable(), Flags::READABLE)
                | if_set(event.is_writable() | event.is_write_closed(), Flags::WRITABLE)
                | if_set(event.is_read_closed(), Flags::READABLE | Flags::READ_CLOSED)
                | if_set(event.is_error(), Flags::READABLE | Flags::WRITABLE | Flags::READ_CLOSED),
        )
    }

    /// As the flags of a stream that have the same names.
    #[inline]
    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    pub(crate) fn add(&mut self, other: Readiness) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("read_closed", &self.is_read_closed())
            .finish()
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

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, Readiness)> {
        self.0.iter().map(|event| (event.token(), Readiness::of(event)))
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
