//! Fan-in: one client reads many slow poems at once. The client is measured; the server is a thread of this process.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::child;
use crate::memory::allow_descriptors;
use crate::peers::{self, Peer};
use crate::report;
use crate::timed::{CLIENT_CORE, SERVER_CORE, pin_to, spread_cell};

const POEMS: [usize; 2] = [1_000, 5_000];
/// The number of ticks. The server sends a line to every client at each tick; a poem takes one second.
const LINES: usize = 20;
const TICK: Duration = Duration::from_millis(50);
const LINE: &[u8] = b"run on past the end of the line\n";
const OTHER_DESCRIPTORS: u64 = 100;

struct Client {
    title: &'static str,
    command: Vec<String>,
}

/// CPU of the clients as ratios to the client in C, and the wall time.
pub fn report(rounds: usize) {
    println!("## Fan-in: client CPU against C (ms in the row of C)\n");
    let alone = |program: Result<String, String>| program.map(|program| vec![program]);
    let python = |module| peers::find_python("fan_in.py", module);
    let commands = [
        (Peer::C, alone(peers::build_c("fan-in", None))),
        (Peer::Enjamb, alone(peers::build_rust("fan-in-enjamb", None))),
        (Peer::Mio, alone(peers::build_rust("fan-in-mio", Some("peers")))),
        (Peer::Libuv, alone(peers::build_c("fan-in-libuv", Some("libuv")))),
        (Peer::TokioShared, alone(peers::build_rust("fan-in-tokio", Some("peers")))),
        (Peer::Asyncio, python("asyncio")),
        (Peer::Uvloop, python("uvloop")),
    ];
    let mut clients = Vec::new();
    for (peer, command) in commands {
        let title = peer.title();
        match command {
            Ok(command) => clients.push(Client { title, command }),
            Err(why) => println!("Not measured: {title} ({why})\n"),
        }
    }
    match POEMS.map(|poems| samples(&clients, poems, rounds)).into_iter().collect::<io::Result<Vec<_>>>() {
        Ok(samples) => print(&clients, &samples),
        Err(error) => println!("Not measured: {error}.\n"),
    }
}

/// By client, the CPU in milliseconds and the wall time in seconds of each round.
type Samples = Vec<Vec<(f64, f64)>>;

fn samples(clients: &[Client], poems: usize, rounds: usize) -> io::Result<Samples> {
    let mut samples = vec![Vec::new(); clients.len()];
    for round in 1..=rounds {
        for (client, of_client) in clients.iter().zip(&mut samples) {
            eprintln!("{poems} poems, round {round}: {}", client.title);
            of_client.push(sample(client, poems)?);
        }
    }
    Ok(samples)
}

fn print(clients: &[Client], by_poems: &[Samples]) {
    let titles: Vec<_> =
        POEMS.iter().flat_map(|poems| [format!("{poems} poems"), "wall, s".to_string()]).collect();
    let rows: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(i, client)| {
            let cells = by_poems.iter().flat_map(|samples| {
                let base = |round: usize| if i == 0 { 1.0 } else { samples[0][round].0 };
                let cpu: Vec<_> =
                    samples[i].iter().enumerate().map(|(round, (cpu, _))| cpu / base(round)).collect();
                let wall: Vec<_> = samples[i].iter().map(|(_, wall)| *wall).collect();
                [spread_cell(&cpu), spread_cell(&wall)]
            });
            [client.title.to_string()].into_iter().chain(cells).collect()
        })
        .collect();
    println!("{}", report::table(&report::titles(titles.iter().map(String::as_str)), &rows));
}

fn sample(client: &Client, poems: usize) -> io::Result<(f64, f64)> {
    allow_descriptors(poems as u64 + OTHER_DESCRIPTORS)?;
    let listener: TcpListener = enjamb_benches::listener()?;
    listener.set_nonblocking(false)?;
    let address = listener.local_addr()?;
    pin_to(SERVER_CORE)?;
    let server = thread::spawn(move || recite(&listener, poems));
    pin_to(CLIENT_CORE)?;
    let (before, begun) = (children_cpu()?, Instant::now());
    let read = read_all(client, address, poems);
    let (cpu, wall) = (children_cpu()? - before, begun.elapsed().as_secs_f64());
    if read? != poems * LINES * LINE.len() {
        return Err(io::Error::other(format!("{} has not read everything", client.title)));
    }
    server.join().map_err(|_| io::Error::other("the server panicked"))??;
    Ok((cpu, wall))
}

fn read_all(client: &Client, address: SocketAddr, poems: usize) -> io::Result<usize> {
    let (program, arguments) = client.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut reading = Command::new(program);
    reading.args(arguments).args([address.to_string(), poems.to_string()]);
    let output = child::output(&mut reading)?;
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Accepts all clients, then sends each of them a line at every tick.
fn recite(listener: &TcpListener, poems: usize) -> io::Result<()> {
    let readers: Vec<_> = (0..poems).map(|_| Ok(listener.accept()?.0)).collect::<io::Result<_>>()?;
    let begun = Instant::now();
    for line in 1..=LINES {
        for mut reader in &readers {
            reader.write_all(LINE)?;
        }
        thread::sleep((begun + TICK * line as u32).saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// CPU in milliseconds of the child processes that have ended.
fn children_cpu() -> io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1000.0)
}
