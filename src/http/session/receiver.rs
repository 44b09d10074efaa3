//! Whoever takes an answer as it comes.

use std::io;

use super::{Call, Failure};
use crate::Cx;
use crate::http::{Head, Headers};

/// Takes an answer as it comes, and gives a streamed body as it is wanted: see [`Session::stream`](crate::http::Session::stream).
///
/// Each method may [pause](Call::pause) the call and [cancel](Call::cancel) it; an error that one returns ends the call, and
/// comes back in `end`, which is called exactly once. Of redirects that are followed, and of interim answers, nothing is
/// told.
pub trait Receiver<S> {
    /// A [streamed](crate::http::RequestBuilder::stream) body may be written now: [write](Call::write) until the call
    /// [is full](Call::is_full), and go on when this is called again. The last is [`finish`](Call::finish). It may also be
    /// written from elsewhere, at any time from now on.
    ///
    /// # Errors
    ///
    /// Whatever ends the call.
    fn wanted(&mut self, cx: &mut Cx<'_, S>, call: &Call<S>) -> io::Result<()> {
        let _ = (cx, call);
        Ok(())
    }

    /// The answer has begun.
    ///
    /// # Errors
    ///
    /// Whatever ends the call.
    fn head(&mut self, cx: &mut Cx<'_, S>, call: &Call<S>, head: Head) -> io::Result<()>;

    /// A piece of the body, decoded.
    ///
    /// # Errors
    ///
    /// Whatever ends the call.
    fn data(&mut self, cx: &mut Cx<'_, S>, call: &Call<S>, data: &[u8]) -> io::Result<()>;

    /// The call is over: the answer is complete, with these trailers (there are hardly ever any), or why it is not.
    fn end(self: Box<Self>, cx: &mut Cx<'_, S>, result: Result<Headers, Failure>);
}
