//! The receiver of a streamed response.

use std::io;

use super::{Call, Failure};
use crate::Cx;
use crate::http::{Head, Headers};

/// Receives a response piece by piece, and supplies a streamed request body: see
/// [`Session::stream`](crate::http::Session::stream).
///
/// Each method may [pause](Call::pause) or [cancel](Call::cancel) the call. An error that a method returns ends the
/// call and is passed to `end`, which is called exactly once. Interim responses, and redirects that the session
/// follows, are not delivered.
pub trait Receiver<S> {
    /// The [streamed](crate::http::RequestBuilder::stream) body may be written now. [Write](Call::write) until the call
    /// [is full](Call::is_full), and continue when this method is called again. At the end, call
    /// [`finish`](Call::finish). From now on, other callbacks may write the body too.
    ///
    /// # Errors
    ///
    /// An error ends the call.
    fn wanted(&mut self, cx: &mut Cx<'_, S>, call: &Call<S>) -> io::Result<()> {
        let _ = (cx, call);
        Ok(())
    }

    /// The head of the response has arrived.
    ///
    /// # Errors
    ///
    /// An error ends the call.
    fn head(&mut self, cx: &mut Cx<'_, S>, call: &Call<S>, head: Head) -> io::Result<()>;

    /// A piece of the body has arrived. It is decoded.
    ///
    /// # Errors
    ///
    /// An error ends the call.
    fn data(&mut self, cx: &mut Cx<'_, S>, call: &Call<S>, data: &[u8]) -> io::Result<()>;

    /// The call has ended: with the trailers of a complete response, mostly none, or with an error.
    fn end(self: Box<Self>, cx: &mut Cx<'_, S>, result: Result<Headers, Failure>);
}
