//! Compares `enjamb` with its peers. Exact counts come first; of times, only the ratios matter.
//!
//!     cargo run --release -p enjamb-benches             # every peer that can be built here, as Markdown tables
//!     cargo run --release -p enjamb-benches -- check    # enjamb alone: fails where a counted budget is exceeded

mod canned;
mod check;
mod child;
mod count;
mod fan_in;
mod http;
mod load;
mod memory;
mod nginx;
mod peers;
mod pool;
mod report;
mod server;
mod size;
mod timed;
mod timers;
mod versions;
mod work;

use clap::{Parser, Subcommand, ValueEnum};
use peers::{Built, Peer};
use std::process::ExitCode;

/// Compare enjamb with its peers, and print Markdown tables
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Action>,
    /// Only these peers [default: all]
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    only: Vec<Peer>,
    /// Only these measures [default: all]
    #[arg(long, value_name = "MEASURE", value_delimiter = ',')]
    measure: Vec<Measure>,
    /// Rounds of each timed measure
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

#[derive(Subcommand)]
enum Action {
    /// Count for enjamb alone, and fail if a budget is exceeded
    Check,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Measure {
    /// System calls per operation
    Calls,
    /// User-space instructions per operation
    Instructions,
    /// Heap allocations per operation
    Allocations,
    /// Idle connections, and clients that do not read
    Memory,
    /// The work of enjamb's pool
    Pool,
    /// Dependencies and binary size
    Size,
    /// Timers, and a connection's deadline
    Timers,
    /// Server CPU per echo, and echoes per second, as ratios to C
    Echoes,
    /// Server CPU per MiB, and MiB per second, as ratios to C
    Streaming,
    /// Percentiles of a round trip, as ratios to C
    Latency,
    /// CPU of a client that reads many slow poems, as a ratio to C
    FanIn,
    /// Cost of small GETs for a client of nginx
    Http,
}

impl Measure {
    /// Whether this measure concerns the echo servers, which `--only` selects.
    fn is_of_peers(self) -> bool {
        !matches!(self, Measure::Pool | Measure::Size | Measure::Timers | Measure::FanIn | Measure::Http)
    }

    fn run(self, peers: &[Built], rounds: usize) {
        match self {
            Measure::Calls => report::calls(peers),
            Measure::Instructions => report::instructions(peers),
            Measure::Allocations => report::allocations(peers),
            Measure::Memory => report::memory(peers),
            Measure::Pool => pool::report(),
            Measure::Size => size::report(),
            Measure::Timers => timers::report(),
            Measure::Echoes => timed::echoes(peers, rounds),
            Measure::Streaming => timed::streaming(peers, rounds),
            Measure::Latency => timed::latency(peers, rounds),
            Measure::FanIn => fan_in::report(rounds),
            Measure::Http => http::report(rounds),
        }
    }
}

/// The values given, or all of them.
fn or_all<T: ValueEnum + Clone>(asked: &[T]) -> &[T] {
    if asked.is_empty() { T::value_variants() } else { asked }
}

fn compare(args: &Args) {
    println!("{}\n", versions::all());
    let measures = or_all(&args.measure);
    let of_peers = measures.iter().any(|measure| measure.is_of_peers());
    let peers = if of_peers { peers::build(or_all(&args.only)) } else { Vec::new() };
    for measure in measures {
        measure.run(&peers, args.rounds.into());
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let passed = match args.command {
        Some(Action::Check) => check::run(),
        None => {
            compare(&args);
            Ok(true)
        }
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
