//! How long a server runs: until Ctrl-C or SIGTERM.

use std::io;
use std::process::ExitCode;

/// Catches the signals from now on, so that none is missed between the start and the wait.
pub struct UntilSignal {
    #[cfg(unix)]
    signals: signal_hook::iterator::Signals,
}

#[cfg(unix)]
impl UntilSignal {
    pub fn new() -> io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        Ok(Self { signals: signal_hook::iterator::Signals::new([SIGINT, SIGTERM])? })
    }

    /// Sleeps until the first signal and returns the status a shell expects for it: 128 and the signal's number, so 130
    /// for Ctrl-C.
    pub fn wait(mut self) -> ExitCode {
        let signal = self.signals.forever().next().unwrap_or_default();
        ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
    }
}

#[cfg(not(unix))]
impl UntilSignal {
    pub fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Elsewhere the system ends the program.
    pub fn wait(self) -> ExitCode {
        loop {
            std::thread::park();
        }
    }
}
