//! A pool's limits.

use std::time::Duration;

use crate::pool::error::Error;

/// Whether what a server says on an idle connection is its way to close it.
pub(super) type Farewell = Option<fn(&[u8]) -> bool>;

/// The limits of a [`Pool`](crate::pool::Pool). `None` is without limit, throughout.
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
    /// How many sockets may be open in all: connecting, leased, idle or closing. Default 100.
    pub limit: Option<usize>,
    /// How many of them to one host. Default: as many as in all.
    pub limit_per_host: Option<usize>,
    /// How many may wait for a connection; who comes then is refused. With `Some(0)`, nobody waits. Default: any number.
    pub max_waiters: Option<usize>,
    /// How long one may wait for its turn; connecting is not part of it. Default: any time.
    pub wait_timeout: Option<Duration>,
    /// How long the look-up of a name may take, from when it begins. (How long it may wait for a thread before is limited by
    /// [`Config::resolver_wait`](crate::Config::resolver_wait) of the loop.) Default: as long as
    /// [`Config::connect_timeout`](crate::Config::connect_timeout) of the loop says.
    pub resolve_timeout: Option<Duration>,
    /// How long connecting may take after that. Default: the same.
    pub connect_timeout: Option<Duration>,
    /// How long the TLS handshake may take after that, where there is one. Default: the same.
    pub tls_timeout: Option<Duration>,
    /// How long a connection is kept that nobody uses. Default 90 s.
    pub idle_timeout: Option<Duration>,
    /// How long after it was opened a connection may be handed out. Looked at when it is acquired and released: no lease
    /// is cut short by it. Default: any time.
    pub max_lifetime: Option<Duration>,
    /// A lease that is held for longer is warned about, with the place where it was acquired. Default 60 s.
    pub long_hold: Option<Duration>,
    /// Whether the bytes that came on an idle connection are how a server of this protocol closes it, as HTTP's do with a
    /// 408: that is not warned about. Default: nothing is.
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
                    "Config::{name} is 0, so that nothing could ever connect: give at least 1, or None for no limit"
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
