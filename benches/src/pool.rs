//! What the pool costs: instructions, allocations and system calls of its own, however many hosts and waiters there are.

use std::io;
use std::process::Command;

use crate::child;
use crate::count::{self, Calls, Tool};
use crate::peers;

/// Enough that what a run begins with is no part of the difference.
const TIMES: usize = 20_000;

pub fn program() -> Result<String, String> {
    peers::build_rust("pool-enjamb", None)
}

/// The same on the simulation, in the other's place.
pub fn simulated_program() -> Result<String, String> {
    peers::build_rust("pool-enjamb", Some("sim"))
}

/// User-space instructions for each operation, with so many hosts or waiters.
pub fn instructions(program: &str, work: &str, live: usize) -> io::Result<f64> {
    each(Tool::Callgrind, program, work, live, count::collected)
}

/// Heap allocations for each operation.
pub fn allocations(program: &str, work: &str, live: usize) -> io::Result<f64> {
    each(Tool::Dhat, program, work, live, count::blocks)
}

/// System calls for each operation, by their names.
pub fn calls(program: &str, work: &str, live: usize) -> io::Result<Calls> {
    let [none, many] = two_lengths(Tool::Strace, program, work, live)?;
    let (none, many) = (count::strace_counts(&none), count::strace_counts(&many));
    let each = |(name, calls): (&String, &u64)| {
        let before = none.get(name).copied().unwrap_or(0);
        (name.clone(), calls.saturating_sub(before) as f64 / TIMES as f64)
    };
    Ok(Calls(many.iter().map(each).collect()))
}

fn each(
    tool: Tool,
    program: &str,
    work: &str,
    live: usize,
    number_in: impl Fn(&str) -> Option<u64>,
) -> io::Result<f64> {
    let reports = two_lengths(tool, program, work, live)?;
    match reports.each_ref().map(|report| number_in(report)) {
        [Some(none), Some(many)] => Ok(many.saturating_sub(none) as f64 / TIMES as f64),
        _ => Err(io::Error::other(format!("no count in what the tool said: {}", reports[0].trim()))),
    }
}

fn two_lengths(tool: Tool, program: &str, work: &str, live: usize) -> io::Result<[String; 2]> {
    let report = |times: usize| {
        let (tool, arguments) = tool.words().split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut run = Command::new(tool);
        run.args(arguments).args([program, work, &live.to_string(), &times.to_string()]);
        Ok::<_, io::Error>(String::from_utf8_lossy(&child::output(&mut run)?.stderr).into_owned())
    };
    Ok([report(0)?, report(TIMES)?])
}
