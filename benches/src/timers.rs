//! What timers cost, beside those of peers: instructions for each operation while 100,000 are live, CPU time while a
//! million and ten million are; and for `enjamb` alone memory, and what moving a deadline on adds to a round trip.

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
    Ok(first(program, "hold", MANY, MANY)? / MANY as f64)
}

/// Seconds until a million timers, due within one second, have fired.
fn a_million(program: &str) -> io::Result<f64> {
    printed(program, "fire", MANY, MANY)?.pop().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The first number that a program prints: what it measured of itself.
fn first(program: &str, work: &str, live: usize, times: usize) -> io::Result<f64> {
    printed(program, work, live, times)?.first().copied().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn printed(program: &str, work: &str, live: usize, times: usize) -> io::Result<Vec<f64>> {
    let output = child::output(Command::new(program).args([work, &live.to_string(), &times.to_string()]))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let numbers = printed.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    numbers.map_err(|_| io::Error::other(format!("{work} printed {:?}", printed.trim())))
}

pub fn program() -> Result<String, String> {
    peers::build_rust("timers-enjamb", false)
}

pub fn report() {
    println!("## Timers\n");
    match Tool::Callgrind.check().and_then(|()| rows()) {
        Ok(rows) => {
            let columns = ["", "instructions, 100,000 live", "ns, 1,000,000 live", "ns, 10,000,000 live"];
            println!("Insert, cancel, fire:\n");
            println!("{}", report::table(&columns.map(str::to_string), &rows));
        }
        Err(why) => println!("Not measured: {why}.\n"),
    }
    match of_enjamb() {
        Ok(rows) => println!("{}", report::table(&["enjamb", ""].map(str::to_string), &rows)),
        Err(why) => println!("Not measured: {why}.\n"),
    }
}

fn rows() -> Result<Vec<Vec<String>>, String> {
    let peers = [
        ("**enjamb**", "timers-enjamb"),
        ("tokio", "timers-tokio"),
        ("a binary heap by hand", "timers-heap"),
    ];
    let mut rows = Vec::new();
    for (title, bin) in peers {
        let program = peers::build_rust(bin, bin != "timers-enjamb")?;
        let each = |figure: &dyn Fn(&str) -> io::Result<f64>| {
            let figures: io::Result<Vec<_>> = ["insert", "cancel", "fire"].into_iter().map(figure).collect();
            let figures = figures.map_err(|error| format!("{bin}: {error}"))?;
            let figures: Vec<_> = figures.iter().map(|figure| format!("{figure:.0}")).collect();
            Ok::<_, String>(figures.join(", "))
        };
        rows.push(vec![
            title.to_string(),
            each(&|work| instructions(&program, work))?,
            each(&|work| first(&program, work, MANY, MANY))?,
            each(&|work| first(&program, work, 10 * MANY, 10 * MANY))?,
        ]);
    }
    Ok(rows)
}

fn of_enjamb() -> Result<Vec<Vec<String>>, String> {
    let (program, server) = (program()?, Peer::Enjamb.build()?);
    let row = |what: &str, figure: io::Result<f64>, digits: usize| {
        let figure = figure.map_err(|error| format!("{what}: {error}"))?;
        Ok::<_, String>(vec![what.to_string(), format!("{figure:.digits$}")])
    };
    Ok(vec![
        row("instructions, a connection's deadline moved on", rearm(&server), 0)?,
        row("bytes per timer", bytes(&program), 0)?,
        row("seconds for a million due within one", a_million(&program), 3)?,
    ])
}
