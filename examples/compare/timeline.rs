//! What was read of each poem and when, what the servers had sent by then, and the time axis on which both are drawn.

use super::run::Run;
use std::ops::Range;
use std::time::Duration;

/// Time in microseconds, since the start of the run. More precision would be false: the clock is read between two system
/// calls.
pub type Micros = u64;

pub fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// One connection, from connecting to its end.
#[derive(Default)]
pub struct Track {
    /// When the client began to connect. On one machine the connection is established at the same time.
    pub connected: Option<Micros>,
    arrivals: Vec<Arrival>,
    pub text: Vec<u8>,
    pub ended: Option<Micros>,
    pub failure: Option<String>,
}

/// One read: the bytes from the end of the read before it to `end`.
struct Arrival {
    at: Micros,
    end: u32,
}

impl Track {
    pub fn with_capacity(bytes: usize, reads: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), arrivals: Vec::with_capacity(reads), ..Self::default() }
    }

    pub fn received(&mut self, at: Micros, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        let end = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.arrivals.push(Arrival { at, end });
    }

    /// Its bytes, if it ended without an error.
    pub fn whole(&self) -> Option<&[u8]> {
        let whole = self.ended.is_some() && self.failure.is_none();
        whole.then_some(&self.text)
    }

    pub fn first_byte(&self) -> Option<Micros> {
        self.arrivals.first().map(|arrival| arrival.at)
    }

    /// When each read happened, and which bytes it returned.
    pub fn reads(&self) -> impl Iterator<Item = (Micros, Range<usize>)> {
        let mut start = 0;
        self.arrivals.iter().map(move |arrival| {
            let bytes = start..arrival.end as usize;
            start = bytes.end;
            (arrival.at, bytes)
        })
    }

    /// Each read, with the time when the server had sent its bytes.
    pub fn chunks(&self, schedule: &Schedule) -> Vec<Chunk> {
        let chunk = |(at, bytes): (Micros, Range<usize>)| {
            let pieces = schedule.pieces(bytes.clone());
            let sent = schedule.sent(self, pieces.start).min(at);
            Chunk { at, sent, bytes, pieces }
        };
        self.reads().map(chunk).collect()
    }

    /// When the server had sent the first byte that is not read yet.
    pub fn unread_since(&self, schedule: &Schedule) -> Option<Micros> {
        let next = schedule.pieces(self.text.len()..self.text.len()).start;
        let unread = self.ended.is_none() && next < schedule.piece_ends.len();
        unread.then(|| schedule.sent(self, next))
    }
}

/// When a server sends the pieces of a poem: piece n at n times the delay after the connection, or up to `late` later.
pub struct Schedule {
    pub piece_ends: Vec<usize>,
    pub delay: Micros,
    pub late: Micros,
}

impl Schedule {
    /// The latest time at which the server sent a piece.
    pub fn sent(&self, track: &Track, piece: usize) -> Micros {
        track.connected.unwrap_or(0) + piece as u64 * self.delay + self.late
    }

    /// The bytes of a piece.
    pub fn bytes(&self, piece: usize) -> Range<usize> {
        let end = |piece: usize| self.piece_ends.get(piece).copied().unwrap_or(0);
        piece.checked_sub(1).map_or(0, end)..end(piece)
    }

    /// The pieces that a range of bytes touches.
    fn pieces(&self, bytes: Range<usize>) -> Range<usize> {
        let first = self.piece_ends.partition_point(|&end| end <= bytes.start);
        let last = self.piece_ends.partition_point(|&end| end < bytes.end);
        first..last + 1
    }
}

/// The bytes of one read, and the time when the server had sent the first of them.
pub struct Chunk {
    pub at: Micros,
    pub sent: Micros,
    pub bytes: Range<usize>,
    pub pieces: Range<usize>,
}

impl Chunk {
    /// Whether one read returned what the server sent at several times.
    pub fn is_lump(&self) -> bool {
        self.pieces.len() > 1
    }
}

/// The time axis. All strategies share it.
#[derive(Clone, Copy)]
pub struct Axis {
    /// The time at its end.
    pub end: Micros,
    /// From 0 to its end, in columns or in pixels.
    pub length: f64,
}

impl Axis {
    pub fn new(end: Micros, length: f64) -> Self {
        Self { end: end.max(1), length }
    }

    pub fn position(&self, at: Micros) -> f64 {
        at.min(self.end) as f64 / self.end as f64 * self.length
    }

    /// The column of a time. All times from the end on have the column after the last.
    pub fn column(&self, at: Micros) -> usize {
        self.position(at) as usize
    }

    /// The time that one column or pixel stands for.
    pub fn resolution(&self) -> Micros {
        (self.end as f64 / self.length) as Micros
    }

    /// Round times, at least `room` apart, each with its label.
    pub fn ticks(&self, room: f64) -> Vec<(Micros, String)> {
        let wide_enough = |step: &Micros| *step as f64 / self.end as f64 * self.length >= room;
        let Some(step) = round_steps().find(wide_enough) else { return Vec::new() };
        (0..=self.end / step).map(|n| (n * step, label(n * step, step))).collect()
    }
}

/// 1, 2, 5, 10, 20, 50, …
fn round_steps() -> impl Iterator<Item = Micros> {
    (0..18).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)))
}

fn label(at: Micros, step: Micros) -> String {
    match step {
        _ if at == 0 => "0 s".to_string(),
        0..1_000 => format!("{:.3} ms", at as f64 / 1e3),
        1_000..100_000 => format!("{} ms", at / 1_000),
        100_000..1_000_000 => format!("{:.1} s", at as f64 / 1e6),
        _ => format!("{} s", at / 1_000_000),
    }
}

/// How many bytes of all poems arrived in each column of an axis.
pub struct Density {
    axis: Axis,
    /// The bytes in the fullest column of all runs.
    most: u64,
}

impl Density {
    pub fn new(axis: Axis, runs: &[Run]) -> Self {
        let most = runs.iter().flat_map(|run| counts(run, &axis)).max().unwrap_or(0);
        Self { axis, most }
    }

    /// A level for each column: 0 for no byte, `levels` for the fullest column of all runs.
    pub fn levels(&self, run: &Run, levels: usize) -> Vec<usize> {
        // With the square root, the usual counts stay visible beside the largest.
        let level = |count: u64| (count as f64 / self.most.max(1) as f64).sqrt() * levels as f64;
        counts(run, &self.axis).into_iter().map(|count| (level(count).ceil() as usize).min(levels)).collect()
    }
}

fn counts(run: &Run, axis: &Axis) -> Vec<u64> {
    let mut counts = vec![0; axis.column(axis.end) + 1];
    for (at, bytes) in run.tracks.iter().flat_map(Track::reads) {
        counts[axis.column(at)] += bytes.len() as u64;
    }
    counts
}
