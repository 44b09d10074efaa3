//! The example programs, run as a user would: what they print, and the status they exit with.
//!
//! Ports are always 0 and read from what a program prints, and nothing sleeps and hopes: a test waits for a line, for a
//! byte or for the end, and gives up only after [`programs::PATIENCE`].
#![cfg(unix)]

mod chat;
mod clients;
#[path = "../../examples/common/mod.rs"]
mod common;
mod countdown;
mod echo;
mod echo_streams;
mod embed;
mod faults;
#[cfg(all(feature = "http", feature = "tls"))]
mod http;
mod multicore;
#[cfg(target_os = "linux")]
mod outputs;
mod pool;
mod programs;
mod proxy;
mod servers;
#[cfg(feature = "sim")]
mod simulated;
mod slow_poetry;
mod talk;
#[cfg(feature = "tls")]
mod tls_echo;
mod udp_echo;
mod usage;
mod values;
mod worker;
