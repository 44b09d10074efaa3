//! The options on the command line, each with its range.

use super::common::values;
use super::strategies::Strategy;
use clap::{Parser, ValueEnum};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Slow poetry, read in five ways: the same poems, the same clock, side by side
#[derive(Parser)]
#[command(name = "compare")]
pub struct Options {
    /// How many poems, all told at the same time
    #[arg(long, value_name = "N", default_value = "3", value_parser = count(1..=MAX_POEMS), allow_negative_numbers = true)]
    pub poems: usize,

    /// How many lines each poem has
    #[arg(long, value_name = "N", default_value = "4", value_parser = count(1..=10_000), allow_negative_numbers = true)]
    pub lines: usize,

    /// How long a server rests after each line
    #[arg(long, value_name = "D", default_value = "1s", value_parser = values::duration_from_ms(1), allow_hyphen_values = true)]
    pub delay: Duration,

    /// Send N bytes at a time, instead of a line without its newline
    #[arg(long, value_name = "N", value_parser = size(1..=65_536), allow_negative_numbers = true)]
    pub num_bytes: Option<NonZeroUsize>,

    /// Run each strategy N times and show the one with the median wall time
    #[arg(long, value_name = "N", default_value = "1", value_parser = count(1..=100), allow_negative_numbers = true)]
    pub runs: usize,

    /// The strategies to run, in this order [default: all]
    #[arg(long, value_name = "NAME,…", value_enum, value_delimiter = ',')]
    pub only: Vec<Strategy>,

    /// Rest for 100 ms only, for a quick look
    #[arg(long, conflicts_with = "delay")]
    pub quick: bool,

    /// What serves the poems [default: threads up to 200 poems, the reactor past that]
    #[arg(long, value_enum)]
    pub server: Option<ServerKind>,

    /// Print one JSON document with all the figures, and nothing else
    #[arg(long)]
    pub json: bool,

    /// Write the picture as SVG, too
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Write the picture and the table as HTML, too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Draw with ASCII characters only
    #[arg(long)]
    pub ascii: bool,

    /// Poem files, instead of made-up poems
    #[arg(value_name = "POEM", conflicts_with_all = ["poems", "lines"])]
    pub files: Vec<PathBuf>,

    /// This process is to serve the poems: the program starts itself with this
    #[arg(long, hide = true)]
    pub serve: bool,

    /// This process is to read the poems: the program starts itself with this
    #[arg(long, hide = true, value_enum)]
    pub client: Option<Strategy>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum ServerKind {
    /// The tutorial's server: a thread for each poem
    Threads,
    /// One thread for all of them
    Reactor,
}

/// With more poems, the memory that the kernel needs for sockets would determine the figures.
const MAX_POEMS: usize = 50_000;

pub const QUICK_DELAY: Duration = Duration::from_millis(100);

fn count(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

fn size(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<NonZeroUsize, String> + Clone {
    let count = count(range);
    move |text| {
        count(text).and_then(|number| NonZeroUsize::new(number).ok_or_else(|| "expected a size".to_string()))
    }
}
