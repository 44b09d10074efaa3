//! An HTTP/1.1 client (feature `http`).
//!
//! A [`Session`] sends requests over connections that a [pool](crate::pool) keeps, follows redirects, keeps cookies, and has
//! a limit in time for each thing it waits for ([`Config`]). Answers come [whole](Session::send) or
//! [as they come](Session::stream). [`get`] is for scripts that only want a page.
//!
//! With the feature `tls` there is https, with `gzip` bodies are asked for and unpacked in gzip, with `charset`
//! [text](Response::text) is read in the charset that the answer names.
//!
//! # What holds
//!
//! - Nothing waits without a limit: a place in the pool, a name, a connect, a TLS handshake, the first byte, the next
//!   bytes, and all of it together have a limit each. Time spent on one is not taken from another.
//! - A connection is used again only after an answer that is complete by RFC 9112's rules and has nothing behind it. Bytes
//!   on an idle connection are never an answer.
//! - A request is sent a second time only where that does no harm: once, on a new connection, if it is idempotent and was
//!   lost on a used connection without a byte of an answer ([`Config::retry`], [`Session::retried`]).
//! - No credential of a request crosses an origin, port included: a redirect to another drops Authorization, Cookie and
//!   Proxy-Authorization. https leads to http only if that is [asked for](Config::allow_downgrade). The jar's cookies go
//!   where RFC 6265bis sends them: to their host, on any port ([`Cookies`]).
//! - Memory has limits: heads, trailers, chunk extensions and whole bodies; a streamed body that is paused stays with its
//!   server.
//! - An error names the URL, the server, how far the call had got, and how many bytes of the answer had come; of a whole
//!   body it keeps those ([`Failure`]).
//!
//! # The parts
//!
//! The rest does no I/O: it turns requests into bytes and bytes into answers, and decides what is to be done next. So each
//! part can be used, and tested, on its own.
//!
//! - [`Url`], [`Method`], [`Headers`] and [`Request`] are what is asked for. Whatever cannot be sent is an [`Error`] that
//!   names the part and the byte, before anything is sent. [`BodyWriter`] frames a body that is streamed.
//! - [`ResponseParser`] takes the bytes of an answer as they come and gives [`Event`]s; [`Collector`] makes one
//!   [`Response`] of them. An answer that breaks a [`Rule`] is an error that names the rule and how many bytes had come,
//!   and keeps what arrived. [`ContentDecoder`] unpacks gzip (feature `gzip`), [`ChunkDecoder`] takes off the chunked coding.
//! - [`ResponseParser::reusable`] says whether the connection can carry another request, and why not; [`Attempt`] whether a
//!   lost request may be sent again; [`IdleBytes`] what a server said on an idle connection.
//! - [`Redirects`] and [`Cookies`] carry a request on to where it ends.
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
//! # What it does not do
//!
//! HTTP/2 and 3, pipelining, caching, proxies (nor the variables that name them), digest authentication, brotli and zstd,
//! WebSocket and other upgrades (a 101 is told, and its connection closed), a list of public suffixes for cookies (so a
//! site may set one for all of `co.uk`: do not share a session among sites that must not know of each other), cookies kept
//! in a file, and names that are not ASCII (give their `xn--` form).

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
