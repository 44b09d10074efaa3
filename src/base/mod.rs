//! Values: they know nothing of what uses them.

pub(crate) mod buffer;
pub(crate) mod clock;
pub(crate) mod config;
pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod peer;
pub(crate) mod readiness;
pub(crate) mod slots;
pub(crate) mod target;
pub(crate) mod wheel;
