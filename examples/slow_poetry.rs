//! A slow poetry server in threads: the server for all poetry clients here.
//!
//! What it teaches: a server with one thread for each port is simple, because a thread may sleep. It sends one line,
//! sleeps, and sends the next. Meanwhile, further clients of the same port wait in the backlog. With `--concurrent`,
//! each client has a thread of its own.
//!
//!     cargo run --example slow_poetry
//!     cargo run --example slow_poetry -- --port 10000 --delay 500ms --num-bytes 10 poem.txt
//!
//! You should see `start listen at:10000` and the same for each other port. Then start a client, such as
//! `cargo run --example get_poetry 10000 10001 10002`, to see `Somebody at 127.0.0.1:53312 wants poetry!` and
//! `send bytes to client:1111`, line by line. Ctrl-C ends it. `RUST_LOG=warn` hides the messages about clients.

mod common;

use clap::{CommandFactory, Parser, error::ErrorKind};
use common::messages::Context;
use common::signals::UntilSignal;
use common::{messages, poem, server, values};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// After this time without progress, the server closes a client's connection. Without this limit, a client that does
/// not read would block the others for ever once the socket buffers are full.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The usual reason for a failed accept is that no descriptor is free. Then the next accept fails too.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

fn serve(listener: &TcpListener, recital: &Arc<Recital>, concurrent: bool) {
    loop {
        match listener.accept() {
            Ok((client, peer)) => {
                log::info!("Somebody at {peer} wants poetry!");
                if !concurrent {
                    recital.give(&client, peer);
                    continue;
                }
                let recital = Arc::clone(recital);
                if let Err(error) = in_a_thread(move || recital.give(&client, peer)) {
                    log::error!("no thread for {peer}: {error}");
                }
            }
            Err(error) => {
                log::warn!("cannot accept: {error}; trying again");
                thread::sleep(ACCEPT_AGAIN_AFTER);
            }
        }
    }
}

fn in_a_thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(drop)
}

/// One poem in pieces, for all clients of a port.
struct Recital {
    pieces: Vec<Vec<u8>>,
    delay: Duration,
}

impl Recital {
    fn new(args: &Args, poem: &str) -> Self {
        Self { pieces: poem::pieces(poem, args.num_bytes.and_then(NonZeroUsize::new)), delay: args.delay }
    }

    fn give(&self, client: &TcpStream, peer: SocketAddr) {
        let mut sent = 0;
        let given = prepare(client).and_then(|()| {
            poem::recite(client, &self.pieces, self.delay, |piece| {
                sent += piece.len();
                log::info!("send bytes to client:{}", printable(piece));
            })
        });
        let length: usize = self.pieces.iter().map(Vec::len).sum();
        match given {
            Ok(()) => log::info!("{peer} has the whole poem"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                log::info!("{peer} stopped reading after {sent} of {length} bytes");
            }
            Err(error) => log::info!("{peer} hung up after {sent} of {length} bytes ({error})"),
        }
    }
}

/// Without TCP_NODELAY, a short piece may wait for the acknowledgement of the piece before it.
fn prepare(client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.set_write_timeout(Some(WRITE_TIMEOUT))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue_from("info");
    messages::show_failure(run(&args))
}

/// Binds all ports, then starts a thread for each, and sleeps until a signal.
fn run(args: &Args) -> Result<ExitCode, String> {
    let mut servers = Vec::new();
    for (port, poem) in ports(args).into_iter().zip(poems(args)?) {
        servers.push((listen(SocketAddr::new(args.iface, port))?, Recital::new(args, &poem)));
    }
    let end = UntilSignal::new()?;
    for (listener, recital) in servers {
        let address = listener.local_addr().context("cannot get the port")?;
        log::info!("start listen at:{}", address.port());
        let concurrent = args.concurrent;
        in_a_thread(move || serve(&listener, &Arc::new(recital), concurrent))
            .map_err(|error| format!("cannot start a thread for port {}: {error}", address.port()))?;
    }
    let status = end.wait();
    log::info!("closing");
    Ok(status)
}

/// Serve poetry slowly, over TCP
#[derive(Parser)]
#[command(name = "slow_poetry")]
struct Args {
    /// A port to listen on; give it again for more, 0 for any free one [default: 10000 10001 10002]
    #[arg(long = "port", value_name = "PORT", allow_negative_numbers = true)]
    ports: Vec<u16>,
    /// The address to listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = interface)]
    iface: IpAddr,
    /// How long to sleep after each piece
    #[arg(long, default_value = "1s", value_parser = values::duration_from_ms(0), allow_hyphen_values = true)]
    delay: Duration,
    /// Send N bytes at a time, instead of a line without its newline
    #[arg(long, value_name = "N", value_parser = values::number_of("bytes", 1..), allow_negative_numbers = true)]
    num_bytes: Option<usize>,
    /// Serve all clients of a port at the same time, instead of one after another
    #[arg(long)]
    concurrent: bool,
    /// Poem files, one for each port [default: the lines 1111 2222 3333 4444]
    #[arg(value_name = "POEM")]
    poems: Vec<PathBuf>,
}

const FIRST_PORT: u16 = 10000;

const PORTS_WITHOUT_POEMS: usize = 3;

fn ports(args: &Args) -> Vec<u16> {
    let by_default = if args.poems.is_empty() { PORTS_WITHOUT_POEMS } else { args.poems.len() };
    let ports = match &args.ports[..] {
        [] => (FIRST_PORT..=u16::MAX).take(by_default).collect(),
        given => given.to_vec(),
    };
    if !args.poems.is_empty() && args.poems.len() != ports.len() {
        let message = format!("{} POEM for {} --port: give one POEM for each", args.poems.len(), ports.len());
        Args::command().error(ErrorKind::WrongNumberOfValues, message).exit();
    }
    ports
}

fn poems(args: &Args) -> Result<Vec<String>, String> {
    if args.poems.is_empty() {
        return Ok(vec![poem::DEFAULT.to_string(); ports(args).len()]);
    }
    args.poems.iter().map(|path| poem::read(path)).collect()
}

fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| server::cannot_listen(address, "--port 0", &error))
}

/// Keeps a piece on one line of the log.
fn printable(piece: &[u8]) -> String {
    String::from_utf8_lossy(piece).replace('\n', "\\n")
}

fn interface(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| "expected an IP address of this machine, such as 127.0.0.1, 0.0.0.0 or ::1".to_string())
}
