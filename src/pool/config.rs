//! The limits of a pool.

use std::time::Duration;

use crate::pool::error::Error;

/// Tells whether bytes on an idle connection are the server's way to close it.
pub(super) type Farewell = Option<fn(&[u8]) -> bool>;

/// The limits of a [`Pool`](crate::pool::Pool). `None` means no limit, unless a field says otherwise.
///
/// ```
/// use enjamb::pool::{Config, Pool};
///
/// let config = Config { limit: Some(100), limit_per_host: Some(8), ..Config::default() };
/// let pool: Pool = Pool::new(config)?;
///
/// let config = Config { limit: Some(5), limit_per_host: Some(8), ..Config::default() };
/// let error = Pool::<()>::new(config).unwrap_err();
/// assert!(error.to_string().contains("limit_per_host (8) is above limit (5)"));
/// # Ok::<(), enjamb::pool::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The maximum number of open sockets: connecting, leased, idle or closing. Default 100.
    pub limit: Option<usize>,
    /// The maximum number of open sockets to one host. Default: no limit but the total one.
    pub limit_per_host: Option<usize>,
    /// The maximum number of requests that wait for a connection. A further request is refused. With `Some(0)`, no
    /// request waits. Default: no limit.
    pub max_waiters: Option<usize>,
    /// The maximum time that a request waits for its turn. Connecting does not count. Default: no limit.
    pub wait_timeout: Option<Duration>,
    /// The maximum time for the look-up of a name, from its start. (The time before, in the resolver's queue, is
    /// limited by the loop's [`Config::resolver_wait`](crate::Config::resolver_wait).) `None`, the default, takes the
    /// loop's [`Config::connect_timeout`](crate::Config::connect_timeout).
    pub resolve_timeout: Option<Duration>,
    /// The maximum time for the connect after the look-up. `None`, the default, takes the loop's
    /// [`Config::connect_timeout`](crate::Config::connect_timeout).
    pub connect_timeout: Option<Duration>,
    /// The maximum time for the TLS handshake after the connect, if there is one. `None`, the default, takes the loop's
    /// [`Config::connect_timeout`](crate::Config::connect_timeout).
    pub tls_timeout: Option<Duration>,
    /// The maximum time that a connection stays idle. Default 90 s.
    pub idle_timeout: Option<Duration>,
    /// The maximum age at which a connection is leased. The pool checks it at acquire and at release, so it never cuts
    /// a lease short. Default: no limit.
    pub max_lifetime: Option<Duration>,
    /// The time after which the pool warns that a lease is still held, and names the place where it was acquired.
    /// Default 60 s.
    pub long_hold: Option<Duration>,
    /// Returns whether bytes on an idle connection are the protocol's way to announce a close, such as a 408 in HTTP.
    /// The pool does not log such bytes as unexpected. Default: no such bytes.
    pub farewell: Option<fn(&[u8]) -> bool>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limit: Some(100),
            limit_per_host: None,
            max_waiters: None,
            wait_timeout: None,
            resolve_timeout: None,
            connect_timeout: None,
            tls_timeout: None,
            idle_timeout: Some(Duration::from_secs(90)),
            max_lifetime: None,
            long_hold: Some(Duration::from_secs(60)),
            farewell: None,
        }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), Error> {
        for (name, limit) in [("limit", self.limit), ("limit_per_host", self.limit_per_host)] {
            if limit == Some(0) {
                let message = format!(
                    "Config::{name} is 0, which allows no connection: set at least 1, or None for no limit"
                );
                return Err(Error::Config(message));
            }
        }
        match (self.limit, self.limit_per_host) {
            (Some(limit), Some(per_host)) if per_host > limit => Err(Error::Config(format!(
                "Config::limit_per_host ({per_host}) is above limit ({limit}), so that it could never be reached: lower \
                 it, or give None for no limit per host"
            ))),
            _ => Ok(()),
        }
    }
}
