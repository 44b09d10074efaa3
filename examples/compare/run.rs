//! One run of one strategy: its poems, its outcome, its figures. The client reports them to the parent process, one line
//! for each event.

use super::strategies::Strategy;
use super::timeline::{Micros, Track};
use std::fmt;

pub struct Run {
    pub strategy: Strategy,
    pub tracks: Vec<Track>,
    pub bytes_so_far: u64,
    pub outcome: Outcome,
    /// The largest delay of a server behind its schedule.
    pub servers_late: Micros,
    /// The shortest and the longest wall time, if the strategy ran several times.
    pub walls: Option<(Micros, Micros)>,
}

pub enum Outcome {
    Running,
    Done(Figures),
    /// It did not run, and that is no failure: the reason.
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

    /// When the first byte of the last poem was read. It shows whether the program read while the servers sent, or the
    /// kernel kept the bytes.
    pub fn last_first_byte(&self) -> Option<Micros> {
        self.tracks.iter().filter_map(Track::first_byte).max()
    }

    pub fn last_connected(&self) -> Option<Micros> {
        self.tracks.iter().filter_map(|track| track.connected).max()
    }

    /// Of several runs of a strategy: one that went wrong, otherwise the median by wall time.
    pub fn median(mut runs: Vec<Self>) -> Option<Self> {
        let wall = |run: &Self| run.figures().map_or(0, |figures| figures.wall);
        runs.sort_by_key(wall);
        let walls = Some((wall(runs.first()?), wall(runs.last()?))).filter(|_| runs.len() > 1);
        let wrong = runs.iter().position(|run| !run.went_well());
        let shown = runs.swap_remove(wrong.unwrap_or(runs.len() / 2));
        Some(Self { walls, ..shown })
    }

    /// Whether every poem arrived byte for byte, or the run was skipped.
    pub fn went_well(&self) -> bool {
        match &self.outcome {
            Outcome::Done(figures) => figures.verified == self.tracks.len(),
            Outcome::Skipped(_) => true,
            Outcome::Running | Outcome::Failed(_) => false,
        }
    }

    /// The first poem that failed, and why.
    pub fn first_failure(&self) -> Option<(usize, &str)> {
        let failures = self.tracks.iter().enumerate();
        failures.filter_map(|(poem, track)| Some((poem, track.failure.as_deref()?))).next()
    }

    /// Three poems that stand for all, if there are too many to draw.
    pub fn three(&self) -> [(&'static str, usize); 3] {
        let mut order: Vec<usize> = (0..self.tracks.len()).collect();
        order.sort_by_key(|&poem| self.tracks[poem].ended.unwrap_or(Micros::MAX));
        [("slowest", order[order.len() - 1]), ("median", order[order.len() / 2]), ("fastest", order[0])]
    }
}

/// One event. Its `Display` is the line that `Run::apply` parses.
pub enum Report<'a> {
    Started,
    Connected {
        poem: usize,
        at: Micros,
    },
    Received {
        poem: usize,
        at: Micros,
        bytes: &'a [u8],
    },
    Ended {
        poem: usize,
        at: Micros,
    },
    Failed {
        poem: usize,
        at: Micros,
        why: &'a str,
    },
    Progress {
        bytes: u64,
    },
    Done(Figures),
    /// The strategy cannot read so many poems.
    Cannot {
        why: &'a str,
    },
    /// The strategy failed as a whole.
    GaveUp {
        why: &'a str,
    },
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => write!(to, "started"),
            Self::Connected { poem, at } => write!(to, "connected {poem} {at}"),
            Self::Received { poem, at, bytes } => {
                write!(to, "received {poem} {at} ")?;
                bytes.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
            }
            Self::Ended { poem, at } => write!(to, "ended {poem} {at}"),
            Self::Failed { poem, at, why } => write!(to, "failed {poem} {at} {}", one_line(why)),
            Self::Progress { bytes } => write!(to, "progress {bytes}"),
            Self::Done(Figures { wall, cpu, peak_kib, threads, verified }) => {
                write!(to, "done {wall} {cpu} {peak_kib} {threads} {verified}")
            }
            Self::Cannot { why } => write!(to, "cannot {}", one_line(why)),
            Self::GaveUp { why } => write!(to, "gave-up {}", one_line(why)),
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

impl Run {
    /// Adds what a line reports. Returns `None` if the line is no report.
    pub fn apply(&mut self, line: &str) -> Option<()> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "started" => {}
            "progress" => self.bytes_so_far = rest.parse().ok()?,
            "done" => self.outcome = Outcome::Done(figures(rest)?),
            "cannot" => self.outcome = Outcome::Skipped(rest.to_string()),
            "gave-up" => self.outcome = Outcome::Failed(rest.to_string()),
            _ => self.apply_to_track(verb, rest)?,
        }
        Some(())
    }

    fn apply_to_track(&mut self, verb: &str, rest: &str) -> Option<()> {
        let mut words = rest.splitn(3, ' ');
        let track = self.tracks.get_mut(words.next()?.parse::<usize>().ok()?)?;
        let at = words.next()?.parse().ok()?;
        match verb {
            "connected" => track.connected = Some(at),
            "received" => track.received(at, &unhex(words.next()?)?),
            "ended" => track.ended = Some(at),
            "failed" => {
                track.ended = Some(at);
                track.failure = Some(words.next()?.to_string());
            }
            _ => return None,
        }
        Some(())
    }
}

fn figures(rest: &str) -> Option<Figures> {
    let numbers: Vec<u64> = rest.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[wall, cpu, peak_kib, threads, verified] = numbers.as_slice() else { return None };
    Some(Figures {
        wall,
        cpu,
        peak_kib,
        threads: usize::try_from(threads).ok()?,
        verified: usize::try_from(verified).ok()?,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(pair).collect()
}
