//! Turns a reactor until a condition holds.

use std::time::{Duration, Instant};

use super::times::HANGS;
use enjamb::{Cx, Reactor};

/// Turns the reactor until `done`, and panics with what is alive after [`HANGS`].
#[track_caller]
pub fn until<S>(reactor: &mut Reactor<S>, state: &mut S, mut done: impl FnMut(&mut Cx<'_, S>) -> bool) {
    let start = Instant::now();
    while !done(&mut reactor.cx(state)) {
        assert!(start.elapsed() < HANGS, "it does not come about; {}", reactor.alive());
        // Not for ever: what is waited for may come about in another thread.
        reactor.turn(state, Some(Duration::from_millis(10))).expect("polling works");
    }
}
