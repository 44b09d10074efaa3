//! Slow work in a thread, and its results on the loop.
//!
//! What it teaches: a slow callback would delay all connections. So slow work goes to a worker thread, and the worker
//! posts each result through a `Handle`, as a closure that the loop runs. A question carries the id of its connection;
//! a stale id never names the slot's next occupant. The queue to the worker is bounded, and a client gets an error when
//! it is full. After a client's half-close, its answers still come. At the end the program tells the worker to stop,
//! and the loop runs until it has stopped.
//!
//!     cargo run --release --example worker -- --listen 10011
//!
//! You should see `listening on 127.0.0.1:10011`. With `nc 127.0.0.1 10011`, send a number to get the number of primes
//! up to it, such as `10000000: 664579`, and meanwhile `ping`: the `pong` comes at once. Ctrl-C or SIGTERM ends it.

mod common;

use clap::Parser;
use common::messages::Context;
use common::{messages, output, server, signals, values};
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

/// The most questions in the queue to the worker. With more, an answer would come too late.
const QUEUE: usize = 16;

/// The input limit. A valid line is a number of up to eight digits, or `ping`.
const INPUT_LIMIT: usize = 64;

const LARGEST: u32 = 10_000_000;

/// The loop's state: the connections with open questions.
type Askers = HashMap<ConnId, Open>;

#[derive(Default)]
struct Open {
    questions: usize,
    /// The client has half-closed: its connection closes after the last answer.
    ended: bool,
}

struct Question {
    asker: ConnId,
    up_to: u32,
}

struct Asker {
    id: Option<ConnId>,
    to_worker: SyncSender<Question>,
}

impl Protocol<Askers> for Asker {
    fn opened(&mut self, conn: &mut Conn<'_, Askers>) -> io::Result<()> {
        self.id = Some(conn.id());
        conn.input_limit(INPUT_LIMIT);
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, Askers>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            self.hear(conn, line);
        }
        Ok(())
    }

    fn ended(&mut self, conn: &mut Conn<'_, Askers>, rest: &mut Input<'_>) -> io::Result<()> {
        if !rest.is_empty() {
            self.hear(conn, rest.take_all()); // a last line without a newline
        }
        let id = conn.id();
        match conn.state().get_mut(&id) {
            Some(open) if open.questions > 0 => open.ended = true,
            _ => conn.close(),
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Askers>, end: End) {
        log::debug!("{end}");
        self.id.map(|id| cx.state.remove(&id));
    }
}

impl Asker {
    fn hear(&self, conn: &mut Conn<'_, Askers>, line: &[u8]) {
        let number = str::from_utf8(line).ok().and_then(|text| text.parse().ok());
        let number = number.filter(|number| (1..=LARGEST).contains(number));
        let asker = conn.id();
        let reply = match (line, number) {
            (b"ping", _) => "pong\n".to_owned(),
            // Do not wait for a place in the queue: that would block the loop.
            (_, Some(up_to)) => match self.to_worker.try_send(Question { asker, up_to }) {
                Ok(()) => return conn.state().entry(asker).or_default().questions += 1,
                Err(_) => "busy: try again later\n".to_owned(),
            },
            _ => format!("expected `ping` or a number from 1 to {LARGEST}\n"),
        };
        conn.write(reply.as_bytes());
    }
}

/// Runs in the worker thread.
fn work(questions: &Receiver<Question>, loop_handle: &Handle<Askers>, over: &AtomicBool) {
    for Question { asker, up_to } in questions {
        let Some(primes) = primes(up_to, over) else { return };
        let answer = format!("{up_to}: {primes}\n");
        let posted = loop_handle.post(move |cx| send_answer(cx, asker, &answer));
        if let Err(error) = posted {
            log::debug!("an answer is lost: {error}");
        }
    }
}

/// Runs on the loop, from a posted closure.
fn send_answer(cx: &mut Cx<'_, Askers>, asker: ConnId, answer: &str) {
    let Some(open) = cx.state.get_mut(&asker) else { return };
    open.questions -= 1;
    let is_last = open.questions == 0 && open.ended;
    if let Some(mut conn) = cx.conn(asker) {
        conn.write(answer.as_bytes());
        if is_last {
            conn.close();
        }
    }
}

/// Slow on purpose. `None` if the program ends meanwhile.
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

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = messages::queue_from("warn");
    messages::show_failure(serve(&args).map(|()| ExitCode::SUCCESS))
}

fn serve(args: &Args) -> Result<(), String> {
    let mut reactor = Reactor::new().context("cannot make an event loop")?;
    let (to_worker, questions) = sync_channel(QUEUE);
    let over = Arc::new(AtomicBool::new(false));
    let (handle, is_over) = (reactor.handle(), Arc::clone(&over));
    let worker =
        thread::Builder::new().name("worker".into()).spawn(move || work(&questions, &handle, &is_over));
    worker.context("cannot start a thread")?;
    let mut askers = Askers::new();
    let mut cx = reactor.cx(&mut askers);
    let address = cx
        .listen(args.listen, move |_cx, _peer| Asker { id: None, to_worker: to_worker.clone() })
        .and_then(|mut listener| listener.local_addr())
        .map_err(|error| server::cannot_listen(args.listen, "--listen 0", &error))?;
    signals::at_first(&mut cx, |cx| cx.shutdown(DRAIN_TIMEOUT))?;
    output::queue().push(format!("listening on {address}\n"));
    reactor.run(&mut askers).context("the event loop failed")?;
    // The shutdown does not wait for the worker. The second run does: the worker's handle keeps the loop running until
    // the worker has stopped.
    over.store(true, Ordering::Relaxed);
    reactor.run(&mut askers).context("the event loop failed")
}

/// At the end: how long the clients may take to receive their unsent output.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Count primes without blocking the loop
#[derive(Parser)]
struct Args {
    /// Where to listen, as [HOST:]PORT; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "10011", value_parser = values::listen_address)]
    listen: SocketAddr,
}
