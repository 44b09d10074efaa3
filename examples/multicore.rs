//! One reactor per core: an echo server whose connections the kernel distributes.
//!
//! What it teaches: a reactor runs in one thread. To use more cores, run more reactors that share nothing. Each has its
//! own listener on the same port (SO_REUSEPORT, socket(7)), which the program makes and `listen_on` takes over. Linux
//! chooses the listener of a new connection by a hash of its addresses, and the connection stays with that reactor.
//! Reactors talk to each other through a `Handle`: here, a further reactor in the main thread counts for all. (A second
//! `multicore` of the same user shares the port, too: it is not busy.)
//!
//!     cargo run --release --example multicore -- --listen 10012
//!     cargo run --release --example multicore -- --listen 10012 --reactors 2 --serve 100
//!
//! You should see `listening on 127.0.0.1:10012 with 2 reactors`. It ends at Ctrl-C or SIGTERM, or after `--serve`
//! connections. Then it prints how many each reactor served:
//!
//! ```text
//! reactor 1 served 53 connections
//! reactor 2 served 47 connections
//! ```

mod common;

use clap::Parser;
use common::messages::Context;
use common::{messages, output, server, signals, values};
use enjamb::{Conn, Cx, End, Handle, Input, Protocol, Reactor, WatchId};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

/// The state of a reactor that serves clients.
struct Core {
    served: u64,
    main: Handle<Main>,
}

struct Echo;

impl Protocol<Core> for Echo {
    fn received(&mut self, conn: &mut Conn<'_, Core>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Core>, how: End) {
        log::debug!("{how}");
        cx.state.served += 1;
        let count = |cx: &mut Cx<'_, Main>| {
            cx.state.left = cx.state.left.map(|left| left.saturating_sub(1));
            if cx.state.left == Some(0) {
                end(cx);
            }
        };
        if cx.state.main.post(count).is_err() {
            log::debug!("the main reactor has ended already");
        }
    }
}

/// Runs in the thread of one core. A reactor stays in the thread that made it.
fn run_core(listener: TcpListener, main: Handle<Main>, started: &Sender<Handle<Core>>) -> io::Result<u64> {
    let mut reactor = Reactor::new()?;
    let mut state = Core { served: 0, main };
    reactor.cx(&mut state).listen_on(listener, |_cx, _peer| Echo)?;
    started.send(reactor.handle()).map_err(io::Error::other)?;
    reactor.run(&mut state)?;
    Ok(state.served)
}

/// Does the same as `Cx::listen`, and sets SO_REUSEPORT.
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

/// The backlog of `Cx::listen`: see `Config::backlog`.
const BACKLOG: i32 = 4096;

/// The state of the main thread's reactor.
struct Main {
    /// How many connections are left to serve before the end; `None` without `--serve`.
    left: Option<u64>,
    cores: Vec<Handle<Core>>,
    /// The watch for signals.
    signals: Option<WatchId>,
}

/// Shuts every reactor down. The main reactor ends by itself after the last one: each of them has a handle to it, which
/// keeps it running.
fn end(cx: &mut Cx<'_, Main>) {
    for core in cx.state.cores.drain(..) {
        if core.post(|cx| cx.shutdown(DRAIN_TIMEOUT)).is_err() {
            log::debug!("a reactor has ended already");
        }
    }
    if let Some(signals) = cx.state.signals.take() {
        cx.unwatch(signals); // it would keep the loop running
    }
}

/// At the end: how long the clients may take to receive their unsent output.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue_from("warn");
    messages::show_failure(serve(&args).map(|()| ExitCode::SUCCESS))
}

fn serve(args: &Args) -> Result<(), String> {
    let cannot_listen = |error| server::cannot_listen(args.listen, "--listen 0", &error);
    let n = args
        .reactors
        .map_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get), usize::from);
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let mut main = Main { left: args.serve, cores: Vec::new(), signals: None };
    main.signals = signals::at_first(&mut reactor.cx(&mut main), end)?;
    let mut address = args.listen;
    let mut threads = Vec::new();
    for _ in 0..n {
        let listener = listen(address).map_err(cannot_listen)?;
        address = listener.local_addr().map_err(cannot_listen)?; // the first listener replaces port 0
        let (started, start) = channel();
        let count_at = reactor.handle();
        let core = thread::Builder::new().spawn(move || run_core(listener, count_at, &started));
        threads.push(core.context("cannot start a thread")?);
        main.cores.extend(start.recv()); // a core that failed sends nothing: `join` gets its error
    }
    let stdout = output::queue();
    if main.cores.len() == n {
        stdout.push(format!("listening on {address} with {n} reactors\n"));
    } else {
        end(&mut reactor.cx(&mut main));
    }
    reactor.run(&mut main).context("the event loop failed")?;
    for (n, thread) in (1..).zip(threads) {
        let served = thread.join().map_err(|_| format!("reactor {n} panicked"))?;
        let served = served.context(&format!("reactor {n} failed"))?;
        stdout.push(format!("reactor {n} served {served} connections\n"));
    }
    Ok(())
}

/// Send all input back, over TCP, on every core
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10012", value_parser = values::listen_address)]
    listen: SocketAddr,
    /// How many reactors, each with its thread [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    reactors: Option<u16>,
    /// End after N connections
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    serve: Option<u64>,
}
