//! Collects a whole response.

use std::io;

use super::failure::server;
use super::{Call, Failure, Receiver};
use crate::Cx;
use crate::http::{Head, Headers, Response, ResponseError, Rule};

/// Collects a response, up to a limit, and passes it to a callback.
pub(super) struct Whole<F> {
    response: Option<Response>,
    limit: u64,
    then: F,
}

impl<F> Whole<F> {
    pub(super) fn new(limit: u64, then: F) -> Self {
        Whole { response: None, limit, then }
    }

    fn broken(&self, rule: Rule, received: u64) -> io::Error {
        let error = ResponseError::new(rule, received);
        match &self.response {
            Some(response) => error.from_server(server(&response.url)).into(),
            None => error.into(),
        }
    }
}

impl<S, F> Receiver<S> for Whole<F>
where
    F: FnOnce(&mut Cx<'_, S>, Result<Response, Failure>),
{
    fn head(&mut self, _: &mut Cx<'_, S>, call: &Call<S>, head: Head) -> io::Result<()> {
        let fits = head.check_length(self.limit);
        self.response = call.url().map(|url| Response::new(url, head));
        fits.map_err(|rule| self.broken(rule, call.received()))
    }

    fn data(&mut self, _: &mut Cx<'_, S>, call: &Call<S>, data: &[u8]) -> io::Result<()> {
        let pushed = self.response.as_mut().map_or(Ok(()), |response| response.push(data, self.limit));
        pushed.map_err(|rule| self.broken(rule, call.received()))
    }

    fn end(self: Box<Self>, cx: &mut Cx<'_, S>, result: Result<Headers, Failure>) {
        let result = match (result, self.response) {
            (Ok(trailers), Some(response)) => Ok(Response { trailers, ..response }),
            (Err(failure), partial) => Err(Failure { partial: partial.map(Box::new), ..failure }),
            (Ok(_), None) => return, // a response without a head is never complete
        };
        (self.then)(cx, result);
    }
}
