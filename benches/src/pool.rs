//! The pool's own cost in instructions, allocations and system calls, with different numbers of hosts and waiting
//! requests.

use std::io;
use std::process::Command;

use crate::child;
use crate::count::{self, Calls, Tool};
use crate::peers;
use crate::report;

/// Large enough to make the start of a run negligible.
const TIMES: usize = 20_000;

pub fn program() -> Result<String, String> {
    peers::build_rust("pool-enjamb", None)
}

/// Builds the program that runs the same work on the simulation. It replaces the other program.
pub fn simulated_program() -> Result<String, String> {
    peers::build_rust("pool-enjamb", Some("sim"))
}

/// The work: its name on the command line, its title, and the small and the large number of hosts or waiting requests.
const WORKS: [(&str, &str, [usize; 2]); 3] = [
    ("idle", "acquire and release an idle connection, 10 and 5,000 hosts", [10, 5_000]),
    ("waiters", "pass a connection to the next request, 1,000 and 100,000 waiting", [1_000, 100_000]),
    ("hosts", "enqueue and cancel a request, at one of 10 and 100,000 hosts", [10, 100_000]),
];

/// Prints a table of all of it.
pub fn report() {
    println!("## The pool\n");
    let tools = [Tool::Callgrind, Tool::Dhat, Tool::Strace];
    let ready = tools.into_iter().try_for_each(Tool::check).and_then(|()| program());
    let program = match ready {
        Ok(program) => program,
        Err(why) => return println!("Not counted: {why}.\n"),
    };
    let row = |(work, title, [few, many]): (&str, &str, [usize; 2])| {
        eprintln!("pool: {title}");
        let both = instructions(&program, work, few)
            .and_then(|few| Ok(format!("{few:.0}, {:.0}", instructions(&program, work, many)?)));
        let allocations = allocations(&program, work, few).map(|each| format!("{each:.2}"));
        let calls = calls(&program, work, few).map(|calls| calls.by_kind());
        let cells = [both, allocations, calls].map(|figure| report::cell(work, figure));
        [title.to_string()].into_iter().chain(cells).collect()
    };
    let columns = ["", "instructions", "heap allocations", "system calls by kind"].map(str::to_string);
    println!("{}", report::table(&columns, &WORKS.map(row)));
}

/// User-space instructions per operation, with `live` hosts or waiting requests.
pub fn instructions(program: &str, work: &str, live: usize) -> io::Result<f64> {
    each(Tool::Callgrind, program, work, live, count::collected)
}

/// Heap allocations per operation.
pub fn allocations(program: &str, work: &str, live: usize) -> io::Result<f64> {
    each(Tool::Dhat, program, work, live, count::blocks)
}

/// System calls per operation, by name.
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
