//! What `enjamb`'s timers cost: instructions for each operation while 100,000 are live, and memory for each.

use std::io;
use std::process::Command;

use crate::child;
use crate::count::{self, Tool};
use crate::peers::{self, Peer};
use crate::report;
use crate::work::Work;

const LIVE: usize = 100_000;
const TIMES: usize = 50_000;
/// As many as are to fire within a second, and as are held to see what each takes.
const MANY: usize = 1_000_000;

/// User-space instructions of `insert`, `cancel` or `fire`.
pub fn instructions(program: &str, work: &str) -> io::Result<f64> {
    let counted = |times: usize| {
        let (tool, arguments) = Tool::Callgrind.words().split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut run = Command::new(tool);
        run.args(arguments).args([program, work, &LIVE.to_string(), &times.to_string()]);
        let said = child::output(&mut run)?.stderr;
        count::collected(&String::from_utf8_lossy(&said))
            .ok_or_else(|| io::Error::other("callgrind gave no count"))
    };
    let (none, many) = (counted(0)?, counted(TIMES)?);
    Ok(many.saturating_sub(none) as f64 / TIMES as f64)
}

/// What moving a connection's deadline on adds to a ping-pong.
pub fn rearm(server: &[String]) -> io::Result<f64> {
    let with_deadline: Vec<_> = server.iter().cloned().chain(["idle-timeout".to_string()]).collect();
    Ok(count::instructions(&with_deadline, Work::PingPong)? - count::instructions(server, Work::PingPong)?)
}

/// Bytes per live timer.
pub fn bytes(program: &str) -> io::Result<f64> {
    Ok(number(program, "hold")? / MANY as f64)
}

/// Seconds until a million timers, due within one second, have fired.
pub fn a_million(program: &str) -> io::Result<f64> {
    number(program, "fire")
}

fn number(program: &str, work: &str) -> io::Result<f64> {
    let many = MANY.to_string();
    let output = child::output(Command::new(program).args([work, &many, &many]))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.trim().parse().map_err(|_| io::Error::other(format!("{work} printed {:?}", printed.trim())))
}

pub fn program() -> Result<String, String> {
    peers::build_rust("timers-enjamb", false)
}

pub fn report() {
    println!("## Timers of enjamb\n");
    match rows() {
        Ok(rows) => println!("{}", report::table(&["", ""].map(str::to_string), &rows)),
        Err(why) => println!("Not measured: {why}.\n"),
    }
}

fn rows() -> Result<Vec<Vec<String>>, String> {
    let (program, server) = (program()?, Peer::Enjamb.build()?);
    Tool::Callgrind.check()?;
    let mut rows = Vec::new();
    let mut row = |what: &str, figure: io::Result<f64>, digits: usize| {
        let figure = figure.map_err(|error| format!("{what}: {error}"))?;
        rows.push(vec![what.to_string(), format!("{figure:.digits$}")]);
        Ok::<_, String>(())
    };
    for work in ["insert", "cancel", "fire"] {
        row(&format!("instructions, {work}, {LIVE} live"), instructions(&program, work), 0)?;
    }
    row("instructions, a connection's deadline moved on", rearm(&server), 0)?;
    row("bytes per timer", bytes(&program), 0)?;
    row("seconds for a million due within one", a_million(&program), 3)?;
    Ok(rows)
}
