//! Sends standard input to a server, and prints its answer to standard output.
//!
//! What it teaches: one call connects by name, by address or by path. A half-close ends the input of the server, and
//! its answer still comes. Blocking reads run in a thread, which posts each piece to the loop and waits until the
//! connection has room for more. At the end, the loop takes the thread's handle away, so that every posted call runs.
//! (Standard input needs a thread: a file cannot be polled, and a terminal that is made nonblocking is nonblocking for
//! the shell, too.)
//!
//!     cargo run --example echo                                         (in another terminal)
//!     echo hello | cargo run --example talk localhost:10007
//!     RUST_LOG=debug cargo run --example talk localhost:10007 < LICENSE-MIT
//!
//! You should see your input again. `RUST_LOG=debug` shows each address that it tries: `localhost` often has two, and
//! `echo` listens on 127.0.0.1 only. Try a port without a server to see an error that names both, and `talk /run/…` for
//! a Unix socket.

mod common;

use clap::Parser;
use common::messages::Context;
use common::{messages, output, signals, values};
use enjamb::{Conn, ConnId, Cx, End, Handle, Input, Protocol, Reactor, Target};
use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

struct Talk {
    handle: Arc<SharedHandle>,
    /// Tells the thread that the connection has room for more.
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
            conn.abort(io::ErrorKind::BrokenPipe.into()); // the rest of the answer has no reader
        }
        Ok(())
    }

    fn drained(&mut self, _conn: &mut Conn<'_, Outcome>) -> io::Result<()> {
        if let Some(room) = &self.room {
            room.try_send(()).ok(); // a full channel holds the same message already
        }
        Ok(())
    }

    /// The end of the server's output ends the program (the default `ended` closes the connection); standard input may
    /// still be open. Without a handle, the loop runs the calls that were posted before, and returns.
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Outcome>, end: End) {
        cx.state.end = Some(end);
        self.handle.lock().take();
    }
}

/// Runs in the thread: reads standard input piece by piece, each when the connection has room for it.
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
                room.try_send(()).ok(); // otherwise `drained` does it
            }
        });
        if last || !posted || has_room.recv().is_err() {
            return;
        }
    }
}

/// The thread's handle to the loop, until the loop takes it away. A handle keeps the loop running, and the thread may
/// block in a read for ever.
struct SharedHandle(Mutex<Option<Handle<Outcome>>>);

impl SharedHandle {
    fn lock(&self) -> MutexGuard<'_, Option<Handle<Outcome>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the loop will run the call.
    fn post(&self, call: impl FnOnce(&mut Cx<'_, Outcome>) + Send + 'static) -> bool {
        self.lock().as_ref().is_some_and(|handle| handle.post(call).is_ok())
    }
}

/// The loop's state.
struct Outcome {
    printed: io::Result<()>,
    end: Option<End>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    messages::show_from("warn");
    signals::exit_at_ctrl_c();
    messages::show_failure(talk(&args))
}

fn talk(args: &Args) -> Result<ExitCode, String> {
    let mut outcome = Outcome { printed: Ok(()), end: None };
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let handle = Arc::new(SharedHandle(Mutex::new(Some(reactor.handle()))));
    reactor.cx(&mut outcome).connect(&args.server, Talk { handle, room: None }).deadline(args.timeout);
    reactor.run(&mut outcome).context("the event loop failed")?;
    match outcome.end {
        Some(end) if outcome.printed.is_ok() && end.result.is_err() => Err(end.to_string()),
        _ => Ok(output::exit_status(outcome.printed, ExitCode::SUCCESS)),
    }
}

/// Send standard input to a server, and print what it answers
#[derive(Parser)]
struct Args {
    /// How long the connect may take, with the look-up of the name and all of its addresses
    #[arg(long, value_name = "D", default_value = "10s", value_parser = values::duration_from_ms(1), allow_hyphen_values = true)]
    timeout: Duration,
    /// The server, as HOST:PORT, or as the PATH of a Unix socket (with a slash)
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
