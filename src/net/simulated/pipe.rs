//! One direction of a connection: the segments in flight, and the bytes that have arrived.

use std::collections::VecDeque;
use std::time::Duration;

/// The time of sending, the travel time, and the time that a segment occupies the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trip {
    pub(crate) now: Duration,
    pub(crate) latency: Duration,
    pub(crate) spacing: Duration,
}

#[derive(Debug)]
struct Segment {
    /// The time at which it leaves the sender. Until then it waits for the line.
    leaves: Duration,
    /// The time at which it arrives.
    at: Duration,
    bytes: Vec<u8>,
    /// Whether it carries the FIN.
    fin: bool,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    arrived: VecDeque<u8>,
    flying: VecDeque<Segment>,
    in_flight: usize,
    capacity: usize,
    /// The number of bytes that the reader will still read before it hangs.
    appetite: u64,
    /// The times at which the line is free for another segment, at the sender and at the receiver.
    free_to_leave: Duration,
    free_to_arrive: Duration,
    ended: bool,
}

/// The data that has just arrived.
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

    /// The number of bytes that the sender may send.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.unread())
    }

    /// The number of bytes in flight or waiting to be read.
    pub(crate) fn unread(&self) -> usize {
        self.arrived.len() + self.in_flight
    }

    /// Sends a segment. It leaves as soon as the line is free. Returns its arrival time.
    pub(crate) fn send(&mut self, bytes: &[u8], trip: Trip) -> Duration {
        self.in_flight += bytes.len();
        self.push(bytes.to_vec(), false, trip)
    }

    /// Sends the FIN: in the last segment in flight, with `with_data` and if there is one, or after it.
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

    /// The arrival time of the next segment in flight.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.flying.front().map(|segment| segment.at)
    }

    /// Moves the segments that are due to the received bytes.
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

    /// Whether all segments have left the sender.
    pub(crate) fn all_has_left(&self, now: Duration) -> bool {
        self.flying.back().is_none_or(|segment| segment.leaves <= now)
    }

    /// Drops the segments that leave the sender after `by`. Returns the arrival time of the last remaining one.
    pub(crate) fn cut_unsent(&mut self, by: Duration) -> Option<Duration> {
        while self.flying.back().is_some_and(|segment| segment.leaves > by)
            && let Some(segment) = self.flying.pop_back()
        {
            self.in_flight -= segment.bytes.len();
        }
        self.flying.back().map(|segment| segment.at)
    }

    /// Drops all segments in flight, when the connection fails.
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

    /// Whether a read would return the end, if no bytes are left before it.
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

    /// Whether the FIN has arrived or is in flight.
    pub(crate) fn will_end(&self) -> bool {
        self.ended || self.flying.back().is_some_and(|segment| segment.fin)
    }
}
