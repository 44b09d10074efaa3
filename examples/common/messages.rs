//! Messages go to standard error, through `log`; standard output is for results.

use std::io::Write;

/// Shows messages from `level` up, each as a plain line; the variable `RUST_LOG` overrides it (try `RUST_LOG=debug`).
pub fn show_from(level: &str) {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
        .format(|line, record| writeln!(line, "{}", record.args()))
        .init();
}
