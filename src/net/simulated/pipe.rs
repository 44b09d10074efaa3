//! One direction of a connection: what is under way, and what has arrived and waits to be read.

use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug)]
struct Segment {
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
    /// When the line is free for another segment.
    free_at: Duration,
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
            free_at: Duration::ZERO,
            ended: false,
        }
    }

    /// How much the sender may send.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.arrived.len() + self.in_flight)
    }

    /// Sends a segment that is under way until `at`, or until `spacing` after the one before; returns until when.
    pub(crate) fn send(&mut self, bytes: &[u8], at: Duration, spacing: Duration) -> Duration {
        self.in_flight += bytes.len();
        self.push(bytes.to_vec(), false, at, spacing)
    }

    /// Sends the end: with the last segment under way if there is one and `with_data`, or after it.
    pub(crate) fn send_end(&mut self, with_data: bool, at: Duration, spacing: Duration) -> Duration {
        if with_data && let Some(last) = self.flying.back_mut() {
            last.fin = true;
            return last.at;
        }
        self.push(Vec::new(), true, at, spacing)
    }

    fn push(&mut self, bytes: Vec<u8>, fin: bool, at: Duration, spacing: Duration) -> Duration {
        let at = at.max(self.free_at);
        self.free_at = at.saturating_add(spacing);
        self.flying.push_back(Segment { at, bytes, fin });
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

    /// Drops what is under way, as a reset does.
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
