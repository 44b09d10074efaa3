//! CPU time of the server per operation, throughput and latency, as ratios to raw C. The rounds are interleaved, so
//! that other load on the machine affects all peers alike. Each ratio is taken within a round.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::load::{Clients, churn, connect};
use crate::memory::allow_descriptors;
use crate::peers::{Built, Peer};
use crate::report::{self, MISSING};
use crate::server::Server;
use crate::work::Work;

pub const SERVER_CORE: usize = 0;
pub const CLIENT_CORE: usize = 1;

/// The duration of one sample of echoes.
const SAMPLE: Duration = Duration::from_millis(200);
/// The amount that one sample of streaming sends and receives.
const STREAMED_MIB: usize = 512;
/// The number of round trips in one sample of percentiles.
const ROUND_TRIPS: usize = 10_000;
/// Descriptors for other purposes than clients.
const OTHER_DESCRIPTORS: u64 = 100;

#[derive(Clone, Copy)]
enum Load {
    /// This many connections, with this many bytes each
    Echoes(usize, usize),
    /// Connect, 64 bytes to and fro, close
    Churn,
}

const LOADS: [Load; 9] = [
    Load::Echoes(1, 64),
    Load::Echoes(64, 64),
    Load::Echoes(1_000, 64),
    Load::Echoes(10_000, 64),
    Load::Echoes(1, 16 * 1024),
    Load::Echoes(64, 16 * 1024),
    Load::Echoes(1_000, 16 * 1024),
    Load::Echoes(10_000, 16 * 1024),
    Load::Churn,
];

impl Load {
    fn title(self) -> String {
        match self {
            Load::Echoes(connections, size) if size < 1024 => format!("{connections} × {size} B"),
            Load::Echoes(connections, size) => format!("{connections} × {} KiB", size / 1024),
            Load::Churn => Work::Churn.title().to_string(),
        }
    }
}

/// Server CPU per echo, and echoes per second.
pub fn echoes(peers: &[Built], rounds: usize) {
    let [cpu, rate] = samples(peers, rounds, &LOADS.map(Load::title), |peer, column| {
        load_sample(&peer.command, LOADS[column])
    });
    println!("## Server CPU per echo, against C (µs in the row of C)\n");
    print(peers, &cpu);
    println!("## Echoes per second, against C (thousands in the row of C)\n");
    print(peers, &rate);
}

/// Server CPU per MiB received and sent back, and MiB per second.
pub fn streaming(peers: &[Built], rounds: usize) {
    println!("## Streaming there and back on one connection, against C\n");
    let what = ["streaming".to_string()];
    let [mut cpu, mut rate] = samples(peers, rounds, &what, |peer, _| streaming_sample(&peer.command));
    cpu[0].title = "server CPU per MiB (C: µs)".to_string();
    rate[0].title = "MiB per second".to_string();
    cpu.append(&mut rate);
    print(peers, &cpu);
}

/// The time of a round trip of 64 bytes.
pub fn latency(peers: &[Built], rounds: usize) {
    println!("## Latency of a 64 B ping-pong, against C (µs in the row of C)\n");
    let what = ["round trip".to_string()];
    let [mut median, mut tail] = samples(peers, rounds, &what, |peer, _| latency_sample(&peer.command));
    median[0].title = "p50".to_string();
    tail[0].title = "p99".to_string();
    median.append(&mut tail);
    print(peers, &median);
}

struct Column {
    title: String,
    /// By peer, one sample for each round. NaN marks a missing sample.
    samples: Vec<Vec<f64>>,
}

/// Two figures for each peer and title, round by round.
fn samples(
    peers: &[Built],
    rounds: usize,
    titles: &[String],
    sample: impl Fn(&Built, usize) -> io::Result<[f64; 2]>,
) -> [Vec<Column>; 2] {
    let empty = |title: &String| Column { title: title.clone(), samples: vec![Vec::new(); peers.len()] };
    let mut columns = [(); 2].map(|()| titles.iter().map(empty).collect::<Vec<_>>());
    for (i, title) in titles.iter().enumerate() {
        for round in 1..=rounds {
            for (nth, peer) in peers.iter().enumerate() {
                eprintln!("{title}, round {round}: {}", peer.name());
                let figures = sample(peer, i).unwrap_or_else(|error| {
                    eprintln!("{}: {error}", peer.name());
                    [f64::NAN; 2]
                });
                for (columns, figure) in columns.iter_mut().zip(figures) {
                    columns[i].samples[nth].push(figure);
                }
            }
        }
    }
    columns
}

fn print(peers: &[Built], columns: &[Column]) {
    let base = peers.iter().position(|peer| peer.peer == Peer::C);
    let rows: Vec<_> = (0..peers.len())
        .map(|peer| {
            let cells = columns.iter().map(|Column { samples, .. }| match base {
                Some(base) if base != peer => ratio_cell(&samples[peer], &samples[base]),
                _ => spread_cell(&samples[peer]),
            });
            [peers[peer].title().to_string()].into_iter().chain(cells).collect()
        })
        .collect();
    let titles = report::titles(columns.iter().map(|column| column.title.as_str()));
    println!("{}", report::table(&titles, &rows));
}

fn ratio_cell(samples: &[f64], base: &[f64]) -> String {
    let ratios: Vec<_> = samples.iter().zip(base).map(|(sample, base)| sample / base).collect();
    spread_cell(&ratios)
}

/// The median, the minimum and the maximum.
pub fn spread_cell(samples: &[f64]) -> String {
    let mut samples: Vec<_> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
    samples.sort_by(f64::total_cmp);
    match (samples.first(), samples.last()) {
        (Some(least), Some(most)) => format!("{:.2} ({least:.2}–{most:.2})", samples[samples.len() / 2]),
        _ => MISSING.to_string(),
    }
}

/// Microseconds of CPU per operation, and thousands of operations per second.
fn load_sample(command: &[String], load: Load) -> io::Result<[f64; 2]> {
    let connections = if let Load::Echoes(connections, _) = load { connections } else { 0 };
    allow_descriptors(connections as u64 + OTHER_DESCRIPTORS)?;
    let server = start_pinned(command)?;
    match load {
        Load::Echoes(connections, size) => {
            let mut clients = Clients::connect(server.address, connections, size)?;
            clients.round()?;
            for_a_while(&server, || clients.round().map(|()| connections))
        }
        Load::Churn => for_a_while(&server, || churn(server.address, 10).map(|()| 10)),
    }
}

/// Repeats the work for the length of a sample. `work` returns its number of operations.
fn for_a_while(server: &Server, mut work: impl FnMut() -> io::Result<usize>) -> io::Result<[f64; 2]> {
    work()?;
    let (mut operations, before, begun) = (0, settled_cpu(server)?, Instant::now());
    while begun.elapsed() < SAMPLE {
        operations += work()?;
    }
    let took = begun.elapsed();
    let cpu = settled_cpu(server)?.saturating_sub(before);
    Ok([microseconds(cpu) / operations as f64, operations as f64 / took.as_secs_f64() / 1000.0])
}

/// Microseconds of CPU per MiB, and MiB per second.
fn streaming_sample(command: &[String]) -> io::Result<[f64; 2]> {
    let server = start_pinned(command)?;
    let mut stream = connect(server.address)?;
    stream_through(&mut stream, 8)?;
    let (before, begun) = (settled_cpu(&server)?, Instant::now());
    stream_through(&mut stream, STREAMED_MIB)?;
    let rate = STREAMED_MIB as f64 / begun.elapsed().as_secs_f64();
    let cpu = settled_cpu(&server)?.saturating_sub(before);
    Ok([microseconds(cpu) / STREAMED_MIB as f64, rate])
}

/// The 50th and the 99th percentile of a round trip, in microseconds.
fn latency_sample(command: &[String]) -> io::Result<[f64; 2]> {
    let server = start_pinned(command)?;
    let mut client = Clients::connect(server.address, 1, 64)?;
    let mut timed = || {
        let begun = Instant::now();
        client.round().map(|()| begun.elapsed())
    };
    let took: io::Result<Vec<_>> = (0..ROUND_TRIPS).map(|_| timed()).collect();
    let mut took = took?;
    took.sort_unstable();
    Ok([took[took.len() / 2], took[took.len() * 99 / 100]].map(microseconds))
}

/// Sends from one thread and receives in another.
fn stream_through(stream: &mut TcpStream, mib: usize) -> io::Result<()> {
    const PIECE: usize = 64 * 1024;
    let pieces = mib * 1024 * 1024 / PIECE;
    let mut sending = stream.try_clone()?;
    thread::scope(|scope| {
        let sender = scope.spawn(move || (0..pieces).try_for_each(|_| sending.write_all(&[b'x'; PIECE])));
        let mut buffer = vec![0; PIECE];
        let received = (0..pieces).try_for_each(|_| stream.read_exact(&mut buffer));
        let sent = sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")));
        received.and(sent)
    })
}

/// The server's CPU time, read when it sleeps: the scheduler's account of a running process lags behind.
fn settled_cpu(server: &Server) -> io::Result<Duration> {
    thread::sleep(Duration::from_millis(5));
    server.cpu()
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Starts the server on one core, and pins this thread and its later threads to another. It needs two cores.
fn start_pinned(command: &[String]) -> io::Result<Server> {
    pin_to(SERVER_CORE)?;
    let server = Server::start(&[], command);
    pin_to(CLIENT_CORE)?;
    server
}

pub fn pin_to(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    let pinned = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    pinned.map_err(|error| io::Error::other(format!("pinning to core {core}: {error}")))
}
