//! Panics in a callback: the panic propagates, and the reactor can be dropped or run on.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use super::sources::{Watcher, adopted, listen, run_elsewhere, udp};
use crate::common::logged;
use crate::common::machine::{Machine, Seen, close, echo, opened};
use crate::common::pair::{arrived, pair, sized_pair};
use crate::common::times::{HANGS, NOW};
use crate::common::until::until;
use enjamb::mio::Interest;
use enjamb::{Config, Conn, Cx, Input, Reactor};
use log::Level;

/// Turns until a callback panics.
fn turn_until_it_panics(reactor: &mut Reactor<Seen>, seen: &mut Seen, name: &str) {
    let start = Instant::now();
    while catch_unwind(AssertUnwindSafe(|| reactor.turn(seen, Some(Duration::from_millis(1))).unwrap()))
        .is_ok()
    {
        assert!(start.elapsed() < HANGS, "{name} does not panic");
    }
}

type Setup = fn(&mut Cx<'_, Seen>) -> Option<TcpStream>;

const PANICS: &[(&str, Setup)] = &[
    ("opened", |cx| adopted(cx, opened(|_| panic!("in opened")))),
    ("received", |cx| {
        adopted(cx, Machine { received: Box::new(|_, _| panic!("in received")), ..Machine::default() })
    }),
    ("opened, after switching", |cx| {
        let opened = |conn: &mut Conn<'_, Seen>| {
            conn.switch(Machine::default());
            panic!("in opened, switched")
        };
        adopted(cx, Machine { opened: Box::new(opened), ..Machine::default() })
    }),
    ("received, after closing", |cx| {
        let received = |conn: &mut Conn<'_, Seen>, _: &mut Input<'_>| {
            conn.write(b"and then");
            conn.pause();
            conn.deadline(Duration::from_millis(1));
            conn.close();
            panic!("in received, closing")
        };
        adopted(cx, Machine { received: Box::new(received), ..Machine::default() })
    }),
    ("received, after aborting", |cx| {
        let received = |conn: &mut Conn<'_, Seen>, _: &mut Input<'_>| {
            conn.abort(io::ErrorKind::Other.into());
            panic!("in received, aborted")
        };
        adopted(cx, Machine { received: Box::new(received), ..Machine::default() })
    }),
    ("drained", |cx| {
        let opened = |conn: &mut Conn<'_, Seen>| {
            conn.water_marks(0, 1);
            conn.write(b"much");
            Ok(())
        };
        let drained = |_: &mut Conn<'_, Seen>| panic!("in drained");
        adopted(cx, Machine { opened: Box::new(opened), drained: Box::new(drained), ..Machine::default() })
    }),
    ("ended", |cx| adopted(cx, Machine { ended: Box::new(|_, _| panic!("in ended")), ..Machine::default() })),
    ("timed_out", |cx| {
        let opened = |conn: &mut Conn<'_, Seen>| {
            conn.pause();
            conn.deadline(Duration::ZERO);
            Ok(())
        };
        let timed_out = |_: &mut Conn<'_, Seen>| panic!("in timed_out");
        adopted(
            cx,
            Machine { opened: Box::new(opened), timed_out: Box::new(timed_out), ..Machine::default() },
        )
    }),
    ("closed", |cx| {
        let machine = opened(close);
        adopted(cx, Machine { closed: Box::new(|_, _| panic!("in closed")), ..machine })
    }),
    ("accepted", |cx| {
        let addr = listen(cx, |_| panic!("in accepted"));
        Some(TcpStream::connect(addr).expect("it listens"))
    }),
    ("a timer", |cx| {
        cx.after(Duration::ZERO, |_| panic!("in a timer"));
        None
    }),
    ("a periodic timer", |cx| {
        cx.every(Duration::from_millis(1), |_| panic!("in a periodic timer"));
        None
    }),
    ("a watch", |cx| {
        let watcher = Watcher(Box::new(|_| panic!("in a watch")));
        cx.watch(udp(), Interest::WRITABLE, watcher).expect("watching");
        None
    }),
];

#[test]
fn after_a_panic_in_a_callback_the_loop_runs_on_without_a_zombie() {
    for (name, setup) in PANICS {
        logged::capture();
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let (ours, mut peer) = sized_pair(None);
        reactor.cx(&mut seen).adopt(ours, echo()).unwrap();
        let _kept = setup(&mut reactor.cx(&mut seen));
        turn_until_it_panics(&mut reactor, &mut seen, name);

        // Another connection is as well as before.
        peer.write_all(b"still there?").unwrap();
        let reader = thread::spawn(move || {
            let mut bytes = [0; 12];
            peer.read_exact(&mut bytes).map(|()| (peer, bytes))
        });
        until(&mut reactor, &mut seen, |_| reader.is_finished());
        let (peer, bytes) = reader.join().unwrap().unwrap();
        assert_eq!(&bytes, b"still there?", "after {name}");
        let alive = reactor.alive().to_string();
        let expected = "alive: 0 listeners, 1 connections, 0 watched, 0 timers, 0 handles";
        assert!(alive.starts_with(expected), "after {name}: {alive}");
        let logged = logged::captured(Level::Error);
        let had_a_slot = !["closed", "a timer", "a periodic timer"].contains(name);
        assert_eq!(logged.len(), usize::from(had_a_slot), "after {name}: {logged:?}");
        drop(peer);
        until(&mut reactor, &mut seen, |cx| cx.alive().to_string().contains(", 0 connections"));
    }
}

#[test]
fn after_a_panic_of_the_last_there_was_run_returns() {
    for (name, setup) in PANICS {
        run_elsewhere(move || {
            let mut reactor = Reactor::new().unwrap();
            let mut seen = Seen::default();
            let _kept = setup(&mut reactor.cx(&mut seen));
            assert!(
                catch_unwind(AssertUnwindSafe(|| reactor.run(&mut seen))).is_err(),
                "{name} does not panic"
            );
            reactor.run(&mut seen).unwrap();
            let alive = reactor.alive().to_string();
            assert!(
                alive.ends_with("0 listeners, 0 connections, 0 watched, 0 timers, 0 handles"),
                "{name}: {alive}"
            );
        });
    }
}

#[test]
fn what_a_callback_wrote_before_it_panicked_is_cut_off_for_the_peer_to_see() {
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(b"half of");
        panic!("in opened, having written")
    });
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    turn_until_it_panics(&mut reactor, &mut seen, "opened");
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(peer.read(&mut [0]).expect_err("no orderly end").kind(), ErrorKind::ConnectionReset);
}

#[test]
fn who_was_put_off_in_the_turn_of_a_panic_has_the_next() {
    const BUDGET: usize = 16;
    let (ours, mut peer) = pair();
    let watching = ours.try_clone().unwrap();
    let config = Config { read_buffer: BUDGET, read_budget: BUDGET, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
    let handle = reactor.handle();
    for _ in 0..3 {
        reactor.turn(&mut seen, NOW).unwrap();
    }
    peer.write_all(&[0; 4 * BUDGET]).unwrap();
    arrived(&watching, 4 * BUDGET);
    handle.post(|_| panic!("in a posted call")).unwrap();
    turn_until_it_panics(&mut reactor, &mut seen, "a posted call");
    assert_eq!(seen.bytes.len(), BUDGET);
    reactor.cx(&mut seen).after(HANGS, |cx| cx.state.notes.push("slept".into()));
    while seen.bytes.len() < 4 * BUDGET {
        reactor.turn(&mut seen, None).unwrap();
        assert!(seen.notes.is_empty(), "it slept although there was more to read");
    }
}

#[test]
fn after_a_panic_in_a_callback_the_loop_can_be_dropped() {
    for (name, setup) in PANICS {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let (ours, mut peer) = sized_pair(None);
        reactor.cx(&mut seen).adopt(ours, echo()).unwrap();
        let _kept = setup(&mut reactor.cx(&mut seen));
        turn_until_it_panics(&mut reactor, &mut seen, name);
        drop(reactor);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "after {name} the other connection is closed");
    }
}

#[test]
fn the_calls_posted_behind_one_that_panics_still_run() {
    let notes = run_elsewhere(|| {
        let mut reactor = Reactor::<Vec<i32>>::new().unwrap();
        let mut notes = Vec::new();
        let handle = reactor.handle();
        handle.post(|_| panic!("the first call")).unwrap();
        for n in 1..=3 {
            handle.post(move |cx| cx.state.push(n)).unwrap();
        }
        drop(handle);
        assert!(catch_unwind(AssertUnwindSafe(|| reactor.run(&mut notes))).is_err());
        reactor.run(&mut notes).unwrap();
        notes
    });
    assert_eq!(notes, [1, 2, 3]);
}

#[test]
fn what_was_ready_in_the_same_batch_as_one_that_panics_is_not_lost() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut ends = Vec::new();
    for n in 0..10 {
        let (ours, theirs) = pair();
        let bad = Machine { received: Box::new(|_, _| panic!("the fifth")), ..Machine::default() };
        ends.push((ours.try_clone().unwrap(), theirs));
        reactor.cx(&mut seen).adopt(ours, if n == 5 { bad } else { Machine::default() }).unwrap();
    }
    // All are open, and their first events, which say that they are writable, have come and gone.
    for _ in 0..10 {
        reactor.turn(&mut seen, NOW).unwrap();
    }
    for (ours, theirs) in &mut ends {
        theirs.write_all(b"x").unwrap();
        arrived(ours, 1);
    }
    let turn = catch_unwind(AssertUnwindSafe(|| reactor.turn(&mut seen, NOW)));
    assert!(turn.is_err(), "all have come, the fifth too");
    assert!(seen.bytes.len() < 9, "it was the last of the batch: nothing could be lost");
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 9);
}
