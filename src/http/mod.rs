//! An HTTP/1.1 client (feature `http`).
//!
//! A [`Session`] sends requests over connections from a [pool](crate::pool), follows redirects and stores cookies. Each
//! wait has a time limit of its own ([`Config`]). A response is delivered [whole](Session::send) or [piece by
//! piece](Session::stream). [`get`] is for scripts that need one page.
//!
//! The feature `tls` adds https. The feature `gzip` requests and unpacks gzip bodies. The feature `charset` decodes
//! [text](Response::text) in the charset that the response names.
//!
//! # Guarantees
//!
//! - Every wait has a limit: a place in the pool, the name look-up, the connect, the TLS handshake, the first byte, the
//!   next bytes, and the whole call. The time for one wait is not taken from another.
//! - A connection is reused only after a response that is complete by RFC 9112 and has no bytes after it. Bytes on an
//!   idle connection are never taken for a response.
//! - A request is repeated at most once, on a new connection, and only if repeating is safe: the request is idempotent,
//!   and a reused connection was lost before the first byte of a response ([`Config::retry`], [`Session::retried`]).
//! - No credential of a request crosses an origin (scheme, host and port): a redirect to another origin drops
//!   Authorization, Cookie and Proxy-Authorization. A redirect from https to http is an error unless it is
//!   [allowed](Config::allow_downgrade). The jar's cookies follow RFC 6265bis: they go to their host, on any port
//!   ([`Cookies`]).
//! - Memory is bounded: heads, trailers, chunk extensions and whole bodies have limits. While a streamed body is
//!   paused, the rest of it stays with the server.
//! - An error names the URL, the server, the phase of the call and the number of bytes received. It keeps the received
//!   part of a whole body ([`Failure`]).
//!
//! # The parts
//!
//! The other types do no I/O. They turn requests into bytes and bytes into responses, and decide the next step. Each
//! can be used and tested on its own.
//!
//! - [`Url`], [`Method`], [`Headers`] and [`Request`] describe the request. A part that cannot be sent is an [`Error`]
//!   that names the part and the byte, before anything is sent. [`BodyWriter`] frames a streamed body.
//! - [`ResponseParser`] takes the bytes of a response in pieces of any size and returns [`Event`]s. [`Collector`] makes
//!   one [`Response`] of them. A response that breaks a [`Rule`] is an error that names the rule and the number of
//!   bytes received, and keeps the received part. [`ContentDecoder`] unpacks gzip (feature `gzip`). [`ChunkDecoder`]
//!   decodes the chunked coding.
//! - [`ResponseParser::reusable`] tells whether the connection can carry another request, or the reason against it.
//!   [`Attempt`] tells whether a lost request may be repeated. [`IdleBytes`] classifies bytes that arrive on an idle
//!   connection.
//! - [`Redirects`] and [`Cookies`] carry a request on to its final URL.
//!
//! ```
//! use enjamb::Input;
//! use enjamb::http::{BODY_LIMIT, Collector, Progress, Request};
//!
//! let request = Request::get("http://example.org/poem").query([("line", "3")]).build()?;
//! let mut out = Vec::new();
//! request.write_head(None, &mut out);
//! assert!(out.starts_with(b"GET /poem?line=3 HTTP/1.1\r\nHost: example.org\r\n"));
//!
//! let mut collector = Collector::new(&request, BODY_LIMIT);
//! collector.parser().request_written();
//! let mut input = Input::new(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nrunning on\n");
//! let Progress::Done(response) = collector.feed(&mut input)? else { panic!("it is complete") };
//! assert_eq!(response.text(), "running on\n");
//! assert!(collector.parser().reusable(input.len()).is_ok());
//! # Ok::<(), enjamb::http::Error>(())
//! ```
//!
//! # Not supported
//!
//! HTTP/2 and 3, pipelining, caching, proxies (and the environment variables for them), digest authentication, brotli
//! and zstd, WebSocket and other upgrades (a 101 is delivered, then its connection is closed), cookies stored in a
//! file, and host names outside ASCII (use their `xn--` form).
//!
//! There is no list of public suffixes, so a site can set a cookie for all of `co.uk`. Do not share a session between
//! sites that must not learn of each other.

mod body;
mod cookies;
mod error;
mod message;
mod rule;
mod session;
mod url;

pub use body::chunked::{Chunk, ChunkDecoder, EXTENSION_LIMIT, TRAILER_LIMIT};
pub use body::collect::{BODY_LIMIT, Collector, Progress};
pub use body::content::ContentDecoder;
pub use body::upload::BodyWriter;
pub use cookies::cookie::{COOKIE_LIMIT, Cookie};
pub use cookies::{COOKIES_IN_ALL, COOKIES_PER_HOST, Cookies};
pub use error::{Error, HeaderByte, HeaderError, RedirectError, ResponseError, UrlError, UrlPart};
pub use message::form::form_encode;
pub use message::head::{FIELD_LIMIT, HEAD_LIMIT, Head, Version};
pub use message::headers::Headers;
pub use message::method::Method;
pub use message::parser::{DRAIN_LIMIT, Event, ResponseParser};
pub use message::redirect::{REDIRECT_LIMIT, Redirects};
pub use message::request::{Body, Request, RequestBuilder};
pub use message::response::Response;
pub use message::reuse::{Attempt, IdleBytes, NotReusable, keep_alive};
pub use rule::Rule;
pub use session::{Call, Config, Failure, Phase, Receiver, Session, get, send};
pub use url::{IntoUrl, Origin, Scheme, Url};
