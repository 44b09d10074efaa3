//! A whole response.

use std::borrow::Cow;
use std::fmt;

use crate::http::body::charset;
use crate::http::{Head, Headers, Rule, Url, Version};

/// A response with its whole body.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The URL of the response: after redirects, the last one.
    pub url: Url,
    /// The server's version of HTTP.
    pub version: Version,
    /// The status code.
    pub status: u16,
    /// The text after the status code; it may be empty.
    pub reason: String,
    /// The header fields as received. `Content-Length` is the length of the body as sent, which may differ from `body`
    /// here.
    pub headers: Headers,
    /// The body, without transfer coding and compression.
    pub body: Vec<u8>,
    /// The trailers of a chunked body.
    pub trailers: Headers,
}

impl Response {
    pub(crate) fn new(url: Url, head: Head) -> Self {
        let Head { version, status, reason, headers, .. } = head;
        Response { url, version, status, reason, headers, body: Vec::new(), trailers: Headers::new() }
    }

    /// Appends a piece of the body, up to the limit.
    pub(crate) fn push(&mut self, piece: &[u8], limit: u64) -> Result<(), Rule> {
        let room = limit.saturating_sub(self.body.len() as u64);
        let fits = piece.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.body.extend_from_slice(&piece[..fits]);
        if fits < piece.len() { Err(Rule::BodyTooLarge(limit)) } else { Ok(()) }
    }

    /// Whether the status is a success: 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Decodes the body as text: as UTF-8, or with the feature `charset` in the charset of a byte order mark or of the
    /// `Content-Type`. Invalid bytes become `\u{fffd}`. A charset that the page itself declares, as in a `<meta>`
    /// element, is ignored.
    pub fn text(&self) -> Cow<'_, str> {
        charset::decode(&self.headers, &self.body)
    }
}

/// The body may be long, so only its length is shown.
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
