//! Calls that other threads post: their order, their budget, their limit, and what happens to those that are lost.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use super::sources::run_elsewhere;
use crate::common::logged;
use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::times::{NEVER, NOW};
use crate::common::until::until;
use enjamb::{Config, Conn, ConnId, Cx, Handle, Input, PostError, Protocol, Reactor};
use log::Level;

/// Sends each line to a worker thread as a question.
struct Asks(Sender<(ConnId, String)>);

impl<S> Protocol<S> for Asks {
    fn received(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            let question = String::from_utf8_lossy(line).into_owned();
            self.0.send((conn.id(), question)).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// How many answers found nobody any more.
type Missed = usize;

fn answer(handle: &Handle<Missed>, id: ConnId, answer: String) {
    let tell = move |cx: &mut Cx<'_, Missed>| match cx.conn(id) {
        Some(mut conn) => _ = conn.write(answer.as_bytes()),
        None => *cx.state += 1,
    };
    handle.post(tell).expect("the loop is there");
}

#[test]
fn a_worker_thread_hands_its_results_to_the_connection_that_asked() {
    let mut reactor = Reactor::new().unwrap();
    let handle = reactor.handle();
    let (ask, questions) = channel::<(ConnId, String)>();
    let worker = thread::spawn(move || {
        for (id, question) in questions {
            answer(&handle, id, format!("{question}!\n"));
        }
    });
    let peers: Vec<_> = (0..3)
        .map(|_| {
            let (ours, peer) = sized_pair(None);
            reactor.cx(&mut 0).adopt(ours, Asks(ask.clone())).unwrap();
            peer
        })
        .collect();
    drop(ask);
    let clients = thread::spawn(move || {
        for (n, mut peer) in peers.into_iter().enumerate() {
            for round in 0..100 {
                peer.write_all(format!("{n} {round}\n").as_bytes()).unwrap(); // in one piece: Nagle's algorithm
                let expected = format!("{n} {round}!\n");
                let mut got = vec![0; expected.len()];
                peer.read_exact(&mut got).unwrap();
                assert_eq!(String::from_utf8_lossy(&got), expected);
            }
        }
    });
    let mut missed = 0;
    reactor.run(&mut missed).unwrap(); // returns when the connections, and with them the worker and its handle, are gone
    clients.join().unwrap();
    worker.join().unwrap();
    assert_eq!(missed, 0);
}

#[test]
fn a_result_for_a_connection_that_has_left_finds_nobody() {
    let mut reactor = Reactor::new().unwrap();
    let (ask, questions) = channel();
    let (ours, mut peer) = sized_pair(None);
    let mut missed = 0;
    let id = reactor.cx(&mut missed).adopt(ours, Asks(ask)).unwrap().id();
    peer.write_all(b"anybody?\n").unwrap();
    let mut question = None;
    until(&mut reactor, &mut missed, |_| {
        question = question.take().or(questions.try_recv().ok());
        question.is_some()
    });
    drop(peer);
    until(&mut reactor, &mut missed, |cx| cx.conn(id).is_none());
    let (newcomer, mut other) = sized_pair(None);
    let (ask, _questions) = channel();
    reactor.cx(&mut missed).adopt(newcomer, Asks(ask)).unwrap(); // most likely in the same slot
    let (asker, _) = question.unwrap();
    answer(&reactor.handle(), asker, "too late".into());
    until(&mut reactor, &mut missed, |cx| *cx.state == 1);
    other.set_nonblocking(true).unwrap();
    assert_eq!(other.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// One byte that goes to and fro.
#[cfg(unix)]
struct PingPong;

#[derive(Default)]
struct Million {
    bounced: usize,
    bounced_before: usize,
    /// The next number expected from each thread.
    next: [u32; 4],
    run: u32,
}

#[cfg(unix)]
impl Protocol<Million> for PingPong {
    fn received(&mut self, conn: &mut Conn<'_, Million>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().bounced += 1;
        conn.write(input.take_all());
        Ok(())
    }
}

#[test]
#[cfg(unix)]
fn a_million_calls_from_four_threads_run_in_order_and_the_connections_stay_alive() {
    const CALLS: u32 = 250_000;
    let config = Config { slow_callback: Duration::MAX, ..Config::default() };
    let budget = config.call_budget;
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut state = Million::default();
    // Both ends are on this loop, so that no other thread has to be scheduled for the byte to move: what a Unix socket
    // is sent can be read at once.
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut cx = reactor.cx(&mut state);
    cx.adopt(one, PingPong).unwrap().write(b"o");
    cx.adopt(other, PingPong).unwrap();
    until(&mut reactor, &mut state, |cx| cx.state.bounced > 10);
    let threads = [0, 1, 2, 3].map(|thread| {
        let handle = reactor.handle();
        thread::spawn(move || {
            for n in 0..CALLS {
                let call = move |cx: &mut Cx<'_, Million>| {
                    let state = &mut *cx.state;
                    assert_eq!(state.next[thread], n, "out of order, or lost");
                    state.next[thread] += 1;
                    state.run += 1;
                    if state.run == 1 {
                        state.bounced_before = state.bounced;
                    } else if state.run == 4 * CALLS {
                        cx.stop();
                    }
                };
                handle.post(call).expect("the limit is over a million");
            }
        })
    });
    reactor.run(&mut state).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(state.next, [CALLS; 4]);
    // The byte moves once in each turn, and a turn runs no more calls than its budget; half of that will do.
    let turns = 4 * CALLS as usize / budget;
    let bounced = state.bounced - state.bounced_before;
    assert!(bounced >= turns / 2, "{bounced} times in at least {turns} turns");
}

#[test]
fn more_calls_than_may_wait_are_given_back_to_the_poster() {
    let config = Config { post_limit: 3, ..Config::default() };
    let mut reactor = Reactor::<Vec<u32>>::with_config(config).unwrap();
    let mut ran = Vec::new();
    let handle = reactor.handle();
    let call = |n| move |cx: &mut Cx<'_, Vec<u32>>| cx.state.push(n);
    for n in 0..3 {
        handle.post(call(n)).unwrap();
    }
    let full = handle.clone().post(call(3)).unwrap_err();
    assert!(matches!(full, PostError::Full(_)), "{full:?}");
    for part in ["Config::post_limit", "try again"] {
        assert!(full.to_string().contains(part), "{full}");
    }
    reactor.turn(&mut ran, NOW).unwrap();
    assert_eq!(ran, [0, 1, 2]);
    handle.post(full.into_call()).unwrap();
    reactor.turn(&mut ran, NOW).unwrap();
    assert_eq!(ran, [0, 1, 2, 3]);
}

#[test]
fn a_poster_that_waits_when_it_is_refused_loses_nothing() {
    let config = Config { post_limit: 2, call_budget: 1, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let handle = reactor.handle();
    let poster = thread::spawn(move || {
        for n in 0..1_000 {
            let mut posted = handle.post(move |cx: &mut Cx<'_, Vec<u32>>| cx.state.push(n));
            while let Err(full) = posted {
                thread::yield_now();
                posted = handle.post(full.into_call());
            }
        }
    });
    let mut ran = Vec::new();
    reactor.run(&mut ran).unwrap();
    poster.join().unwrap();
    assert!(ran.iter().copied().eq(0..1_000));
}

#[test]
fn what_is_posted_before_the_first_turn_is_run() {
    let value = run_elsewhere(|| {
        let mut reactor = Reactor::new().unwrap();
        reactor.handle().post(|cx| *cx.state += 1).unwrap();
        let mut state = 0;
        reactor.run(&mut state).unwrap();
        state
    });
    assert_eq!(value, 1);
}

#[test]
fn posting_after_the_reactor_is_gone_is_an_error_to_the_poster() {
    let reactor = Reactor::<()>::new().unwrap();
    let handle = reactor.handle();
    drop(reactor);
    let dropped = Arc::new(());
    let witness = Arc::clone(&dropped);
    assert!(matches!(handle.post(move |_| drop(witness)), Err(PostError::Gone(_))));
    assert_eq!(Arc::strong_count(&dropped), 1, "the call is dropped");
}

#[test]
fn calls_that_are_lost_with_the_reactor_are_counted_in_a_warning() {
    logged::capture();
    let reactor = Reactor::<()>::new().unwrap();
    let handle = reactor.handle();
    // Dropping the call comes back to the handle that it has captured.
    (0..3).for_each(|_| {
        let captured = handle.clone();
        handle.post(move |_| drop(captured)).unwrap();
    });
    drop(reactor);
    let warnings = logged::captured(Level::Warn);
    assert!(warnings.len() == 1 && warnings[0].contains("3 calls"), "{warnings:?}");
}

#[test]
fn wakes_coalesce_but_every_call_runs_and_in_order() {
    const THREADS: usize = 4;
    const CALLS: usize = 2_000;
    let seen = run_elsewhere(|| {
        let mut reactor = Reactor::with_config(Config { call_budget: 7, ..Config::default() }).unwrap();
        for thread in 0..THREADS {
            let handle = reactor.handle();
            thread::spawn(move || {
                for n in 0..CALLS {
                    handle.post(move |cx: &mut Cx<'_, Vec<_>>| cx.state.push((thread, n))).expect("it runs");
                }
            });
        }
        let mut seen = Vec::new();
        reactor.run(&mut seen).unwrap();
        seen
    });
    assert_eq!(seen.len(), THREADS * CALLS);
    for thread in 0..THREADS {
        let of_it = seen.iter().filter(|(of, _)| *of == thread).map(|(_, n)| *n);
        assert!(of_it.eq(0..CALLS), "thread {thread} is out of order");
    }
}

#[test]
fn posting_without_end_cannot_starve_the_connections() {
    fn again(handle: enjamb::Handle<Seen>) -> impl FnOnce(&mut Cx<'_, Seen>) + Send {
        move |_| {
            let next = handle.clone();
            handle.post(again(next)).expect("it runs");
        }
    }
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::with_config(Config { call_budget: 4, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
    let handle = reactor.handle();
    for _ in 0..10 {
        handle.post(again(handle.clone())).unwrap();
    }
    peer.write_all(b"me too").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 6);
}

#[test]
fn at_most_a_budget_of_calls_runs_in_one_turn_and_the_next_does_not_wait() {
    let mut reactor = Reactor::with_config(Config { call_budget: 2, ..Config::default() }).unwrap();
    let handle = reactor.handle();
    for _ in 0..5 {
        handle.post(|cx| *cx.state += 1).unwrap();
    }
    let mut count = 0;
    for (expected, more) in [(2, true), (4, true), (5, false)] {
        let turn = reactor.turn(&mut count, Some(NEVER)).unwrap();
        assert_eq!((count, turn.next), (expected, more.then_some(Duration::ZERO)));
    }
}

#[test]
fn dropping_the_last_handle_lets_run_return() {
    for round in 0..200 {
        run_elsewhere(move || {
            let mut reactor = Reactor::<()>::new().unwrap();
            let handle = reactor.handle();
            let clone = handle.clone();
            drop(handle);
            let dropper = thread::spawn(move || {
                if round % 2 == 0 {
                    thread::yield_now();
                }
                drop(clone);
            });
            reactor.run(&mut ()).unwrap();
            dropper.join().unwrap();
        });
    }
}

#[test]
fn a_call_posted_with_the_last_handle_still_runs() {
    let count = run_elsewhere(|| {
        let mut reactor = Reactor::new().unwrap();
        let mut count = 0;
        for _ in 0..100 {
            let handle = reactor.handle();
            thread::spawn(move || handle.post(|cx| *cx.state += 1));
            reactor.run(&mut count).unwrap();
        }
        count
    });
    assert_eq!(count, 100);
}
