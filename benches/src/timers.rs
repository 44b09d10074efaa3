//! The cost of timers compared with those of peers: instructions per operation among 100,000 live timers, CPU time
//! among a million and ten million, and memory. Also the cost that moving a connection's deadline adds to a round trip.

use std::io;
use std::process::Command;

use crate::child;
use crate::count::{self, Tool};
use crate::peers::{self, Peer};
use crate::report::{self, MISSING};
use crate::work::Work;

pub const LIVE: usize = 100_000;
pub const TIMES: usize = 50_000;
/// The number of timers that fire within a second, and that are held to measure the memory of one.
pub const MANY: usize = 1_000_000;
/// For libraries that scan all timers at each operation: more would take hours.
const FEW: usize = 10_000;
/// For timer wheels: this many in a heap would take minutes.
const VERY_MANY: usize = 10_000_000;
const WORKS: [&str; 3] = ["insert", "cancel", "fire"];

/// User-space instructions of `insert`, `cancel` or `fire`.
pub fn instructions(program: &str, work: &str, live: usize, times: usize) -> io::Result<f64> {
    let counted = |times: usize| {
        let (tool, arguments) = Tool::Callgrind.words().split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut run = Command::new(tool);
        run.args(arguments).args([program, work, &live.to_string(), &times.to_string()]);
        let said = child::output(&mut run)?.stderr;
        count::collected(&String::from_utf8_lossy(&said))
            .ok_or_else(|| io::Error::other("callgrind gave no count"))
    };
    let (none, many) = (counted(0)?, counted(times)?);
    Ok(many.saturating_sub(none) as f64 / times as f64)
}

/// The instructions that moving a connection's deadline adds to a ping-pong, with `live` other timers.
pub fn rearm(server: &[String], live: usize) -> io::Result<f64> {
    let counted = |role: &str| {
        let role = [role.to_string(), live.to_string()];
        let command: Vec<_> = server.iter().cloned().chain(role).collect();
        count::instructions(&command, Work::PingPong)
    };
    Ok(counted("idle-timeout")? - counted("timers")?)
}

/// Bytes per live timer.
pub fn bytes(program: &str, live: usize) -> io::Result<f64> {
    Ok(printed(program, "hold", live, live)?[0] / live as f64)
}

/// The measurements that a program prints.
fn printed(program: &str, work: &str, live: usize, times: usize) -> io::Result<Vec<f64>> {
    let output = child::output(Command::new(program).args([work, &live.to_string(), &times.to_string()]))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let numbers: Result<Vec<_>, _> = printed.split_whitespace().map(str::parse).collect();
    match numbers {
        Ok(numbers) if !numbers.is_empty() => Ok(numbers),
        _ => Err(io::Error::other(format!("{work} printed {:?}", printed.trim()))),
    }
}

pub fn program() -> Result<String, String> {
    peers::build_rust("timers-enjamb", None)
}

/// A library to measure.
struct Timers {
    title: &'static str,
    program: Result<String, String>,
    /// The peer whose server moves deadlines.
    server: Option<Peer>,
    /// The maximum number of live timers.
    most: usize,
}

fn all() -> [Timers; 6] {
    let c = |peer: Peer| peers::build_c(&format!("timers-{}", peer.name()), Some(&peer.name()));
    let rust = |peer: Peer| peers::build_rust(&format!("timers-{}", peer.name()), Some("peers"));
    let of = |peer: Peer, most, program| Timers { title: peer.title(), program, server: Some(peer), most };
    let heap = peers::build_rust("timers-heap", Some("peers"));
    let calloop = of(Peer::Calloop, FEW, rust(Peer::Calloop));
    [
        of(Peer::Enjamb, VERY_MANY, program()),
        of(Peer::Libuv, MANY, c(Peer::Libuv)),
        of(Peer::Libevent, MANY, c(Peer::Libevent)),
        Timers { title: "calloop, 10,000 live", ..calloop },
        of(Peer::Tokio, VERY_MANY, rust(Peer::Tokio)),
        Timers { title: "a binary heap by hand", program: heap, server: None, most: MANY },
    ]
}

pub fn report() {
    println!("## Timers\n\nInsert, cancel, fire:\n");
    let columns = [
        "instructions, 100,000 live",
        "ns, 1,000,000 live",
        "ns, 10,000,000 live",
        "instructions, a connection's deadline moved on",
        "bytes per timer",
        "seconds for a million due within one",
    ];
    if let Err(why) = Tool::Callgrind.check() {
        println!("Not counted: {why}.\n");
    }
    let mut rows = Vec::new();
    for timers in all() {
        match &timers.program {
            Ok(program) => rows.push(timers.row(program)),
            Err(why) => println!("Not measured: timers of {} ({why})\n", timers.title),
        }
    }
    println!("{}", report::table(&report::titles(columns), &rows));
}

impl Timers {
    fn row(&self, program: &str) -> Vec<String> {
        eprintln!("timers: {}", self.title);
        let (live, many) = (LIVE.min(self.most), MANY.min(self.most));
        let three = |figure: &dyn Fn(&str) -> io::Result<f64>| {
            let figures: io::Result<Vec<_>> =
                WORKS.iter().map(|work| Ok(format!("{:.0}", figure(work)?))).collect();
            Ok(figures?.join(", "))
        };
        let counted = |work: &str| instructions(program, work, live, TIMES.min(self.most / 10));
        let timed = |live: usize| three(&|work| Ok(printed(program, work, live, live)?[0]));
        let cells = [
            three(&counted),
            timed(many),
            if self.most < VERY_MANY { missing() } else { timed(VERY_MANY) },
            self.server.map_or_else(missing, |server| {
                let server = server.build().map_err(io::Error::other)?;
                Ok(format!("{:.0}", rearm(&server, live)?))
            }),
            bytes(program, many).map(|bytes| format!("{bytes:.0}")),
            if self.most < MANY { missing() } else { seconds(program) },
        ];
        let cells = cells.into_iter().map(|figure| report::cell(self.title, figure));
        [self.title.to_string()].into_iter().chain(cells).collect()
    }
}

/// The seconds until a million timers, all due within one second, have fired.
fn seconds(program: &str) -> io::Result<String> {
    let wall = printed(program, "fire", MANY, MANY)?.pop().ok_or(io::ErrorKind::InvalidData)?;
    Ok(format!("{wall:.2}"))
}

/// A figure that was not measured.
fn missing() -> io::Result<String> {
    Ok(MISSING.to_string())
}
