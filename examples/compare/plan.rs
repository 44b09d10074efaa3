//! What will run, how long it will take, and how many open files it needs: all of it is known before the first run.

use super::format::{about, commas, counted};
use super::options::{Options, QUICK_DELAY, ServerKind};
use super::poems::Poems;
use super::run::Run;
use super::strategies::Strategy;
use super::timeline::{Micros, Schedule, micros};
use clap::ValueEnum;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use std::time::Duration;

pub struct Plan {
    pub poems: Poems,
    pub delay: Duration,
    pub runs: usize,
    pub server: ServerKind,
    pub choices: Vec<Choice>,
    /// The pieces of the longest poem.
    pub most_pieces: usize,
}

pub struct Choice {
    pub strategy: Strategy,
    /// The expected wall time.
    pub expected: Micros,
    /// Why it will not run.
    pub skipped: Option<String>,
}

pub enum PlanError {
    /// The options do not go together.
    Usage(String),
    Failure(String),
}

/// A strategy that takes longer runs only if `--only` names it.
const PATIENCE: Micros = 60_000_000;

/// With more poems, the threads of the server would determine the figures.
const POEMS_IN_THREADS: usize = 200;

/// Poems that share a port. The server calls accept(2) once more than a port has new connections, so fewer ports are
/// faster. But while the server is busy, as many connections must fit into the backlog of the port.
const POEMS_ON_A_PORT: usize = 1024;

/// With more poems, the picture does not have a row for each: the rows of all strategies should fit on a screen.
const ROWS_AT_MOST: usize = 12;

/// A report takes some microseconds. With at most one in this time, 99 % of the time is left for the strategy.
const BETWEEN_REPORTS: Duration = Duration::from_millis(1);

/// Letters of a lump for which the picture has room after its end.
const LUMP_AT_MOST: usize = 16;

/// The reads of more pieces would not fit into memory.
const PIECES_AT_MOST: usize = 10_000_000;

impl Plan {
    pub fn new(options: &Options) -> Result<Self, PlanError> {
        let poems = match options.files.as_slice() {
            [] => Poems::made_up(options.poems, options.lines, options.num_bytes),
            files => Poems::from_files(files, options.num_bytes).map_err(PlanError::Failure)?,
        };
        let delay = if options.quick { QUICK_DELAY } else { options.delay };
        let server = options.server.unwrap_or(server_for(poems.len()));
        let counts = poems.piece_counts();
        let (all_pieces, most_pieces) = (counts.iter().sum::<usize>(), counts.into_iter().max().unwrap_or(0));
        if all_pieces > PIECES_AT_MOST {
            let (all, most) = (commas(all_pieces as u64), commas(PIECES_AT_MOST as u64));
            let message =
                format!("{all} pieces of poetry are more than {most}: try fewer --poems or --lines");
            return Err(PlanError::Usage(message));
        }
        let choice = |strategy: Strategy| {
            let in_a_row = if strategy == Strategy::Blocking { all_pieces } else { most_pieces };
            let expected = micros(delay).saturating_mul(in_a_row as u64);
            let too_long = expected > PATIENCE && !options.only.contains(&strategy);
            let skipped = if too_long {
                Some(format!("would take {}; --only {} runs it", about(expected), strategy.name()))
            } else {
                strategy.limit(poems.len())
            };
            Choice { strategy, expected, skipped }
        };
        let choices = chosen(&options.only).into_iter().map(choice).collect();
        Ok(Self { poems, delay, runs: options.runs, server, choices, most_pieces })
    }

    pub fn ports(&self) -> usize {
        ports_for(self.poems.len(), self.server, self.poems.all_alike())
    }

    /// The shortest possible wall time: the servers send all poems at the same time.
    pub fn floor(&self) -> Micros {
        micros(self.delay) * self.most_pieces as u64
    }

    /// The expected wall time of the slowest strategy.
    pub fn longest(&self) -> Micros {
        self.running().map(|choice| choice.expected).max().unwrap_or(0)
    }

    /// The end of the time axis: the expected end, or a later one that was measured.
    pub fn axis_end(&self, runs: &[Run]) -> Micros {
        let walls = runs.iter().filter_map(Run::figures).map(|figures| figures.wall);
        walls.max().unwrap_or(0).max(self.longest())
    }

    /// The expected wall time of all runs together.
    pub fn in_all(&self) -> Micros {
        let of_all_runs = |choice: &Choice| choice.expected.saturating_mul(self.runs as u64);
        self.running().map(of_all_runs).fold(0, Micros::saturating_add)
    }

    pub fn running(&self) -> impl Iterator<Item = &Choice> {
        self.choices.iter().filter(|choice| choice.skipped.is_none())
    }

    /// What a server sends at a time.
    pub fn piece(&self) -> &'static str {
        if self.poems.by_lines() { "line" } else { "piece" }
    }

    /// How many letters need room after the end of the axis: `connect-first` reads a whole poem at its end.
    pub fn letters_at_the_end(&self) -> usize {
        let late =
            |choice: &Choice| choice.strategy == Strategy::ConnectFirst && choice.expected == self.longest();
        let lump = self.poems.len() > 1 && self.running().any(late);
        if lump { self.poems.longest_in_bytes().min(LUMP_AT_MOST) } else { 0 }
    }

    pub fn draws_each_poem(&self) -> bool {
        self.poems.len() <= ROWS_AT_MOST
    }

    /// Whether a client can report each read at once without spending much of its time on that.
    pub fn can_be_watched(&self) -> bool {
        self.draws_each_poem() && self.delay >= BETWEEN_REPORTS * self.poems.len() as u32
    }

    /// The schedule of a poem whose server was at most `late` behind it.
    pub fn schedule(&self, poem: usize, late: Micros) -> Schedule {
        let alike = if self.poems.all_alike() { 0 } else { poem };
        Schedule { piece_ends: self.poems.piece_ends(alike), delay: micros(self.delay), late }
    }
}

/// The server that serves this many poems by default.
fn server_for(poems: usize) -> ServerKind {
    if poems > POEMS_IN_THREADS { ServerKind::Reactor } else { ServerKind::Threads }
}

fn ports_for(poems: usize, server: ServerKind, all_alike: bool) -> usize {
    let shared = server == ServerKind::Reactor && all_alike;
    if shared { poems.div_ceil(POEMS_ON_A_PORT) } else { poems }
}

/// Each strategy once, in the order of the options.
fn chosen(only: &[Strategy]) -> Vec<Strategy> {
    let wanted = if only.is_empty() { Strategy::value_variants() } else { only };
    let mut chosen = Vec::new();
    for &strategy in wanted {
        if !chosen.contains(&strategy) {
            chosen.push(strategy);
        }
    }
    chosen
}

/// Raises the limit on open files as far as it goes without privileges. If that is not enough, the error says what to
/// try.
pub fn raise_file_limit(plan: &Plan, options: &Options) -> Result<(), String> {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let (soft, hard) = limits.map_err(|error| format!("cannot tell the limit on open files: {error}"))?;
    let need = files_for(plan.poems.len(), plan.server, plan.poems.all_alike());
    // The type of a limit is unsigned on most systems, but not on all.
    let wanted = rlim_t::try_from(need).unwrap_or(rlim_t::MAX);
    let raised = || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    if soft >= wanted || (hard >= wanted && raised().is_ok()) {
        return Ok(());
    }
    let limit = usize::try_from(hard).unwrap_or(usize::MAX);
    Err(format!(
        "{} need {} open files in one process, and the limit is {}: {}, or raise it as root with `ulimit -n {need}`",
        counted(plan.poems.len(), "poem"),
        commas(need as u64),
        commas(limit as u64),
        fewer(plan, options, limit),
    ))
}

/// The open files of the server process, which has the most: a connection for each poem, a listener for each port, and
/// some others.
fn files_for(poems: usize, server: ServerKind, all_alike: bool) -> usize {
    poems + ports_for(poems, server, all_alike) + OTHER_FILES
}

/// The standard streams, those of the poll, a file that the process reads.
const OTHER_FILES: usize = 16;

/// The most poems that the limit allows.
fn fewer(plan: &Plan, options: &Options, limit: usize) -> String {
    let alike = plan.poems.all_alike();
    let fit = |&poems: &usize| files_for(poems, options.server.unwrap_or(server_for(poems)), alike) <= limit;
    match (1..plan.poems.len()).rev().find(fit) {
        Some(poems) if alike => format!("try --poems {poems}"),
        _ => "try fewer poems".to_string(),
    }
}
