//! Whether a connection can carry another request, and what bytes on an idle one mean.

use std::fmt;
use std::time::Duration;

use crate::http::message::framing::Framing;
use crate::http::{Head, Headers, Request, Version};

/// Why a connection cannot be used for another request (RFC 9112 section 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotReusable {
    /// The request said `Connection: close`.
    Asked,
    /// The answer said `Connection: close`.
    Close,
    /// The answer is HTTP/1.0, and did not say `Connection: keep-alive`.
    Http10,
    /// The connection has been upgraded: what it carries now is not HTTP.
    Upgraded,
    /// The answer had both a Transfer-Encoding and a Content-Length. The Transfer-Encoding overrides (RFC 9112 section
    /// 6.3), so the answer is taken as it says. But an intermediary may have believed the Content-Length, and what it takes
    /// for the next answer may be a part of this one: so the connection is closed (section 6.1).
    TwoFramings,
    /// The end of the body was that of the stream.
    ByClose,
    /// The answer is not complete.
    Incomplete,
    /// The answer came before the request was written whole.
    RequestUnfinished,
    /// There were bytes behind the answer.
    LeftOver,
}

impl fmt::Display for NotReusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotReusable::Asked => "the request asked to close",
            NotReusable::Close => "the server closes",
            NotReusable::Http10 => "the server speaks HTTP/1.0 and does not keep alive",
            NotReusable::Upgraded => "it was upgraded",
            NotReusable::TwoFramings => "the answer had a Transfer-Encoding and a Content-Length",
            NotReusable::ByClose => "the body ends with the stream",
            NotReusable::Incomplete => "the answer is not complete",
            NotReusable::RequestUnfinished => "the request was not written whole",
            NotReusable::LeftOver => "there were bytes behind the answer",
        })
    }
}

impl NotReusable {
    /// What a head alone forbids.
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

/// How long the server says that it keeps an idle connection: `Keep-Alive: timeout=5` (RFC 2068 section 19.7.1.1, and in
/// wide use). To send on it later is to lose a race with its close.
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

/// What bytes on an idle connection are. They are never an answer: whoever takes them for one serves them to the next
/// request. Either way the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleBytes {
    /// A 408: how some servers say that they close a connection which was idle too long. Nothing to speak of.
    Timeout,
    /// Something that nobody asked for; worth a warning.
    Unasked,
}

impl IdleBytes {
    /// Of the bytes that have arrived.
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

/// What became of an attempt to send a request, for deciding on a second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The connection had carried a request before.
    pub reused: bool,
    /// Bytes of an answer that came: [`ResponseParser::received`](crate::http::ResponseParser::received).
    pub answered: u64,
    /// It was a second attempt itself.
    pub repeated: bool,
}

impl Attempt {
    /// Whether a request whose connection was lost may be sent again, on a fresh connection: once, and only if the server
    /// may have closed an idle connection before it saw the request, and if seeing it twice does no harm (RFC 9112 section
    /// 9.3.1).
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
