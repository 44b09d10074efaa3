//! Ctrl-C in a program that has nothing to put in order first.

/// Ends the program at once with status 130 when it is interrupted; the kernel closes its sockets.
#[cfg(unix)]
pub fn ends_the_program() {
    use signal_hook::consts::SIGINT;
    use std::sync::{Arc, atomic::AtomicBool};
    let at_once = Arc::new(AtomicBool::new(true));
    if let Err(error) = signal_hook::flag::register_conditional_shutdown(SIGINT, 130, at_once) {
        log::warn!("Ctrl-C will not exit with status 130: {error}");
    }
}

/// Elsewhere the system ends the program.
#[cfg(not(unix))]
pub fn ends_the_program() {}
