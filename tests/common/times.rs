//! Spans of time that the tests share.

use std::time::Duration;

/// A wait that takes this long hangs. A loaded machine may need much of it.
pub const HANGS: Duration = Duration::from_secs(60);
/// The longest wait of a turn that does not wait.
pub const NOW: Option<Duration> = Some(Duration::ZERO);
/// Longer than any test takes.
pub const NEVER: Duration = Duration::from_secs(3600);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
