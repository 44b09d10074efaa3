//! The connection pool.

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
