//! What the machines have seen of each other, and the invariants of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::action::Source;
use enjamb::sim::Sim;
use enjamb::{ConnId, Cx, End, Handle, ListenerId, TimerId};

/// What one machine has seen, and what was done to it.
#[derive(Debug, Default)]
pub struct Seen {
    pub id: Option<ConnId>,
    /// The machine at the other end.
    pub peer: Option<usize>,
    pub opened: bool,
    /// How many bytes of the peer's it has taken.
    pub taken: usize,
    /// How many there were when the end came.
    pub complete: Option<usize>,
    /// How many it was allowed to write.
    pub written: usize,
    /// It, or another, has finished or closed it.
    pub left: bool,
    pub panicked: bool,
    pub end: Option<End>,
}

pub struct World {
    pub sim: Sim,
    pub source: Source,
    pub handle: Handle<World>,
    pub seen: Vec<Seen>,
    pub open: Vec<usize>,
    pub clients: BTreeMap<SocketAddr, usize>,
    pub listeners: Vec<(ListenerId, SocketAddr)>,
    pub timers: Vec<TimerId>,
    timers_set: u64,
    /// The last that fired: the tick it was set for, and the how manieth it was.
    last_fired: (u128, u64),
    /// How many more sources and timers there may be, so that a run comes to its end.
    pub left: u32,
    pub callbacks: u64,
    pub posted: u32,
    pub ran: u32,
    pub stopped: bool,
}

/// The byte at this place of what a machine says: another for every machine and, nearly, for every place.
pub fn byte(machine: usize, place: usize) -> u8 {
    (machine as u8).wrapping_mul(31) ^ (place ^ (place >> 8)) as u8
}

impl World {
    pub fn new(sim: Sim, source: Source, handle: Handle<World>, left: u32) -> Self {
        World {
            sim,
            source,
            handle,
            seen: Vec::new(),
            open: Vec::new(),
            clients: BTreeMap::new(),
            listeners: Vec::new(),
            timers: Vec::new(),
            timers_set: 0,
            last_fired: (0, 0),
            left,
            callbacks: 0,
            posted: 0,
            ran: 0,
            stopped: false,
        }
    }

    /// Whether there may be one more of something.
    pub fn spend(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    pub fn note_taken(&mut self, me: usize, bytes: &[u8]) {
        let peer = self.seen[me].peer.expect("bytes come from somebody");
        for byte_there in bytes {
            assert_eq!(
                *byte_there,
                byte(peer, self.seen[me].taken),
                "byte {} of {peer}",
                self.seen[me].taken
            );
            self.seen[me].taken += 1;
        }
        assert!(self.seen[me].taken <= self.seen[peer].written, "more than was written");
    }

    pub fn note_end(&mut self, me: usize, end: End) {
        self.callbacks += 1;
        let seen = &mut self.seen[me];
        assert!(seen.end.is_none(), "closed was called twice for {me}");
        assert!(!seen.panicked, "closed was called for {me}, which had panicked");
        if end.result.is_ok() {
            assert_eq!(end.unsent, 0, "{me}: all is said to be well, and something was not sent");
            assert!(seen.left || seen.complete.is_some(), "{me} closed well, and nobody had asked for it");
        }
        seen.end = Some(end);
        self.open.retain(|open| *open != me);
    }

    /// When it is all over.
    pub fn check(&self) {
        assert_eq!(self.posted, self.ran, "of the calls posted, so many have run");
        for (me, seen) in self.seen.iter().enumerate() {
            assert!(seen.end.is_some() != seen.panicked, "closed exactly once, {me}: {seen:?}");
            let Some(peer) = seen.peer.map(|peer| &self.seen[peer]) else { continue };
            let sent = peer.written - peer.end.as_ref().map_or(0, |end| end.unsent);
            let unread = seen.end.as_ref().map_or(0, |end| end.unread);
            if !peer.panicked {
                assert!(seen.taken + unread <= sent, "{me} has more than was sent: {seen:?} of {peer:?}");
            }
            if let Some(complete) = seen.complete {
                assert_eq!(complete, peer.written, "{me} was told of the end, and had not all: {peer:?}");
                assert!(peer.end.as_ref().is_none_or(|end| end.unsent == 0), "{me}: {seen:?} of {peer:?}");
            }
        }
    }
}

/// Sets a timer that sees to it that it is neither early nor out of turn.
pub fn set_timer(cx: &mut Cx<'_, World>, delay: Duration, mut period: Option<u32>) {
    let due = cx.state.sim.now() + delay;
    cx.state.timers_set += 1;
    let number = cx.state.timers_set;
    let fire = move |cx: &mut Cx<'_, World>, once: bool| {
        let now = cx.state.sim.now();
        cx.state.callbacks += 1;
        assert!(now >= due, "{now:?}: early, it was set for {due:?}");
        if once {
            let fired = (due.as_nanos().div_ceil(1_000_000), number);
            assert!(fired > cx.state.last_fired, "{fired:?} after {:?}", cx.state.last_fired);
            cx.state.last_fired = fired;
        }
    };
    let timer = match period.take() {
        None => cx.after(delay, move |cx| {
            fire(cx, true);
            super::machine::act_outside(cx);
        }),
        Some(mut times) => cx.every(delay, move |cx| {
            fire(cx, false);
            times = times.saturating_sub(1);
            if times == 0 {
                let all = std::mem::take(&mut cx.state.timers);
                all.into_iter().for_each(|timer| _ = cx.cancel(timer)); // its own is among them
            }
        }),
    };
    cx.state.timers.push(timer);
}
