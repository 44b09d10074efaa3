//! Talks to a server by hand, or from a pipe: standard input goes to it, what it says goes to standard output.
//!
//! What it teaches: connecting by name, by address or by path is all one call; a half-close tells the server that this
//! is all, and its answer still comes; and what blocks goes into a thread, which posts to the loop and waits until there
//! is room for more. At the end the loop takes the thread's handle away, so that every call that is posted is run.
//! (Standard input may be a file, a pipe or a terminal: files cannot be polled, and a terminal that is made nonblocking
//! is so for the shell too.)
//!
//!     cargo run --example echo                                         (in another terminal)
//!     echo hello | cargo run --example talk localhost:10007
//!     RUST_LOG=debug cargo run --example talk localhost:10007 < LICENSE-MIT
//!
//! You should see your own words come back. `RUST_LOG=debug` shows each address that is tried: `localhost` often has
//! two, and `echo` listens on 127.0.0.1 only. Try a port on which nobody listens to see the error name both, and
//! `talk /run/…` for a Unix socket.

#[path = "common/duration.rs"]
mod duration;
#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/output.rs"]
mod output;

use clap::Parser;
use enjamb::{Conn, ConnId, Cx, End, Handle, Input, Protocol, Reactor, Target};
use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Send standard input to a server, and print what it answers
#[derive(Parser)]
struct Args {
    /// How long connecting may take, with looking up the name and trying its addresses
    #[arg(long, value_name = "D", default_value = "10s", value_parser = duration::at_least_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
    /// The server, as HOST:PORT, or as the PATH of a Unix socket: with a slash in it
    #[arg(value_name = "SERVER", value_parser = server)]
    server: Target,
}

fn server(text: &str) -> Result<Target, String> {
    #[cfg(unix)]
    if text.contains('/') {
        return Ok(Target::from(std::path::Path::new(text)));
    }
    text.parse().map_err(|error: io::Error| error.to_string())
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("warn");
    interrupt::ends_the_program();
    match talk(&args) {
        Ok(status) => status,
        Err(message) => {
            log::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// What is left at the end.
struct Outcome {
    printed: io::Result<()>,
    end: Option<End>,
}

fn talk(args: &Args) -> Result<ExitCode, String> {
    let mut outcome = Outcome { printed: Ok(()), end: None };
    let mut reactor = Reactor::new().map_err(|error| format!("cannot make an event loop: {error}"))?;
    let handle = Arc::new(SharedHandle(Mutex::new(Some(reactor.handle()))));
    reactor.cx(&mut outcome).connect(&args.server, Talk { handle, room: None }).deadline(args.timeout);
    reactor.run(&mut outcome).map_err(|error| format!("the event loop failed: {error}"))?;
    match outcome.end {
        Some(end) if outcome.printed.is_ok() && end.result.is_err() => Err(end.to_string()),
        _ => Ok(output::exit_status(outcome.printed, ExitCode::SUCCESS)),
    }
}

/// The loop's handle, for the thread that reads standard input, until the loop takes it away. The thread itself may wait
/// for standard input for ever.
struct SharedHandle(Mutex<Option<Handle<Outcome>>>);

impl SharedHandle {
    fn lock(&self) -> MutexGuard<'_, Option<Handle<Outcome>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the loop will run this.
    fn post(&self, call: impl FnOnce(&mut Cx<'_, Outcome>) + Send + 'static) -> bool {
        self.lock().as_ref().is_some_and(|handle| handle.post(call).is_ok())
    }
}

struct Talk {
    handle: Arc<SharedHandle>,
    /// Tells the thread that reads standard input that there is room for more.
    room: Option<SyncSender<()>>,
}

impl Protocol<Outcome> for Talk {
    fn opened(&mut self, conn: &mut Conn<'_, Outcome>) -> io::Result<()> {
        let (room, has_room) = sync_channel(1);
        self.room = Some(room.clone());
        let (id, handle) = (conn.id(), Arc::clone(&self.handle));
        thread::Builder::new().spawn(move || pass_on(id, &handle, &room, &has_room)).map(drop)
    }

    fn received(&mut self, conn: &mut Conn<'_, Outcome>, input: &mut Input<'_>) -> io::Result<()> {
        let printed = output::print(input.take_all());
        if printed.is_err() {
            conn.state().printed = printed;
            conn.abort(io::ErrorKind::BrokenPipe.into()); // nobody is there to read an answer
        }
        Ok(())
    }

    fn drained(&mut self, _conn: &mut Conn<'_, Outcome>) -> io::Result<()> {
        if let Some(room) = &self.room {
            room.try_send(()).ok(); // it may have been told already
        }
        Ok(())
    }

    /// The server has said its last (`ended` closes by itself): there is no waiting for standard input to end too. Without
    /// a handle, the loop runs what was posted before, and ends by itself.
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Outcome>, end: End) {
        cx.state.end = Some(end);
        self.handle.lock().take();
    }
}

/// Reads standard input to its end, piece by piece, each when the connection has room for it.
fn pass_on(id: ConnId, handle: &SharedHandle, room: &SyncSender<()>, has_room: &Receiver<()>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = match io::stdin().read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read,
        };
        let last = !matches!(read, Ok(n) if n > 0);
        let piece = read.map(|n| buffer[..n].to_vec());
        let room = room.clone();
        let posted = handle.post(move |cx| {
            let Some(mut conn) = cx.conn(id) else { return };
            match piece {
                Ok(piece) if piece.is_empty() => conn.finish(),
                Ok(piece) => drop(conn.write(&piece)),
                Err(error) => {
                    conn.abort(io::Error::new(error.kind(), format!("cannot read standard input: {error}")));
                }
            }
            if !conn.is_full() {
                room.try_send(()).ok(); // otherwise `drained` says so
            }
        });
        if last || !posted || has_room.recv().is_err() {
            return;
        }
    }
}
