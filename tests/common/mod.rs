//! What the tests of several crates need.
#![allow(dead_code, reason = "each crate uses only a part of this")]

pub mod bytes;
pub mod certs;
pub mod child;
pub mod logged;
pub mod machine;
pub mod pair;
pub mod places;
#[cfg(feature = "sim")]
pub mod simulated;
pub mod times;
pub mod until;
