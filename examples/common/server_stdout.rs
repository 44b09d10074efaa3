//! A server's standard output. Its clients are not to notice that its reader is slow, or has left, or that a disk is full.

use super::line_queue::LineQueue;
use std::io;

/// Keep it while there is something to say: dropping it waits until the last line is written.
pub fn open() -> LineQueue {
    LineQueue::new(io::stdout(), |error| {
        log::warn!("cannot write to standard output: {error}; the server goes on without it");
    })
}
