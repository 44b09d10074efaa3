//! Lines for an output whose reader may be slow or closed.
//!
//! A write to a terminal or a pipe blocks while its reader does not read, and a blocked loop serves no client. So the
//! loop pushes lines into a queue, and a thread writes them. The queue drops and counts the lines for which it has no
//! room.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The size of the queue in bytes: some ten thousand lines. An empty queue takes one push of any size.
const ROOM: usize = 1024 * 1024;
/// How long a drop of the queue waits for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// A queue of whole lines. Its drop waits until all lines are written.
#[derive(Clone)]
pub struct LineQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// How many lines found no room after these.
    dropped: usize,
    /// The thread is writing the lines that it took last.
    writing: bool,
}

impl LineQueue {
    /// Starts the thread that writes to `output`. It calls `failed` at the first error, and again only at the first
    /// error after a write that succeeded.
    pub fn new(output: impl Write + Send + 'static, failed: fn(&io::Error)) -> Self {
        let shared = Arc::new(Shared::default());
        let queue = LineQueue(Arc::clone(&shared));
        thread::spawn(move || shared.write_to(output, failed));
        queue
    }

    /// Takes whole lines, and never blocks.
    pub fn push(&self, lines: impl AsRef<[u8]>) {
        let lines = lines.as_ref();
        let mut state = self.0.lock();
        // After a dropped line, all later lines are dropped too, until the thread takes the earlier ones. So there is
        // one gap, and its place is known.
        let has_room = state.lines.is_empty() || state.lines.len() + lines.len() <= ROOM;
        if state.dropped > 0 || !has_room {
            state.dropped += 1;
        } else {
            state.lines.extend_from_slice(lines);
        }
        self.0.changed.notify_all();
    }
}

impl Drop for LineQueue {
    fn drop(&mut self) {
        let is_busy = |state: &mut State| state.writing || !state.lines.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), PATIENCE, is_busy);
        drop(waited); // after the timeout, the rest is lost
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut output: impl Write, failed: fn(&io::Error)) {
        let mut failing = false;
        loop {
            let written = output.write_all(&self.take()).and_then(|()| output.flush());
            if let Err(error) = &written
                && !failing
            {
                failed(error);
            }
            failing = written.is_err();
        }
    }

    /// Waits for lines and takes them all.
    fn take(&self) -> Vec<u8> {
        let mut state = self.lock();
        state.writing = false;
        self.changed.notify_all();
        let is_empty = |state: &mut State| state.lines.is_empty();
        let mut state = self.changed.wait_while(state, is_empty).unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        let mut lines = mem::take(&mut state.lines);
        let dropped = mem::take(&mut state.dropped);
        if dropped > 0 {
            lines.extend_from_slice(
                format!("… {dropped} lines were dropped: the reader was too slow\n").as_bytes(),
            );
        }
        lines
    }
}
