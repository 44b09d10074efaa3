//! Messages as plain lines.

use env_logger::{Builder, Env};
use std::io::Write;

/// A logger of the messages from `level` up; the variable `RUST_LOG` overrides it (try `RUST_LOG=debug`).
pub fn from(level: &str) -> Builder {
    let mut builder = Builder::from_env(Env::default().default_filter_or(level));
    builder.format(|line, record| writeln!(line, "{}", record.args()));
    builder
}
