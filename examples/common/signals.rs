//! Ctrl-C and SIGTERM as events of the loop.

use enjamb::{Cx, WatchId};
use std::io;

/// Has the first signal call `ending` on the loop, which puts things in order. A second one ends the program at once,
/// with the status that a shell expects: 128 and the signal's number, so 130 for Ctrl-C.
///
/// Returns the watch, if there is one: until a signal has come, it keeps the loop from ending by itself.
#[cfg(unix)]
pub fn first_calls<S: 'static>(
    cx: &mut Cx<'_, S>,
    ending: impl FnOnce(&mut Cx<'_, S>) + 'static,
) -> io::Result<Option<WatchId>> {
    use enjamb::mio::{Interest, net::UnixStream};
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::{flag, low_level};
    use std::sync::{Arc, atomic::AtomicBool};

    let (signals, from_handler) = std::os::unix::net::UnixStream::pair()?;
    let second = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The actions of a signal run in this order: the first signal finds the flag down, and raises it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&second))?;
        flag::register(signal, Arc::clone(&second))?;
        low_level::pipe::register(signal, from_handler.try_clone()?)?;
    }
    signals.set_nonblocking(true)?;
    let signals = UnixStream::from_std(signals);
    cx.watch(signals, Interest::READABLE, pipe::FromHandler(Some(ending))).map(Some)
}

#[cfg(unix)]
mod pipe {
    use enjamb::mio::net::UnixStream;
    use enjamb::{Cx, Readiness, Step, Watch};
    use std::io::{self, Read};

    /// The end of a pipe into which a signal writes a byte: so a signal becomes an event like any other.
    pub struct FromHandler<F>(pub Option<F>);

    impl<S, F: FnOnce(&mut Cx<'_, S>)> Watch<UnixStream, S> for FromHandler<F> {
        fn ready(&mut self, cx: &mut Cx<'_, S>, pipe: &mut UnixStream, _: Readiness) -> io::Result<Step> {
            match pipe.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Wait),
                read => read?,
            };
            if let Some(ending) = self.0.take() {
                ending(cx);
            }
            Ok(Step::Done)
        }
    }
}

/// Elsewhere the system ends the program.
#[cfg(not(unix))]
pub fn first_calls<S: 'static>(
    _cx: &mut Cx<'_, S>,
    _ending: impl FnOnce(&mut Cx<'_, S>) + 'static,
) -> io::Result<Option<WatchId>> {
    Ok(None)
}
