//! Connections: how they begin, what is read and written on them, how they end.

mod common;

mod net {
    #[cfg(unix)]
    mod accepting;
    #[cfg(unix)]
    mod adopting;
    #[cfg(all(unix, feature = "sim"))]
    mod closing;
    #[cfg(all(unix, feature = "sim"))]
    mod connecting;
    #[cfg(all(unix, feature = "sim"))]
    mod cut_off;
    mod framing;
    #[cfg(feature = "sim")]
    mod input;
    mod listen_on;
    #[cfg(unix)]
    mod look_ups;
    #[cfg(unix)]
    mod names;
    #[cfg(all(unix, feature = "sim"))]
    mod paused;
    #[cfg(feature = "sim")]
    mod racing;
    #[cfg(all(unix, feature = "sim"))]
    mod slow_readers;
    #[cfg(all(feature = "tls", feature = "sim"))]
    mod tls;
    #[cfg(all(feature = "tls", feature = "sim"))]
    mod tls_ends;
    #[cfg(all(feature = "tls", feature = "sim"))]
    mod tls_upgrade;
    #[cfg(all(unix, feature = "sim"))]
    mod unix;
    #[cfg(all(unix, feature = "sim"))]
    mod writing;
}
