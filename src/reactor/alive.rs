//! What is alive in a loop, for people.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::base::clock::NO_DEADLINE;
use crate::base::error;
use crate::net::poll::Poller;
use crate::reactor::core::Core;
use crate::reactor::posted::Asker;
use crate::reactor::slot::{Connection, Slot};
use crate::stream::Stream;
use crate::stream::state::{Phase, WriteHalf};
use crate::{Cx, Reactor};

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
    look_ups: Vec<String>,
}

impl Alive {
    pub(crate) fn of<S>(core: &mut Core<S>) -> Self {
        core.uncork();
        let mut alive = Alive {
            rows: Vec::new(),
            listeners: 0,
            connections: 0,
            watched: 0,
            timers: core.timers.len(),
            handles: core.mailbox.handles(),
            look_ups: core
                .look_ups
                .hosts(|asker| matches!(asker, Asker::Call(_)))
                .map(str::to_string)
                .collect(),
        };
        for (key, slot) in core.slots.iter() {
            let kind = match slot {
                Slot::Attempt(_) => continue, // told with its connection
                Slot::Listener(_) => &mut alive.listeners,
                Slot::Connection(_) => &mut alive.connections,
                Slot::Watch(_) => &mut alive.watched,
            };
            *kind += 1;
            if alive.rows.len() < ROWS {
                alive.rows.push(match slot {
                    Slot::Listener(acceptor) => {
                        let name = acceptor.name();
                        format!("listener {key} on {name}, {} open", acceptor.open())
                    }
                    Slot::Connection(Connection { stream, .. }) => {
                        let due = stream.due();
                        let deadline = (due != NO_DEADLINE).then(|| core.clock.until(due));
                        let dial =
                            core.connecting.get(&key).map(|dial| format!(", {dial}")).unwrap_or_default();
                        format!("connection {key} {}{dial}", describe(stream, deadline))
                    }
                    Slot::Watch(_) => format!("watch {key}"),
                    Slot::Attempt(_) => continue,
                });
            }
        }
        alive
    }
}

impl<S> Cx<'_, S> {
    /// What is alive, for people: `println!("{}", cx.alive())` lists the listeners, the connections with their
    /// peers, what they have to send and whether they are paused, and counts the timers and handles.
    pub fn alive(&mut self) -> Alive {
        Alive::of(self.core)
    }
}

impl<S> Reactor<S> {
    /// What is alive, for people: see [`Cx::alive`].
    pub fn alive(&mut self) -> Alive {
        Alive::of(&mut self.core)
    }
}

impl<S> Core<S> {
    /// Whether a wait without end would be one: every source is a connection paused by its user, with nothing left
    /// to send, or a listener that has no place for more of them; and there is no timer, no handle, no call that one has
    /// posted, and no look-up.
    pub(crate) fn is_stuck(&mut self) -> bool {
        self.paused > 0
            && self.paused + self.listeners.len() == self.slots.len()
            && self.timers.is_empty()
            && self.mailbox.handles() == 0
            && self.mailbox.is_empty()
            && self.look_ups.is_empty()
            && self.slots.iter().all(|(_, slot)| match slot {
                Slot::Connection(Connection { stream, .. }) => {
                    !stream.has_to_send() && !stream.state.is_connecting()
                }
                Slot::Listener(acceptor) => acceptor.is_full(),
                Slot::Watch(_) | Slot::Attempt(_) => false,
            })
    }

    /// A wait has failed. If a signal has interrupted it, the next wait makes up for it. Only a simulation knows that
    /// nothing will ever happen: with no connection left, that is a good end; otherwise somebody waits in vain.
    #[cold]
    pub(crate) fn cannot_wait(&mut self, error: io::Error) -> io::Result<()> {
        if error.kind() == io::ErrorKind::Interrupted {
            return Ok(());
        }
        let Poller::Simulated(kernel) = &self.poll else { return Err(error) };
        if error.kind() != io::ErrorKind::Deadlock {
            return Err(error);
        }
        if self.streams > 0 {
            let seed = kernel.seed();
            let message = format!(
                "nothing will ever happen again in this simulation (seed {seed}): somebody waits without a deadline; {}",
                Alive::of(self)
            );
            return Err(error::new(io::ErrorKind::Deadlock, message));
        }
        self.stopping = true;
        Ok(())
    }
}

fn describe(stream: &Stream, deadline: Option<Duration>) -> String {
    let state = stream.state;
    let states = [
        (state.phase() == Phase::Doomed, "gone"),
        (state.phase() == Phase::Closing, "closing"),
        (state.is_connecting(), "connecting"),
        (state.is_paused(), "paused"),
        (state.is_full(), "full"),
        (state.peer_has_ended(), "peer ended"),
        (matches!(state.write_half(), WriteHalf::Finishing | WriteHalf::Shut), "finished"),
    ];
    let mut text = stream.peer.to_string();
    for (_, name) in states.iter().filter(|(holds, _)| *holds) {
        text = format!("{text}, {name}");
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
        let Alive { rows, listeners, connections, watched, timers, handles, look_ups } = self;
        write!(
            f,
            "alive: {listeners} listeners, {connections} connections, {watched} watched, {timers} timers, {handles} \
             handles"
        )?;
        for row in rows {
            write!(f, "\n  {row}")?;
        }
        match listeners + connections + watched - rows.len() {
            0 => {}
            more => write!(f, "\n  and {more} more")?,
        }
        match look_ups.len() {
            0 => Ok(()),
            1..=ROWS => write!(f, "\n  looking up {}", look_ups.join(", ")),
            many => write!(f, "\n  looking up {many} names"),
        }
    }
}
