//! Connections: how they begin, what is read and written, how they end.
//!
//! | file | what it tests |
//! |---|---|
//! | `connecting.rs` | connecting to an address: one outcome for each attempt |
//! | `names.rs` | connecting to a name: the look-up, what ends it, its errors |
//! | `look_ups.rs` | many look-ups: some hang, some are equal, some are cancelled |
//! | `racing.rs` | the addresses of a name raced (RFC 8305), in a simulation |
//! | `racing_sockets.rs` | the same on real sockets |
//! | `accepting.rs` | budgets, the backlog, limits, closed listeners |
//! | `accept_errors.rs` | accepting without descriptors, and errors of accept(2) |
//! | `listen_on.rs` | listeners that the program made |
//! | `adopting.rs` | connections that the program made |
//! | `unix.rs` | Unix sockets |
//! | `input.rs` | received bytes: lines, leftovers, limits, UTF-8 |
//! | `framing.rs` | frames on real connections: too long, cut short |
//! | `writing.rs` | what is sent with one system call, partial writes, order |
//! | `water_marks.rs` | backpressure: water marks, `drained`, limits on output |
//! | `write_faults.rs` | writes that fail; SIGPIPE |
//! | `slow_readers.rs` | peers that read slowly but steadily, and the close timeout |
//! | `paused.rs` | a reset of a paused connection |
//! | `closing.rs` | flush, drain, time limits, abort, reset |
//! | `closed_once.rs` | `closed` exactly once on every path |
//! | `closed_at_random.rs` | the same, with random callbacks |
//! | `closing_callbacks.rs` | which callbacks follow a close |
//! | `half_close.rs` | `finish`, and a peer that has finished |
//! | `cut_off.rs` | a connection that was cut off does not look complete to its peer |
//! | `tls.rs` | bytes over TLS, its end, upgrades |
//! | `tls_handshake.rs` | the handshake: certificates, resumption, failures |
//! | `tls_ends.rs` | how TLS ends with peers of another make |
//! | `tls_upgrade.rs` | STARTTLS: input and output on both sides of it |
//! | `tls_upgrade_time.rs` | STARTTLS: deadlines and limits of time |

mod common;

mod net {
    #[cfg(unix)]
    mod accept_errors;
    #[cfg(unix)]
    mod accepting;
    #[cfg(unix)]
    mod adopting;
    #[cfg(all(unix, feature = "sim"))]
    mod closed_at_random;
    #[cfg(all(unix, feature = "sim"))]
    mod closed_once;
    #[cfg(all(unix, feature = "sim"))]
    mod closing;
    #[cfg(all(unix, feature = "sim"))]
    mod closing_callbacks;
    #[cfg(all(unix, feature = "sim"))]
    mod connecting;
    #[cfg(unix)]
    mod cut_off;
    mod framing;
    #[cfg(all(unix, feature = "sim"))]
    mod half_close;
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
    #[cfg(unix)]
    mod racing_sockets;
    #[cfg(all(unix, feature = "sim"))]
    mod slow_readers;
    #[cfg(all(feature = "tls", feature = "sim"))]
    mod tls;
    #[cfg(all(feature = "tls", feature = "sim"))]
    mod tls_ends;
    #[cfg(all(feature = "tls", feature = "sim"))]
    mod tls_handshake;
    #[cfg(all(feature = "tls", feature = "sim"))]
    mod tls_upgrade;
    #[cfg(all(feature = "tls", feature = "sim"))]
    mod tls_upgrade_time;
    #[cfg(all(unix, feature = "sim"))]
    mod unix;
    #[cfg(all(unix, feature = "sim"))]
    mod water_marks;
    #[cfg(unix)]
    mod write_faults;
    #[cfg(unix)]
    mod writing;
}
