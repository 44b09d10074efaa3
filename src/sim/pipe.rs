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
    ended: bool,
}

/// What has newly arrived.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) bytes: usize,
    pub(crate) end: bool,
}

impl Pipe {
    pub(crate) fn new(capacity: usize) -> Self {
        Pipe { arrived: VecDeque::new(), flying: VecDeque::new(), in_flight: 0, capacity, ended: false }
    }

    /// How much the sender may send.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.arrived.len() + self.in_flight)
    }

    /// Whether there is enough room to tell the sender: not every byte is worth an event. (Linux waits for a third of
    /// the buffer.)
    pub(crate) fn is_roomy(&self) -> bool {
        self.room() >= self.capacity.div_ceil(3)
    }

    /// Sends a segment that is under way until `at`, and no less long than the one before; returns until when.
    pub(crate) fn send(&mut self, bytes: &[u8], at: Duration) -> Duration {
        let at = self.flying.back().map_or(at, |last| last.at.max(at));
        self.in_flight += bytes.len();
        self.flying.push_back(Segment { at, bytes: bytes.to_vec(), fin: false });
        at
    }

    /// Sends the end: with the last segment under way if there is one and `with_data`, or after it.
    pub(crate) fn send_end(&mut self, at: Duration, with_data: bool) -> Duration {
        match self.flying.back_mut() {
            Some(last) if with_data => {
                last.fin = true;
                last.at
            }
            last => {
                let at = last.map_or(at, |last| last.at.max(at));
                self.flying.push_back(Segment { at, bytes: Vec::new(), fin: true });
                at
            }
        }
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

    /// Moves what is under way to a later time: it is sent again when a partition is healed.
    pub(crate) fn delay(&mut self, until: Duration) {
        self.flying.iter_mut().for_each(|segment| segment.at = segment.at.max(until));
    }

    /// Drops what is under way, as a reset does.
    pub(crate) fn cut(&mut self) {
        self.flying.clear();
        self.in_flight = 0;
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let n = buffer.len().min(self.arrived.len());
        for (place, byte) in buffer.iter_mut().zip(self.arrived.drain(..n)) {
            *place = byte;
        }
        n
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
}
