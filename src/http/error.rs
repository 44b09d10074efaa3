//! What can go wrong, typed: which part of what was asked for, or which rule the answer broke, and at which byte.

use std::convert::Infallible;
use std::fmt;
use std::io;

use crate::http::{Response, Rule};

/// Why a request could not be made, or why its answer cannot be used.
///
/// It turns into an [`io::Error`] by `?`, as a protocol's callbacks return it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The URL is malformed.
    Url(UrlError),
    /// A header field cannot be sent.
    Header(HeaderError),
    /// The request contradicts itself; the text says how.
    Request(&'static str),
    /// A streamed body is not as long as was said.
    Length {
        /// The bytes that were announced.
        announced: u64,
        /// The bytes that were there at the end, or until there was one too many.
        given: u64,
    },
    /// The answer breaks a rule.
    Response(ResponseError),
    /// The answer sends the client elsewhere, and it will not go.
    Redirect(RedirectError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url(error) => error.fmt(f),
            Error::Header(error) => error.fmt(f),
            Error::Request(what) => f.write_str(what),
            Error::Length { announced, given } => {
                let but = if given > announced { "and more were given" } else { "and that was all" };
                write!(f, "the body was said to have {announced} bytes: {given} came, {but}")
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

/// What is a [`Url`](crate::http::Url) already cannot fail to become one.
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

/// The parts of a URL, for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlPart {
    /// `http` or `https`.
    Scheme,
    /// What comes before an `@`.
    Userinfo,
    /// The name or address of the server.
    Host,
    /// What follows the host and a colon.
    Port,
    /// From the first slash.
    Path,
    /// What follows a question mark.
    Query,
    /// What follows a `#`; never sent.
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

/// A URL that is none, or that is not for HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlError {
    /// What was given; a user and password in it are replaced by `…`.
    pub url: String,
    /// The part that is wrong.
    pub part: UrlPart,
    /// Where in what was given, in bytes from 0.
    pub at: usize,
    /// What is wrong, and what to write instead.
    pub why: &'static str,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the URL \"{}\": {} at byte {}: {}", self.url.escape_debug(), self.part, self.at, self.why)
    }
}

impl std::error::Error for UrlError {}

/// A header field that cannot be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderError {
    /// The field's name.
    pub name: String,
    /// Where the offending byte is, in bytes from 0: in the name, or in the value.
    pub at: HeaderByte,
    /// What is wrong.
    pub why: &'static str,
}

/// A place in a header field.
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
        // The value may be a secret; it is not shown.
        write!(f, "the header \"{}\": its {part}, byte {at}: {}", self.name.escape_debug(), self.why)
    }
}

impl std::error::Error for HeaderError {}

/// An answer that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseError {
    /// The rule.
    pub rule: Rule,
    /// How many bytes of the answer had come: up to the one that broke the rule, or up to the end of the head where it
    /// is the head that does.
    pub at: u64,
    /// Who answered, where that is known.
    pub server: Option<String>,
    /// What had arrived: the head, and as much of the body. Where whole bodies are collected, and the head was good.
    pub partial: Option<Box<Response>>,
}

impl ResponseError {
    pub(crate) fn new(rule: Rule, at: u64) -> Self {
        ResponseError { rule, at, server: None, partial: None }
    }

    /// With the server's name, as it is to be shown.
    pub fn from_server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Some(server) => write!(f, "the answer of {server}: ")?,
            None => f.write_str("the answer: ")?,
        }
        write!(f, "{}; {} bytes had come", self.rule, self.at)
    }
}

impl std::error::Error for ResponseError {}

/// A redirect that is not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectError {
    /// More redirects than are allowed, one after the other; the limit.
    TooMany(u32),
    /// The server's `Location` is no URL, or not one for HTTP.
    Location(UrlError),
    /// Several `Location` fields, and they differ.
    Ambiguous,
    /// From https to http, which was not asked for.
    Downgrade(String),
    /// The request's body is a stream, and cannot be sent a second time.
    NotReplayable(String),
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedirectError::TooMany(limit) => {
                write!(f, "redirected more than {limit} times, the limit (Config::redirects)")
            }
            RedirectError::Location(error) => write!(f, "redirected to a bad place: {error}"),
            RedirectError::Ambiguous => f.write_str("redirected to several places at once"),
            RedirectError::Downgrade(to) => {
                write!(f, "redirected from https to {to}, which is not encrypted; allow it, if that is meant")
            }
            RedirectError::NotReplayable(to) => {
                write!(f, "redirected to {to}, but the body was streamed and cannot be sent again")
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
        let text = "the answer of http://h.example: the stream ended within the body; 90 bytes had come";
        assert_eq!(error.to_string(), text);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_body_of_another_length_than_announced_says_which_way() {
        let more = Error::Length { announced: 3, given: 4 }.to_string();
        let less = Error::Length { announced: 3, given: 2 }.to_string();
        assert!(more.ends_with("4 came, and more were given"), "{more}");
        assert!(less.ends_with("2 came, and that was all"), "{less}");
    }
}
