//! Messages: they go through `log` to standard error. The variable `RUST_LOG` overrides each filter here, for example
//! with `RUST_LOG=debug`.

use super::line_queue::LineQueue;
use enjamb::Cx;
use env_logger::{Builder, Env, Target};
use log::Level;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// For a tool: shows the messages from `level` up, each as a plain line.
pub fn show_from(level: &str) {
    plain(level).init();
}

/// For a server: the same through a queue, so that a slow reader of the log does not hold up the loop.
///
/// Keep the queue until `main` ends. Its drop waits until the last message is written.
#[must_use]
pub fn queue_from(level: &str) -> LineQueue {
    queue(plain(level))
}

fn plain(level: &str) -> Builder {
    let mut builder = Builder::from_env(Env::default().default_filter_or(level));
    builder.format(|line, record| writeln!(line, "{}", record.args()));
    builder
}

/// Messages that begin with the target of the log record, such as `echo_client: sending …`. The filter chooses by the
/// target's first letters.
pub fn named(filter: &str) -> Builder {
    let mut builder = Builder::from_env(Env::default().default_filter_or(filter));
    builder.format(|line, record| writeln!(line, "{}: {}", record.target(), record.args()));
    builder
}

/// Starts the logger on a queue: see [`queue_from`].
#[must_use]
pub fn queue(mut builder: Builder) -> LineQueue {
    // If standard error fails, there is no other place for a message.
    let queue = LineQueue::new(io::stderr(), |_| ());
    builder.target(Target::Pipe(Box::new(ToQueue(queue.clone())))).init();
    queue
}

/// The logger writes each message with one call.
struct ToQueue(LineQueue);

impl Write for ToQueue {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.0.push(message);
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The exit status of a program. A failure shows its message.
pub fn show_failure(result: Result<ExitCode, impl Display>) -> ExitCode {
    result.unwrap_or_else(|message| {
        log::error!("{message}");
        ExitCode::FAILURE
    })
}

/// Shows a wrong value of an option that the parser of options cannot find. Returns the exit status for wrong usage.
pub fn show_wrong_usage(message: impl Display) -> ExitCode {
    log::error!("{message}");
    ExitCode::from(2)
}

/// Says what failed, in front of the error.
pub trait Context<T> {
    fn context(self, failure: &str) -> Result<T, String>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn context(self, failure: &str) -> Result<T, String> {
        self.map_err(|error| format!("{failure}: {error}"))
    }
}

/// Messages of one kind that any peer can cause. It shows the first one of each second and counts the others.
pub struct PerSecond {
    level: Level,
    /// How many it has counted since it showed one; `None` if the next one is to be shown.
    counted: Option<usize>,
}

impl PerSecond {
    pub fn new(level: Level) -> Self {
        PerSecond { level, counted: None }
    }

    /// Shows or counts `message`. A counted message is shown at debug level. `of` finds the counter in the loop's
    /// state.
    pub fn say<S: 'static>(
        cx: &mut Cx<'_, S>,
        of: fn(&mut S) -> &mut PerSecond,
        message: fmt::Arguments<'_>,
    ) {
        let messages = of(cx.state);
        if let Some(counted) = &mut messages.counted {
            *counted += 1;
            return log::debug!("{message}");
        }
        messages.counted = Some(0);
        log::log!(messages.level, "{message}");
        cx.after(Duration::from_secs(1), move |cx| of(cx.state).sum_up());
    }

    fn sum_up(&mut self) {
        let counted = self.counted.take().unwrap_or_default();
        if counted > 0 {
            log::log!(self.level, "… and {counted} more in the last second; RUST_LOG=debug shows them all");
        }
    }
}

impl Drop for PerSecond {
    fn drop(&mut self) {
        self.sum_up();
    }
}
