//! The connection pool.
//!
//! | file | what it tests |
//! |---|---|
//! | `acquiring.rs` | limits, how a connection is acquired, what its machine sees |
//! | `waiters.rs` | the order of waiting requests, and cancelled ones |
//! | `reuse.rs` | what a client is told of a connection that was used before |
//! | `time.rs` | idle connections, age, waiting, long leases, draining |
//! | `faults.rs` | faults of other pools, which this one must not have |
//! | `loss.rs` | panics, dropped reactors and leases, connections closed from elsewhere |
//! | `log.rs` | the pool logs nothing while it is borrowed |
//! | `tls.rs` | TLS under a pool's connections |
//! | `sockets.rs` | real sockets: system calls, descriptors |
//! | `bench.rs` | helpers: a pool in a simulation, its servers and clients |

mod common;

#[cfg(feature = "sim")]
mod pool {
    mod acquiring;
    mod bench;
    mod faults;
    mod log;
    mod loss;
    mod reuse;
    #[cfg(target_os = "linux")]
    mod sockets;
    mod time;
    #[cfg(feature = "tls")]
    mod tls;
    mod waiters;
}
