//! Ten pages through one session, and through ten sessions: what a kept connection saves.
//!
//! What it teaches: keep a session. A program with a new session for each request connects for each request.
//!
//!     cargo run --release --features http --example fetch10
//!     cargo run --release --features http --example fetch10 -- --requests 1000 --different
//!
//! You should see, from a server in the program, with other times:
//!
//!                           sockets   elapsed
//!     one session                 1    0.001s
//!     a session for each         10    0.003s

mod common;

use clap::Parser;
use common::{messages, output, signals, site};
use enjamb::http::{Config, Session};
use enjamb::{Cx, Reactor};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The loop's state: one way to fetch all pages, one after another.
struct Run {
    server: SocketAddr,
    different: bool,
    /// The session that is kept; `None` for a new one for each request.
    kept: Option<Session<Run>>,
    left: u32,
    sockets: u64,
    result: io::Result<()>,
}

fn fetch_next(cx: &mut Cx<'_, Run>) {
    let page = if cx.state.different { cx.state.left } else { 1 };
    let url = format!("http://{}/page/{page}", cx.state.server);
    let kept = cx.state.kept.clone();
    let session = match kept.map_or_else(|| Session::new(Config::default()), Ok) {
        Ok(session) => session,
        Err(error) => return end(cx, Err(error)),
    };
    let mine = session.clone();
    session.get(cx, url, move |cx, result| {
        cx.state.left -= 1;
        let opened = mine.pool().snapshot().stats.opened;
        let before = if cx.state.kept.is_some() { 0 } else { cx.state.sockets };
        cx.state.sockets = before + opened;
        match result {
            Err(failure) => end(cx, Err(failure.into())),
            Ok(_) if cx.state.left == 0 => end(cx, Ok(())),
            Ok(_) => fetch_next(cx),
        }
    });
}

fn end(cx: &mut Cx<'_, Run>, result: io::Result<()>) {
    cx.state.result = result;
    cx.stop();
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("warn");
    signals::exit_at_ctrl_c();
    let print = |table: String| output::exit_status(output::print(&table), ExitCode::SUCCESS);
    messages::show_failure(compare(&args).map(print))
}

fn compare(args: &Args) -> io::Result<String> {
    let mut table = format!("{:<20}{:>13}{:>10}\n", "", "sockets", "elapsed");
    for (name, keeps) in [("one session", true), ("a session for each", false)] {
        let (sockets, elapsed) = fetch_all(args, keeps)?;
        table.push_str(&format!("{name:<20}{sockets:>13}{:>9.3}s\n", elapsed.as_secs_f64()));
    }
    Ok(table)
}

fn fetch_all(args: &Args, keeps: bool) -> io::Result<(u64, Duration)> {
    let mut reactor = Reactor::new()?;
    let mut run = Run {
        server: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        different: args.different,
        kept: None,
        left: args.requests,
        sockets: 0,
        result: Ok(()),
    };
    let mut cx = reactor.cx(&mut run);
    cx.state.server = cx.listen((Ipv4Addr::LOCALHOST, 0), |_, _| site::Site)?.local_addr()?;
    if keeps {
        cx.state.kept = Some(Session::new(Config::default())?);
    }
    let start = Instant::now();
    fetch_next(&mut cx);
    reactor.run(&mut run)?;
    run.result.map(|()| (run.sockets, start.elapsed()))
}

/// Fetch ten pages through one session, and through a session for each
#[derive(Parser)]
struct Args {
    /// How many pages
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: u32,
    /// A different page each time
    #[arg(long)]
    different: bool,
}
