//! The state of a simulated network: its sockets, its time, and the data in flight.

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

/// The id of a simulated socket. Unlike a descriptor, it is never reused.
pub(crate) type SocketId = u32;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) wire: Rc<Wire>,
    /// The other end. `None` once that is closed.
    pub(crate) peer: Option<SocketId>,
    pub(crate) incoming: Pipe,
    pub(crate) token: Option<Token>,
    /// Whether the program owns it. Otherwise it still waits to be accepted.
    pub(crate) open: bool,
    pub(crate) connecting: bool,
    /// Its SYN is never answered.
    pub(crate) unanswered: bool,
    /// SO_ERROR. The next call reports it, once.
    pub(crate) error: Option<io::ErrorKind>,
    /// The connection has failed.
    pub(crate) reset: bool,
    pub(crate) finished: bool,
    pub(crate) reset_on_close: bool,
    /// A write was incomplete, so the next room must be reported: SOCK_NOSPACE in Linux.
    pub(crate) wants_room: bool,
    /// A partial write blocks further writes until this time.
    pub(crate) squeezed_until: Duration,
    /// Sent bytes that the peer will never read. They occupy the buffer for ever.
    pub(crate) lost: usize,
    /// Whether it is in the list of ready sockets.
    pub(crate) listed: bool,
}

#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) addr: SocketAddr,
    pub(crate) backlog: usize,
    pub(crate) waiting: VecDeque<SocketId>,
    /// Connections that were answered but not confirmed yet.
    pub(crate) half_open: usize,
    pub(crate) token: Option<Token>,
    pub(crate) listed: bool,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) seed: u64,
    /// Whether `check` runs it, and so can repeat it.
    pub(crate) checked: bool,
    /// Whether its reactor was created.
    pub(crate) taken: bool,
    pub(crate) random: Random,
    base: Instant,
    pub(crate) clock: Time,
    /// The time since the start.
    pub(crate) now: Duration,
    pub(crate) ends: BTreeMap<SocketId, Endpoint>,
    pub(crate) listeners: BTreeMap<SocketId, Listening>,
    pub(crate) events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    pub(crate) last_id: SocketId,
    /// The last port that was assigned.
    pub(crate) last_port: u16,
    /// The local and remote addresses of all ends.
    pub(crate) pairs: BTreeSet<(SocketAddr, SocketAddr)>,
    pub(crate) ready: Vec<SocketId>,
    pub(crate) link: Rc<Link>,
    pub(crate) links: BTreeMap<SocketAddr, Rc<Link>>,
    pub(crate) partitions: BTreeSet<SocketAddr>,
    /// The events that wait for the end of a partition.
    pub(crate) held: Vec<(SocketAddr, Event)>,
    pub(crate) polling: Polling,
    /// The maximum number of open sockets. Beyond it, no descriptor is left.
    pub(crate) descriptors: usize,
    /// The number of waits in a row without an event, without time passing, and without a successful call on a socket.
    pub(crate) idle_turns: u32,
    pub(crate) record: Record,
}

/// The end of time, after some 290 years. Later events never happen, and sums with it do not overflow.
pub(crate) const LAST: Duration = Duration::from_nanos(u64::MAX / 2);

/// The time for which a sender retransmits before it gives up: tcp(7), tcp_retries2.
const GIVES_UP: Duration = Duration::from_millis(924_600);

impl Endpoint {
    /// Whether it was reset or both sides have finished: state CLOSED or TIME-WAIT.
    pub(crate) fn is_over(&self) -> bool {
        self.reset || self.finished && self.incoming.has_ended()
    }
}

impl Listening {
    /// Whether another connection may wait to be accepted. Linux accepts one more than the backlog: sk_acceptq_is_full.
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

    /// Records an event. It counts as progress.
    pub(crate) fn note(&mut self, who: SocketId, what: What) {
        self.idle_turns = 0;
        self.record.add(self.now, who, what);
    }

    pub(crate) fn schedule(&mut self, at: Duration, event: Event) {
        self.scheduled += 1; // simultaneous events happen in the order of their causes
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    pub(crate) fn next_id(&mut self) -> SocketId {
        self.last_id += 1;
        self.last_id
    }

    /// Draws the travel time of a segment.
    pub(crate) fn latency(&mut self, link: &Link) -> Duration {
        let (least, most) = (nanos(*link.latency.start()), nanos(*link.latency.end()));
        Duration::from_nanos(self.random.within(least..=most))
    }

    /// The arrival time of a segment that is sent now.
    pub(crate) fn arrival(&mut self, link: &Link) -> Duration {
        self.now.saturating_add(self.latency(link))
    }

    /// The trip of a segment that is sent now.
    fn trip(&mut self, link: &Link) -> Trip {
        Trip { now: self.now, latency: self.latency(link), spacing: link.spacing }
    }

    /// Creates a path to a server.
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

    /// Creates two connected ends.
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

    /// The number of bytes that a socket may send.
    pub(crate) fn room(&self, endpoint: &Endpoint) -> usize {
        let peer = endpoint.peer.and_then(|peer| self.ends.get(&peer));
        let room = peer.map_or(endpoint.wire.link.buffer.max(1), |peer| peer.incoming.room());
        room.saturating_sub(endpoint.lost)
    }

    /// Splits bytes into segments and sends them.
    pub(crate) fn transmit(&mut self, id: SocketId, bytes: &[u8], wire: &Wire) {
        let peer = self.ends.get(&id).and_then(|endpoint| endpoint.peer);
        let (passing, fate) = wire.take(bytes.len());
        let mut arrives = self.arrival(&wire.link);
        if let Some(peer) = peer {
            arrives = self.send_segments(peer, &bytes[..passing], wire).unwrap_or(arrives);
        }
        match (fate, peer) {
            (Fate::Silent, _) => self.lose(id, bytes.len() - passing),
            // The peer is closed and answers with a reset.
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

    /// Sends bytes in segments. Returns the arrival time of the last one.
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
            return self.lose(id, 0); // an end after lost bytes would make them look complete
        }
        let trip = self.trip(&wire.link);
        let with_data = self.random.chance(wire.link.fin_with_data);
        if let Some(peer) = peer
            && let Some(peer_end) = self.ends.get_mut(&peer)
        {
            let at = peer_end.incoming.send_end(with_data, trip);
            self.deliver(peer, at, &wire.link);
        } else if self.ends.get(&id).is_some_and(|endpoint| !endpoint.incoming.will_end()) {
            // A crashed peer does not know the connection and answers with a reset.
            self.send_reset(id, trip.now.saturating_add(trip.latency), &wire);
        }
    }

    /// Schedules the arrival of a segment, together with the others in the same time window. Returns the time.
    fn deliver(&mut self, to: SocketId, arrives: Duration, link: &Link) -> Duration {
        let window = nanos(link.coalesce).max(1);
        let at = Duration::from_nanos(nanos(arrives).div_ceil(window).saturating_mul(window));
        self.schedule(at, Event::Arrive(to));
        at
    }

    /// Loses bytes of a socket, which retransmits them and finally gives up.
    fn lose(&mut self, id: SocketId, bytes: usize) {
        if let Some(endpoint) = self.ends.get_mut(&id) {
            endpoint.lost += bytes;
            self.schedule(self.now.saturating_add(GIVES_UP), Event::GiveUp(id));
        }
    }

    /// Closes with a reset, unless the connection is over on both sides.
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

    /// Sends a reset to this end, now or later. Segments that have left arrive before it. Segments that still wait for
    /// the line are dropped, like a socket's send queue.
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
            peer.lost += endpoint.incoming.unread(); // these bytes will never be read, so they make no room
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
