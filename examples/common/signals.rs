//! Ctrl-C (SIGINT) and SIGTERM. The exit status of a program that a signal ends is 128 and the signal's number, so 130
//! for Ctrl-C: a shell expects that. On systems other than Unix, the system ends the program.

use super::messages::Context;
use enjamb::{Cx, WatchId};
use std::process::ExitCode;

/// Ends the program at once at Ctrl-C. For a program with nothing to clean up: the kernel closes its sockets.
#[cfg(unix)]
pub fn exit_at_ctrl_c() {
    use signal_hook::consts::SIGINT;
    use std::sync::{Arc, atomic::AtomicBool};
    let at_once = Arc::new(AtomicBool::new(true));
    if let Err(error) = signal_hook::flag::register_conditional_shutdown(SIGINT, 130, at_once) {
        log::warn!("Ctrl-C will not exit with status 130: {error}");
    }
}

#[cfg(not(unix))]
pub fn exit_at_ctrl_c() {}

/// Runs `action` on the loop at the first signal. A second signal ends the program at once.
///
/// Returns the id of the watch (`None` on systems other than Unix). Until the first signal, the watch keeps the loop
/// running.
#[cfg(unix)]
pub fn at_first<S: 'static>(
    cx: &mut Cx<'_, S>,
    action: impl FnOnce(&mut Cx<'_, S>) + 'static,
) -> Result<Option<WatchId>, String> {
    pipe::watch(cx, action).map(Some).context("cannot catch signals")
}

#[cfg(not(unix))]
pub fn at_first<S: 'static>(
    _cx: &mut Cx<'_, S>,
    _action: impl FnOnce(&mut Cx<'_, S>) + 'static,
) -> Result<Option<WatchId>, String> {
    Ok(None)
}

/// The self-pipe: the signal handler writes a byte to a socket pair, so that a signal is an event of the loop.
#[cfg(unix)]
mod pipe {
    use enjamb::mio::{Interest, net::UnixStream};
    use enjamb::{Cx, Readiness, Step, Watch, WatchId};
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::{flag, low_level};
    use std::io::{self, Read};
    use std::sync::{Arc, atomic::AtomicBool};

    pub fn watch<S: 'static>(
        cx: &mut Cx<'_, S>,
        action: impl FnOnce(&mut Cx<'_, S>) + 'static,
    ) -> io::Result<WatchId> {
        let (signals, from_handler) = std::os::unix::net::UnixStream::pair()?;
        let second = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The handlers of a signal run in this order: at the first signal the flag is false, and is set.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&second))?;
            flag::register(signal, Arc::clone(&second))?;
            low_level::pipe::register(signal, from_handler.try_clone()?)?;
        }
        signals.set_nonblocking(true)?;
        cx.watch(UnixStream::from_std(signals), Interest::READABLE, FirstByte(Some(action)))
    }

    struct FirstByte<F>(Option<F>);

    impl<S, F: FnOnce(&mut Cx<'_, S>)> Watch<UnixStream, S> for FirstByte<F> {
        fn ready(&mut self, cx: &mut Cx<'_, S>, signals: &mut UnixStream, _: Readiness) -> io::Result<Step> {
            match signals.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Wait),
                read => read?,
            };
            if let Some(action) = self.0.take() {
                action(cx);
            }
            Ok(Step::Done)
        }
    }
}

/// For a program without a loop: its main thread sleeps until a signal comes. It catches the signals from `new` on, so
/// that none is lost before `wait`.
pub struct UntilSignal {
    #[cfg(unix)]
    signals: signal_hook::iterator::Signals,
}

#[cfg(unix)]
impl UntilSignal {
    pub fn new() -> Result<Self, String> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]);
        Ok(Self { signals: signals.context("cannot catch signals")? })
    }

    /// Sleeps until the first signal and returns the exit status for it.
    pub fn wait(mut self) -> ExitCode {
        let signal = self.signals.forever().next().unwrap_or_default();
        ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
    }
}

#[cfg(not(unix))]
impl UntilSignal {
    pub fn new() -> Result<Self, String> {
        Ok(Self {})
    }

    pub fn wait(self) -> ExitCode {
        loop {
            std::thread::park();
        }
    }
}
