//! Readiness: what an event says of a source.

use std::fmt;

use mio::event::Event;

/// What the kernel says of a source. All of it is a hint: a source that is said to be ready may not be, and only the
/// system call tells how it failed or ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Readiness(u32);

impl Readiness {
    pub(crate) const READABLE: u32 = 1;
    pub(crate) const WRITABLE: u32 = 1 << 1;
    pub(crate) const READ_CLOSED: u32 = 1 << 2;
    /// The event spoke of an error or of the end of both directions: the connection may have been reset.
    pub(crate) const HUNG_UP: u32 = 1 << 3;

    pub(crate) const NONE: Readiness = Readiness(0);

    /// A read may give something: bytes, the end, or an error.
    pub fn is_readable(self) -> bool {
        self.0 & Self::READABLE != 0
    }

    /// A write may take something or give an error.
    pub fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE != 0
    }

    /// The peer will send no more, or there is an error: no further event will come for reading.
    pub fn is_read_closed(self) -> bool {
        self.0 & Self::READ_CLOSED != 0
    }

    #[inline]
    pub(crate) fn of(event: &Event) -> Self {
        let if_set = |hint: bool, bit: u32| if hint { bit } else { 0 };
        let open = if_set(event.is_readable(), Self::READABLE) | if_set(event.is_writable(), Self::WRITABLE);
        if event.is_error() || event.is_read_closed() || event.is_write_closed() {
            return Readiness(open | Self::of_closed(event));
        }
        Readiness(open)
    }

    #[cold]
    fn of_closed(event: &Event) -> u32 {
        let mut bits = 0;
        if event.is_read_closed() || event.is_error() {
            bits |= Self::READABLE | Self::READ_CLOSED;
        }
        if event.is_write_closed() || event.is_error() {
            bits |= Self::WRITABLE | Self::HUNG_UP;
        }
        bits
    }

    /// The bits above, which a connection's state keeps in the same places.
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    #[cfg(feature = "sim")]
    pub(crate) fn when(readable: bool, writable: bool, read_closed: bool) -> Self {
        let if_set = |hint: bool, bit: u32| if hint { bit } else { 0 };
        Readiness(
            if_set(readable, Self::READABLE)
                | if_set(writable, Self::WRITABLE)
                | if_set(read_closed, Self::READ_CLOSED),
        )
    }

    pub(crate) fn writable() -> Self {
        Readiness(Self::WRITABLE)
    }

    #[cfg(feature = "sim")]
    pub(crate) fn hung_up() -> Self {
        Readiness(Self::HUNG_UP)
    }

    #[cfg(feature = "sim")]
    pub(crate) fn without(self, other: Readiness) -> Self {
        Readiness(self.0 & !other.0)
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
