//! Messages go to standard error, through `log`; standard output is for results.

#[path = "plain_messages.rs"]
mod plain_messages;

/// Shows messages from `level` up, each as a plain line; the variable `RUST_LOG` overrides it (try `RUST_LOG=debug`).
pub fn show_from(level: &str) {
    plain_messages::from(level).init();
}
