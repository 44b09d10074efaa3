//! What a pool has done so far, counted.

use std::fmt;

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The connect failed.
    Unconnected,
    /// Whoever was using it cancelled; or whoever it was being made for, and nobody else wanted it.
    Cancelled,
    /// It was free, and its place was needed: for another host, or for a [fresh](crate::pool::Key::fresh) connection.
    Evicted,
    /// It was idle for too long, or longer than its server keeps it.
    Idle,
    /// It was too old.
    Lifetime,
    /// The server closed it while it was idle.
    Ended,
    /// The server sent something while it was idle, or after the answer: the log tells its first bytes at debug level.
    Unexpected,
    /// It was released as dirty, or with output unsent.
    Dirty,
    /// Its key was a one-shot.
    OneShot,
    /// It was lost, or closed by its user, in the middle of an exchange.
    Lost,
    /// Its lease was dropped.
    Leaked,
    /// The pool was closed or drained.
    Closed,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Reason; 12] = [
        Reason::Unconnected,
        Reason::Cancelled,
        Reason::Evicted,
        Reason::Idle,
        Reason::Lifetime,
        Reason::Ended,
        Reason::Unexpected,
        Reason::Dirty,
        Reason::OneShot,
        Reason::Lost,
        Reason::Leaked,
        Reason::Closed,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Unconnected => "not connected",
            Reason::Cancelled => "cancelled",
            Reason::Evicted => "evicted",
            Reason::Idle => "idle too long",
            Reason::Lifetime => "too old",
            Reason::Ended => "ended by the server",
            Reason::Unexpected => "unexpected bytes",
            Reason::Dirty => "dirty",
            Reason::OneShot => "one-shot",
            Reason::Lost => "lost",
            Reason::Leaked => "leaked",
            Reason::Closed => "pool closed",
        })
    }
}

/// What a pool has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections begun.
    pub opened: u64,
    /// Times a connection was used again.
    pub reused: u64,
    closed: [u64; Reason::ALL.len()],
}

impl Stats {
    /// How many connections were closed, or are about to be, for this reason.
    pub fn closed(&self, reason: Reason) -> u64 {
        self.closed[reason as usize]
    }

    pub(in crate::pool) fn count(&mut self, reason: Reason) {
        self.closed[reason as usize] += 1;
    }
}
