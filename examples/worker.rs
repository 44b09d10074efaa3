//! Slow work in a thread of its own, and its results on the loop.
//!
//! What it teaches: a callback must return soon, or everybody waits. So what takes long goes to a worker thread, and the
//! worker hands its result back through a `Handle`: a closure that the loop runs. The question carries the id of the
//! connection that asked, which finds nobody if that has left meanwhile, never a newcomer. The queue to the worker has an
//! end, and who comes when it is full is told so. A client that has said its last is not gone: it is still owed answers. And
//! at the end the worker is told to stop, and the loop goes on until it has.
//!
//!     cargo run --release --example worker -- --listen 10011
//!
//! You should see `listening on 127.0.0.1:10011`. With `nc 127.0.0.1 10011`, send a number to learn how many primes there are
//! up to it, as in `10000000: 664579`, and `ping` meanwhile: the `pong` comes at once. Ctrl-C or SIGTERM ends it.

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
use enjamb::{Conn, ConnId, Cx, End, Handle, Input, Protocol, Reactor};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Questions that wait for the worker. Beyond, an answer would come too late to be of use.
const QUEUE: usize = 16;
/// The longest line: a number of eight digits, or `ping`.
const LONGEST: usize = 64;
const LARGEST: u32 = 10_000_000;
/// How long clients may take, when the server ends, to receive what they are owed.
const DRAIN: Duration = Duration::from_secs(5);

/// Count primes without holding up anybody
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10011", value_parser = address::with_port(0..=65535))]
    listen: SocketAddr,
}

struct Question {
    asker: ConnId,
    up_to: u32,
}

/// Who is owed answers, for the connections and the worker's answers to share.
type Debts = HashMap<ConnId, Debt>;

#[derive(Default)]
struct Debt {
    answers: usize,
    /// Its client has said its last, and is closed with the last answer.
    ended: bool,
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
    let mut reactor = Reactor::new().map_err(|error| format!("cannot make an event loop: {error}"))?;
    let (to_worker, questions) = sync_channel(QUEUE);
    let over = Arc::new(AtomicBool::new(false));
    let (handle, is_over) = (reactor.handle(), Arc::clone(&over));
    let worker =
        thread::Builder::new().name("worker".into()).spawn(move || work(&questions, &handle, &is_over));
    worker.map_err(|error| format!("cannot start a thread: {error}"))?;
    let mut debts = Debts::new();
    let mut cx = reactor.cx(&mut debts);
    let address = cx
        .listen(args.listen, move |_cx, _peer| Asker { id: None, to_worker: to_worker.clone() })
        .and_then(|mut listener| listener.local_addr())
        .map_err(|error| listening::failure(args.listen, &error, "--listen 0"))?;
    signals::first_calls(&mut cx, |cx| cx.shutdown(DRAIN))
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    server_stdout::open().push(format!("listening on {address}\n"));
    let failed = |error| format!("the event loop failed: {error}");
    reactor.run(&mut debts).map_err(failed)?;
    // The shutdown has not waited for the worker. Its handle keeps the loop running until it has stopped, so that every
    // answer that it still posts is run.
    over.store(true, Ordering::Relaxed);
    reactor.run(&mut debts).map_err(failed)
}

/// The worker: it knows of the loop only how to post to it, and whether it is over.
fn work(questions: &Receiver<Question>, loop_handle: &Handle<Debts>, over: &AtomicBool) {
    for Question { asker, up_to } in questions {
        let Some(primes) = primes(up_to, over) else { return };
        let answer = format!("{up_to}: {primes}\n");
        let posted = loop_handle.post(move |cx| pay(cx, asker, &answer));
        if let Err(error) = posted {
            log::debug!("an answer is lost: {error}");
        }
    }
}

/// Runs on the loop.
fn pay(cx: &mut Cx<'_, Debts>, asker: ConnId, answer: &str) {
    let Some(debt) = cx.state.get_mut(&asker) else { return };
    debt.answers -= 1;
    let is_last = debt.answers == 0 && debt.ended;
    if let Some(mut conn) = cx.conn(asker) {
        conn.write(answer.as_bytes());
        if is_last {
            conn.close();
        }
    }
}

/// As slow as can be, on purpose. `None` if it was told to stop.
fn primes(up_to: u32, over: &AtomicBool) -> Option<usize> {
    let is_prime = |n: u32| (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor));
    let mut primes = 0;
    for n in 2..=up_to {
        if over.load(Ordering::Relaxed) {
            return None;
        }
        primes += usize::from(is_prime(n));
    }
    Some(primes)
}

struct Asker {
    id: Option<ConnId>,
    to_worker: SyncSender<Question>,
}

impl Asker {
    fn hear(&self, conn: &mut Conn<'_, Debts>, line: &[u8]) {
        let number = str::from_utf8(line).ok().and_then(|text| text.parse().ok());
        let number = number.filter(|number| (1..=LARGEST).contains(number));
        let asker = conn.id();
        match (line, number) {
            (b"ping", _) => _ = conn.write(b"pong\n"),
            // Never wait for a place in the queue: that would hold up the loop.
            (_, Some(up_to)) => match self.to_worker.try_send(Question { asker, up_to }) {
                Ok(()) => conn.state().entry(asker).or_default().answers += 1,
                Err(_) => _ = conn.write(b"busy: try again later\n"),
            },
            _ => _ = conn.write(format!("expected `ping` or a number from 1 to {LARGEST}\n").as_bytes()),
        }
    }
}

impl Protocol<Debts> for Asker {
    fn opened(&mut self, conn: &mut Conn<'_, Debts>) -> io::Result<()> {
        self.id = Some(conn.id());
        conn.input_limit(LONGEST);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Debts>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            self.hear(conn, line);
        }
        Ok(())
    }

    fn ended(&mut self, conn: &mut Conn<'_, Debts>, rest: &mut Input<'_>) -> io::Result<()> {
        if !rest.is_empty() {
            self.hear(conn, rest.take_all()); // the last line, which has no newline
        }
        let id = conn.id();
        match conn.state().get_mut(&id) {
            Some(debt) if debt.answers > 0 => debt.ended = true,
            _ => conn.close(),
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Debts>, end: End) {
        log::debug!("{end}");
        self.id.map(|id| cx.state.remove(&id));
    }
}
