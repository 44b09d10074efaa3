//! A bare echo server on `enjamb`, for measuring and for faults.
//!
//! What it teaches: a whole server in a few lines, and how it ends in good order. Everything has a limit by default:
//! a client that sends without reading is read no further until it has taken what it is owed.
//!
//!     cargo run --release --example echo -- --listen 10007
//!     cargo run --release --example echo -- --listen 10007 --idle-timeout 1m --max-conns 100 --drain-timeout 2s
//!
//! You should see `listening on 127.0.0.1:10007`, and nothing more: talk to it with `nc 127.0.0.1 10007`. Ctrl-C or
//! SIGTERM lets it send what it owes and exit with status 0, or 1 if a client had to be cut off; a second one ends it at
//! once. `RUST_LOG=debug` shows why connections end.

#[path = "common/address.rs"]
mod address;
#[path = "common/duration.rs"]
mod duration;
#[path = "common/line_queue.rs"]
mod line_queue;
#[path = "common/listening.rs"]
mod listening;
#[path = "common/orderly_end.rs"]
mod orderly_end;
#[path = "common/plain_messages.rs"]
mod plain_messages;
#[path = "common/server_log.rs"]
mod server_log;
#[path = "common/server_stdout.rs"]
mod server_stdout;

use clap::Parser;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use orderly_end::Ending;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Send back whatever comes, over TCP
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10007", value_parser = address::with_port(0..=65535))]
    listen: SocketAddr,
    /// Close a connection on which nothing moves for this long; it is reset if it is owed something [default: never]
    #[arg(long, value_name = "D", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    idle_timeout: Option<Duration>,
    /// Accept no more while N connections are open [default: as many as there are descriptors]
    #[arg(long, value_name = "N", value_parser = max_conns, allow_negative_numbers = true)]
    max_conns: Option<usize>,
    /// How long clients may take, when the server ends, to receive what they are owed
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration::at_least_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = server_log::start(plain_messages::from("warn"));
    match serve(&args) {
        Ok(status) => status,
        Err(message) => {
            log::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    let mut ending = Ending::default();
    let mut reactor = Reactor::new().map_err(|error| format!("cannot make an event loop: {error}"))?;
    let mut cx = reactor.cx(&mut ending);
    let address =
        listen(&mut cx, args).map_err(|error| listening::failure(args.listen, &error, "--listen 0"))?;
    orderly_end::on_signal(&mut cx, args.drain_timeout, |cx| cx.state.begin())
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    server_stdout::open().push(format!("listening on {address}\n"));
    reactor.run(&mut ending).map_err(|error| format!("the event loop failed: {error}"))?;
    Ok(ending.status(args.drain_timeout))
}

fn listen(cx: &mut Cx<'_, Ending>, args: &Args) -> io::Result<SocketAddr> {
    let mut listener = match args.idle_timeout {
        None => cx.listen(args.listen, |_cx, _peer| Echo)?,
        Some(idle_timeout) => {
            cx.listen(args.listen, move |_cx, _peer| ImpatientEcho { idle_timeout, owed: 0 })?
        }
    };
    if let Some(most) = args.max_conns {
        listener.limit(most);
    }
    listener.local_addr()
}

/// The whole server: it has no state of its own, so a connection costs what the loop keeps for it and nothing more.
struct Echo;

impl Protocol<Ending> for Echo {
    fn received(&mut self, conn: &mut Conn<'_, Ending>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Ending>, end: End) {
        log::debug!("{end}");
        cx.state.note(&end);
    }
}

/// The same, for clients that are not waited for when nothing moves.
struct ImpatientEcho {
    idle_timeout: Duration,
    /// What was unsent when the idle timeout was armed.
    owed: usize,
}

impl ImpatientEcho {
    fn arm(&mut self, conn: &mut Conn<'_, Ending>) {
        self.owed = conn.unsent();
        conn.deadline(self.idle_timeout);
    }
}

impl Protocol<Ending> for ImpatientEcho {
    fn opened(&mut self, conn: &mut Conn<'_, Ending>) -> io::Result<()> {
        self.arm(conn);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Ending>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        self.arm(conn);
        Ok(())
    }

    fn drained(&mut self, conn: &mut Conn<'_, Ending>) -> io::Result<()> {
        self.arm(conn);
        Ok(())
    }

    /// A client that sends nothing may still be taking what it is owed: that is not idle. One that takes nothing of it is
    /// cut off, and the error makes that a reset: an orderly end would have it take the part for the whole.
    fn timed_out(&mut self, conn: &mut Conn<'_, Ending>) -> io::Result<()> {
        match conn.unsent() {
            0 => conn.close(),
            unsent if unsent < self.owed => self.arm(conn),
            unsent => {
                let message = format!("of {unsent} bytes nothing was taken within {:?}", self.idle_timeout);
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Ending>, end: End) {
        Box::new(Echo).closed(cx, end);
    }
}

fn max_conns(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(most) if most > 0 => Ok(most),
        _ => Err("expected a number of connections from 1 up".to_string()),
    }
}
