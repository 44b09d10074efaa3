//! What a client notes down while it reads: the bytes of each poem, and when they came.

use super::report::Report;
use super::timeline::{Micros, Track};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How often a client with many poems tells how far it is.
const PROGRESS_EVERY: Micros = 100_000;

/// The run's clock, and how much it tells while it runs.
pub struct Clock {
    started: OnceLock<Instant>,
    live: bool,
    bytes: AtomicU64,
    next_progress: AtomicU64,
}

impl Clock {
    /// A `live` client tells of each read at once. With many poems that would be most of its work, so it tells the
    /// number of bytes now and then, and the rest when its time is no longer measured.
    pub fn new(live: bool) -> Self {
        Self {
            started: OnceLock::new(),
            live,
            bytes: AtomicU64::new(0),
            next_progress: AtomicU64::new(PROGRESS_EVERY),
        }
    }

    pub fn start(&self) {
        tell(&Report::Started);
        self.started.get_or_init(Instant::now);
    }

    pub fn now(&self) -> Micros {
        let elapsed = self.started.get().map_or(Duration::ZERO, Instant::elapsed);
        u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
    }

    fn count(&self, bytes: usize, now: Micros) {
        let total = self.bytes.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        let due = self.next_progress.load(Relaxed);
        // Of all the threads that find it due, one tells.
        if now >= due
            && self.next_progress.compare_exchange(due, now + PROGRESS_EVERY, Relaxed, Relaxed).is_ok()
        {
            tell(&Report::Progress { bytes: total });
        }
    }
}

/// One poem, in the words of its reader.
pub struct Transcript {
    poem: usize,
    clock: Arc<Clock>,
    pub track: Track,
}

impl Transcript {
    /// Has room for what will come, so that noting it down does not allocate.
    pub fn new(poem: usize, clock: &Arc<Clock>, bytes: usize, pieces: usize) -> Self {
        let mut track = Track::default();
        track.text.reserve_exact(bytes);
        track.arrivals.reserve_exact(pieces);
        Self { poem, clock: Arc::clone(clock), track }
    }

    pub fn connecting(&mut self) {
        let at = self.clock.now();
        self.track.connected = Some(at);
        if self.clock.live {
            tell(&Report::Connected { poem: self.poem, at });
        }
    }

    pub fn received(&mut self, bytes: &[u8]) {
        let at = self.clock.now();
        self.track.received(at, bytes);
        if self.clock.live {
            tell(&Report::Received { poem: self.poem, at, bytes });
        } else {
            self.clock.count(bytes.len(), at);
        }
    }

    pub fn ended(&mut self, outcome: io::Result<()>) {
        let at = self.clock.now();
        self.track.ended = Some(at);
        self.track.failure = outcome.err().map(|error| error.to_string());
        if self.clock.live {
            tell(&self.end(at));
        }
    }

    fn end(&self, at: Micros) -> Report<'_> {
        match &self.track.failure {
            Some(why) => Report::Failed { poem: self.poem, at, why },
            None => Report::Ended { poem: self.poem, at },
        }
    }

    /// Everything that a client which is not live has not told yet.
    pub fn tell_all(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { poem, clock, track } = self;
        if clock.live {
            return Ok(());
        }
        if let Some(at) = track.connected {
            writeln!(out, "{}", Report::Connected { poem: *poem, at })?;
        }
        let mut start = 0;
        for arrival in &track.arrivals {
            let end = arrival.end as usize;
            writeln!(
                out,
                "{}",
                Report::Received { poem: *poem, at: arrival.at, bytes: &track.text[start..end] }
            )?;
            start = end;
        }
        track.ended.map_or(Ok(()), |at| writeln!(out, "{}", self.end(at)))
    }
}

/// A failure to write means that nobody is left to be told: the servers go the same way, and that ends this process.
fn tell(report: &Report) {
    let _ = writeln!(io::stdout(), "{report}");
}
