//! What the table has entries for: hosts, the connections to them, and the claims of those who want one.

use std::ops::{Index, IndexMut};
use std::panic::Location;
use std::time::Instant;

use super::key::Key;
use super::list::{Linked, Links, List};
use crate::ConnId;

/// What a connection is doing. All four count against the limits until its descriptor is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Leased,
    Idle,
    Closing,
}

impl State {
    pub(super) const ALL: [State; 4] = [State::Connecting, State::Leased, State::Idle, State::Closing];
}

/// How many connections are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts([usize; 4]);

impl Counts {
    pub(super) fn all(&self) -> usize {
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
pub(super) struct ByAge;
/// The list of a host's idle connections, or of those who wait for one.
#[derive(Debug)]
pub(super) struct OfHost;
/// The list of the hosts that wait for a place.
#[derive(Debug)]
pub(super) struct Turns;

/// A connection.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) host: usize,
    pub(super) state: State,
    /// Whose it is: of one claim while it connects and while it is leased.
    pub(super) claim: Option<usize>,
    /// Its owner has been called.
    pub(super) delivered: bool,
    /// Somebody has given it back.
    pub(super) reused: bool,
    /// When it was opened.
    pub(super) born: Instant,
    /// When it came to be in its state.
    pub(super) since: Instant,
    /// It has been held for so long that this was warned about.
    pub(super) warned: bool,
    /// Its name in the loop, once that has made it.
    pub(super) conn: Option<ConnId>,
    /// It was closed so that its place goes to the next in line.
    pub(super) makes_room: bool,
    /// Until when it may be handed out, where its last user knew that.
    pub(super) good_until: Option<Instant>,
    pub(super) by_age: Links,
    pub(super) of_host: Links,
}

/// Somebody who wants a connection, or has one.
#[derive(Debug)]
pub(super) struct Claim {
    /// Tells apart those that one after the other have the same index.
    pub(super) serial: u32,
    pub(super) host: usize,
    /// The connection it has, or that is being made for it; `None` while it waits.
    pub(super) member: Option<usize>,
    pub(super) since: Instant,
    /// Where it was acquired.
    pub(super) site: &'static Location<'static>,
    pub(super) one_shot: bool,
    /// It takes no connection that was used before.
    pub(super) fresh: bool,
    /// A `Lease` stands for it.
    pub(super) held: bool,
    /// A `Lease` stood for it, so that something may have been said on its connection before its machine is called.
    pub(super) was_held: bool,
    pub(super) by_age: Links,
    pub(super) of_host: Links,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) key: Key,
    pub(super) counts: Counts,
    /// The most recently used first.
    pub(super) idle: List<OfHost>,
    pub(super) waiting: List<OfHost>,
    /// How many of those who wait could have a connection if there were places in the pool: it stands in the list of
    /// turns when there are any.
    pub(super) demand: usize,
    /// How many connections had been handed on when its first waiter became the first.
    pub(super) bypassed_from: u64,
    pub(super) turns: Links,
}

impl Host {
    pub(super) fn new(key: Key) -> Self {
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
