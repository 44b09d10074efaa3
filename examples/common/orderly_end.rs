//! How a server ends: Ctrl-C or SIGTERM lets it send what it owes within a time, and a second signal ends it at once.

use enjamb::End;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// What a server knows of its end. Its machines report to it how they were closed.
#[derive(Default)]
pub struct Ending {
    begun: bool,
    /// How many connections were cut off since then because they did not take what they were owed.
    cut: usize,
}

impl Ending {
    pub fn begin(&mut self) {
        self.begun = true;
    }

    pub fn note(&mut self, end: &End) {
        let timed_out = end.result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if self.begun && timed_out {
            self.cut += 1;
        }
    }

    /// The server's exit status: a failure if anybody was cut off.
    pub fn status(&self, drain_timeout: Duration) -> ExitCode {
        if self.cut == 0 {
            return ExitCode::SUCCESS;
        }
        log::error!(
            target: "main",
            "cut off {} of the connections, which had not taken what they were owed within {drain_timeout:?}: \
             give them a longer --drain-timeout",
            self.cut
        );
        ExitCode::FAILURE
    }
}

#[cfg(unix)]
mod signals {
    use enjamb::mio::{self, Interest};
    use enjamb::{Cx, Readiness, Step, Watch};
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::{flag, low_level};
    use std::io::{self, Read};
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, atomic::AtomicBool};
    use std::time::Duration;

    /// The end of a pipe into which a signal writes a byte: so a signal becomes an event like any other.
    struct Signals<F> {
        drain_timeout: Duration,
        ending: F,
    }

    /// Has the first signal call `ending`, and then close everything within `drain_timeout`.
    pub fn end_in_good_order<S: 'static>(
        cx: &mut Cx<'_, S>,
        drain_timeout: Duration,
        ending: impl FnMut(&mut Cx<'_, S>) + 'static,
    ) -> io::Result<()> {
        let (signals, from_handler) = UnixStream::pair()?;
        let second = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The actions of a signal run in this order: the first signal finds the flag down, and raises it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&second))?;
            flag::register(signal, Arc::clone(&second))?;
            low_level::pipe::register(signal, from_handler.try_clone()?)?;
        }
        signals.set_nonblocking(true)?;
        let signals = mio::net::UnixStream::from_std(signals);
        cx.watch(signals, Interest::READABLE, Signals { drain_timeout, ending })?;
        Ok(())
    }

    impl<S, F: FnMut(&mut Cx<'_, S>)> Watch<mio::net::UnixStream, S> for Signals<F> {
        fn ready(
            &mut self,
            cx: &mut Cx<'_, S>,
            pipe: &mut mio::net::UnixStream,
            _ready: Readiness,
        ) -> io::Result<Step> {
            match pipe.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Wait),
                read => read?,
            };
            log::warn!(target: "main", "ending within {:?}; a second signal ends it at once", self.drain_timeout);
            (self.ending)(cx);
            cx.shutdown(self.drain_timeout);
            Ok(Step::Done)
        }
    }
}

#[cfg(not(unix))]
mod signals {
    use enjamb::Cx;
    use std::io;
    use std::time::Duration;

    /// Elsewhere the system ends the program.
    pub fn end_in_good_order<S: 'static>(
        _cx: &mut Cx<'_, S>,
        _drain_timeout: Duration,
        _ending: impl FnMut(&mut Cx<'_, S>) + 'static,
    ) -> io::Result<()> {
        Ok(())
    }
}

pub use signals::end_in_good_order;
