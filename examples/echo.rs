//! An echo server without messages, for measurements and for tests of faults.
//!
//! What it teaches: a complete server in a few lines, and an orderly shutdown. By default, every buffer has a limit:
//! the loop does not read from a client while too much output for it is unsent.
//!
//!     cargo run --release --example echo -- --listen 10007
//!     cargo run --release --example echo -- --listen 10007 --idle-timeout 1m --max-conns 100 --drain-timeout 2s
//!
//! You should see `listening on 127.0.0.1:10007` and nothing more. Talk to it with `nc 127.0.0.1 10007`. At Ctrl-C or
//! SIGTERM it sends its unsent output and exits with status 0, or with 1 if it had to cut off a client; a second signal
//! ends it at once. `RUST_LOG=debug` shows how connections end.

mod common;

use clap::Parser;
use common::messages::Context;
use common::server::Shutdown;
use common::{messages, output, server, values};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// The whole server. It has no state, so a connection needs only the memory of the loop.
struct Echo;

impl Protocol<Shutdown> for Echo {
    fn received(&mut self, conn: &mut Conn<'_, Shutdown>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Shutdown>, end: End) {
        log::debug!("{end}");
        cx.state.note(&end);
    }
}

/// The same with an idle timeout.
struct ImpatientEcho {
    idle_timeout: Duration,
    /// The unsent bytes when the deadline was set.
    unsent_before: usize,
}

impl Protocol<Shutdown> for ImpatientEcho {
    fn opened(&mut self, conn: &mut Conn<'_, Shutdown>) -> io::Result<()> {
        self.arm(conn);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Shutdown>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        self.arm(conn);
        Ok(())
    }

    fn drained(&mut self, conn: &mut Conn<'_, Shutdown>) -> io::Result<()> {
        self.arm(conn);
        Ok(())
    }

    /// A client that takes some of its output is not idle. If it takes none, the error resets the connection: after an
    /// orderly close, the client could not see that a part is missing.
    fn timed_out(&mut self, conn: &mut Conn<'_, Shutdown>) -> io::Result<()> {
        match conn.unsent() {
            0 => conn.close(),
            unsent if unsent < self.unsent_before => self.arm(conn),
            unsent => {
                let message =
                    format!("the client took none of {unsent} bytes within {:?}", self.idle_timeout);
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Shutdown>, end: End) {
        Box::new(Echo).closed(cx, end);
    }
}

impl ImpatientEcho {
    fn arm(&mut self, conn: &mut Conn<'_, Shutdown>) {
        self.unsent_before = conn.unsent();
        conn.deadline(self.idle_timeout);
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue_from("warn");
    messages::show_failure(serve(&args))
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    let mut shutdown = Shutdown::default();
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let mut cx = reactor.cx(&mut shutdown);
    let address =
        listen(&mut cx, args).map_err(|error| server::cannot_listen(args.listen, "--listen 0", &error))?;
    server::shut_down_at_signal(&mut cx, args.drain_timeout, |cx| cx.state.begin())?;
    output::queue().push(format!("listening on {address}\n"));
    reactor.run(&mut shutdown).context("the event loop failed")?;
    Ok(shutdown.exit_status(args.drain_timeout))
}

fn listen(cx: &mut Cx<'_, Shutdown>, args: &Args) -> io::Result<SocketAddr> {
    let mut listener = match args.idle_timeout {
        None => cx.listen(args.listen, |_cx, _peer| Echo)?,
        Some(idle_timeout) => {
            cx.listen(args.listen, move |_cx, _peer| ImpatientEcho { idle_timeout, unsent_before: 0 })?
        }
    };
    if let Some(most) = args.max_conns {
        listener.limit(most);
    }
    listener.local_addr()
}

/// Send all input back, over TCP
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10007", value_parser = values::listen_address)]
    listen: SocketAddr,
    /// Close a connection after this time without progress; reset it if output is unsent [default: never]
    #[arg(long, value_name = "D", value_parser = values::duration_from_ms(1), allow_hyphen_values = true)]
    idle_timeout: Option<Duration>,
    /// Accept no more while N connections are open [default: no limit but that of descriptors]
    #[arg(long, value_name = "N", value_parser = values::number_of("connections", 1..), allow_negative_numbers = true)]
    max_conns: Option<usize>,
    /// At the end: how long the clients may take to receive their unsent output
    #[arg(long, value_name = "D", default_value = "5s", value_parser = values::duration_from_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}
