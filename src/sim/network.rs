//! The kernel's part of a simulation: sockets, what a call on one does, and what is ready.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::Token;

use crate::driver::Readiness;
use crate::sim::event::Event;
use crate::sim::link::{Link, Polling};
use crate::sim::pipe::Pipe;
use crate::sim::random::Random;
use crate::sim::record::{Record, What};

/// Names a simulated socket. Never used again, as a descriptor would be.
pub(crate) type SocketId = u32;

/// What both ends of a connection have in common.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) link: Rc<Link>,
    /// Whose address tells to which link and partition it belongs.
    pub(crate) server: SocketAddr,
    /// Bytes that passed, both ways, and how many may until it is reset or goes silent.
    passed: Cell<u64>,
    reset_at: Option<u64>,
    stall_at: Option<u64>,
}

impl Wire {
    pub(crate) fn is_stalled(&self) -> bool {
        self.stall_at.is_some_and(|limit| self.passed.get() >= limit)
    }
}

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
    pub(crate) connecting: bool,
    /// SO_ERROR: told once, by whatever call comes first.
    pub(crate) error: Option<io::ErrorKind>,
    pub(crate) reset: bool,
    finished: bool,
    reset_on_close: bool,
    /// A write was cut short, and takes no more until this time.
    pub(crate) squeezed_until: Duration,
    /// In the list of those that became ready.
    pub(crate) listed: bool,
}

#[derive(Debug)]
pub(crate) struct Listening {
    addr: SocketAddr,
    backlog: usize,
    pub(crate) waiting: VecDeque<SocketId>,
    token: Option<Token>,
    listed: bool,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) seed: u64,
    pub(crate) random: Random,
    base: Instant,
    /// The time as the loop's clock reads it.
    pub(crate) clock: Rc<Cell<Instant>>,
    /// The same, since the start.
    pub(crate) now: Duration,
    pub(crate) ends: BTreeMap<SocketId, Endpoint>,
    pub(crate) listeners: BTreeMap<SocketId, Listening>,
    pub(crate) events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    last_id: SocketId,
    last_port: u16,
    pub(crate) ready: Vec<SocketId>,
    pub(crate) link: Rc<Link>,
    pub(crate) links: BTreeMap<SocketAddr, Rc<Link>>,
    pub(crate) partitions: BTreeSet<SocketAddr>,
    pub(crate) polling: Polling,
    /// How many sockets may be open: beyond, there is no descriptor left.
    pub(crate) descriptors: usize,
    /// Waits in a row that brought nothing, let no time pass, and between which no socket was used with success.
    pub(crate) idle_turns: u32,
    pub(crate) record: Record,
}

/// The ports that clients get: those that the RFC 6335, section 6, sets aside for it.
const FIRST_PORT: u16 = 49152;

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let base = Instant::now();
        Network {
            seed,
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
            ready: Vec::new(),
            link: Rc::default(),
            links: BTreeMap::new(),
            partitions: BTreeSet::new(),
            polling: Polling::default(),
            descriptors: usize::MAX,
            idle_turns: 0,
            record: Record::default(),
        }
    }

    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = now;
        self.clock.set(self.base + now);
    }

    pub(crate) fn note(&mut self, who: SocketId, what: What) {
        self.idle_turns = 0;
        self.record.add(self.now, who, what);
    }

    pub(crate) fn schedule(&mut self, at: Duration, event: Event) {
        self.scheduled += 1; // what is due at the same time happens in the order in which it was caused
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn next_id(&mut self) -> SocketId {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn next_port(&mut self) -> u16 {
        self.last_port = self.last_port.checked_add(1).unwrap_or(FIRST_PORT);
        self.last_port
    }

    pub(crate) fn latency(&mut self, link: &Link) -> Duration {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let drawn = self.random.within(nanos(*link.latency.start())..=nanos(*link.latency.end()));
        let at = nanos(self.now).saturating_add(drawn);
        let window = nanos(link.coalesce).max(1);
        Duration::from_nanos(at.div_ceil(window).saturating_mul(window)) - self.now
    }

    /// A new way to a server.
    pub(crate) fn wire(&mut self, server: SocketAddr) -> Rc<Wire> {
        let link = Rc::clone(self.links.get(&server).unwrap_or(&self.link));
        let reset_at = link.reset_after.clone().map(|bytes| self.random.within(bytes));
        let stall_at = link.stall_after.clone().map(|bytes| self.random.within(bytes));
        Rc::new(Wire { link, server, passed: Cell::new(0), reset_at, stall_at })
    }

    pub(crate) fn insert(&mut self, local: SocketAddr, remote: SocketAddr, wire: Rc<Wire>) -> SocketId {
        let id = self.next_id();
        let endpoint = Endpoint {
            local,
            remote,
            incoming: Pipe::new(wire.link.buffer.max(1)),
            wire,
            peer: None,
            token: None,
            connecting: false,
            error: None,
            reset: false,
            finished: false,
            reset_on_close: false,
            squeezed_until: Duration::ZERO,
            listed: false,
        };
        self.ends.insert(id, endpoint);
        id
    }

    fn out_of_descriptors(&self) -> io::Result<()> {
        if self.ends.len() + self.listeners.len() < self.descriptors {
            return Ok(());
        }
        let message = format!("too many open sockets: the simulation allows {}", self.descriptors);
        Err(crate::error::new(io::ErrorKind::Other, message))
    }

    // The calls, named after those of the kernel.

    pub(crate) fn connect(&mut self, addr: SocketAddr) -> io::Result<SocketId> {
        self.out_of_descriptors()?;
        if addr.port() == 0 {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let wire = self.wire(addr);
        if self.random.chance(wire.link.unreachable) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let local = match addr {
            SocketAddr::V4(_) => SocketAddr::from(([127, 0, 0, 1], self.next_port())),
            SocketAddr::V6(_) => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], self.next_port())),
        };
        let latency = self.latency(&wire.link);
        let id = self.insert(local, addr, wire);
        self.end(id)?.connecting = true;
        self.schedule(self.now + latency, Event::Syn { client: id, tries: 0 });
        self.note(id, What::Connect);
        Ok(id)
    }

    /// Whether a connect has come through: `None` while it is under way.
    pub(crate) fn connected(&mut self, id: SocketId) -> Option<io::Result<()>> {
        let endpoint = self.ends.get_mut(&id)?;
        match endpoint.error.take() {
            Some(kind) => Some(Err(kind.into())),
            None => (!endpoint.connecting).then_some(Ok(())),
        }
    }

    pub(crate) fn take_error(&mut self, id: SocketId) -> Option<io::Error> {
        self.ends.get_mut(&id)?.error.take().map(io::Error::from)
    }

    pub(crate) fn listen(&mut self, mut addr: SocketAddr, backlog: u32) -> io::Result<SocketId> {
        self.out_of_descriptors()?;
        if addr.port() == 0 {
            addr.set_port(self.next_port());
        }
        if self.listeners.values().any(|listening| listening.addr == addr) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.next_id();
        let backlog = backlog as usize;
        let listening = Listening { addr, backlog, waiting: VecDeque::new(), token: None, listed: false };
        self.listeners.insert(id, listening);
        self.note(id, What::Listen);
        Ok(id)
    }

    pub(crate) fn accept(&mut self, id: SocketId) -> io::Result<(SocketId, SocketAddr)> {
        let listening = self.listeners.get(&id).ok_or(io::ErrorKind::NotConnected)?;
        if listening.waiting.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.out_of_descriptors()?;
        let waiting = self.listeners.get_mut(&id).and_then(|listening| listening.waiting.pop_front());
        let accepted = waiting.ok_or(io::ErrorKind::WouldBlock)?;
        let aborted = self.end(accepted)?.wire.link.aborted;
        if self.random.chance(aborted) {
            self.break_off(accepted);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.note(accepted, What::Accept);
        Ok((accepted, self.end(accepted)?.remote))
    }

    pub(crate) fn read(&mut self, id: SocketId, buffer: &mut [u8]) -> io::Result<usize> {
        let endpoint = self.end(id)?;
        let n = endpoint.incoming.read(buffer);
        if n > 0 {
            let (peer, link) = (endpoint.peer, Rc::clone(&endpoint.wire.link));
            self.note(id, What::Read(n));
            if let Some(writer) = peer {
                let at = self.now + self.latency(&link);
                self.schedule(at, Event::Room(writer)); // the acknowledgement has to travel too
            }
            return Ok(n);
        }
        if let Some(kind) = endpoint.error.take() {
            return Err(kind.into());
        }
        if endpoint.reset || endpoint.incoming.has_ended() {
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    pub(crate) fn write(&mut self, id: SocketId, bytes: &[u8]) -> io::Result<usize> {
        let now = self.now;
        let endpoint = self.end(id)?;
        if let Some(kind) = endpoint.error.take() {
            return Err(kind.into());
        }
        if endpoint.reset || endpoint.finished {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if endpoint.connecting || endpoint.squeezed_until > now {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (wire, peer) = (Rc::clone(&endpoint.wire), endpoint.peer);
        let Some(room) = peer.and_then(|peer| self.ends.get(&peer)).map(|peer| peer.incoming.room()) else {
            // Nobody is there to take it: that is answered with a reset.
            let at = now + self.latency(&wire.link) * 2;
            self.schedule(at, Event::Reset(id));
            self.note(id, What::Write(bytes.len()));
            return Ok(bytes.len());
        };
        let mut n = bytes.len().min(room);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if n > 1 && self.random.chance(wire.link.partial_write) {
            n = self.random.within(1..=n as u64 - 1) as usize;
            let until = now + self.latency(&wire.link) + Duration::from_micros(1);
            self.end(id)?.squeezed_until = until;
            self.schedule(until, Event::Room(id));
        }
        self.note(id, What::Write(n));
        self.transmit(id, &bytes[..n], &wire);
        Ok(n)
    }

    pub(crate) fn finish(&mut self, id: SocketId) -> io::Result<()> {
        let endpoint = self.end(id)?;
        if endpoint.reset || endpoint.connecting {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if !std::mem::replace(&mut endpoint.finished, true) {
            self.note(id, What::Finish);
            self.send_end(id);
        }
        Ok(())
    }

    pub(crate) fn reset_on_close(&mut self, id: SocketId) {
        if let Some(endpoint) = self.ends.get_mut(&id) {
            endpoint.reset_on_close = true;
        }
    }

    pub(crate) fn close(&mut self, id: SocketId) {
        if let Some(listening) = self.listeners.remove(&id) {
            self.note(id, What::Close);
            listening.waiting.into_iter().for_each(|waiting| self.break_off(waiting));
            return;
        }
        if !self.ends.contains_key(&id) {
            return;
        }
        self.note(id, What::Close);
        let Some(endpoint) = self.ends.get(&id) else { return };
        // Closing with input unread destroys what the peer has not read: RFC 9293, section 3.10.4.
        if endpoint.reset_on_close || endpoint.incoming.has_bytes() {
            return self.break_off(id);
        }
        let orderly = !endpoint.finished && !endpoint.reset && !endpoint.connecting;
        if endpoint.incoming.is_flying()
            && let (Some(peer), Some(at)) = (endpoint.peer, endpoint.incoming.next())
        {
            self.schedule(at, Event::Reset(peer)); // as soon as that comes to a socket that is closed
        }
        if orderly {
            self.send_end(id);
        }
        self.remove(id);
    }

    /// Closes with a reset.
    pub(crate) fn break_off(&mut self, id: SocketId) {
        let Some(endpoint) = self.ends.get(&id) else { return };
        let (peer, wire) = (endpoint.peer, Rc::clone(&endpoint.wire));
        if let Some(peer) = peer {
            if let Some(peer) = self.ends.get_mut(&peer) {
                peer.incoming.cut(); // what was sent last is destroyed too
            }
            let at = self.now + self.latency(&wire.link);
            self.schedule(at, Event::Reset(peer));
        }
        self.remove(id);
    }

    fn remove(&mut self, id: SocketId) {
        let peer = self.ends.remove(&id).and_then(|endpoint| endpoint.peer);
        if let Some(peer) = peer.and_then(|peer| self.ends.get_mut(&peer)) {
            peer.peer = None;
        }
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

    pub(crate) fn addr_of(&self, id: SocketId) -> Option<SocketAddr> {
        let endpoint = self.ends.get(&id).map(|endpoint| endpoint.local);
        endpoint.or_else(|| self.listeners.get(&id).map(|listening| listening.addr))
    }

    /// Cuts into segments and sends them on their way.
    fn transmit(&mut self, id: SocketId, mut bytes: &[u8], wire: &Wire) {
        let Some(peer) = self.ends.get(&id).and_then(|endpoint| endpoint.peer) else { return };
        let (smallest, largest) = (*wire.link.segment.start(), *wire.link.segment.end());
        wire.passed.set(wire.passed.get() + bytes.len() as u64);
        while !bytes.is_empty() {
            let n = self.random.within(smallest as u64..=largest as u64).max(1);
            let (segment, rest) = bytes.split_at(bytes.len().min(usize::try_from(n).unwrap_or(usize::MAX)));
            bytes = rest;
            let at = self.now + self.latency(&wire.link);
            let Some(pipe) = self.ends.get_mut(&peer).map(|peer| &mut peer.incoming) else { return };
            let at = pipe.send(segment, at);
            self.schedule(at, Event::Arrive(peer));
        }
        if wire.reset_at.is_some_and(|limit| wire.passed.get() >= limit) {
            let at = self.now + self.latency(&wire.link);
            self.schedule(at, Event::Reset(id));
            self.schedule(at, Event::Reset(peer));
        }
    }

    fn send_end(&mut self, id: SocketId) {
        let Some(endpoint) = self.ends.get(&id) else { return };
        let (Some(peer), wire) = (endpoint.peer, Rc::clone(&endpoint.wire)) else { return };
        let at = self.now + self.latency(&wire.link);
        let with_data = self.random.chance(wire.link.fin_with_data);
        if let Some(peer_end) = self.ends.get_mut(&peer) {
            let at = peer_end.incoming.send_end(at, with_data);
            self.schedule(at, Event::Arrive(peer));
        }
    }

    // Readiness: edge-triggered, and told as the state at the time of the wait, like epoll's.

    pub(crate) fn register(&mut self, id: SocketId, token: Token) {
        if let Some(endpoint) = self.ends.get_mut(&id) {
            endpoint.token = Some(token);
        } else if let Some(listening) = self.listeners.get_mut(&id) {
            listening.token = Some(token);
        }
        self.wake(id);
    }

    pub(crate) fn deregister(&mut self, id: SocketId) {
        if let Some(endpoint) = self.ends.get_mut(&id) {
            endpoint.token = None;
        }
    }

    /// Has the next wait look at a socket: something about it has changed.
    pub(crate) fn wake(&mut self, id: SocketId) {
        let listed = match (self.ends.get_mut(&id), self.listeners.get_mut(&id)) {
            (Some(endpoint), _) => &mut endpoint.listed,
            (None, Some(listening)) => &mut listening.listed,
            (None, None) => return,
        };
        if !std::mem::replace(listed, true) {
            self.ready.push(id);
        }
    }

    /// What a socket that was woken is ready for, and to whom to tell it.
    pub(crate) fn readiness(&mut self, id: SocketId) -> Option<(Token, Readiness)> {
        if let Some(listening) = self.listeners.get_mut(&id) {
            listening.listed = false;
            return Some((listening.token?, Readiness::when(!listening.waiting.is_empty(), false, false)));
        }
        let now = self.now;
        let endpoint = self.ends.get_mut(&id)?;
        endpoint.listed = false;
        let endpoint = self.ends.get(&id)?;
        let failed = endpoint.reset || endpoint.error.is_some();
        let roomy =
            endpoint.peer.and_then(|peer| self.ends.get(&peer)).is_none_or(|peer| peer.incoming.is_roomy());
        let over = failed || endpoint.incoming.has_ended();
        let writable = failed || !endpoint.connecting && roomy && endpoint.squeezed_until <= now;
        Some((endpoint.token?, Readiness::when(over || endpoint.incoming.has_bytes(), writable, over)))
    }

    pub(crate) fn has_place(&self, listening: &Listening) -> bool {
        listening.waiting.len() < listening.backlog
    }
}

impl Listening {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}
