//! The errors of this module. Each names the part of the request or the rule for the response, and the byte.

use std::convert::Infallible;
use std::fmt;
use std::io;

use crate::http::{Response, Rule};

/// An error in a request, or in its response.
///
/// `?` converts it to an [`io::Error`], the error of a protocol's callbacks. The kind is `InvalidInput` for a request,
/// `InvalidData` for a redirect, and depends on the [`Rule`] for a response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The URL is malformed.
    Url(UrlError),
    /// A header field cannot be sent.
    Header(HeaderError),
    /// The request contradicts itself. The text gives the reason.
    Request(&'static str),
    /// A streamed body does not have the announced length.
    Length {
        /// The announced length, in bytes.
        announced: u64,
        /// The number of bytes given, including a surplus piece.
        given: u64,
    },
    /// The response breaks a rule.
    Response(ResponseError),
    /// The response is a redirect that the client does not follow.
    Redirect(RedirectError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url(error) => error.fmt(f),
            Error::Header(error) => error.fmt(f),
            Error::Request(what) => f.write_str(what),
            Error::Length { announced, given } => {
                write!(f, "the body was announced with {announced} bytes, but {given} were given")
            }
            Error::Response(error) => error.fmt(f),
            Error::Redirect(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<UrlError> for Error {
    fn from(error: UrlError) -> Self {
        Error::Url(error)
    }
}

impl From<HeaderError> for Error {
    fn from(error: HeaderError) -> Self {
        Error::Header(error)
    }
}

impl From<ResponseError> for Error {
    fn from(error: ResponseError) -> Self {
        Error::Response(error)
    }
}

impl From<RedirectError> for Error {
    fn from(error: RedirectError) -> Self {
        Error::Redirect(error)
    }
}

/// The conversion from a [`Url`](crate::http::Url) to itself never fails.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Response(response) => response.rule.kind(),
            Error::Redirect(_) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

impl From<ResponseError> for io::Error {
    fn from(error: ResponseError) -> Self {
        Error::from(error).into()
    }
}

/// The parts of a URL, for error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlPart {
    /// `http` or `https`.
    Scheme,
    /// The text before an `@`.
    Userinfo,
    /// The name or address of the server.
    Host,
    /// The text after the host and a colon.
    Port,
    /// The text from the first slash.
    Path,
    /// The text after a question mark.
    Query,
    /// The text after a `#`. It is never sent.
    Fragment,
}

impl fmt::Display for UrlPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlPart::Scheme => "scheme",
            UrlPart::Userinfo => "user and password",
            UrlPart::Host => "host",
            UrlPart::Port => "port",
            UrlPart::Path => "path",
            UrlPart::Query => "query",
            UrlPart::Fragment => "fragment",
        })
    }
}

/// A malformed URL, or one with a scheme other than http and https.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlError {
    /// The text that was parsed. A user and password in it are replaced by `…`.
    pub url: String,
    /// The part at fault.
    pub part: UrlPart,
    /// The byte offset in the text.
    pub at: usize,
    /// The reason, and what to write instead.
    pub why: &'static str,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the URL \"{}\": {} at byte {}: {}", self.url.escape_debug(), self.part, self.at, self.why)
    }
}

impl std::error::Error for UrlError {}

/// A header field that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderError {
    /// The field's name.
    pub name: String,
    /// The byte offset of the error, in the name or in the value.
    pub at: HeaderByte,
    /// The reason.
    pub why: &'static str,
}

/// A byte offset in a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderByte {
    /// In the name.
    Name(usize),
    /// In the value.
    Value(usize),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (part, at) = match self.at {
            HeaderByte::Name(at) => ("name", at),
            HeaderByte::Value(at) => ("value", at),
        };
        // The value may be a secret, so the message leaves it out.
        write!(f, "the header \"{}\": its {part}, byte {at}: {}", self.name.escape_debug(), self.why)
    }
}

impl std::error::Error for HeaderError {}

/// A response that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseError {
    /// The rule.
    pub rule: Rule,
    /// The number of bytes received: up to the byte that breaks the rule, or to the end of a malformed head.
    pub at: u64,
    /// The server, if it is known.
    pub server: Option<String>,
    /// The received part of the response: the head and the start of the body. Set where whole bodies are collected and
    /// the head was valid.
    pub partial: Option<Box<Response>>,
}

impl ResponseError {
    pub(crate) fn new(rule: Rule, at: u64) -> Self {
        ResponseError { rule, at, server: None, partial: None }
    }

    /// Adds the server's name, as the message shows it.
    pub fn from_server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Some(server) => write!(f, "the response of {server}: ")?,
            None => f.write_str("the response: ")?,
        }
        write!(f, "{}; {} bytes had come", self.rule, self.at)
    }
}

impl std::error::Error for ResponseError {}

/// A redirect that the client does not follow.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectError {
    /// There were more redirects in a row than this limit.
    TooMany(u32),
    /// The server's `Location` is not a valid URL for http or https.
    Location(UrlError),
    /// There are several `Location` fields, and they differ.
    Ambiguous,
    /// The redirect leads from https to this http URL, which the configuration does not allow.
    Downgrade(String),
    /// The redirect to this URL needs the body a second time, and the body is a stream.
    NotReplayable(String),
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedirectError::TooMany(limit) => {
                write!(f, "redirected more than {limit} times, the limit (Config::redirects)")
            }
            RedirectError::Location(error) => write!(f, "redirected to an invalid Location: {error}"),
            RedirectError::Ambiguous => f.write_str("redirected to several different Locations"),
            RedirectError::Downgrade(to) => {
                write!(
                    f,
                    "redirected from https to {to}, which is not encrypted (Config::allow_downgrade allows it)"
                )
            }
            RedirectError::NotReplayable(to) => {
                write!(f, "redirected to {to}, but a streamed body cannot be sent again")
            }
        }
    }
}

impl std::error::Error for RedirectError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_the_rule_the_server_and_how_many_bytes_had_come() {
        let error = ResponseError::new(Rule::Truncated, 90).from_server("http://h.example");
        let text = "the response of http://h.example: the stream ended within the body; 90 bytes had come";
        assert_eq!(error.to_string(), text);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_body_of_another_length_than_announced_says_which_way() {
        let more = Error::Length { announced: 3, given: 4 }.to_string();
        let less = Error::Length { announced: 3, given: 2 }.to_string();
        assert!(more.ends_with("announced with 3 bytes, but 4 were given"), "{more}");
        assert!(less.ends_with("announced with 3 bytes, but 2 were given"), "{less}");
    }
}
