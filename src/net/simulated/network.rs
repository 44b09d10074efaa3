//! The kernel's part of a simulation: its sockets, its time, and what is under way between them.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::Token;

use crate::base::clock::Time;
use crate::net::simulated::address::{FIRST_PORT, canonical};
use crate::net::simulated::event::Event;
use crate::net::simulated::link::{Link, Polling};
use crate::net::simulated::pipe::{Pipe, Trip};
use crate::net::simulated::random::Random;
use crate::net::simulated::record::{Record, What};
use crate::net::simulated::wire::{Fate, Wire};

/// Names a simulated socket. Never used again, as a descriptor would be.
pub(crate) type SocketId = u32;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) wire: Rc<Wire>,
    /// The other end, until it is closed.
    pub(crate) peer: Option<SocketId>,
    pub(crate) incoming: Pipe,
    pub(crate) token: Option<Token>,
    /// A descriptor of the program, and not one that still waits to be accepted.
    pub(crate) open: bool,
    pub(crate) connecting: bool,
    /// Nobody answers its request to connect.
    pub(crate) unanswered: bool,
    /// SO_ERROR: told once, by whatever call comes first.
    pub(crate) error: Option<io::ErrorKind>,
    /// The connection is no more.
    pub(crate) reset: bool,
    pub(crate) finished: bool,
    pub(crate) reset_on_close: bool,
    /// A write took less than it was given: when there is room again, that is to be told. SOCK_NOSPACE in Linux.
    pub(crate) wants_room: bool,
    /// A write was cut short, and takes no more until this time.
    pub(crate) squeezed_until: Duration,
    /// Bytes sent that the peer will never read, so that they take up room for ever.
    pub(crate) lost: usize,
    /// In the list of those that became ready.
    pub(crate) listed: bool,
}

#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) addr: SocketAddr,
    pub(crate) backlog: usize,
    pub(crate) waiting: VecDeque<SocketId>,
    /// Connections that are answered and not confirmed yet.
    pub(crate) half_open: usize,
    pub(crate) token: Option<Token>,
    pub(crate) listed: bool,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) seed: u64,
    /// It is run by `check`, which can run it again.
    pub(crate) checked: bool,
    /// It has its reactor.
    pub(crate) taken: bool,
    pub(crate) random: Random,
    base: Instant,
    pub(crate) clock: Time,
    /// The same, since the start.
    pub(crate) now: Duration,
    pub(crate) ends: BTreeMap<SocketId, Endpoint>,
    pub(crate) listeners: BTreeMap<SocketId, Listening>,
    pub(crate) events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    pub(crate) last_id: SocketId,
    /// The port that was given last.
    pub(crate) last_port: u16,
    /// The addresses, local and remote, of all ends.
    pub(crate) pairs: BTreeSet<(SocketAddr, SocketAddr)>,
    pub(crate) ready: Vec<SocketId>,
    pub(crate) link: Rc<Link>,
    pub(crate) links: BTreeMap<SocketAddr, Rc<Link>>,
    pub(crate) partitions: BTreeSet<SocketAddr>,
    /// What came to a partition.
    pub(crate) held: Vec<(SocketAddr, Event)>,
    pub(crate) polling: Polling,
    /// How many sockets may be open: beyond, there is no descriptor left.
    pub(crate) descriptors: usize,
    /// Waits in a row that brought nothing, let no time pass, and between which no socket was used with success.
    pub(crate) idle_turns: u32,
    pub(crate) record: Record,
}

/// The end of time: what is due later never happens. Some 290 years, so that no reckoning with it overflows.
pub(crate) const LAST: Duration = Duration::from_nanos(u64::MAX / 2);

/// How long a sender sends again what nobody acknowledges before it gives up: tcp(7), tcp_retries2.
const GIVES_UP: Duration = Duration::from_millis(924_600);

impl Endpoint {
    /// Whether it was reset, or both sides have finished: the state is CLOSED then, or TIME-WAIT.
    pub(crate) fn is_over(&self) -> bool {
        self.reset || self.finished && self.incoming.has_ended()
    }
}

impl Listening {
    /// Whether one more may wait to be accepted. Linux has room for one more than the backlog says: sk_acceptq_is_full.
    pub(crate) fn has_place(&self) -> bool {
        self.waiting.len() + self.half_open <= self.backlog
    }
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let base = Instant::now();
        Network {
            seed,
            checked: false,
            taken: false,
            random: Random::new(seed),
            base,
            clock: Rc::new(Cell::new(base)),
            now: Duration::ZERO,
            ends: BTreeMap::new(),
            listeners: BTreeMap::new(),
            events: BinaryHeap::new(),
            scheduled: 0,
            last_id: 0,
            last_port: FIRST_PORT,
            pairs: BTreeSet::new(),
            ready: Vec::new(),
            link: Rc::default(),
            links: BTreeMap::new(),
            partitions: BTreeSet::new(),
            held: Vec::new(),
            polling: Polling::default(),
            descriptors: usize::MAX,
            idle_turns: 0,
            record: Record::default(),
        }
    }

    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = now.min(LAST);
        self.clock.set(self.base + self.now);
    }

    /// Writes down what has happened, which is progress.
    pub(crate) fn note(&mut self, who: SocketId, what: What) {
        self.idle_turns = 0;
        self.record.add(self.now, who, what);
    }

    pub(crate) fn schedule(&mut self, at: Duration, event: Event) {
        self.scheduled += 1; // what is due at the same time happens in the order in which it was caused
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    pub(crate) fn next_id(&mut self) -> SocketId {
        self.last_id += 1;
        self.last_id
    }

    /// How long something is under way.
    pub(crate) fn latency(&mut self, link: &Link) -> Duration {
        let (least, most) = (nanos(*link.latency.start()), nanos(*link.latency.end()));
        Duration::from_nanos(self.random.within(least..=most))
    }

    /// When something that is sent now arrives.
    pub(crate) fn arrival(&mut self, link: &Link) -> Duration {
        self.now.saturating_add(self.latency(link))
    }

    /// For something that is sent now.
    fn trip(&mut self, link: &Link) -> Trip {
        Trip { now: self.now, latency: self.latency(link), spacing: link.spacing }
    }

    /// A new way to a server.
    pub(crate) fn wire(&mut self, server: SocketAddr) -> Rc<Wire> {
        let link = Rc::clone(self.links.get(&server).unwrap_or(&self.link));
        Rc::new(Wire::new(link, server, &mut self.random))
    }

    pub(crate) fn insert(&mut self, local: SocketAddr, remote: SocketAddr, wire: Rc<Wire>) -> SocketId {
        let id = self.next_id();
        let appetite = wire.link.stops_reading_after.clone().map(|bytes| self.random.within(bytes));
        let endpoint = Endpoint {
            local,
            remote,
            incoming: Pipe::new(wire.link.buffer.max(1), appetite.unwrap_or(u64::MAX)),
            wire,
            peer: None,
            token: None,
            open: false,
            connecting: false,
            unanswered: false,
            error: None,
            reset: false,
            finished: false,
            reset_on_close: false,
            wants_room: false,
            squeezed_until: Duration::ZERO,
            lost: 0,
            listed: false,
        };
        self.pairs.insert((canonical(local), canonical(remote)));
        self.ends.insert(id, endpoint);
        id
    }

    /// Two ends that are connected already.
    pub(crate) fn pair(&mut self, one: SocketAddr, other: SocketAddr) -> (SocketId, SocketId) {
        let wire = self.wire(other);
        let ends = (self.insert(one, other, Rc::clone(&wire)), self.insert(other, one, wire));
        for (end, peer) in [ends, (ends.1, ends.0)] {
            if let Some(end) = self.ends.get_mut(&end) {
                end.peer = Some(peer);
            }
        }
        ends
    }

    pub(crate) fn end(&mut self, id: SocketId) -> io::Result<&mut Endpoint> {
        self.ends.get_mut(&id).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// How much a socket may send.
    pub(crate) fn room(&self, endpoint: &Endpoint) -> usize {
        let peer = endpoint.peer.and_then(|peer| self.ends.get(&peer));
        let room = peer.map_or(endpoint.wire.link.buffer.max(1), |peer| peer.incoming.room());
        room.saturating_sub(endpoint.lost)
    }

    /// Sends bytes on their way, cut into segments.
    pub(crate) fn transmit(&mut self, id: SocketId, bytes: &[u8], wire: &Wire) {
        let peer = self.ends.get(&id).and_then(|endpoint| endpoint.peer);
        let (passing, fate) = wire.take(bytes.len());
        let mut arrives = self.arrival(&wire.link);
        if let Some(peer) = peer {
            arrives = self.send_segments(peer, &bytes[..passing], wire).unwrap_or(arrives);
        }
        match (fate, peer) {
            (Fate::Silent, _) => self.lose(id, bytes.len() - passing),
            // Nobody is there to take it: that is answered with a reset.
            (_, None) => {
                self.lose(id, bytes.len());
                self.send_reset(id, arrives, wire);
            }
            (Fate::Reset, Some(peer)) => {
                let reset_back = arrives.saturating_add(self.latency(&wire.link));
                self.schedule(arrives, Event::Reset(peer));
                self.schedule(reset_back, Event::Reset(id));
            }
            (Fate::GoesOn, Some(_)) => {}
        }
    }

    /// Returns when the last of them arrives.
    fn send_segments(&mut self, to: SocketId, bytes: &[u8], wire: &Wire) -> Option<Duration> {
        let link = &wire.link;
        let mut arrives = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = self.random.within(*link.segment.start() as u64..=*link.segment.end() as u64);
            let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
            let (segment, behind) = rest.split_at(rest.len().min(most));
            rest = behind;
            let trip = self.trip(link);
            let at = self.ends.get_mut(&to)?.incoming.send(segment, trip);
            arrives = Some(self.deliver(to, at, link));
        }
        arrives
    }

    pub(crate) fn send_end(&mut self, id: SocketId) {
        let Some(endpoint) = self.ends.get(&id) else { return };
        let (peer, wire) = (endpoint.peer, Rc::clone(&endpoint.wire));
        if wire.is_broken() {
            return self.lose(id, 0); // an end behind bytes that were lost would make them look complete
        }
        let trip = self.trip(&wire.link);
        let with_data = self.random.chance(wire.link.fin_with_data);
        if let Some(peer) = peer
            && let Some(peer_end) = self.ends.get_mut(&peer)
        {
            let at = peer_end.incoming.send_end(with_data, trip);
            self.deliver(peer, at, &wire.link);
        } else if self.ends.get(&id).is_some_and(|endpoint| !endpoint.incoming.will_end()) {
            // A peer that has crashed does not know the connection, and answers with a reset.
            self.send_reset(id, trip.now.saturating_add(trip.latency), &wire);
        }
    }

    /// Has a segment noticed, together with all that arrive in the same window of time; returns when.
    fn deliver(&mut self, to: SocketId, arrives: Duration, link: &Link) -> Duration {
        let window = nanos(link.coalesce).max(1);
        let at = Duration::from_nanos(nanos(arrives).div_ceil(window).saturating_mul(window));
        self.schedule(at, Event::Arrive(to));
        at
    }

    /// What a socket sends comes nowhere: it goes on trying, and gives up in the end.
    fn lose(&mut self, id: SocketId, bytes: usize) {
        if let Some(endpoint) = self.ends.get_mut(&id) {
            endpoint.lost += bytes;
            self.schedule(self.now.saturating_add(GIVES_UP), Event::GiveUp(id));
        }
    }

    /// Closes with a reset, unless both sides are done with the connection.
    pub(crate) fn break_off(&mut self, id: SocketId) {
        let Some(endpoint) = self.ends.get(&id) else { return };
        let (wire, over) = (Rc::clone(&endpoint.wire), endpoint.is_over());
        if let Some(peer) = endpoint.peer.filter(|_| !endpoint.reset)
            && let Some(end) = self.ends.get(&peer)
            && (!over || !end.incoming.all_has_left(self.now))
        {
            self.send_reset(peer, self.now, &wire);
        }
        self.remove(id);
    }

    /// Sends a reset to this end, now or later. What has left before arrives before it; what still waits for the line is
    /// dropped, as a socket's send queue is.
    pub(crate) fn send_reset(&mut self, to: SocketId, leaves: Duration, wire: &Wire) {
        let arrives = leaves.saturating_add(self.latency(&wire.link));
        if !wire.is_silent()
            && let Some(end) = self.ends.get_mut(&to)
        {
            let last = end.incoming.cut_unsent(leaves);
            self.schedule(arrives.max(last.unwrap_or_default()), Event::Reset(to));
        }
    }

    pub(crate) fn remove(&mut self, id: SocketId) {
        let Some(endpoint) = self.ends.remove(&id) else { return };
        self.pairs.remove(&(canonical(endpoint.local), canonical(endpoint.remote)));
        if let Some(peer) = endpoint.peer.and_then(|peer| self.ends.get_mut(&peer)) {
            peer.peer = None;
            peer.lost += endpoint.incoming.unread(); // it will not be read, which would make room for more
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
