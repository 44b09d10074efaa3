//! What the table has entries for: hosts, the connections to them, and the claims of those who want one.

use std::ops::{Index, IndexMut};
use std::panic::Location;
use std::time::Instant;

use crate::ConnId;
use crate::pool::decide::list::{Linked, Links, List};
use crate::pool::key::Key;

/// What a connection is doing. All four count against the limits until its descriptor is closed.
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

/// How many connections are in each state.
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

/// The list of all idle connections, that of all leased ones, or that of all who wait: by when they came to it.
#[derive(Debug)]
pub(in crate::pool) struct ByAge;
/// The list of a host's idle connections, or of those who wait for one.
#[derive(Debug)]
pub(in crate::pool) struct OfHost;
/// The list of the hosts that wait for a place.
#[derive(Debug)]
pub(in crate::pool) struct Turns;

/// A connection.
#[derive(Debug)]
pub(in crate::pool) struct Member {
    pub(in crate::pool) host: usize,
    pub(in crate::pool) state: State,
    /// Whose it is: of one claim while it connects and while it is leased.
    pub(in crate::pool) claim: Option<usize>,
    /// Its owner has been called.
    pub(in crate::pool) delivered: bool,
    /// Somebody has given it back.
    pub(in crate::pool) reused: bool,
    /// When it was opened.
    pub(in crate::pool) born: Instant,
    /// When it came to be in its state.
    pub(in crate::pool) since: Instant,
    /// It has been held for so long that this was warned about.
    pub(in crate::pool) warned: bool,
    /// Its name in the loop, once that has made it.
    pub(in crate::pool) conn: Option<ConnId>,
    /// It was closed so that its place goes to the next in line.
    pub(in crate::pool) makes_room: bool,
    /// Until when it may be handed out, where its last user knew that.
    pub(in crate::pool) good_until: Option<Instant>,
    pub(in crate::pool) by_age: Links,
    pub(in crate::pool) of_host: Links,
}

/// Somebody who wants a connection, or has one.
#[derive(Debug)]
pub(in crate::pool) struct Claim {
    /// Tells apart those that one after the other have the same index.
    pub(in crate::pool) serial: u32,
    pub(in crate::pool) host: usize,
    /// The connection it has, or that is being made for it; `None` while it waits.
    pub(in crate::pool) member: Option<usize>,
    pub(in crate::pool) since: Instant,
    /// Where it was acquired.
    pub(in crate::pool) site: &'static Location<'static>,
    pub(in crate::pool) one_shot: bool,
    /// It takes no connection that was used before.
    pub(in crate::pool) fresh: bool,
    /// A `Lease` stands for it.
    pub(in crate::pool) held: bool,
    /// A `Lease` stood for it, so that something may have been said on its connection before its machine is called.
    pub(in crate::pool) was_held: bool,
    pub(in crate::pool) by_age: Links,
    pub(in crate::pool) of_host: Links,
}

#[derive(Debug)]
pub(in crate::pool) struct Host {
    pub(in crate::pool) key: Key,
    pub(in crate::pool) counts: Counts,
    /// The most recently used first.
    pub(in crate::pool) idle: List<OfHost>,
    pub(in crate::pool) waiting: List<OfHost>,
    /// How many of those who wait could have a connection if there were places in the pool: it stands in the list of
    /// turns when there are any.
    pub(in crate::pool) demand: usize,
    /// How many connections had been handed on when its first waiter became the first.
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
