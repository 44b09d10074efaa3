//! When a connection goes back to its pool: when its answer is complete, not when the caller has read it.
//!
//! What it teaches: a complete answer frees its connection; an answer that its caller does not read keeps it. The
//! program makes two requests to a server with small answers and three to one with large answers, and reads no answer.
//! After each request it prints how many more connections the pool would allow to that server. The limits are 25 in all
//! and 5 per host.
//!
//!     cargo run --example pool_table
//!
//! You should see 4, 4, 4, 3, 2, and the reason. aiohttp's `TCPConnector(limit=25, limit_per_host=5)` has the same
//! numbers for the same requests.

mod common;

use clap::Parser;
use common::{messages, output, signals};
use enjamb::pool::{Config, Key, Pool, Reuse};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

struct Run {
    pool: Pool<Run>,
    requests: VecDeque<Request>,
    table: String,
    failed: Option<io::Error>,
}

struct Request {
    what: &'static str,
    server: Key,
}

/// How much of an unread answer the program buffers. Then it stops reading, and the rest stays with the server.
const KEPT: usize = 64 << 10;

/// A request, and its answer: a line with a length, and that many bytes.
struct Fetch {
    request: Request,
    length: Option<usize>,
    kept: usize,
}

impl Protocol<Run> for Fetch {
    fn opened(&mut self, conn: &mut Conn<'_, Run>) -> io::Result<()> {
        conn.write(b"please\n");
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Run>, input: &mut Input<'_>) -> io::Result<()> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(line) = input.take_line() else { return Ok(()) };
                let length = str::from_utf8(line).ok().and_then(|line| line.parse().ok());
                let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no length"))?;
                note(conn.state(), &self.request); // here a caller would get the head of the answer
                *self.length.insert(length)
            }
        };
        self.kept += input.take(length - self.kept).len();
        if self.kept == length {
            conn.release(Reuse::Reusable);
        } else if self.kept >= KEPT {
            conn.pause();
            go_on(conn.cx());
        }
        Ok(())
    }

    fn ended(&mut self, _: &mut Conn<'_, Run>, _: &mut Input<'_>) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended in the middle of its answer"))
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Run>, end: End) {
        match end.result {
            Ok(()) => go_on(cx),
            Err(error) => {
                cx.state.failed = Some(error);
                cx.stop();
            }
        }
    }
}

/// Makes the next request, or ends after the last one.
fn go_on(cx: &mut Cx<'_, Run>) {
    match cx.state.requests.pop_front() {
        Some(request) => {
            let (pool, server) = (cx.state.pool.clone(), request.server.clone());
            pool.acquire(cx, &server, Fetch { request, length: None, kept: 0 });
        }
        None => cx.stop(),
    }
}

fn note(run: &mut Run, request: &Request) {
    let snapshot = run.pool.snapshot();
    let available = snapshot.host(&request.server).available.unwrap_or(0);
    run.table += &format!("{:18}  {available:>9}  {:>14}\n", request.what, snapshot.stats.opened);
}

/// Gives the same answer to each request.
struct Server {
    length: usize,
}

impl Protocol<Run> for Server {
    fn opened(&mut self, conn: &mut Conn<'_, Run>) -> io::Result<()> {
        conn.deadline(Duration::from_secs(60));
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Run>, input: &mut Input<'_>) -> io::Result<()> {
        while input.take_line().is_some() {
            conn.write(format!("{}\n", self.length).as_bytes());
            conn.write(&vec![b'.'; self.length]);
        }
        Ok(())
    }
}

const SMALL: usize = 200;

const LARGE: usize = 4 << 20;

const WHY: &str = "
The second request uses the connection of the first one: the small answer was complete, so its connection
was back in the pool, although the answer was not read. So 1 of 5 is in use, not 2.
A large answer that is not read does not come to its end. It keeps its connection, and each takes one more.
";

fn main() -> ExitCode {
    let Args {} = Args::parse();
    messages::show_from("error");
    signals::exit_at_ctrl_c();
    let print = |table| output::exit_status(output::print(&(table + WHY)), ExitCode::SUCCESS);
    messages::show_failure(run().map(print))
}

fn run() -> io::Result<String> {
    let config = Config { limit: Some(25), limit_per_host: Some(5), ..Config::default() };
    let mut run = Run {
        pool: Pool::new(config)?,
        requests: VecDeque::new(),
        table: format!("{:18}  {:>9}  {:>14}\n", "answer", "available", "sockets opened"),
        failed: None,
    };
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(&mut run);
    for (what, length, requests) in [("small, unread", SMALL, 2), ("large, unread", LARGE, 3)] {
        let mut listener = cx.listen((Ipv4Addr::LOCALHOST, 0), move |_, _| Server { length })?;
        let server = Key::new(listener.local_addr()?);
        cx.state.requests.extend((0..requests).map(|_| Request { what, server: server.clone() }));
    }
    go_on(&mut cx);
    reactor.run(&mut run)?;
    run.failed.map_or(Ok(run.table), Err)
}

/// Show when a connection goes back to its pool
#[derive(Parser)]
struct Args {}
