//! The rules that an answer can break.

use std::fmt;
use std::io;

/// A rule that an answer can break. Each names the section of RFC 9110 or RFC 9112 it is from, or the limit it guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// An answer begins with `HTTP/1.` (RFC 9112 section 4). HTTP/0.9, a greeting of another protocol, and unknown
    /// versions do not.
    NotHttp,
    /// The status line and header fields are well-formed (RFC 9112 sections 4 and 5): no bare CR, no NUL, no blank before
    /// a colon, a status of three digits from 100.
    Head,
    /// A head, together with all interim answers before it, has at most [`HEAD_LIMIT`](crate::http::HEAD_LIMIT) bytes.
    HeadTooLarge,
    /// A head has at most [`FIELD_LIMIT`](crate::http::FIELD_LIMIT) fields, and so have trailers.
    TooManyFields,
    /// The only transfer coding is one `chunked`, and only in HTTP/1.1 (RFC 9112 section 6.1).
    TransferEncoding,
    /// A Content-Length is made of digits, all copies have the same digits (`5` beside `05` is an error), and it is below
    /// 2^63 (RFC 9112 section 6.3). Beside a Transfer-Encoding it is not looked at:
    /// [`TwoFramings`](super::NotReusable::TwoFramings).
    ContentLength,
    /// A chunk's size has 1 to 16 hexadecimal digits (RFC 9112 section 7.1).
    ChunkSize,
    /// A chunk's data ends with CRLF after just as many bytes as its size says, and its lines end with CRLF too
    /// (RFC 9112 section 7.1).
    ChunkEnd,
    /// A chunk's extensions, which nobody here reads, hold no control characters (RFC 9112 section 7.1.1).
    ChunkExtension,
    /// All chunk extensions of a body have at most [`EXTENSION_LIMIT`](crate::http::EXTENSION_LIMIT) bytes.
    ExtensionsTooLarge,
    /// Trailers are well-formed fields (RFC 9112 section 7.1.2).
    Trailers,
    /// Trailers have at most [`TRAILER_LIMIT`](crate::http::TRAILER_LIMIT) bytes.
    TrailersTooLarge,
    /// The stream does not end before the body does (RFC 9112 section 8).
    Truncated,
    /// The stream does not end before the head does.
    NoAnswer,
    /// A body, decoded, is not larger than the caller's limit, which is this many bytes.
    BodyTooLarge(u64),
    /// A body in gzip is well-formed and its checksums are right (RFC 1952).
    Gzip,
    /// A body in gzip has at most 1,000 members of less than 1 KiB, unpacked: each costs as much as one that is full.
    GzipMembers,
    /// A body in gzip is there to its end.
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
            Rule::HeadTooLarge => "its head, with all interim answers, is larger than 64 KiB",
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
