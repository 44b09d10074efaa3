//! How a server ends: Ctrl-C or SIGTERM lets it send what it owes within a time, and a second signal ends it at once.

#[path = "signals.rs"]
mod signals;

use enjamb::{Cx, End};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// What a server knows of its end. Its machines report to it how they were closed.
#[derive(Default)]
pub struct Ending {
    begun: bool,
    /// How many connections were cut off since then because they did not take what they were owed.
    cut: usize,
}

impl Ending {
    pub fn begin(&mut self) {
        self.begun = true;
    }

    pub fn note(&mut self, end: &End) {
        let timed_out = end.result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if self.begun && timed_out {
            self.cut += 1;
        }
    }

    /// The server's exit status: a failure if anybody was cut off.
    pub fn status(&self, drain_timeout: Duration) -> ExitCode {
        if self.cut == 0 {
            return ExitCode::SUCCESS;
        }
        log::error!(
            target: "main",
            "cut off {} of the connections, which had not taken what they were owed within {drain_timeout:?}: \
             give them a longer --drain-timeout",
            self.cut
        );
        ExitCode::FAILURE
    }
}

/// Has the first signal call `ending`, and then close everything within `drain_timeout`.
pub fn on_signal<S: 'static>(
    cx: &mut Cx<'_, S>,
    drain_timeout: Duration,
    ending: impl FnOnce(&mut Cx<'_, S>) + 'static,
) -> io::Result<()> {
    signals::first_calls(cx, move |cx| {
        log::warn!(target: "main", "ending within {drain_timeout:?}; a second signal ends it at once");
        ending(cx);
        cx.shutdown(drain_timeout);
    })
    .map(drop)
}
