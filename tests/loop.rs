//! The event loop itself, whatever its sources are.
//!
//! | file | what it tests |
//! |---|---|
//! | `alive.rs` | what the reactor's `Display` says is alive |
//! | `config.rs` | limits and budgets that are refused |
//! | `identity.rs` | which source an event belongs to; traps 10 to 15 |
//! | `panics.rs` | panics outside a connection's callback |
//! | `readiness.rs` | what a readiness event means; traps 1 to 9 |
//! | `threads.rs` | results from other threads |
//! | `time.rs` | timers and deadlines; traps 33 to 39 |
//! | `turn.rs` | one turn; traps 40 to 48 |
//! | `watch.rs` | `watch`: UDP, pipes, descriptors |

mod common;

mod r#loop {
    #[cfg(unix)]
    mod alive;
    mod config;
    #[cfg(all(unix, feature = "sim"))]
    mod identity;
    #[cfg(unix)]
    mod panics;
    mod readiness;
    mod threads;
    #[cfg(feature = "sim")]
    mod time;
    #[cfg(all(unix, feature = "sim"))]
    mod turn;
    #[cfg(unix)]
    mod watch;
}
