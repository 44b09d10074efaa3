//! Waiting for other programs, but not for ever.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take to get ready, or to end. Valgrind on a loaded machine needs several seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a program ends, and kills it when that takes too long.
pub fn wait(child: &mut Child) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Runs a program that prints little.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    wait(&mut child)?;
    child.wait_with_output()
}
