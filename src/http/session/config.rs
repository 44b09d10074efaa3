//! What a session does by itself, and how long it waits for what.

use std::time::Duration;

use crate::http::{BODY_LIMIT, REDIRECT_LIMIT};
use crate::pool;
#[cfg(feature = "tls")]
use crate::tls;

/// The limits and habits of a [`Session`](crate::http::Session). Of the times, `None` is without limit.
///
/// Each phase of a call has its own: waiting for a connection, the look-up and the connect, and the TLS handshake have
/// theirs in [`pool::Config`]. So time spent waiting is not taken from the time to connect.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many connections there are, how long one is waited for, and how long making one may take. Its
    /// [`long_hold`](pool::Config::long_hold) does not count: a session releases its connections by itself.
    pub pool: pool::Config,
    /// How many redirects are followed, one after the other; one more is an error. Default 10. `None`: a redirect is an
    /// answer like any other.
    pub redirects: Option<u32>,
    /// Whether a redirect may lead from https to http. Default no.
    pub allow_downgrade: bool,
    /// Whether an idempotent request is sent a second time when a connection that was used before is lost without a byte of
    /// an answer: the server may have closed it at that very moment (RFC 9112 section 9.3.1). Default yes.
    pub retry: bool,
    /// Whether cookies are kept and sent. Default yes.
    pub cookies: bool,
    /// How long the first byte of an answer may take, from when the request is written. Default 60 s.
    pub first_byte: Option<Duration>,
    /// How long the server may say nothing in the midst of an answer, or take nothing of a request's body. Default 60 s.
    pub between_bytes: Option<Duration>,
    /// How long a call may take in all, with redirects and repetitions. Default 5 minutes.
    pub total: Option<Duration>,
    /// Most bytes of a whole body, decoded. Default [`BODY_LIMIT`], 10 MiB. A head that announces more ends the call at once.
    /// What is streamed has no limit.
    pub body_limit: u64,
    /// Whom https trusts. Default: Mozilla's root certificates. Whatever it offers as a protocol, `http/1.1` takes its
    /// place.
    #[cfg(feature = "tls")]
    pub tls: tls::Client,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            pool: pool::Config::default(),
            redirects: Some(REDIRECT_LIMIT),
            allow_downgrade: false,
            retry: true,
            cookies: true,
            first_byte: Some(Duration::from_secs(60)),
            between_bytes: Some(Duration::from_secs(60)),
            total: Some(Duration::from_secs(300)),
            body_limit: BODY_LIMIT,
            #[cfg(feature = "tls")]
            tls: tls::Client::new(),
        }
    }
}
