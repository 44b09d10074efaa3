//! Results: they go to standard output.

use super::line_queue::LineQueue;
use std::io::{self, Write};
use std::process::ExitCode;

/// For a tool: prints at once, also without a newline. It returns the error where `print!` would panic.
pub fn print(text: &(impl AsRef<[u8]> + ?Sized)) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.flush()
}

/// The exit status of a tool after it has printed. A closed pipe (`| head -1`) is no failure: its reader has enough.
/// Any other error, such as a full disk, is one.
pub fn exit_status(printed: io::Result<()>, otherwise: ExitCode) -> ExitCode {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            log::error!("cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => otherwise,
    }
}

/// For a server: the server goes on if the reader is slow or has closed the pipe, or the disk is full.
///
/// Keep the queue until the last line is pushed. Its drop waits until that line is written.
pub fn queue() -> LineQueue {
    LineQueue::new(io::stdout(), |error| {
        log::warn!("cannot write to standard output: {error}; the server goes on without it");
    })
}
