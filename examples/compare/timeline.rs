//! What was seen of the poems, and when: the data behind the picture.

use super::poems;
use super::strategies::Strategy;
use std::ops::Range;

/// Since the start of the run. Whole microseconds are more than reading a clock between two system calls can promise.
pub type Micros = u64;

/// What one read returned: the bytes from the end of the one before.
#[derive(Clone, Copy)]
pub struct Arrival {
    pub at: Micros,
    pub end: u32,
}

/// One connection, from its connecting to its end.
#[derive(Default)]
pub struct Track {
    /// When it was asked for: on one machine, connected is the same moment.
    pub connected: Option<Micros>,
    pub arrivals: Vec<Arrival>,
    pub text: Vec<u8>,
    pub ended: Option<Micros>,
    pub failure: Option<String>,
}

impl Track {
    pub fn received(&mut self, at: Micros, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        let end = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.arrivals.push(Arrival { at, end });
    }

    /// Its bytes, if it ended as it should.
    pub fn whole(&self) -> Option<&[u8]> {
        let whole = self.ended.is_some() && self.failure.is_none();
        whole.then_some(&self.text)
    }

    pub fn first_byte(&self) -> Option<Micros> {
        self.arrivals.first().map(|arrival| arrival.at)
    }

    /// When the first byte was sent, by the schedule, that has not been read.
    pub fn unread_since(&self, schedule: &Schedule) -> Option<Micros> {
        let next = poems::pieces_of(&schedule.piece_ends, self.text.len()..self.text.len()).start;
        let unread = self.ended.is_none() && next < schedule.piece_ends.len();
        unread.then(|| schedule.sent(self, next))
    }

    /// What each read brought, beside the schedule by which the server had sent it.
    pub fn chunks(&self, schedule: &Schedule) -> Vec<Chunk> {
        let mut start = 0;
        let mut chunk = |arrival: &Arrival| {
            let bytes = start..arrival.end as usize;
            start = bytes.end;
            let pieces = poems::pieces_of(&schedule.piece_ends, bytes.clone());
            let sent = schedule.sent(self, pieces.start);
            Chunk { at: arrival.at, sent: sent.min(arrival.at), bytes, pieces }
        };
        self.arrivals.iter().map(&mut chunk).collect()
    }
}

/// When a server sends what: piece n at n times the delay after it was connected to, or up to so much later.
pub struct Schedule {
    pub piece_ends: Vec<usize>,
    pub delay: Micros,
    pub late: Micros,
}

impl Schedule {
    /// When a piece had certainly been sent.
    pub fn sent(&self, track: &Track, piece: usize) -> Micros {
        track.connected.unwrap_or(0) + piece as u64 * self.delay + self.late
    }

    pub fn piece(&self, piece: usize) -> Range<usize> {
        let end = |piece: usize| self.piece_ends.get(piece).copied().unwrap_or(0);
        piece.checked_sub(1).map_or(0, end)..end(piece)
    }
}

/// The bytes that one read brought, and the moment when the first of them had been sent.
pub struct Chunk {
    pub at: Micros,
    pub sent: Micros,
    pub bytes: Range<usize>,
    pub pieces: Range<usize>,
}

impl Chunk {
    /// Whether the server had sent it at several times.
    pub fn is_lump(&self) -> bool {
        self.pieces.len() > 1
    }
}

/// One strategy, run once.
pub struct Run {
    pub strategy: Strategy,
    pub tracks: Vec<Track>,
    pub bytes_so_far: u64,
    pub outcome: Outcome,
    /// How far behind its schedule a server was at worst.
    pub servers_late: Micros,
    /// The shortest and the longest wall time, where it was run several times.
    pub walls: Option<(Micros, Micros)>,
}

pub enum Outcome {
    Running,
    Done(Figures),
    /// It did not run, and that is no fault: the reason.
    Skipped(String),
    Failed(String),
}

#[derive(Clone, Copy)]
pub struct Figures {
    pub wall: Micros,
    pub cpu: Micros,
    pub peak_kib: u64,
    pub threads: usize,
    pub verified: usize,
}

impl Run {
    pub fn new(strategy: Strategy, poems: usize, outcome: Outcome) -> Self {
        let tracks = (0..poems).map(|_| Track::default()).collect();
        Self { strategy, tracks, bytes_so_far: 0, outcome, servers_late: 0, walls: None }
    }

    pub fn figures(&self) -> Option<&Figures> {
        match &self.outcome {
            Outcome::Done(figures) => Some(figures),
            _ => None,
        }
    }

    /// When the last poem's first byte was read: what tells reading from letting the kernel wait.
    pub fn last_first_byte(&self) -> Option<Micros> {
        self.tracks.iter().filter_map(Track::first_byte).max()
    }

    pub fn last_connected(&self) -> Option<Micros> {
        self.tracks.iter().filter_map(|track| track.connected).max()
    }

    /// Of several runs of a strategy the median by wall time, or one in which something went wrong.
    pub fn median(mut runs: Vec<Self>) -> Option<Self> {
        let wall = |run: &Self| run.figures().map_or(0, |figures| figures.wall);
        runs.sort_by_key(wall);
        let walls = Some((wall(runs.first()?), wall(runs.last()?))).filter(|_| runs.len() > 1);
        let wrong = runs.iter().position(|run| !run.went_well());
        let shown = runs.swap_remove(wrong.unwrap_or(runs.len() / 2));
        Some(Self { walls, ..shown })
    }

    /// Whether every poem came as it should.
    pub fn went_well(&self) -> bool {
        match &self.outcome {
            Outcome::Done(figures) => figures.verified == self.tracks.len(),
            Outcome::Skipped(_) => true,
            Outcome::Running | Outcome::Failed(_) => false,
        }
    }

    /// The first thing that went wrong with a poem, for a run that was not whole.
    pub fn first_failure(&self) -> Option<(usize, &str)> {
        let failures = self.tracks.iter().enumerate();
        failures.filter_map(|(poem, track)| Some((poem, track.failure.as_deref()?))).next()
    }

    /// Of many poems, three that stand for all.
    pub fn three(&self) -> [(&'static str, usize); 3] {
        let mut order: Vec<usize> = (0..self.tracks.len()).collect();
        order.sort_by_key(|&poem| self.tracks[poem].ended.unwrap_or(Micros::MAX));
        [("slowest", order[order.len() - 1]), ("median", order[order.len() / 2]), ("fastest", order[0])]
    }
}
