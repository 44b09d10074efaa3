//! The size of a dependency: its number of crates, and the size of the echo server with fat LTO, stripped.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use crate::peers::{self, Peer};
use crate::report;

const PEERS: [(Peer, &str); 4] =
    [(Peer::Enjamb, "enjamb"), (Peer::Mio, "mio"), (Peer::Calloop, "calloop"), (Peer::Tokio, "tokio")];
/// The changes to the release profile.
const PROFILE: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
];

pub fn report() {
    println!("## Size\n");
    let columns = ["crates it depends on", "of these directly", "echo server, fat LTO and stripped, KiB"];
    let tree = tree("peers");
    let rows: Vec<_> = PEERS.iter().map(|(peer, name)| row(*peer, name, &tree)).collect();
    println!("{}", report::table(&report::titles(columns), &rows));
}

fn row(peer: Peer, name: &str, tree: &Result<String, String>) -> Vec<String> {
    eprintln!("size: {name}");
    let crates = |deepest: usize| {
        let count = tree.as_ref().map(|tree| dependencies(tree, name, deepest).to_string());
        report::cell(name, count.map_err(|why| io::Error::other(why.clone())))
    };
    let kib = stripped(peer).map(|bytes| format!("{:.0}", bytes as f64 / 1024.0));
    vec![peer.title().to_string(), crates(usize::MAX), crates(2), report::cell(name, kib)]
}

/// All crates under this one with a feature, in the order of a tree. Each line is the depth and the name.
pub fn tree(feature: &str) -> Result<String, String> {
    let mut tree = peers::cargo();
    tree.args([
        "tree",
        "--locked",
        "--package",
        "enjamb-benches",
        "--features",
        feature,
        "--edges",
        "normal",
    ]);
    peers::run(tree.args(["--prefix", "depth", "--format", " {p}", "--no-dedupe"]))
}

/// The number of other crates that a crate depends on, down to a depth. Depth 2 is its direct dependencies.
pub fn dependencies(tree: &str, name: &str, deepest: usize) -> usize {
    let lines = tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.parse::<usize>().ok()?, words.next()?))
    });
    let below = lines.skip_while(|line| *line != (1, name)).skip(1).take_while(|(depth, _)| *depth > 1);
    let names: BTreeSet<_> = below.filter(|(depth, _)| *depth <= deepest).map(|(_, name)| name).collect();
    names.len()
}

/// The size of the server's file in bytes.
fn stripped(peer: Peer) -> io::Result<u64> {
    let target = peers::target_dir()?.join("small");
    let server = peer.build_in(&target, &PROFILE).map_err(io::Error::other)?;
    Ok(fs::metadata(server)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_crates_below_one() {
        let tree = "0 this v1\n1 a v1\n2 b v1\n3 c v1\n2 c v1 (*)\n1 d v1\n2 e v1\n";
        assert_eq!(dependencies(tree, "a", usize::MAX), 2);
        assert_eq!(dependencies(tree, "a", 2), 2);
        assert_eq!(dependencies(tree, "d", 2), 1);
        assert_eq!(dependencies(tree, "b", 2), 0);
    }
}
