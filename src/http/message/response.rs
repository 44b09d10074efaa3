//! Answers, whole.

use std::borrow::Cow;
use std::fmt;

use crate::http::body::charset;
use crate::http::{Head, Headers, Rule, Url, Version};

/// An answer with its whole body.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// Where it came from: after redirects, the last place.
    pub url: Url,
    /// The version that the server speaks.
    pub version: Version,
    /// The status code.
    pub status: u16,
    /// The text after the status code; it may be empty.
    pub reason: String,
    /// The fields, as they came: a `Content-Length` is that of the body as it was sent, and not as it is here.
    pub headers: Headers,
    /// The body, without transfer coding and compression.
    pub body: Vec<u8>,
    /// The fields behind a chunked body.
    pub trailers: Headers,
}

impl Response {
    pub(crate) fn new(url: Url, head: Head) -> Self {
        let Head { version, status, reason, headers, .. } = head;
        Response { url, version, status, reason, headers, body: Vec::new(), trailers: Headers::new() }
    }

    /// Adds a piece of the body, as far as the limit allows.
    pub(crate) fn push(&mut self, piece: &[u8], limit: u64) -> Result<(), Rule> {
        let room = limit.saturating_sub(self.body.len() as u64);
        let fits = piece.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.body.extend_from_slice(&piece[..fits]);
        if fits < piece.len() { Err(Rule::BodyTooLarge(limit)) } else { Ok(()) }
    }

    /// Whether the status says that it went well: 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text: UTF-8, or with the feature `charset` whatever a byte order mark or the `Content-Type` names; with
    /// `\u{fffd}` in place of what is not. What a page says of itself within its text is not looked at.
    pub fn text(&self) -> Cow<'_, str> {
        charset::decode(&self.headers, &self.body)
    }
}

/// The body may be long; its length is shown.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("url", &self.url)
            .field("version", &self.version)
            .field("status", &self.status)
            .field("reason", &self.reason)
            .field("headers", &self.headers)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("trailers", &self.trailers)
            .finish()
    }
}
