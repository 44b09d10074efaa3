//! One direction of a connection: what is under way, and what has arrived and waits to be read.

use std::collections::VecDeque;
use std::time::Duration;

/// When something is sent, how long it is under way, and how long it keeps the line busy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trip {
    pub(crate) now: Duration,
    pub(crate) latency: Duration,
    pub(crate) spacing: Duration,
}

#[derive(Debug)]
struct Segment {
    /// When it leaves the sender: until then it waits for the line.
    leaves: Duration,
    /// When it arrives.
    at: Duration,
    bytes: Vec<u8>,
    /// It carries the end.
    fin: bool,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    arrived: VecDeque<u8>,
    flying: VecDeque<Segment>,
    in_flight: usize,
    capacity: usize,
    /// How many bytes more will be read, before the reader hangs.
    appetite: u64,
    /// When the line is free at the sender for another segment, and at the receiver.
    free_to_leave: Duration,
    free_to_arrive: Duration,
    ended: bool,
}

/// What has newly arrived.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) bytes: usize,
    pub(crate) end: bool,
}

impl Pipe {
    pub(crate) fn new(capacity: usize, appetite: u64) -> Self {
        Pipe {
            arrived: VecDeque::new(),
            flying: VecDeque::new(),
            in_flight: 0,
            capacity,
            appetite,
            free_to_leave: Duration::ZERO,
            free_to_arrive: Duration::ZERO,
            ended: false,
        }
    }

    /// How much the sender may send.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.unread())
    }

    /// How many bytes are under way, or wait to be read.
    pub(crate) fn unread(&self) -> usize {
        self.arrived.len() + self.in_flight
    }

    /// Sends a segment, which leaves now, or as soon as the line is free; returns when it arrives.
    pub(crate) fn send(&mut self, bytes: &[u8], trip: Trip) -> Duration {
        self.in_flight += bytes.len();
        self.push(bytes.to_vec(), false, trip)
    }

    /// Sends the end: with the last segment under way if there is one and `with_data`, or after it.
    pub(crate) fn send_end(&mut self, with_data: bool, trip: Trip) -> Duration {
        if with_data && let Some(last) = self.flying.back_mut() {
            last.fin = true;
            return last.at;
        }
        self.push(Vec::new(), true, trip)
    }

    fn push(&mut self, bytes: Vec<u8>, fin: bool, trip: Trip) -> Duration {
        let leaves = trip.now.max(self.free_to_leave);
        let at = leaves.saturating_add(trip.latency).max(self.free_to_arrive);
        self.free_to_leave = leaves.saturating_add(trip.spacing);
        self.free_to_arrive = at.saturating_add(trip.spacing);
        self.flying.push_back(Segment { leaves, at, bytes, fin });
        at
    }

    /// When the next that is under way arrives.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.flying.front().map(|segment| segment.at)
    }

    /// Lets arrive what is due.
    pub(crate) fn arrive(&mut self, now: Duration) -> Arrival {
        let mut arrival = Arrival::default();
        while self.next().is_some_and(|at| at <= now)
            && let Some(segment) = self.flying.pop_front()
        {
            self.in_flight -= segment.bytes.len();
            arrival.bytes += segment.bytes.len();
            arrival.end |= segment.fin;
            self.arrived.extend(segment.bytes);
        }
        self.ended |= arrival.end;
        arrival
    }

    /// Whether all that was sent has left the sender.
    pub(crate) fn all_has_left(&self, now: Duration) -> bool {
        self.flying.back().is_none_or(|segment| segment.leaves <= now)
    }

    /// Drops what leaves the sender after `by`; returns when the last of the rest arrives.
    pub(crate) fn cut_unsent(&mut self, by: Duration) -> Option<Duration> {
        while self.flying.back().is_some_and(|segment| segment.leaves > by)
            && let Some(segment) = self.flying.pop_back()
        {
            self.in_flight -= segment.bytes.len();
        }
        self.flying.back().map(|segment| segment.at)
    }

    /// Drops all that is under way: the connection is no more.
    pub(crate) fn cut(&mut self) {
        self.flying.clear();
        self.in_flight = 0;
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let most = usize::try_from(self.appetite).unwrap_or(usize::MAX);
        let n = buffer.len().min(self.arrived.len()).min(most);
        let (first, second) = self.arrived.as_slices();
        let from_first = n.min(first.len());
        buffer[..from_first].copy_from_slice(&first[..from_first]);
        buffer[from_first..n].copy_from_slice(&second[..n - from_first]);
        self.arrived.drain(..n);
        self.appetite -= n as u64;
        n
    }

    /// Whether a read would tell the end, once nothing is left before it.
    pub(crate) fn is_at_end(&self) -> bool {
        self.appetite > 0 && self.ended
    }

    pub(crate) fn has_bytes(&self) -> bool {
        !self.arrived.is_empty()
    }

    pub(crate) fn is_flying(&self) -> bool {
        self.in_flight > 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the end has come, or is under way.
    pub(crate) fn will_end(&self) -> bool {
        self.ended || self.flying.back().is_some_and(|segment| segment.fin)
    }
}
