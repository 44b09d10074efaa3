//! What may become of a connection that is released.

use std::time::Duration;

use crate::pool::decide::table::Ticket;

/// What may become of a connection that is released: see [`Conn::release`](crate::Conn::release).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// The answer was read to its end: another may use the connection.
    Reusable,
    /// The same, but the server will close it when it has been idle for that long (HTTP's `Keep-Alive: timeout`). It is
    /// given up a second before that, so that the server does not close it at the moment it is used.
    ReusableFor(Duration),
    /// Who knows what is still to come: it is closed.
    Dirty,
}

/// What a connection is to a pool, during a callback of its machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pooled {
    No,
    Held {
        ticket: Ticket,
        /// Others had it before.
        reused: bool,
    },
    Released(Reuse),
}
