//! The tables: a row for each peer, a column for each kind of work.

use std::io;

use crate::count::{self, Tool};
use crate::memory;
use crate::peers::Built;
use crate::work::Work;

/// The mark for a missing figure; stderr has the reason.
pub const MISSING: &str = "–";

/// A Markdown table.
pub fn table(titles: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = vec!["---".to_string(); titles.len()];
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{}{rows}", line(titles), line(&rule))
}

/// The titles of a table of peers.
pub fn titles<'a>(columns: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    ["peer"].into_iter().chain(columns).map(str::to_string).collect()
}

pub fn calls(peers: &[Built]) {
    let works = [Work::PingPong, Work::Large, Work::AtOnce, Work::Churn];
    let mut kinds = Vec::new();
    counted(peers, Tool::Strace, "System calls", &works, |peer, work| {
        let calls = count::calls(&peer.command, work)?;
        kinds.push([peer.title(), work.title(), &calls.by_kind()].map(str::to_string).to_vec());
        Ok(format!("{:.2}", calls.total()))
    });
    println!("{}", table(&titles(["work", "system calls by kind"]), &kinds));
}

pub fn instructions(peers: &[Built]) {
    let works = [Work::PingPong, Work::Large, Work::AtOnce, Work::Churn];
    counted(peers, Tool::Callgrind, "User-space instructions", &works, |peer, work| {
        Ok(format!("{:.0}", count::instructions(&peer.command, work)?))
    });
}

pub fn allocations(peers: &[Built]) {
    let works = [Work::PingPong, Work::Large, Work::AtOnce, Work::Open];
    counted(peers, Tool::Dhat, "Heap allocations", &works, |peer, work| {
        Ok(format!("{:.2}", count::allocations(&peer.command, work)?))
    });
}

fn counted(
    peers: &[Built],
    tool: Tool,
    what: &str,
    works: &[Work],
    mut count: impl FnMut(&Built, Work) -> io::Result<String>,
) {
    println!("## {what} per operation\n");
    if let Err(why) = tool.check() {
        return println!("Not counted: {why}.\n");
    }
    let rows: Vec<_> = peers
        .iter()
        .map(|peer| {
            let cells = works.iter().map(|work| {
                eprintln!("{what}: {}, {}", peer.name(), work.title());
                cell(&peer.name(), count(peer, *work))
            });
            [peer.title().to_string()].into_iter().chain(cells).collect()
        })
        .collect();
    println!("{}", table(&titles(works.iter().map(|work| work.title())), &rows));
}

/// A figure, or a dash if it could not be measured. The other peers are measured anyway.
pub fn cell(name: &str, figure: io::Result<String>) -> String {
    figure.unwrap_or_else(|error| {
        eprintln!("{name}: {error}");
        MISSING.to_string()
    })
}

pub fn memory(peers: &[Built]) {
    println!("## Memory\n");
    let columns = [
        "bytes per idle connection",
        "after 16 KiB have passed",
        "KiB for a client that does not read",
        "CPU for 16 of those, ms per second",
    ];
    let rows: Vec<_> = peers.iter().map(memory_row).collect();
    println!("{}", table(&titles(columns), &rows));
}

fn memory_row(peer: &Built) -> Vec<String> {
    eprintln!("memory: {}", peer.name());
    let (fresh, used) = match memory::idle(&peer.command) {
        Ok(idle) => (format!("{:.0}", idle.fresh), format!("{:.0}", idle.used)),
        Err(error) => (cell(&peer.name(), Err(error)), MISSING.to_string()),
    };
    let (kib, cpu) = match memory::stalled(&peer.command) {
        Ok(stalled) => (
            format!("{:.0}", stalled.bytes / 1024.0),
            format!("{:.1}", stalled.cpu_per_second.as_secs_f64() * 1000.0),
        ),
        Err(error) => (cell(&peer.name(), Err(error)), MISSING.to_string()),
    };
    vec![peer.title().to_string(), fresh, used, kib, cpu]
}
