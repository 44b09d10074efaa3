//! Finds a bug by seed on a simulated network, and replays it.
//!
//! What it teaches: the same state machines run on a simulated network. There an hour takes no time, a bad network is
//! one line of code, and the seed of a failure replays it. The server here has a bug that a test by hand is not likely
//! to find: it answers in batches, and drops the current batch if the client's half-close comes before the deadline of
//! the batch.
//!
//!     cargo run --release --features sim --example simulated
//!     cargo run --release --features sim --example simulated -- --seeds 100
//!     cargo run --release --features sim --example simulated -- --seed 4
//!
//! You should see how many seeds fail, the last events of the first failure, that a second run of its seed has the same
//! events, and that the corrected server passes with all seeds.

mod common;

use clap::Parser;
use common::{messages, output};
use enjamb::sim::{Script, Sim};
use enjamb::{Conn, Cx, End, Input, Protocol};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

const REQUEST: &str = "one\ntwo\nthree\n";

const ANSWER: &str = "eno\nowt\neerht\n";

const BATCHING: Duration = Duration::from_millis(10);

/// Answers every line with the same line backwards. It collects the answers of ten milliseconds and sends them
/// together.
struct Reverse {
    batch: Vec<u8>,
    mended: bool,
}

impl Protocol<Outcome> for Reverse {
    fn received(&mut self, conn: &mut Conn<'_, Outcome>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            if self.batch.is_empty() {
                conn.deadline(BATCHING);
            }
            self.batch.extend(line.iter().rev());
            self.batch.push(b'\n');
        }
        Ok(())
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, Outcome>) -> io::Result<()> {
        conn.write(&self.batch);
        self.batch.clear();
        Ok(())
    }

    fn ended(&mut self, conn: &mut Conn<'_, Outcome>, _rest: &mut Input<'_>) -> io::Result<()> {
        if self.mended {
            conn.write(&self.batch); // the server with the bug does not do this
        }
        conn.close();
        Ok(())
    }
}

/// Sends its lines, half-closes long after their answer should have come, and reads the answer to its end.
struct Client {
    answer: Vec<u8>,
}

impl Protocol<Outcome> for Client {
    fn opened(&mut self, conn: &mut Conn<'_, Outcome>) -> io::Result<()> {
        conn.write(REQUEST.as_bytes());
        conn.deadline(BATCHING * 4);
        Ok(())
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, Outcome>) -> io::Result<()> {
        conn.finish();
        Ok(())
    }

    fn received(&mut self, _conn: &mut Conn<'_, Outcome>, input: &mut Input<'_>) -> io::Result<()> {
        self.answer.extend_from_slice(input.take_all());
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Outcome>, _end: End) {
        cx.state.answer = self.answer;
    }
}

/// The loop's state: what the client got.
#[derive(Default)]
struct Outcome {
    answer: Vec<u8>,
}

/// One run: a client and a server on a network that the seed determines.
fn run(seed: u64, mended: bool) -> io::Result<(Sim, Outcome)> {
    let sim = Sim::new(seed).rough();
    let mut reactor = sim.reactor()?;
    let mut outcome = Outcome::default();
    let mut cx = reactor.cx(&mut outcome);
    let server = ([10, 0, 0, 1], 7000);
    cx.listen(server, move |_cx, _peer| Reverse { batch: Vec::new(), mended })?;
    cx.connect(server, Client { answer: Vec::new() });
    reactor.run(&mut outcome)?;
    Ok((sim, outcome))
}

fn is_right(outcome: &Outcome) -> bool {
    outcome.answer == ANSWER.as_bytes()
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("warn");
    let searched = search(&args);
    messages::show_failure(searched.map(|(text, status)| output::exit_status(output::print(&text), status)))
}

fn search(args: &Args) -> io::Result<(String, ExitCode)> {
    let seeds = || args.seed.map_or(0..args.seeds, |seed| seed..seed.saturating_add(1));
    let mut text = by_hand()?;
    let all = seeds().count();
    let mut failures = Vec::new();
    for seed in seeds() {
        if !is_right(&run(seed, false)?.1) {
            failures.push(seed);
        }
    }
    let Some(&seed) = failures.first() else {
        text += &format!("none of {all} seeds fails: try more of them with --seeds\n");
        return Ok((text, ExitCode::FAILURE));
    };
    let (sim, outcome) = run(seed, false)?;
    text += &format!("on bad networks: {} of {all} seeds fail\n", failures.len());
    text += &format!(
        "seed {seed}: the client got {:?} and should have got {ANSWER:?}; the last events:\n\n{}\n",
        String::from_utf8_lossy(&outcome.answer),
        last_lines(&sim.log(), 12),
    );
    let (again, _) = run(seed, false)?;
    let same = again.log() == sim.log() && again.fingerprint() == sim.fingerprint();
    text +=
        &format!("run again, it is {}\n", if same { "the same, event for event" } else { "NOT the same" });
    let mut right = 0;
    for seed in seeds() {
        right += usize::from(is_right(&run(seed, true)?.1));
    }
    text += &format!("mended, the server is right for {right} of {all} seeds\n");
    Ok((text, if same && right == all { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

/// A test as a person would write it: the client waits for its answer, so it does not find the bug.
fn by_hand() -> io::Result<String> {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor()?;
    let mut outcome = Outcome::default();
    let mut cx = reactor.cx(&mut outcome);
    let server = ([10, 0, 0, 1], 7000);
    cx.listen(server, |_cx, _peer| Reverse { batch: Vec::new(), mended: false })?;
    cx.connect(server, Script::new().say(REQUEST).expect(ANSWER).close());
    reactor.run(&mut outcome)?;
    Ok("by hand, with a client that waits for its answer: all is well\n".to_owned())
}

/// Find a bug in a small server by running it on many simulated networks
#[derive(Parser)]
struct Args {
    /// How many seeds to try
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Try only this seed
    #[arg(long, value_name = "K")]
    seed: Option<u64>,
}

fn last_lines(log: &str, n: usize) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(n)..].iter().map(|line| format!("  {line}\n")).collect()
}
