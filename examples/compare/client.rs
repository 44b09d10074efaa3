//! The process that reads the poems with one strategy. It is started anew for each run, so that its CPU time and memory
//! are those of the strategy. While it reads, it notes in a transcript what it read and when.

use super::plan::Plan;
use super::run::{Figures, Report};
use super::strategies::Strategy;
use super::timeline::{Micros, Track, micros};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Reads the addresses of the servers from standard input, and reports on standard output.
pub fn run(plan: &Plan, strategy: Strategy) -> io::Result<()> {
    let ports = addresses()?;
    if ports.is_empty() {
        return Err(io::Error::other("no addresses on standard input"));
    }
    let servers: Vec<SocketAddr> = ports.iter().copied().cycle().take(plan.poems.len()).collect();
    let longest = plan.poems.longest_in_bytes();
    let pieces = plan.poems.piece_counts();
    let clock = Arc::new(Clock::new(plan.can_be_watched()));
    let transcript = |(poem, &pieces)| Transcript::new(poem, &clock, longest, pieces);
    let mut poems: Vec<Transcript> = pieces.iter().enumerate().map(transcript).collect();

    let cpu_before = cpu_time()?;
    clock.start();
    let outcome = strategy.read(&servers, &mut poems);
    let wall = clock.now();
    let cpu = cpu_time()?.saturating_sub(cpu_before);
    let peak_kib = peak_memory_kib()?;

    let mut out = BufWriter::new(io::stdout().lock());
    poems.iter().try_for_each(|poem| poem.report_all(&mut out))?;
    let texts = poems.iter().map(|poem| poem.track.whole());
    let last = match &outcome {
        Ok(()) => {
            let threads = strategy.threads(plan.poems.len());
            let verified = plan.poems.verified(ports.len(), texts);
            Report::Done(Figures { wall, cpu, peak_kib, threads, verified })
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => Report::Cannot { why: &error.to_string() },
        Err(error) => Report::GaveUp { why: &error.to_string() },
    };
    writeln!(out, "{last}")?;
    out.flush()
}

fn addresses() -> io::Result<Vec<SocketAddr>> {
    let address = |line: io::Result<String>| line?.parse().map_err(io::Error::other);
    io::stdin().lines().map(address).collect()
}

fn cpu_time() -> io::Result<Micros> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let total = usage.user_time() + usage.system_time();
    u64::try_from(total.num_microseconds()).map_err(io::Error::other)
}

/// Reads VmHWM of proc_pid_status(5). On Linux `ru_maxrss` is of no use here: it survives execve(2), so it includes the
/// memory of the parent process.
#[cfg(target_os = "linux")]
fn peak_memory_kib() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = mark.and_then(|mark| mark.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok());
    kib.ok_or_else(|| io::Error::other("no VmHWM in /proc/self/status"))
}

#[cfg(not(target_os = "linux"))]
fn peak_memory_kib() -> io::Result<u64> {
    // macOS counts in bytes, the BSDs in KiB.
    let unit = if cfg!(target_vendor = "apple") { 1024 } else { 1 };
    let most = u64::try_from(getrusage(UsageWho::RUSAGE_SELF)?.max_rss()).map_err(io::Error::other)?;
    Ok(most / unit)
}

/// The clock of the run. All transcripts share it.
struct Clock {
    started: OnceLock<Instant>,
    live: bool,
    bytes: AtomicU64,
    next_progress: AtomicU64,
}

/// The time between two reports of progress.
const PROGRESS_EVERY: Micros = 100_000;

impl Clock {
    /// A `live` client reports each event at once. With many poems the reports would be most of its work. Then it
    /// reports only the number of bytes now and then, and each event after the end of the measurement.
    fn new(live: bool) -> Self {
        Self {
            started: OnceLock::new(),
            live,
            bytes: AtomicU64::new(0),
            next_progress: AtomicU64::new(PROGRESS_EVERY),
        }
    }

    fn start(&self) {
        report(&Report::Started);
        self.started.get_or_init(Instant::now);
    }

    fn now(&self) -> Micros {
        micros(self.started.get().map_or(Duration::ZERO, Instant::elapsed))
    }

    fn count(&self, bytes: usize, now: Micros) {
        let total = self.bytes.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        let due = self.next_progress.load(Relaxed);
        // Several threads may find the report due: one of them makes it.
        if now >= due
            && self.next_progress.compare_exchange(due, now + PROGRESS_EVERY, Relaxed, Relaxed).is_ok()
        {
            report(&Report::Progress { bytes: total });
        }
    }
}

/// What the client read of one poem, and when.
pub struct Transcript {
    poem: usize,
    clock: Arc<Clock>,
    track: Track,
}

impl Transcript {
    /// Reserves memory for the whole poem, so that the transcript does not allocate during the measurement.
    fn new(poem: usize, clock: &Arc<Clock>, bytes: usize, pieces: usize) -> Self {
        Self { poem, clock: Arc::clone(clock), track: Track::with_capacity(bytes, pieces) }
    }

    /// Notes that the strategy begins to connect.
    pub fn connecting(&mut self) {
        let at = self.clock.now();
        self.track.connected = Some(at);
        if self.clock.live {
            report(&Report::Connected { poem: self.poem, at });
        }
    }

    /// Notes what one read returned.
    pub fn received(&mut self, bytes: &[u8]) {
        let at = self.clock.now();
        self.track.received(at, bytes);
        if self.clock.live {
            report(&Report::Received { poem: self.poem, at, bytes });
        } else {
            self.clock.count(bytes.len(), at);
        }
    }

    /// Notes the end of the poem, or the error that ended it.
    pub fn ended(&mut self, outcome: io::Result<()>) {
        let at = self.clock.now();
        self.track.ended = Some(at);
        self.track.failure = outcome.err().map(|error| error.to_string());
        if self.clock.live {
            report(&self.end(at));
        }
    }

    fn end(&self, at: Micros) -> Report<'_> {
        match &self.track.failure {
            Some(why) => Report::Failed { poem: self.poem, at, why },
            None => Report::Ended { poem: self.poem, at },
        }
    }

    /// Writes all events of the poem, unless they were reported live.
    fn report_all(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { poem, clock, track } = self;
        if clock.live {
            return Ok(());
        }
        if let Some(at) = track.connected {
            writeln!(out, "{}", Report::Connected { poem: *poem, at })?;
        }
        for (at, bytes) in track.reads() {
            writeln!(out, "{}", Report::Received { poem: *poem, at, bytes: &track.text[bytes] })?;
        }
        track.ended.map_or(Ok(()), |at| writeln!(out, "{}", self.end(at)))
    }
}

/// Ignores errors: if standard output is closed, the parent process has ended. Then the servers end too, and with them
/// this process.
fn report(report: &Report) {
    let _ = writeln!(io::stdout(), "{report}");
}
