//! The rules for a response, and the message for each one that is broken.

use std::fmt;
use std::io;

/// A rule that a response can break.
///
/// Each variant states the rule, with its section of RFC 9110 or RFC 9112, or the limit that it enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A response begins with `HTTP/1.` (RFC 9112 section 4). HTTP/0.9, the greeting of another protocol, and an
    /// unknown version break this rule.
    NotHttp,
    /// The status line and the header fields are well-formed (RFC 9112 sections 4 and 5): no bare CR, no NUL, no
    /// whitespace before a colon, and a status of three digits from 100 up.
    Head,
    /// A head, together with the interim responses before it, has at most [`HEAD_LIMIT`](crate::http::HEAD_LIMIT)
    /// bytes.
    HeadTooLarge,
    /// A head has at most [`FIELD_LIMIT`](crate::http::FIELD_LIMIT) fields. The same limit applies to trailers.
    TooManyFields,
    /// The only transfer coding is a single `chunked`, and only in HTTP/1.1 (RFC 9112 section 6.1).
    TransferEncoding,
    /// A Content-Length is a decimal number below 2^63 (RFC 9112 section 6.3). All copies have the same digits: `5`
    /// beside `05` is an error. A Content-Length beside a Transfer-Encoding is ignored: see
    /// [`TwoFramings`](super::NotReusable::TwoFramings).
    ContentLength,
    /// A chunk's size has 1 to 16 hexadecimal digits (RFC 9112 section 7.1).
    ChunkSize,
    /// A chunk's data has exactly as many bytes as its size states, and CRLF follows it. The line with the size ends
    /// with CRLF too (RFC 9112 section 7.1).
    ChunkEnd,
    /// A chunk's extensions contain no control characters (RFC 9112 section 7.1.1). The client ignores extensions.
    ChunkExtension,
    /// All chunk extensions of a body have at most [`EXTENSION_LIMIT`](crate::http::EXTENSION_LIMIT) bytes.
    ExtensionsTooLarge,
    /// Trailers are well-formed fields (RFC 9112 section 7.1.2).
    Trailers,
    /// Trailers have at most [`TRAILER_LIMIT`](crate::http::TRAILER_LIMIT) bytes.
    TrailersTooLarge,
    /// The stream does not end before the body is complete (RFC 9112 section 8).
    Truncated,
    /// The stream does not end before the head is complete.
    NoAnswer,
    /// The decoded body is not larger than the caller's limit, in bytes.
    BodyTooLarge(u64),
    /// A gzip body is well-formed and its checksums are right (RFC 1952).
    Gzip,
    /// A gzip body has at most 1,000 members that unpack to less than 1 KiB. A small member costs as much work as a
    /// large one.
    GzipMembers,
    /// A gzip body is complete.
    GzipTruncated,
}

impl Rule {
    pub(crate) fn kind(self) -> io::ErrorKind {
        match self {
            Rule::Truncated | Rule::NoAnswer | Rule::GzipTruncated => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::BodyTooLarge(limit) => {
                return write!(
                    f,
                    "its body, decoded, is larger than {limit} bytes, the limit (Config::body_limit)"
                );
            }
            Rule::NotHttp => {
                "it does not begin with HTTP/1.0 or HTTP/1.1; does another protocol listen there?"
            }
            Rule::Head => "its status line or a header field is malformed",
            Rule::HeadTooLarge => "its head, with all interim responses, is larger than 64 KiB",
            Rule::TooManyFields => "it has more than 100 fields",
            Rule::TransferEncoding => "its Transfer-Encoding is not a single chunked, over HTTP/1.1",
            Rule::ContentLength => "its Content-Length is not one number below 2^63",
            Rule::ChunkSize => "a chunk's size is not 1 to 16 hexadecimal digits",
            Rule::ChunkEnd => "a chunk or its line does not end with CRLF where it should",
            Rule::ChunkExtension => "a chunk's extension holds a control character",
            Rule::ExtensionsTooLarge => "its chunk extensions are larger than 16 KiB",
            Rule::Trailers => "its trailers are malformed",
            Rule::TrailersTooLarge => "its trailers are larger than 16 KiB",
            Rule::Truncated => "the stream ended within the body",
            Rule::NoAnswer => "the stream ended before the head did",
            Rule::Gzip => "its body is not well-formed gzip",
            Rule::GzipMembers => "its body in gzip has more than 1000 members of less than 1 KiB",
            Rule::GzipTruncated => "its body in gzip ends too early",
        })
    }
}
