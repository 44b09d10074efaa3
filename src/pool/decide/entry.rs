//! The entries of the table: hosts, connections (members), and requests for them (claims).

use std::ops::{Index, IndexMut};
use std::panic::Location;
use std::time::Instant;

use crate::ConnId;
use crate::pool::decide::list::{Linked, Links, List};
use crate::pool::key::Key;

/// The state of a connection. In each of the four states it counts against the limits, until its descriptor is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) enum State {
    Connecting,
    Leased,
    Idle,
    Closing,
}

impl State {
    pub(in crate::pool) const ALL: [State; 4] =
        [State::Connecting, State::Leased, State::Idle, State::Closing];
}

/// The number of connections in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::pool) struct Counts([usize; 4]);

impl Counts {
    pub(in crate::pool) fn all(&self) -> usize {
        self.0.iter().sum()
    }
}

impl Index<State> for Counts {
    type Output = usize;
    fn index(&self, state: State) -> &usize {
        &self.0[state as usize]
    }
}

impl IndexMut<State> for Counts {
    fn index_mut(&mut self, state: State) -> &mut usize {
        &mut self.0[state as usize]
    }
}

/// Marks the list of all idle connections, of all leases, or of all waiting claims, ordered by the time of entry.
#[derive(Debug)]
pub(in crate::pool) struct ByAge;
/// Marks the list of a host's idle connections or waiting claims.
#[derive(Debug)]
pub(in crate::pool) struct OfHost;
/// Marks the list of the hosts that wait for a place.
#[derive(Debug)]
pub(in crate::pool) struct Turns;

/// A connection.
#[derive(Debug)]
pub(in crate::pool) struct Member {
    pub(in crate::pool) host: usize,
    pub(in crate::pool) state: State,
    /// The claim that owns the connection, while it connects and while it is leased.
    pub(in crate::pool) claim: Option<usize>,
    /// Whether the owner has been called.
    pub(in crate::pool) delivered: bool,
    /// Whether an earlier owner has released the connection.
    pub(in crate::pool) reused: bool,
    /// The time at which it was opened.
    pub(in crate::pool) born: Instant,
    /// The time at which it entered its state.
    pub(in crate::pool) since: Instant,
    /// Whether the pool has warned about the length of this lease.
    pub(in crate::pool) warned: bool,
    /// The connection's id, once the loop has created it.
    pub(in crate::pool) conn: Option<ConnId>,
    /// Whether it was closed to free its place for the next host in line.
    pub(in crate::pool) makes_room: bool,
    /// The time until which it may be leased, if its last user knew that.
    pub(in crate::pool) good_until: Option<Instant>,
    pub(in crate::pool) by_age: Links,
    pub(in crate::pool) of_host: Links,
}

/// A request for a connection. It exists until its exchange ends.
#[derive(Debug)]
pub(in crate::pool) struct Claim {
    /// Distinguishes claims that had the same index one after the other.
    pub(in crate::pool) serial: u32,
    pub(in crate::pool) host: usize,
    /// The connection that it has or that is being established for it. `None` while it waits.
    pub(in crate::pool) member: Option<usize>,
    pub(in crate::pool) since: Instant,
    /// The place where it was acquired.
    pub(in crate::pool) site: &'static Location<'static>,
    pub(in crate::pool) one_shot: bool,
    /// Whether it accepts only a new connection.
    pub(in crate::pool) fresh: bool,
    /// Whether a `Lease` holds its connection.
    pub(in crate::pool) held: bool,
    /// Whether a `Lease` held its connection. Bytes may then have been sent on it before the protocol is called.
    pub(in crate::pool) was_held: bool,
    pub(in crate::pool) by_age: Links,
    pub(in crate::pool) of_host: Links,
}

#[derive(Debug)]
pub(in crate::pool) struct Host {
    pub(in crate::pool) key: Key,
    pub(in crate::pool) counts: Counts,
    /// The idle connections, most recently used first.
    pub(in crate::pool) idle: List<OfHost>,
    pub(in crate::pool) waiting: List<OfHost>,
    /// The number of waiting claims that could connect if the pool had places. If it is above 0, the host is in the
    /// list of turns.
    pub(in crate::pool) demand: usize,
    /// The value of `handed` when the host's first waiter became the first.
    pub(in crate::pool) bypassed_from: u64,
    pub(in crate::pool) turns: Links,
}

impl Host {
    pub(in crate::pool) fn new(key: Key) -> Self {
        Host {
            key,
            counts: Counts::default(),
            idle: List::new(),
            waiting: List::new(),
            demand: 0,
            bypassed_from: 0,
            turns: Links::NONE,
        }
    }
}

macro_rules! linked {
    ($entry:ty, $kind:ty, $field:ident) => {
        impl Linked<$kind> for $entry {
            fn links(&self) -> Links {
                self.$field
            }
            fn links_mut(&mut self) -> &mut Links {
                &mut self.$field
            }
        }
    };
}

linked!(Member, ByAge, by_age);
linked!(Member, OfHost, of_host);
linked!(Claim, ByAge, by_age);
linked!(Claim, OfHost, of_host);
linked!(Host, Turns, turns);
