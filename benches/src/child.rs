//! Waiting for child processes, with a time limit.

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The time limit for a program to get ready or to end. Valgrind on a loaded machine needs several seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a program ends. Kills it after the time limit.
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

/// Runs a program with little output.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    wait(&mut child)?;
    child.wait_with_output()
}
