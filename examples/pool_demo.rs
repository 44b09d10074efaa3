//! Many queries to a few servers through a pool with limits, step by step.
//!
//! What it teaches: at the limit, queries wait in order. A connection goes from one query directly to the next query
//! for the same server. The servers take turns for free places under the limit. An idle connection stays open for the
//! next wave, and closes when the pool drains.
//!
//!     cargo run --example pool_demo
//!     cargo run --example pool_demo -- --queries 10000 --servers 1 --limit 10
//!
//! You should see a table with a row for each step. The last column counts the sockets that were opened so far.

mod common;

use clap::Parser;
use common::{messages, output, signals, values};
use enjamb::pool::{Config, Key, Pool, Reuse};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

struct Demo {
    pool: Pool<Demo>,
    servers: Vec<Key>,
    limit: usize,
    queries: u32,
    waves_left: u32,
    asked: u32,
    answered: u32,
    failed: u32,
    printed: io::Result<()>,
}

struct Query;

impl Protocol<Demo> for Query {
    fn opened(&mut self, conn: &mut Conn<'_, Demo>) -> io::Result<()> {
        conn.deadline(Duration::from_secs(60));
        conn.write(b"who?\n");
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Demo>, input: &mut Input<'_>) -> io::Result<()> {
        if input.take_line().is_some() {
            conn.release(Reuse::Reusable);
        }
        Ok(())
    }

    fn ended(&mut self, _: &mut Conn<'_, Demo>, _: &mut Input<'_>) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended before its answer"))
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Demo>, end: End) {
        match end.result {
            Ok(()) => cx.state.answered += 1,
            Err(error) => {
                cx.state.failed += 1;
                log::error!("{error}");
            }
        }
        count(cx);
    }
}

/// Answers each line after a delay.
struct Server {
    delay: Duration,
    questions: usize,
}

impl Protocol<Demo> for Server {
    fn received(&mut self, conn: &mut Conn<'_, Demo>, input: &mut Input<'_>) -> io::Result<()> {
        while input.take_line().is_some() {
            self.questions += 1;
            conn.deadline(self.delay);
        }
        Ok(())
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, Demo>) -> io::Result<()> {
        while self.questions > 0 {
            self.questions -= 1;
            conn.write(b"me\n");
        }
        Ok(())
    }
}

fn wave(cx: &mut Cx<'_, Demo>) {
    let (pool, servers) = (cx.state.pool.clone(), cx.state.servers.clone());
    cx.state.waves_left -= 1;
    for key in servers.iter().cycle().take(cx.state.queries as usize) {
        pool.acquire(cx, key, Query);
    }
    cx.state.asked += cx.state.queries;
    let step = format!("{} queries asked", cx.state.asked);
    show(cx.state, &step);
}

/// One query has an answer or has failed.
fn count(cx: &mut Cx<'_, Demo>) {
    let demo = &mut *cx.state;
    let (over, before) = (demo.answered + demo.failed, demo.asked - demo.queries);
    let quarter = (demo.queries / 4).max(1);
    if (over - before) % quarter == 0 || over == demo.asked {
        let step = format!("{over} of {} answered", demo.asked);
        show(demo, &step);
    }
    if over == demo.asked && demo.waves_left > 0 {
        wave(cx);
    } else if over == demo.asked {
        let pool = demo.pool.clone();
        pool.drain(cx, Duration::from_secs(1));
        cx.after(Duration::ZERO, |cx| {
            show(cx.state, "drained");
            cx.shutdown(Duration::ZERO);
        });
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("warn");
    signals::exit_at_ctrl_c();
    let config = Config { limit: Some(args.limit), limit_per_host: args.limit_per_host, ..Config::default() };
    let pool = match Pool::new(config) {
        Ok(pool) => pool,
        Err(error) => return messages::show_wrong_usage(error),
    };
    messages::show_failure(run(&args, pool).map(|demo| {
        let status = if demo.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        output::exit_status(demo.printed, status)
    }))
}

fn run(args: &Args, pool: Pool<Demo>) -> io::Result<Demo> {
    let mut demo = Demo {
        pool,
        servers: Vec::new(),
        limit: args.limit,
        queries: args.queries,
        waves_left: 2,
        asked: 0,
        answered: 0,
        failed: 0,
        printed: Ok(()),
    };
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(&mut demo);
    for _ in 0..args.servers {
        let delay = args.delay;
        let mut listener = cx.listen((Ipv4Addr::LOCALHOST, 0), move |_, _| Server { delay, questions: 0 })?;
        let key = Key::new(listener.local_addr()?);
        cx.state.servers.push(key);
    }
    let heading = format!(
        "{:24} {:>6} {:>11} {:>7} {:>5} {:>8} {:>8} {:>10} {:>15}\n",
        "", "limit", "connecting", "leased", "idle", "closing", "waiting", "available", "sockets opened"
    );
    cx.state.printed = output::print(&heading);
    show(cx.state, "nothing asked yet");
    wave(&mut cx);
    reactor.run(&mut demo)?;
    Ok(demo)
}

/// Send many queries to a few local servers through a pool, and show what it does
#[derive(Parser)]
struct Args {
    /// How many queries each of the two waves has
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    queries: u32,
    /// How many servers they go to, in turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    servers: u32,
    /// How many connections there may be in all
    #[arg(long, value_name = "N", default_value_t = 8)]
    limit: usize,
    /// How many to one server [default: as many as in all]
    #[arg(long, value_name = "N")]
    limit_per_host: Option<usize>,
    /// The delay of each answer
    #[arg(long, value_name = "D", default_value = "5ms", value_parser = values::duration_from_ms(0), allow_hyphen_values = true)]
    delay: Duration,
}

fn show(demo: &mut Demo, step: &str) {
    let snapshot = demo.pool.snapshot();
    let total = snapshot.total;
    let row = format!(
        "{step:24} {:>6} {:>11} {:>7} {:>5} {:>8} {:>8} {:>10} {:>15}\n",
        demo.limit,
        total.connecting,
        total.leased,
        total.idle,
        total.closing,
        total.waiting,
        total.available.unwrap_or(0),
        snapshot.stats.opened
    );
    if demo.printed.is_ok() {
        demo.printed = output::print(&row);
    }
}
