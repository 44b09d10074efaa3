//! Small GETs, one after another and many at once: their cost for a client of nginx, and the dependencies of `enjamb`'s
//! features.

use std::io;
use std::process::Command;

use crate::child;
use crate::count::{self, Calls, Tool};
use crate::nginx::{self, Nginx};
use crate::peers;
use crate::report::{self, MISSING};
use crate::size;
use crate::timed::{CLIENT_CORE, SERVER_CORE, pin_to, spread_cell};

/// The GETs of a run, after the first one of each lane.
const GETS: usize = 2_000;
/// The numbers of GETs in flight.
const LANES: [usize; 2] = [1, 100];
/// The timed runs: the number of lanes, and the core. A sleeping client must be woken for each response, which costs
/// more than all the rest. On nginx's own core, the client never sleeps.
const TIMED: [(usize, usize); 3] = [(1, SERVER_CORE), (1, CLIENT_CORE), (100, CLIENT_CORE)];
/// Two run lengths. Their difference is counted.
const COUNTED: [usize; 2] = [200, 1_200];
/// The client whose allocations are not counted: Python has an allocator of its own.
const AIOHTTP: &str = "aiohttp";

struct Client {
    title: &'static str,
    command: Vec<String>,
}

/// The measurements that one run prints.
struct Run {
    microseconds: f64,
    cpu: f64,
}

/// Builds the client of this crate.
pub fn program() -> Result<String, String> {
    peers::build_rust("http-enjamb", Some("http"))
}

fn clients() -> Vec<Client> {
    let peer = |bin| peers::build_rust(bin, Some("http-peers")).map(|program| vec![program]);
    let clients = [
        ("mio by hand", peer("http-mio")),
        ("**enjamb**", program().map(|program| vec![program])),
        ("ureq", peer("http-ureq")),
        ("reqwest", peer("http-reqwest")),
        (AIOHTTP, peers::find_python("http-aiohttp.py", "aiohttp")),
    ];
    let built = |(title, command): (_, Result<_, String>)| match command {
        Ok(command) => Some(Client { title, command }),
        Err(why) => {
            println!("Not measured: {title} ({why})\n");
            None
        }
    };
    clients.into_iter().filter_map(built).collect()
}

pub fn report(rounds: usize) {
    println!("## HTTP: {GETS} small GETs from nginx\n");
    if let Some(versions) = versions() {
        println!("{versions}.\n");
    }
    let clients = clients();
    match pin_to(SERVER_CORE).and_then(|()| Nginx::start()) {
        Ok(nginx) => {
            count_all(&clients, &nginx.url);
            time_all(&clients, &nginx.url, rounds);
        }
        Err(error) => println!("Not measured: {error}.\n"),
    }
    print_crates();
}

fn versions() -> Option<String> {
    let aiohttp = Command::new("python3").args(["-c", "import aiohttp; print(aiohttp.__version__)"]).output();
    let aiohttp = aiohttp.ok().filter(|output| output.status.success());
    let aiohttp =
        aiohttp.map(|output| format!(", aiohttp {}", String::from_utf8_lossy(&output.stdout).trim()));
    Some(format!("nginx {}{}", nginx::version()?, aiohttp.unwrap_or_default()))
}

fn how_many(lanes: usize) -> String {
    if lanes == 1 { "one after another".to_string() } else { format!("{lanes} at once") }
}

// Counting.

fn count_all(clients: &[Client], url: &str) {
    let mut kinds = Vec::new();
    count_with(Tool::Strace, "System calls", clients, |client, lanes| {
        let calls = calls(&client.command, url, lanes)?;
        kinds.push(vec![client.title.to_string(), how_many(lanes), calls.by_kind()]);
        Ok(format!("{:.2}", calls.total()))
    });
    println!("{}", report::table(&report::titles(["work", "system calls by kind"]), &kinds));
    count_with(Tool::Callgrind, "User-space instructions", clients, |client, lanes| {
        Ok(format!("{:.0}", instructions(&client.command, url, lanes)?))
    });
    count_with(Tool::Dhat, "Heap allocations", clients, |client, lanes| match client.title {
        AIOHTTP => Ok(MISSING.to_string()),
        _ => Ok(format!("{:.2}", allocations(&client.command, url, lanes)?)),
    });
}

fn count_with(
    tool: Tool,
    what: &str,
    clients: &[Client],
    mut count: impl FnMut(&Client, usize) -> io::Result<String>,
) {
    if let Err(why) = tool.check() {
        return println!("Not counted: {why}.\n");
    }
    let mut row = |client: &Client| {
        let cells = LANES.map(|lanes| {
            eprintln!("{what}: {}, {lanes} at once", client.title);
            report::cell(client.title, count(client, lanes))
        });
        [client.title.to_string()].into_iter().chain(cells).collect()
    };
    let rows: Vec<_> = clients.iter().map(&mut row).collect();
    println!("{what} per GET:\n");
    let titles = LANES.map(how_many);
    println!("{}", report::table(&report::titles(titles.iter().map(String::as_str)), &rows));
}

/// System calls per GET, by name.
pub fn calls(command: &[String], url: &str, lanes: usize) -> io::Result<Calls> {
    let [few, many] = two_lengths(Tool::Strace, command, url, lanes)?;
    let (few, many) = (count::strace_counts(&few), count::strace_counts(&many));
    let each = |(name, calls): (&String, &u64)| {
        let before = few.get(name).copied().unwrap_or(0);
        (name.clone(), per_get(calls.saturating_sub(before)))
    };
    Ok(Calls(many.iter().map(each).collect()))
}

/// User-space instructions per GET.
pub fn instructions(command: &[String], url: &str, lanes: usize) -> io::Result<f64> {
    difference(Tool::Callgrind, command, url, lanes, count::collected)
}

/// Heap allocations per GET.
pub fn allocations(command: &[String], url: &str, lanes: usize) -> io::Result<f64> {
    difference(Tool::Dhat, command, url, lanes, count::blocks)
}

fn difference(
    tool: Tool,
    command: &[String],
    url: &str,
    lanes: usize,
    number_in: impl Fn(&str) -> Option<u64>,
) -> io::Result<f64> {
    let reports = two_lengths(tool, command, url, lanes)?;
    match reports.each_ref().map(|report| number_in(report)) {
        [Some(few), Some(many)] => Ok(per_get(many.saturating_sub(few))),
        _ => Err(io::Error::other(format!("no count in what the tool said: {}", reports[0].trim()))),
    }
}

fn two_lengths(tool: Tool, command: &[String], url: &str, lanes: usize) -> io::Result<[String; 2]> {
    let report = |gets: usize| Ok::<_, io::Error>(run(tool.words(), command, url, gets, lanes)?.1);
    Ok([report(COUNTED[0])?, report(COUNTED[1])?])
}

fn per_get(counted: u64) -> f64 {
    counted as f64 / (COUNTED[1] - COUNTED[0]) as f64
}

// Timing.

fn time_all(clients: &[Client], url: &str, rounds: usize) {
    // By client and timed run, one sample for each round.
    let mut samples: Vec<[Vec<Run>; TIMED.len()]> = clients.iter().map(|_| Default::default()).collect();
    for round in 1..=rounds {
        for (column, (lanes, core)) in TIMED.into_iter().enumerate() {
            for (client, of_client) in clients.iter().zip(&mut samples) {
                eprintln!("{GETS} GETs, {} on core {core}, round {round}: {}", how_many(lanes), client.title);
                match pin_to(core).and_then(|()| run(&[], &client.command, url, GETS, lanes)) {
                    Ok((run, _)) => of_client[column].push(run),
                    Err(error) => eprintln!("{}: {error}", client.title),
                }
            }
        }
    }
    println!("µs of client CPU per GET:\n");
    print_timed(clients, &samples, |runs| {
        let each: Vec<_> = runs.iter().map(|run| run.cpu / GETS as f64).collect();
        spread_cell(&each)
    });
    println!("GETs per second:\n");
    print_timed(clients, &samples, rate_cell);
}

fn print_timed(clients: &[Client], samples: &[[Vec<Run>; TIMED.len()]], cell: impl Fn(&[Run]) -> String) {
    let row = |(client, samples): (&Client, &[Vec<Run>; TIMED.len()])| {
        let cells = samples.iter().map(|runs| cell(runs));
        [client.title.to_string()].into_iter().chain(cells).collect()
    };
    let rows: Vec<_> = clients.iter().zip(samples).map(row).collect();
    let titles = TIMED.map(|(lanes, core)| {
        let where_to = if core == SERVER_CORE { "nginx's core" } else { "a core of its own" };
        format!("{}, on {where_to}", how_many(lanes))
    });
    println!("{}", report::table(&report::titles(titles.iter().map(String::as_str)), &rows));
}

/// The median, the minimum and the maximum.
fn rate_cell(runs: &[Run]) -> String {
    let mut rates: Vec<_> = runs.iter().map(|run| GETS as f64 / run.microseconds * 1e6).collect();
    rates.sort_by(f64::total_cmp);
    match (rates.first(), rates.last()) {
        (Some(least), Some(most)) => format!("{:.0} ({least:.0}–{most:.0})", rates[rates.len() / 2]),
        _ => MISSING.to_string(),
    }
}

/// Runs a client with `under` in front of its command. Returns its measurements and its stderr output.
fn run(
    under: &[&str],
    command: &[String],
    url: &str,
    gets: usize,
    lanes: usize,
) -> io::Result<(Run, String)> {
    let words: Vec<&str> = under.iter().copied().chain(command.iter().map(String::as_str)).collect();
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let output = child::output(Command::new(program).args(arguments).args([
        url,
        &gets.to_string(),
        &lanes.to_string(),
    ]))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = stdout.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [bytes, microseconds, cpu] if bytes as usize == gets * nginx::BODY.len() => {
            Ok((Run { microseconds, cpu }, said))
        }
        [_, _, _] => Err(io::Error::other("not every answer came")),
        _ => Err(io::Error::other(said)),
    }
}

// The dependencies of each feature.

const FEATURES: [&str; 6] = ["", "http", "gzip", "charset", "tls", "gzip,charset,tls"];

fn print_crates() {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |name: &str, crates: Result<usize, String>| {
        let crates = crates.map(|crates| crates.to_string()).map_err(io::Error::other);
        rows.push(vec![name.to_string(), report::cell(name, crates)]);
    };
    for features in FEATURES {
        let name = if features.is_empty() { "without features" } else { features };
        add(&format!("**enjamb**, {name}"), crates(features));
    }
    let peers = size::tree("http-peers");
    for peer in ["ureq", "reqwest"] {
        let crates = peers.as_ref().map(|tree| size::dependencies(tree, peer, usize::MAX));
        add(&format!("{peer}, without features"), crates.map_err(String::clone));
    }
    println!("{}", report::table(&["library", "crates besides it"].map(str::to_string), &rows));
}

/// The number of other crates in a program because of this one. Build dependencies do not count.
fn crates(features: &str) -> Result<usize, String> {
    let mut tree = peers::cargo();
    tree.args(["tree", "--locked", "--package=enjamb", "--edges=normal", "--prefix=none"]);
    let tree = peers::run(tree.arg(format!("--features={features}")))?;
    let mut crates: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    crates.sort_unstable();
    crates.dedup();
    Ok(crates.len().saturating_sub(1))
}
