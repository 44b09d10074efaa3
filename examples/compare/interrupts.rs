//! Ctrl-C and its kind: caught, so that the children can be ended and the cursor shown again.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub struct Interrupts {
    caught: Arc<AtomicUsize>,
    wake: UnixStream,
}

impl Interrupts {
    pub fn catch() -> io::Result<Self> {
        let caught = Arc::new(AtomicUsize::new(0));
        let (wake, write) = UnixStream::pair()?;
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            // In this order, so that whoever is woken finds the number of the signal.
            flag::register_usize(signal, Arc::clone(&caught), signal.unsigned_abs() as usize)?;
            pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { caught, wake })
    }

    /// A socket that can be read when a signal has come.
    pub fn wake(&self) -> io::Result<UnixStream> {
        self.wake.try_clone()
    }

    /// The status that a shell expects of a program ended by a signal: 130 for Ctrl-C.
    pub fn status(&self) -> Option<ExitCode> {
        let signal = self.caught.load(Relaxed);
        u8::try_from(signal)
            .ok()
            .filter(|&signal| signal > 0)
            .map(|signal| ExitCode::from(128_u8.saturating_add(signal)))
    }
}
