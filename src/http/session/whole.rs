//! Answers, collected whole.

use std::io;

use super::failure::server;
use super::{Call, Failure, Receiver};
use crate::Cx;
use crate::http::{Head, Headers, Response, ResponseError, Rule};

/// Collects an answer, up to a limit, and passes it on.
pub(super) struct Whole<F> {
    response: Option<Response>,
    limit: u64,
    then: F,
}

impl<F> Whole<F> {
    pub(super) fn new(limit: u64, then: F) -> Self {
        Whole { response: None, limit, then }
    }
}

impl<S, F> Receiver<S> for Whole<F>
where
    F: FnOnce(&mut Cx<'_, S>, Result<Response, Failure>),
{
    fn head(&mut self, _: &mut Cx<'_, S>, call: &Call<S>, head: Head) -> io::Result<()> {
        self.response = call.url().map(|url| Response::new(url, head));
        Ok(())
    }

    fn data(&mut self, _: &mut Cx<'_, S>, call: &Call<S>, data: &[u8]) -> io::Result<()> {
        let Some(response) = &mut self.response else { return Ok(()) };
        let room = self.limit.saturating_sub(response.body.len() as u64);
        let fits = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        response.body.extend_from_slice(&data[..fits]);
        if fits < data.len() {
            let error = ResponseError::new(Rule::BodyTooLarge, call.received());
            return Err(error.from_server(server(&response.url)).into());
        }
        Ok(())
    }

    fn end(self: Box<Self>, cx: &mut Cx<'_, S>, result: Result<Headers, Failure>) {
        let result = match (result, self.response) {
            (Ok(trailers), Some(response)) => Ok(Response { trailers, ..response }),
            (Err(failure), partial) => Err(Failure { partial: partial.map(Box::new), ..failure }),
            (Ok(_), None) => return, // nothing ends well without a head
        };
        (self.then)(cx, result);
    }
}
