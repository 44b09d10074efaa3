//! The methods of `Conn` for a pooled connection.

use crate::Conn;
#[cfg(doc)]
use crate::Protocol;
use crate::pool::Reuse;

impl<S> Conn<'_, S> {
    /// Ends the exchange. When this callback returns, the connection goes back to its [pool](crate::pool), and
    /// [`closed`](Protocol::closed) is called with `Ok`. Later input goes to the connection's next protocol.
    ///
    /// A connection that is not pooled is [closed](Self::close) instead, so one protocol works for both. The same
    /// happens if a callback of another protocol releases the connection.
    ///
    /// The connection keeps its [id](Self::id) for its next protocol. So forget an id that you have stored, for a timer
    /// for example.
    pub fn release(&mut self, reuse: Reuse) {
        match &mut self.loan {
            None => self.close(),
            Some(loan) if reuse == Reuse::Dirty => loan.released = Some(reuse),
            Some(loan) => loan.released = loan.released.or(Some(reuse)),
        }
    }

    /// Whether this is a pooled connection that has carried an exchange before. Its peer may have closed it or sent
    /// bytes on it before it could know about this exchange.
    pub fn is_reused(&self) -> bool {
        self.loan.as_ref().is_some_and(|loan| loan.reused)
    }
}
