//! Results go to standard output, and a reader that leaves early (`| head -1`) is no failure.

use std::io::{self, Write};
use std::process::ExitCode;

/// Prints at once, unlike `print!` without a newline, and returns the error where `print!` would panic.
pub fn print(text: &(impl AsRef<[u8]> + ?Sized)) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.flush()
}

/// The exit status of a program whose results were `printed` or not: a closed pipe ends it quietly, since whoever
/// read the results has all they wanted; anything else (a full disk) is a failure.
pub fn exit_status(printed: io::Result<()>, otherwise: ExitCode) -> ExitCode {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            log::error!("cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => otherwise,
    }
}
