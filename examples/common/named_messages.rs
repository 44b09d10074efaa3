//! Messages with the name of who says them, as `echo_client: sending …`. The name is the target of the log record, so
//! `RUST_LOG` can choose by it.

use env_logger::{Builder, Env};
use std::io::Write;

/// A logger of what the filter lets through; the variable `RUST_LOG` overrides it. A name in it stands for all that begin
/// with it.
pub fn filtered(filter: &str) -> Builder {
    let mut builder = Builder::from_env(Env::default().default_filter_or(filter));
    builder.format(|line, record| writeln!(line, "{}: {}", record.target(), record.args()));
    builder
}
