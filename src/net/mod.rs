//! How bytes and readiness come in: from the kernel by way of mio, or from a simulation.

pub(crate) mod connecting;
pub(crate) mod listening;
pub(crate) mod mailbox;
pub(crate) mod names;
pub(crate) mod options;
pub(crate) mod plain;
pub(crate) mod poll;
pub(crate) mod resolver;
#[cfg(feature = "sim")]
pub(crate) mod simulated;
#[cfg(not(feature = "sim"))]
#[path = "simulated/absent.rs"]
pub(crate) mod simulated;
pub(crate) mod socket;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(unix)]
pub(crate) mod unix;
