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
#[path = "common/listening.rs"]
mod listening;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/output.rs"]
mod output;

use clap::Parser;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
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
    /// Close a connection on which nothing moves for this long [default: never]
    #[arg(long, value_name = "D", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    idle_timeout: Option<Duration>,
    /// Accept no more while N connections are open [default: as many as there are descriptors]
    #[arg(long, value_name = "N", value_parser = max_conns, allow_negative_numbers = true)]
    max_conns: Option<usize>,
    /// How long clients may take, when the server ends, to receive what they are owed
    #[arg(long, value_name = "D", default_value = "5s", value_parser = duration::at_least_ms(0), allow_hyphen_values = true)]
    drain_timeout: Duration,
}

/// What the connections share.
#[derive(Default)]
struct Server {
    /// Whether a signal has asked for the end.
    ending: bool,
    /// How many connections were cut off since then because they did not take what they were owed.
    cut: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("warn");
    match serve(&args) {
        Ok(status) => status,
        Err(message) => {
            log::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    let mut server = Server::default();
    let mut reactor = Reactor::new().map_err(|error| format!("cannot make an event loop: {error}"))?;
    let mut cx = reactor.cx(&mut server);
    let address =
        listen(&mut cx, args).map_err(|error| listening::failure(args.listen, &error, "--listen 0"))?;
    signals::end_in_good_order(&mut cx, args.drain_timeout)
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    let printed = output::print(&format!("listening on {address}\n"));
    if printed.is_err() {
        return Ok(output::exit_status(printed, ExitCode::SUCCESS));
    }
    reactor.run(&mut server).map_err(|error| format!("the event loop failed: {error}"))?;
    Ok(status(&server, args.drain_timeout))
}

fn listen(cx: &mut Cx<'_, Server>, args: &Args) -> io::Result<SocketAddr> {
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

fn status(server: &Server, drain_timeout: Duration) -> ExitCode {
    if server.cut == 0 {
        return ExitCode::SUCCESS;
    }
    log::error!(
        "cut off {} of the connections, which had not taken what they were owed within {drain_timeout:?}: \
         give them a longer --drain-timeout",
        server.cut
    );
    ExitCode::FAILURE
}

/// The whole server: it has no state of its own, so a connection costs what the loop keeps for it and nothing more.
struct Echo;

impl Protocol<Server> for Echo {
    fn received(&mut self, conn: &mut Conn<'_, Server>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Server>, end: End) {
        log::debug!("{end}");
        let timed_out = end.result.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if cx.state.ending && timed_out {
            cx.state.cut += 1;
        }
    }
}

/// The same, for clients that are not waited for when nothing moves.
struct ImpatientEcho {
    idle_timeout: Duration,
    /// What was unsent when the idle timeout was armed.
    owed: usize,
}

impl ImpatientEcho {
    fn arm(&mut self, conn: &mut Conn<'_, Server>) {
        self.owed = conn.unsent();
        conn.deadline(self.idle_timeout);
    }
}

impl Protocol<Server> for ImpatientEcho {
    fn opened(&mut self, conn: &mut Conn<'_, Server>) -> io::Result<()> {
        self.arm(conn);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Server>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        self.arm(conn);
        Ok(())
    }

    fn drained(&mut self, conn: &mut Conn<'_, Server>) -> io::Result<()> {
        self.arm(conn);
        Ok(())
    }

    /// A client that sends nothing may still be taking what it is owed: that is not idle.
    fn timed_out(&mut self, conn: &mut Conn<'_, Server>) -> io::Result<()> {
        if (1..self.owed).contains(&conn.unsent()) {
            self.arm(conn);
        } else {
            conn.close();
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Server>, end: End) {
        Box::new(Echo).closed(cx, end);
    }
}

#[cfg(unix)]
mod signals {
    use super::Server;
    use enjamb::mio::{self, Interest};
    use enjamb::{Cx, Readiness, Step, Watch};
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::{flag, low_level};
    use std::io::{self, Read};
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, atomic::AtomicBool};
    use std::time::Duration;

    /// The end of a pipe into which a signal writes a byte: so a signal becomes an event like any other.
    struct Signals {
        drain_timeout: Duration,
    }

    pub fn end_in_good_order(cx: &mut Cx<'_, Server>, drain_timeout: Duration) -> io::Result<()> {
        let (signals, from_handler) = UnixStream::pair()?;
        let second = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The actions of a signal run in this order: the first signal finds the flag down, and raises it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&second))?;
            flag::register(signal, Arc::clone(&second))?;
            low_level::pipe::register(signal, from_handler.try_clone()?)?;
        }
        signals.set_nonblocking(true)?;
        let signals = mio::net::UnixStream::from_std(signals);
        cx.watch(signals, Interest::READABLE, Signals { drain_timeout })?;
        Ok(())
    }

    impl Watch<mio::net::UnixStream, Server> for Signals {
        fn ready(
            &mut self,
            cx: &mut Cx<'_, Server>,
            pipe: &mut mio::net::UnixStream,
            _ready: Readiness,
        ) -> io::Result<Step> {
            match pipe.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Wait),
                read => read?,
            };
            log::warn!("ending within {:?}; a second signal ends it at once", self.drain_timeout);
            cx.state.ending = true;
            cx.shutdown(self.drain_timeout);
            Ok(Step::Done)
        }
    }
}

#[cfg(not(unix))]
mod signals {
    use super::Server;
    use enjamb::Cx;
    use std::io;
    use std::time::Duration;

    /// Elsewhere the system ends the program.
    pub fn end_in_good_order(_cx: &mut Cx<'_, Server>, _drain_timeout: Duration) -> io::Result<()> {
        Ok(())
    }
}

fn max_conns(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(most) if most > 0 => Ok(most),
        _ => Err("expected a number of connections from 1 up".to_string()),
    }
}
