//! Messages that strangers can cause: in each second the first is shown, and the others are counted.

use enjamb::Cx;
use log::Level;
use std::fmt;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Messages of one kind.
pub struct PerSecond {
    level: Level,
    /// How many more have come since one was shown, until a second has passed.
    more: Option<usize>,
}

impl PerSecond {
    pub fn new(level: Level) -> Self {
        PerSecond { level, more: None }
    }

    /// Says `message`, or counts it and says it at debug level. `of` finds this in the state of the loop.
    pub fn say<S: 'static>(
        cx: &mut Cx<'_, S>,
        of: fn(&mut S) -> &mut PerSecond,
        message: fmt::Arguments<'_>,
    ) {
        let messages = of(cx.state);
        if let Some(more) = &mut messages.more {
            *more += 1;
            return log::debug!("{message}");
        }
        messages.more = Some(0);
        log::log!(messages.level, "{message}");
        cx.after(SECOND, move |cx| of(cx.state).sum_up());
    }

    fn sum_up(&mut self) {
        let more = self.more.take().unwrap_or_default();
        if more > 0 {
            log::log!(self.level, "… and {more} more in the last second; RUST_LOG=debug shows them all");
        }
    }
}

impl Drop for PerSecond {
    fn drop(&mut self) {
        self.sum_up();
    }
}
