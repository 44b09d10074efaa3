//! The state that both ends of a connection share: the link, and the byte at which it fails.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::net::simulated::link::Link;
use crate::net::simulated::random::Random;

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) link: Rc<Link>,
    /// The server. Its address selects the link and the partition.
    pub(crate) server: SocketAddr,
    /// The bytes sent in both directions, and the numbers at which the connection is reset or goes silent.
    sent: Cell<u64>,
    reset_at: Option<u64>,
    stall_at: Option<u64>,
}

/// The fate of a connection after the bytes just sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    GoesOn,
    Reset,
    Silent,
}

impl Wire {
    pub(crate) fn new(link: Rc<Link>, server: SocketAddr, random: &mut Random) -> Self {
        let reset_at = link.reset_after.clone().map(|bytes| random.within(bytes));
        let stall_at = link.stall_after.clone().map(|bytes| random.within(bytes));
        Wire { link, server, sent: Cell::new(0), reset_at, stall_at }
    }

    /// Whether nothing arrives any more.
    pub(crate) fn is_silent(&self) -> bool {
        self.reaches(self.stall_at) && !self.was_reset_first()
    }

    /// Whether it was reset or went silent.
    pub(crate) fn is_broken(&self) -> bool {
        self.reaches(self.stall_at) || self.reaches(self.reset_at)
    }

    /// Sends this many bytes. Returns the number of bytes that arrive, and the fate after them.
    pub(crate) fn take(&self, bytes: usize) -> (usize, Fate) {
        let before = self.sent.get();
        self.sent.set(before.saturating_add(bytes as u64));
        let fate = match (self.is_silent(), self.reaches(self.reset_at)) {
            (true, _) => Fate::Silent,
            (_, true) => Fate::Reset,
            _ => return (bytes, Fate::GoesOn),
        };
        let limit = if fate == Fate::Silent { self.stall_at } else { self.reset_at };
        let left = limit.unwrap_or(u64::MAX).saturating_sub(before);
        (bytes.min(usize::try_from(left).unwrap_or(usize::MAX)), fate)
    }

    fn reaches(&self, limit: Option<u64>) -> bool {
        limit.is_some_and(|limit| self.sent.get() >= limit)
    }

    fn was_reset_first(&self) -> bool {
        self.reset_at.is_some_and(|reset| self.stall_at.is_some_and(|stall| reset < stall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reset: Option<u64>, stall: Option<u64>) -> Wire {
        let link =
            Link { reset_after: reset.map(|n| n..=n), stall_after: stall.map(|n| n..=n), ..Link::default() };
        Wire::new(Rc::new(link), ([10, 0, 0, 1], 80).into(), &mut Random::new(0))
    }

    #[test]
    fn it_fails_at_the_very_byte() {
        let wire = wire(Some(10), None);
        assert_eq!(wire.take(9), (9, Fate::GoesOn));
        assert_eq!(wire.take(9), (1, Fate::Reset));
        assert_eq!(wire.take(9), (0, Fate::Reset));
    }

    #[test]
    fn whichever_limit_is_lower_comes_first() {
        let silent = wire(Some(10), Some(4));
        assert!(!silent.is_silent());
        assert_eq!(silent.take(20), (4, Fate::Silent));
        assert!(silent.is_silent());
        let reset = wire(Some(4), Some(10));
        assert_eq!(reset.take(20), (4, Fate::Reset));
        assert!(!reset.is_silent());
    }
}
