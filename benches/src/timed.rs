//! CPU time of the server per operation, as ratios to raw C. The rounds are interleaved, so that whatever else the
//! machine does falls on all peers alike, and each ratio is one within a round.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::load::{Clients, connect};
use crate::memory::allow_descriptors;
use crate::peers::{Built, Peer};
use crate::report::{self, MISSING};
use crate::server::Server;

pub const SERVER_CORE: usize = 0;
pub const CLIENT_CORE: usize = 1;

/// How long one sample of echoes takes.
const SAMPLE: Duration = Duration::from_millis(400);
/// How much one sample of streaming sends, and gets back.
const STREAMED_MIB: usize = 512;
/// Descriptors that are not the clients'.
const OTHER_DESCRIPTORS: u64 = 100;

/// Connections, and bytes in each message.
const ECHOES: [(usize, usize); 7] =
    [(1, 64), (64, 64), (1_000, 64), (10_000, 64), (1, 16 * 1024), (64, 16 * 1024), (1_000, 16 * 1024)];

/// Server CPU per echo.
pub fn echoes(peers: &[Built], rounds: usize) {
    let title = |(connections, size): &(usize, usize)| match size / 1024 {
        0 => format!("{connections} × {size} B"),
        kib => format!("{connections} × {kib} KiB"),
    };
    let columns: Vec<_> = ECHOES.iter().map(title).collect();
    println!("## Server CPU per echo, against C (µs in the row of C)\n");
    ratios(peers, rounds, &columns, |peer, column| {
        let (connections, size) = ECHOES[column];
        echo_sample(&peer.command, connections, size)
    });
}

/// Server CPU per MiB received and sent back.
pub fn streaming(peers: &[Built], rounds: usize) {
    println!("## Server CPU per MiB streamed there and back, against C (µs in the row of C)\n");
    ratios(peers, rounds, &["one connection".to_string()], |peer, _| streaming_sample(&peer.command));
}

fn ratios(
    peers: &[Built],
    rounds: usize,
    columns: &[String],
    sample: impl Fn(&Built, usize) -> io::Result<f64>,
) {
    // By column and peer, a sample for each round: NaN where there is none.
    let mut samples = vec![vec![Vec::new(); peers.len()]; columns.len()];
    for (column, of_column) in samples.iter_mut().enumerate() {
        for round in 1..=rounds {
            for (peer, of_peer) in peers.iter().zip(of_column.iter_mut()) {
                eprintln!("{}, round {round}: {}", columns[column], peer.name());
                of_peer.push(sample(peer, column).unwrap_or_else(|error| {
                    eprintln!("{}: {error}", peer.name());
                    f64::NAN
                }));
            }
        }
    }
    let base = peers.iter().position(|peer| peer.peer == Peer::C);
    let rows: Vec<_> = (0..peers.len())
        .map(|peer| {
            let cells = samples.iter().map(|of_column| match base {
                Some(base) if base != peer => ratio_cell(&of_column[peer], &of_column[base]),
                _ => spread_cell(&of_column[peer]),
            });
            [peers[peer].title().to_string()].into_iter().chain(cells).collect()
        })
        .collect();
    println!("{}", report::table(&report::titles(columns.iter().map(String::as_str)), &rows));
}

fn ratio_cell(samples: &[f64], base: &[f64]) -> String {
    let ratios: Vec<_> = samples.iter().zip(base).map(|(sample, base)| sample / base).collect();
    spread_cell(&ratios)
}

/// The median, the least and the most.
pub fn spread_cell(samples: &[f64]) -> String {
    let mut samples: Vec<_> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
    samples.sort_by(f64::total_cmp);
    match (samples.first(), samples.last()) {
        (Some(least), Some(most)) => format!("{:.2} ({least:.2}–{most:.2})", samples[samples.len() / 2]),
        _ => MISSING.to_string(),
    }
}

fn echo_sample(command: &[String], connections: usize, size: usize) -> io::Result<f64> {
    allow_descriptors(connections as u64 + OTHER_DESCRIPTORS)?;
    let server = start_pinned(command)?;
    let mut clients = Clients::connect(server.address, connections, size)?;
    for _ in 0..2 {
        clients.round()?;
    }
    let (mut echoes, begun, before) = (0, Instant::now(), settled_cpu(&server)?);
    while begun.elapsed() < SAMPLE {
        clients.round()?;
        echoes += connections;
    }
    Ok(microseconds(settled_cpu(&server)?.saturating_sub(before)) / echoes as f64)
}

fn streaming_sample(command: &[String]) -> io::Result<f64> {
    let server = start_pinned(command)?;
    let mut stream = connect(server.address)?;
    stream_through(&mut stream, 8)?;
    let before = settled_cpu(&server)?;
    stream_through(&mut stream, STREAMED_MIB)?;
    Ok(microseconds(settled_cpu(&server)?.saturating_sub(before)) / STREAMED_MIB as f64)
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

/// The server's CPU time, once it has gone to sleep: the account of who runs lags behind.
fn settled_cpu(server: &Server) -> io::Result<Duration> {
    thread::sleep(Duration::from_millis(5));
    server.cpu()
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The server on one core, this thread, and the threads it makes, on another: that takes two cores.
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
