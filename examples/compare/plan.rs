//! What will run, how long it will take, and what it needs: all known before it starts.

use super::format;
use super::options::{Options, QUICK_DELAY, ServerKind};
use super::poems::Poems;
use super::strategies::Strategy;
use super::timeline::{Micros, Schedule, micros};
use clap::ValueEnum;
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
    pub expected: Micros,
    /// Why it will not run.
    pub skipped: Option<String>,
}

/// Past this a strategy must be asked for by its name.
const PATIENCE: Micros = 60_000_000;

/// The tutorial's server has a thread for each poem; past this many they would be what is measured.
const POEMS_IN_THREADS: usize = 200;

/// How many poems share a port, where they may: whenever somebody has come to a port, it is asked once more than there are
/// callers, so few ports are best; but if the server is held up, as many must find room in its backlog.
const POEMS_ON_A_PORT: usize = 1024;

/// A row for each poem in the picture, as long as it fits beside the others on a screen.
const ROWS_AT_MOST: usize = 12;

/// A report takes some microseconds: this leaves 99 % of the time for the work itself.
const BETWEEN_REPORTS: Duration = Duration::from_millis(1);

/// Of a longer poem the beginning is enough.
const LUMP_AT_MOST: usize = 16;

/// Reads of an almost endless poem would not fit into memory.
const PIECES_AT_MOST: usize = 10_000_000;

pub enum Trouble {
    /// The options do not go together.
    Usage(String),
    Failure(String),
}

impl Plan {
    pub fn new(options: &Options) -> Result<Self, Trouble> {
        let poems = match options.files.as_slice() {
            [] => Poems::made_up(options.poems, options.lines, options.num_bytes),
            files => Poems::from_files(files, options.num_bytes).map_err(Trouble::Failure)?,
        };
        let delay = if options.quick { QUICK_DELAY } else { options.delay };
        let server = options.server.unwrap_or(server_for(poems.len()));
        let counts = poems.piece_counts();
        let (all_pieces, most_pieces) = (counts.iter().sum::<usize>(), counts.into_iter().max().unwrap_or(0));
        if all_pieces > PIECES_AT_MOST {
            let (all, most) = (format::commas(all_pieces as u64), format::commas(PIECES_AT_MOST as u64));
            let message =
                format!("{all} pieces of poetry are more than {most}: try fewer --poems or --lines");
            return Err(Trouble::Usage(message));
        }
        let choice = |strategy| Choice::new(strategy, options, poems.len(), delay, (all_pieces, most_pieces));
        let choices: Vec<Choice> = chosen(&options.only).into_iter().map(choice).collect();
        Ok(Self { poems, delay, runs: options.runs, server, choices, most_pieces })
    }

    pub fn ports(&self) -> usize {
        ports_for(self.poems.len(), self.server, self.poems.all_alike())
    }

    /// All the poems at once: sooner than this no client can have them.
    pub fn floor(&self) -> Micros {
        micros(self.delay) * self.most_pieces as u64
    }

    pub fn longest(&self) -> Micros {
        self.running().map(|choice| choice.expected).max().unwrap_or(0)
    }

    pub fn in_all(&self) -> Micros {
        let of_all_runs = |choice: &Choice| choice.expected.saturating_mul(self.runs as u64);
        self.running().map(of_all_runs).fold(0, Micros::saturating_add)
    }

    pub fn running(&self) -> impl Iterator<Item = &Choice> {
        self.choices.iter().filter(|choice| choice.skipped.is_none())
    }

    /// What is sent at a time.
    pub fn piece(&self) -> &'static str {
        if self.poems.by_lines() { "line" } else { "piece" }
    }

    /// How many letters may arrive at once at the very end of the picture, and need room there.
    pub fn letters_at_the_end(&self) -> usize {
        let late =
            |choice: &Choice| choice.strategy == Strategy::ConnectFirst && choice.expected == self.longest();
        let lump = self.poems.len() > 1 && self.running().any(late);
        if lump { self.poems.longest_in_bytes().min(LUMP_AT_MOST) } else { 0 }
    }

    pub fn draws_each_poem(&self) -> bool {
        self.poems.len() <= ROWS_AT_MOST
    }

    /// Whether a client can tell of each read at once without doing much else.
    pub fn can_be_watched(&self) -> bool {
        self.draws_each_poem() && self.delay >= BETWEEN_REPORTS * self.poems.len() as u32
    }

    /// Of servers that were up to `late` behind it.
    pub fn schedule(&self, poem: usize, late: Micros) -> Schedule {
        let alike = if self.poems.all_alike() { 0 } else { poem };
        Schedule { piece_ends: self.poems.piece_ends(alike), delay: micros(self.delay), late }
    }
}

impl Choice {
    fn new(
        strategy: Strategy,
        options: &Options,
        poems: usize,
        delay: Duration,
        pieces: (usize, usize),
    ) -> Self {
        let (all_pieces, most_pieces) = pieces;
        let in_a_row = if strategy == Strategy::Blocking { all_pieces } else { most_pieces };
        let expected = micros(delay).saturating_mul(in_a_row as u64);
        let too_long = expected > PATIENCE && !options.only.contains(&strategy);
        let skipped = if too_long {
            Some(format!("would take {}; --only {} runs it", format::about(expected), strategy.name()))
        } else {
            strategy.limit(poems)
        };
        Self { strategy, expected, skipped }
    }
}

/// By default, so many poems are served so.
pub fn server_for(poems: usize) -> ServerKind {
    if poems > POEMS_IN_THREADS { ServerKind::Reactor } else { ServerKind::Threads }
}

pub fn ports_for(poems: usize, server: ServerKind, all_alike: bool) -> usize {
    let shared = server == ServerKind::Reactor && all_alike;
    if shared { poems.div_ceil(POEMS_ON_A_PORT) } else { poems }
}

/// Each strategy once, in the order asked for.
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
