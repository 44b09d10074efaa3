//! The event loop itself, whatever its sources are.
//!
//! | file | what it tests |
//! |---|---|
//! | `readiness.rs` | what a readiness event means: edges, spurious events, half-close, resets |
//! | `fairness.rs` | budgets, the run queue, more ready sources than one batch of events holds |
//! | `identity.rs` | events of sources that left, and slots that are used again |
//! | `registering.rs` | duplicated descriptors, registering twice, registrations that fail |
//! | `turn.rs` | interrupted polls, sources that callbacks insert, descriptors, how long a turn waits |
//! | `threads.rs` | calls that other threads post |
//! | `stopping.rs` | `stop` and `shutdown` |
//! | `embedding.rs` | a reactor that another loop polls |
//! | `panics.rs` | a panic in a callback |
//! | `panics_outside.rs` | a panic in a `Drop`, in the last `closed`, in a listener's closure |
//! | `warnings.rs` | nothing can ever happen again; a callback is slow |
//! | `alive.rs` | what the reactor's `Display` lists |
//! | `config.rs` | limits and budgets that are refused |
//! | `time.rs` | timers |
//! | `deadlines.rs` | deadlines of connections, and the timeout of connecting |
//! | `watch.rs` | UDP, pipes, descriptors of other code, `rouse` |
//! | `watch_ends.rs` | how a watch ends, and its descriptor used again |
//! | `sources.rs` | helpers: sources of several kinds, a thread to run the loop in |

mod common;

mod r#loop {
    #[cfg(unix)]
    mod alive;
    mod config;
    #[cfg(feature = "sim")]
    mod deadlines;
    #[cfg(unix)]
    mod embedding;
    mod fairness;
    #[cfg(all(unix, feature = "sim"))]
    mod identity;
    #[cfg(unix)]
    mod panics;
    #[cfg(unix)]
    mod panics_outside;
    mod readiness;
    #[cfg(all(unix, feature = "sim"))]
    mod registering;
    mod sources;
    #[cfg(unix)]
    mod stopping;
    mod threads;
    #[cfg(feature = "sim")]
    mod time;
    #[cfg(all(unix, feature = "sim"))]
    mod turn;
    #[cfg(all(unix, feature = "sim"))]
    mod warnings;
    #[cfg(unix)]
    mod watch;
    #[cfg(unix)]
    mod watch_ends;
}
