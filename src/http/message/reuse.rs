//! The reuse of a connection, and the meaning of bytes on an idle one.

use std::fmt;
use std::time::Duration;

use crate::http::message::framing::Framing;
use crate::http::{Head, Headers, Request, Version};

/// The reason against using a connection for another request (RFC 9112 section 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotReusable {
    /// The request said `Connection: close`.
    Asked,
    /// The response said `Connection: close`.
    Close,
    /// The response is HTTP/1.0 and did not say `Connection: keep-alive`.
    Http10,
    /// The connection was upgraded and no longer carries HTTP.
    Upgraded,
    /// The response had both a Transfer-Encoding and a Content-Length. The Transfer-Encoding overrides, so the response
    /// is read by it (RFC 9112 section 6.3). But an intermediary may have used the Content-Length and may take a part
    /// of this response for the next one, so the connection is closed (section 6.1).
    TwoFramings,
    /// The body ended with the stream.
    ByClose,
    /// The response is incomplete.
    Incomplete,
    /// The response arrived before the whole request was written.
    RequestUnfinished,
    /// There were bytes after the response.
    LeftOver,
}

impl fmt::Display for NotReusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotReusable::Asked => "the request asked to close the connection",
            NotReusable::Close => "the server asked to close the connection",
            NotReusable::Http10 => "the server speaks HTTP/1.0 without keep-alive",
            NotReusable::Upgraded => "the connection was upgraded",
            NotReusable::TwoFramings => "the response had a Transfer-Encoding and a Content-Length",
            NotReusable::ByClose => "the body ends with the stream",
            NotReusable::Incomplete => "the response is incomplete",
            NotReusable::RequestUnfinished => "the request was not completely written",
            NotReusable::LeftOver => "there were bytes after the response",
        })
    }
}

impl NotReusable {
    /// The reasons that a head shows.
    pub(crate) fn by_head(head: &Head, framing: Framing) -> Option<NotReusable> {
        let headers = &head.headers;
        if head.status == 101 {
            Some(NotReusable::Upgraded)
        } else if headers.lists("connection", "close") {
            Some(NotReusable::Close)
        } else if head.version == Version::Http10 && !headers.lists("connection", "keep-alive") {
            Some(NotReusable::Http10)
        } else if framing == Framing::Close {
            Some(NotReusable::ByClose)
        } else if headers.contains("transfer-encoding") && headers.contains("content-length") {
            Some(NotReusable::TwoFramings)
        } else {
            None
        }
    }
}

/// The time for which the server keeps an idle connection: `Keep-Alive: timeout=5` (RFC 2068 section 19.7.1.1; in wide
/// use). A request that is sent later races with the server's close.
///
/// ```
/// # use enjamb::http::{Headers, keep_alive};
/// # use std::time::Duration;
/// let mut headers = Headers::new();
/// headers.append("Keep-Alive", "timeout=5, max=100")?;
/// assert_eq!(keep_alive(&headers), Some(Duration::from_secs(5)));
/// # Ok::<(), enjamb::http::Error>(())
/// ```
pub fn keep_alive(headers: &Headers) -> Option<Duration> {
    headers.list("keep-alive").find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let seconds = value.trim().trim_matches('"');
        let is_number = seconds.bytes().all(|byte| byte.is_ascii_digit());
        let named = name.trim().eq_ignore_ascii_case("timeout");
        (named && is_number).then(|| seconds.parse().ok().map(Duration::from_secs))?
    })
}

/// The kinds of bytes on an idle connection. They are never a response: a client that takes them for one would give
/// them to its next request. In both cases, close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleBytes {
    /// A 408. Some servers send it as they close an idle connection; it is not worth a warning.
    Timeout,
    /// Unsolicited bytes; they are worth a warning.
    Unasked,
}

impl IdleBytes {
    /// Classifies the bytes that have arrived.
    ///
    /// ```
    /// # use enjamb::http::IdleBytes;
    /// assert_eq!(IdleBytes::of(b"HTTP/1.0 408 Request Time-out\r\n"), IdleBytes::Timeout);
    /// assert_eq!(IdleBytes::of(b"HTTP/1.1 200 OK\r\n"), IdleBytes::Unasked);
    /// ```
    pub fn of(bytes: &[u8]) -> IdleBytes {
        let is_408 = |version: &[u8]| {
            bytes.strip_prefix(version).is_some_and(|rest| {
                rest.starts_with(b" 408") && rest.get(4).is_none_or(|byte| b" \r\n".contains(byte))
            })
        };
        if is_408(b"HTTP/1.1") || is_408(b"HTTP/1.0") { IdleBytes::Timeout } else { IdleBytes::Unasked }
    }
}

/// An attempt to send a request that failed. [`may_be_repeated`](Self::may_be_repeated) decides on a second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Whether the connection had already carried a request.
    pub reused: bool,
    /// The number of response bytes received: [`ResponseParser::received`](crate::http::ResponseParser::received).
    pub answered: u64,
    /// Whether this was already the second attempt.
    pub repeated: bool,
}

impl Attempt {
    /// Whether the request may be sent again, on a new connection. It may be if the server can have closed an idle
    /// connection before it saw the request, and if a second request does no harm (RFC 9112 section 9.3.1). There is no
    /// third attempt.
    pub fn may_be_repeated(self, request: &Request) -> bool {
        self.reused
            && self.answered == 0
            && !self.repeated
            && request.method().is_idempotent()
            && request.body().is_replayable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keep_alive_time_is_found_or_not() {
        for (value, is) in [
            ("timeout=5", Some(5)),
            ("max=3, Timeout=\"7\"", Some(7)),
            ("max=3", None),
            ("timeout", None),
            ("timeout=", None),
            ("timeout=+5", None),
            ("timeout=99999999999999999999", None),
        ] {
            let mut headers = Headers::new();
            headers.append("Keep-Alive", value).unwrap();
            assert_eq!(keep_alive(&headers), is.map(Duration::from_secs), "{value}");
        }
    }
}
