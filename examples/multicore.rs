//! One reactor per core: an echo server whose connections the kernel deals out.
//!
//! What it teaches: a reactor has one thread, and so has everything in it. To use more cores, run more reactors that share
//! nothing: each has a listener of its own on the same port (SO_REUSEPORT, socket(7)), made with the options it needs and
//! taken over by `listen_on`. Linux deals new connections out by a hash of their addresses, so with many clients each
//! reactor gets its share, and a connection stays where it is. What the reactors do have to tell each other goes through
//! a `Handle`: here, one more in the main thread counts for all. (A second `multicore` of the same user finds no busy port
//! either: it takes its share.)
//!
//!     cargo run --release --example multicore -- --listen 10012
//!     cargo run --release --example multicore -- --listen 10012 --reactors 2 --serve 100
//!
//! You should see `listening on 127.0.0.1:10012 with 2 reactors`, and at the end, by Ctrl-C or SIGTERM or when `--serve`
//! connections have been served, how many each had:
//!
//! ```text
//! reactor 1 served 53 connections
//! reactor 2 served 47 connections
//! ```

#[path = "common/address.rs"]
mod address;
#[path = "common/line_queue.rs"]
mod line_queue;
#[path = "common/listening.rs"]
mod listening;
#[path = "common/plain_messages.rs"]
mod plain_messages;
#[path = "common/server_log.rs"]
mod server_log;
#[path = "common/server_stdout.rs"]
mod server_stdout;
#[path = "common/signals.rs"]
mod signals;

use clap::Parser;
use enjamb::{Conn, Cx, End, Handle, Input, Protocol, Reactor, WatchId};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

/// How long clients may take, when the server ends, to receive what they are owed.
const DRAIN: Duration = Duration::from_secs(5);
/// As many as `Cx::listen` lets wait: see `Config::backlog`.
const BACKLOG: i32 = 4096;

/// Send back whatever comes, on every core
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10012", value_parser = address::with_port(0..=65535))]
    listen: SocketAddr,
    /// How many reactors, each with its thread [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    reactors: Option<u16>,
    /// End when N connections have been served
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    serve: Option<u64>,
}

/// The state of the main thread's reactor.
struct Main {
    /// How many connections are to be served before the end.
    left: Option<u64>,
    cores: Vec<Handle<Core>>,
    /// Waits for signals.
    signals: Option<WatchId>,
}

/// The state of a reactor that serves.
struct Core {
    served: u64,
    main: Handle<Main>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = server_log::start(plain_messages::from("warn"));
    match serve(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<(), String> {
    let cannot_listen = |error| listening::failure(args.listen, &error, "--listen 0");
    let no_loop = |error| format!("cannot make an event loop: {error}");
    let n = args
        .reactors
        .map_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get), usize::from);
    let mut reactor = Reactor::new().map_err(no_loop)?;
    let mut main = Main { left: args.serve, cores: Vec::new(), signals: None };
    main.signals = signals::first_calls(&mut reactor.cx(&mut main), end)
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    let mut address = args.listen;
    let mut threads = Vec::new();
    for _ in 0..n {
        let listener = listen(address).map_err(cannot_listen)?;
        address = listener.local_addr().map_err(cannot_listen)?; // where port 0 was asked for, the first has found one
        let (started, start) = channel();
        let count_at = reactor.handle();
        threads.push(thread::spawn(move || run_core(listener, count_at, &started)));
        main.cores.extend(start.recv()); // nothing comes from one that failed: its thread says why
    }
    let stdout = server_stdout::open();
    if main.cores.len() == n {
        stdout.push(format!("listening on {address} with {n} reactors\n"));
    } else {
        end(&mut reactor.cx(&mut main));
    }
    reactor.run(&mut main).map_err(|error| format!("the event loop failed: {error}"))?;
    for (n, thread) in (1..).zip(threads) {
        let served = thread.join().map_err(|_| format!("reactor {n} panicked"))?;
        let served = served.map_err(|error| format!("reactor {n} failed: {error}"))?;
        stdout.push(format!("reactor {n} served {served} connections\n"));
    }
    Ok(())
}

/// One core's thread. A reactor stays in the thread that made it.
fn run_core(listener: TcpListener, main: Handle<Main>, started: &Sender<Handle<Core>>) -> io::Result<u64> {
    let mut reactor = Reactor::new()?;
    let mut state = Core { served: 0, main };
    reactor.cx(&mut state).listen_on(listener, |_cx, _peer| Echo)?;
    started.send(reactor.handle()).map_err(io::Error::other)?;
    reactor.run(&mut state)?;
    Ok(state.served)
}

/// What `Cx::listen` does, with SO_REUSEPORT besides.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    #[cfg(unix)]
    {
        socket.set_reuse_address(true)?;
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReusePort, &true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Has every reactor end in good order. The main one ends by itself after the last of them: each has a handle to it, and
/// until that is dropped it may post what it has served.
fn end(cx: &mut Cx<'_, Main>) {
    for core in cx.state.cores.drain(..) {
        if core.post(|cx| cx.shutdown(DRAIN)).is_err() {
            log::debug!("a reactor has ended before");
        }
    }
    if let Some(signals) = cx.state.signals.take() {
        cx.unwatch(signals); // it would keep the loop alive
    }
}

struct Echo;

impl Protocol<Core> for Echo {
    fn received(&mut self, conn: &mut Conn<'_, Core>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Core>, end_of_it: End) {
        log::debug!("{end_of_it}");
        cx.state.served += 1;
        let count = |cx: &mut Cx<'_, Main>| {
            cx.state.left = cx.state.left.map(|left| left.saturating_sub(1));
            if cx.state.left == Some(0) {
                end(cx);
            }
        };
        if cx.state.main.post(count).is_err() {
            log::debug!("the main reactor has ended before");
        }
    }
}
