//! Messages with the name of who says them, as `echo_client: sending …`. The name is the target of the log record, so
//! `RUST_LOG` can choose by it.

use std::io::Write;

/// Shows what the filter lets through; the variable `RUST_LOG` overrides it. A name in it stands for all that begin
/// with it.
pub fn show(filter: &str) {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter))
        .format(|line, record| writeln!(line, "{}: {}", record.target(), record.args()))
        .init();
}
