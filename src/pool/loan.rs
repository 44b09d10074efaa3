//! What a machine may do with a connection that is lent to it: ask whether it was used before, and release it.

use crate::Conn;
#[cfg(doc)]
use crate::Protocol;
use crate::pool::Reuse;

impl<S> Conn<'_, S> {
    /// Ends the exchange: the connection goes back to the [pool](crate::pool) it is from, when this callback returns.
    /// [`closed`](Protocol::closed) is called then, with `Ok`; nothing that comes later is this machine's.
    ///
    /// A connection that is no pool's, or that another than its own machine releases, is [closed](Self::close). So one
    /// machine does for both.
    ///
    /// The connection keeps its [id](Self::id) for its next user: whoever has noted it, for a timer say, must forget it.
    pub fn release(&mut self, reuse: Reuse) {
        match &mut self.loan {
            None => self.close(),
            Some(loan) if reuse == Reuse::Dirty => loan.released = Some(reuse),
            Some(loan) => loan.released = loan.released.or(Some(reuse)),
        }
    }

    /// Whether this is a connection of a [pool](crate::pool)'s that has been used before: its peer may have closed it, or
    /// said something on it, before it could know that it is used again.
    pub fn is_reused(&self) -> bool {
        self.loan.as_ref().is_some_and(|loan| loan.reused)
    }
}
