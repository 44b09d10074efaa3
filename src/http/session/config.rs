//! The configuration of a session.

use std::time::Duration;

use crate::http::{BODY_LIMIT, REDIRECT_LIMIT};
use crate::pool;
#[cfg(feature = "tls")]
use crate::tls;

/// The limits and options of a [`Session`](crate::http::Session). A time limit of `None` means no limit.
///
/// Each phase of a call has a limit of its own. The limits for waiting for a connection, for look-up and connect, and
/// for the TLS handshake are in [`pool::Config`]. So the time spent waiting for a connection is not taken from the time
/// to connect.
#[derive(Debug, Clone)]
pub struct Config {
    /// The number of connections, the limit on waiting for one, and the limit on establishing one.
    /// [`long_hold`](pool::Config::long_hold) is ignored, since a session releases its connections by itself.
    pub pool: pool::Config,
    /// The maximum number of redirects in a row. One more is an error. Default 10. `None`: do not follow redirects, but
    /// deliver them as responses.
    pub redirects: Option<u32>,
    /// Whether a redirect may lead from https to http. Default no.
    pub allow_downgrade: bool,
    /// Whether to repeat an idempotent request if a reused connection is lost before the first byte of the response.
    /// The server may have closed the idle connection at that moment (RFC 9112 section 9.3.1). Default yes.
    pub retry: bool,
    /// Whether to store and send cookies. Default yes.
    pub cookies: bool,
    /// The limit on the time from the end of the request to the first byte of the response. Default 60 s.
    pub first_byte: Option<Duration>,
    /// The limit on the time without progress: no byte of a response that has begun, or no byte of the request
    /// accepted. Default 60 s.
    pub between_bytes: Option<Duration>,
    /// The limit on the whole call, with redirects and repetitions. Default 5 minutes.
    pub total: Option<Duration>,
    /// The maximum size of a whole body, decoded. Default [`BODY_LIMIT`], 10 MiB. A head that announces more ends the
    /// call at once. Streamed responses have no limit.
    pub body_limit: u64,
    /// The TLS settings for https. Default: trust Mozilla's root certificates. The session replaces the offered ALPN
    /// protocols by `http/1.1`.
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
