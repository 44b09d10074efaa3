//! What is alive in a loop, for people.

use std::fmt;
use std::time::Duration;

use crate::core::Core;
use crate::slots::Slot;
use crate::stream::{Flags, NO_DEADLINE, Stream};

/// Rows beyond this are only counted.
const ROWS: usize = 40;

/// What is alive in a loop: a snapshot to print. Made by [`Cx::alive`](crate::Cx::alive) and
/// [`Reactor::alive`](crate::Reactor::alive).
#[derive(Debug, Clone)]
pub struct Alive {
    rows: Vec<String>,
    listeners: usize,
    connections: usize,
    watched: usize,
    timers: usize,
    handles: usize,
}

impl Alive {
    pub(crate) fn of<S>(core: &mut Core<S>) -> Self {
        core.ungather();
        let mut alive = Alive {
            rows: Vec::new(),
            listeners: 0,
            connections: 0,
            watched: 0,
            timers: core.timers.len(),
            handles: core.shared.handles(),
        };
        for (key, slot) in core.slots.iter() {
            let kind = match slot {
                Slot::Listener(_) => &mut alive.listeners,
                Slot::Stream(_) => &mut alive.connections,
                Slot::Watch(_) => &mut alive.watched,
            };
            *kind += 1;
            if alive.rows.len() < ROWS {
                alive.rows.push(match slot {
                    Slot::Listener(acceptor) => {
                        let addr = acceptor
                            .local_addr(&core.driver)
                            .map_or_else(|_| "?".into(), |addr| addr.to_string());
                        format!("listener {key} on {addr}, {} open", acceptor.open())
                    }
                    Slot::Stream(stream) => {
                        let armed = stream.deadline != NO_DEADLINE;
                        let deadline = armed.then(|| core.clock.until(stream.deadline));
                        format!("connection {key} {}", describe(stream, deadline))
                    }
                    Slot::Watch(_) => format!("watch {key}"),
                });
            }
        }
        alive
    }
}

fn describe<S>(stream: &Stream<S>, deadline: Option<Duration>) -> String {
    let states = [
        (Flags::DOOMED, "gone"),
        (Flags::CLOSING, "closing"),
        (Flags::CONNECTING, "connecting"),
        (Flags::PAUSED, "paused"),
        (Flags::FULL, "full"),
        (Flags::ENDED, "peer ended"),
        (Flags::FINISHING, "finished"),
    ];
    let mut text = stream.peer.to_string();
    for (flag, name) in states {
        if stream.flags.any(flag) {
            text = format!("{text}, {name}");
        }
    }
    for (count, name) in [(stream.unsent(), "unsent"), (stream.unread(), "unread")] {
        if count > 0 {
            text = format!("{text}, {count} bytes {name}");
        }
    }
    match deadline {
        Some(left) => format!("{text}, deadline in {left:.1?}"),
        None => text,
    }
}

impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Alive { rows, listeners, connections, watched, timers, handles } = self;
        write!(
            f,
            "alive: {listeners} listeners, {connections} connections, {watched} watched, {timers} timers, {handles} \
             handles"
        )?;
        for row in rows {
            write!(f, "\n  {row}")?;
        }
        match listeners + connections + watched - rows.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
