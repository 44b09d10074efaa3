//! The counters of a pool.

use std::fmt;

/// The reason for closing a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The connect failed.
    Unconnected,
    /// The request that used the connection was cancelled. Or it was cancelled while connecting, and no other request
    /// needed the connection.
    Cancelled,
    /// It was idle, and its place was needed for another host or for a [fresh](crate::pool::Key::fresh) connection.
    Evicted,
    /// It was idle too long, or longer than its server keeps it.
    Idle,
    /// It reached [`Config::max_lifetime`](crate::pool::Config::max_lifetime).
    Lifetime,
    /// The server closed it while it was idle.
    Ended,
    /// The server sent bytes while it was idle, or after the end of an exchange. The log shows the first bytes at debug
    /// level.
    Unexpected,
    /// It was released as dirty, or with unsent output.
    Dirty,
    /// Its key was [one-shot](crate::pool::Key::one_shot).
    OneShot,
    /// It was lost, or its protocol closed it, during an exchange.
    Lost,
    /// Its [`Lease`](crate::pool::Lease) was dropped.
    Leaked,
    /// The pool was closed or drained.
    Closed,
}

impl Reason {
    /// All reasons.
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

/// The counters of a pool, since its creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// The number of connections begun.
    pub opened: u64,
    /// The number of times that a connection was reused.
    pub reused: u64,
    closed: [u64; Reason::ALL.len()],
}

impl Stats {
    /// The number of connections that were closed, or are being closed, for this reason.
    pub fn closed(&self, reason: Reason) -> u64 {
        self.closed[reason as usize]
    }

    pub(in crate::pool) fn count(&mut self, reason: Reason) {
        self.closed[reason as usize] += 1;
    }
}
