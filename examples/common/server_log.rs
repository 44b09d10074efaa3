//! A server's messages go to standard error through a queue, so that logging never holds up the loop.

use super::line_queue::LineQueue;
use env_logger::{Builder, Target};
use std::io::{self, Write};

/// Starts the logger. Keep what it returns to the end of `main`: dropping it waits until the last message is written.
#[must_use]
pub fn start(mut builder: Builder) -> LineQueue {
    // Where writing messages fails, there is no place left to say so.
    let queue = LineQueue::new(io::stderr(), |_| ());
    builder.target(Target::Pipe(Box::new(Messages(queue.clone())))).init();
    queue
}

/// What the logger writes to: a message at a time.
struct Messages(LineQueue);

impl Write for Messages {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.0.push(message);
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
