//! Connecting to a name: the look-up in another thread, what ends it, and the errors.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::child::in_child;
use crate::common::machine::{Machine, Seen};
use crate::common::places::listener;
use crate::common::times::NOW;
use crate::common::until::until;
use enjamb::{Config, Reactor};

/// A machine that notes that it was opened, and to whom.
pub fn client() -> Machine {
    Machine {
        opened: Box::new(|conn| {
            let peer = conn.peer_addr()?;
            conn.state().notes.push(format!("opened to {peer}"));
            Ok(())
        }),
        ..Machine::default()
    }
}

/// A reactor for which every name has these addresses.
pub fn reactor_that_finds(addrs: &[SocketAddr]) -> Reactor<Seen> {
    let mut reactor = Reactor::new().unwrap();
    let addrs = addrs.to_vec();
    reactor.set_resolver(move |_, _| Ok(addrs.clone()));
    reactor
}

/// How the only connection failed.
pub fn failure(seen: &Seen) -> &io::Error {
    assert_eq!(seen.ends.len(), 1, "{:?}", seen.ends);
    seen.ends[0].result.as_ref().unwrap_err()
}

/// What `run` does, but for ever only where it should.
#[track_caller]
pub fn run(reactor: &mut Reactor<Seen>, seen: &mut Seen) {
    let start = Instant::now();
    while reactor.turn(seen, Some(Duration::from_millis(10))).unwrap().alive {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not end; {}", reactor.alive());
    }
}

pub fn closed(reactor: &mut Reactor<Seen>, seen: &mut Seen) {
    until(reactor, seen, |cx| !cx.state.ends.is_empty());
    for _ in 0..5 {
        reactor.turn(seen, NOW).unwrap();
    }
    assert_eq!(seen.ends.len(), 1, "closed is called once");
    let alive = reactor.turn(seen, NOW).unwrap().alive;
    assert!(!alive, "{}", reactor.alive());
}

/// A reactor whose look-ups come to no end before they are let go on: the first end tells that one has begun, the
/// second gives its answer.
fn reactor_that_waits() -> (Reactor<Seen>, Receiver<String>, Sender<Vec<SocketAddr>>) {
    let mut reactor = Reactor::new().unwrap();
    let (begun, begins) = channel();
    let (answer, answers) = channel();
    let both = Mutex::new((begun, answers));
    reactor.set_resolver(move |host, _| {
        let both = both.lock().unwrap();
        both.0.send(host.to_string()).unwrap();
        both.1.recv().map_err(io::Error::other)
    });
    (reactor, begins, answer)
}

#[test]
fn a_name_is_looked_up_in_another_thread_and_connected_to() {
    let (server, addr) = listener();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (ours, (asked, asks)) = (std::thread::current().id(), channel());
    let asked = Mutex::new(asked);
    reactor.set_resolver(move |host, port| {
        assert_ne!(std::thread::current().id(), ours);
        asked.lock().unwrap().send((host.to_string(), port)).unwrap();
        Ok(vec![addr])
    });
    reactor.cx(&mut seen).connect("some.example:4711", client());
    assert!(seen.notes.is_empty());
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    assert_eq!(asks.recv().unwrap(), ("some.example".to_string(), 4711));
    assert_eq!(seen.notes, [format!("opened to {addr}")]);
    drop(server.accept().unwrap());
    closed(&mut reactor, &mut seen);
    assert!(seen.ends[0].result.is_ok());
}

#[test]
fn the_system_knows_localhost() {
    let (server, addr) = listener();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).connect(format!("localhost:{}", addr.port()), client());
    let serving = std::thread::spawn(move || server.accept().map(drop));
    reactor.run(&mut seen).unwrap(); // returns, although there was a look-up
    serving.join().unwrap().unwrap();
    assert_eq!(seen.notes, [format!("opened to {addr}")]);
    assert!(seen.ends[0].result.is_ok());
}

#[test]
fn an_address_in_a_string_needs_no_look_up() {
    let (server, addr) = listener();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.set_resolver(|host, _| panic!("{host} is looked up"));
    reactor.cx(&mut seen).connect(addr.to_string(), client());
    drop(server.accept().unwrap());
    closed(&mut reactor, &mut seen);
    assert_eq!(seen.notes, [format!("opened to {addr}")]);
}

#[test]
fn what_is_written_while_the_name_is_looked_up_is_sent_when_it_stands() {
    let (server, addr) = listener();
    let (mut reactor, begins, answer) = reactor_that_waits();
    let mut seen = Seen::default();
    let mut conn_bytes = b"0123456789".repeat(10_000);
    let mut cx = reactor.cx(&mut seen);
    let mut conn = cx.connect("some.example:1", client());
    assert!(conn.write(&conn_bytes));
    let id = conn.id();
    assert_eq!(begins.recv().unwrap(), "some.example");
    for _ in 0..10 {
        reactor.turn(&mut seen, NOW).unwrap();
        let mut cx = reactor.cx(&mut seen);
        let mut conn = cx.conn(id).unwrap();
        assert_eq!(conn.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(conn.local_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        assert!(conn.write(b"."));
        conn_bytes.push(b'.');
        assert_eq!(conn.unsent(), conn_bytes.len());
    }
    reactor.cx(&mut seen).conn(id).unwrap().finish();
    answer.send(vec![addr]).unwrap();
    let serving = std::thread::spawn(move || {
        let mut received = Vec::new();
        server.accept()?.0.read_to_end(&mut received).map(|_| received)
    });
    closed(&mut reactor, &mut seen);
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
    assert!(serving.join().unwrap().unwrap() == conn_bytes);
}

#[test]
fn the_loop_goes_on_while_a_look_up_hangs_and_run_waits_for_it() {
    let (server, addr) = listener();
    let (mut reactor, begins, answer) = reactor_that_waits();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.connect("some.example:1", client());
    begins.recv().unwrap();
    for n in 1..=20 {
        cx.after(Duration::from_millis(n), move |cx| cx.state.notes.push(format!("timer {n}")));
    }
    cx.after(Duration::from_millis(21), move |_| answer.send(vec![addr]).unwrap());
    let serving = std::thread::spawn(move || server.accept().map(drop));
    run(&mut reactor, &mut seen);
    serving.join().unwrap().unwrap();
    let expected = (1..=20).map(|n| format!("timer {n}")).chain([format!("opened to {addr}")]);
    assert_eq!(seen.notes, expected.collect::<Vec<_>>());
}

#[test]
fn look_ups_go_on_side_by_side_but_in_no_more_threads_than_may_be() {
    const MOST: usize = 3;
    let mut reactor = Reactor::with_config(Config { resolver_threads: MOST, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(std::sync::Barrier::new(MOST));
    {
        let (inside, most) = (inside.clone(), most.clone());
        reactor.set_resolver(move |_, port| {
            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
            if usize::from(port) < 30 * MOST {
                gate.wait(); // nobody goes on before so many are here at once
            }
            inside.fetch_sub(1, SeqCst);
            Ok(vec![([127, 0, 0, 1], port).into()])
        });
    }
    for port in 0..30 * MOST as u16 {
        reactor.cx(&mut seen).resolve("some.example", port, move |cx, found| {
            cx.state.notes.push(found.unwrap()[0].port().to_string());
        });
    }
    assert!(reactor.alive().to_string().contains("looking up 90 names"), "{}", reactor.alive());
    run(&mut reactor, &mut seen);
    assert_eq!(most.load(SeqCst), MOST);
    seen.notes.sort_by_key(|port| port.parse::<u16>().unwrap());
    assert_eq!(seen.notes, (0..90).map(|port| port.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_name_without_an_address_is_told_with_the_name_and_what_to_try() {
    for (answer, expected) in [
        (Ok(vec![]), "it has no address"),
        (Err(ErrorKind::TimedOut), "timed out"),
        (Err(ErrorKind::Other), "other error"),
    ] {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        reactor.set_resolver(move |_, _| answer.clone().map_err(io::Error::from));
        reactor.cx(&mut seen).connect("no.example:80", client());
        closed(&mut reactor, &mut seen);
        let message = failure(&seen).to_string();
        let start =
            format!("connecting to no.example:80: resolving no.example: {expected}; is it spelt right");
        assert!(message.starts_with(&start), "{message}");
        assert!(seen.notes.is_empty());
    }
}

#[test]
fn a_name_the_system_does_not_know_is_told_as_such() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    // RFC 6761, section 6.4: nobody may have it. A null byte is refused before anybody is asked.
    reactor.cx(&mut seen).resolve("no\0body.invalid", 80, |cx, found| {
        cx.state.notes.push(found.unwrap_err().to_string());
    });
    run(&mut reactor, &mut seen);
    assert!(seen.notes[0].starts_with("resolving no\0body.invalid: "), "{:?}", seen.notes);
}

#[test]
fn a_resolver_that_panics_is_an_error_to_who_has_asked_and_the_next_is_answered() {
    let mut reactor = Reactor::with_config(Config { resolver_threads: 1, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    reactor.set_resolver(|host, port| {
        assert_ne!(host, "bad.example", "this panic is part of the test");
        Ok(vec![([127, 0, 0, 1], port).into()])
    });
    for host in ["bad.example", "good.example"] {
        reactor.cx(&mut seen).resolve(host, 80, move |cx, found| {
            cx.state.notes.push(found.map_or_else(|error| error.to_string(), |found| format!("{found:?}")));
        });
    }
    run(&mut reactor, &mut seen);
    seen.notes.sort(); // a panic prints a backtrace: on a busy machine that takes as long as a look-up that hangs
    assert_eq!(seen.notes[0], "[127.0.0.1:80]");
    assert!(seen.notes[1].starts_with("resolving bad.example: the resolver panicked"), "{:?}", seen.notes);
}

#[test]
fn what_cannot_be_parsed_is_told_on_the_same_path() {
    for (target, expected) in [
        ("example.org", "has no port"),
        ("example.org:http", "has a port that is no number"),
        (":80", "has no host"),
        ("::1:80", "has more than one colon"),
        ("", "has no port"),
    ] {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        reactor.set_resolver(|host, _| panic!("{host} is looked up"));
        reactor.cx(&mut seen).connect(target, client());
        assert!(seen.ends.is_empty(), "nobody is called back before the loop runs");
        closed(&mut reactor, &mut seen);
        assert_eq!(failure(&seen).kind(), ErrorKind::InvalidInput);
        let message = failure(&seen).to_string();
        let start = format!("connecting to {target:?}: it {expected}");
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn a_connection_closed_while_its_name_is_looked_up_is_gone_at_once_and_the_answer_finds_nobody() {
    let (_server, addr) = listener();
    let (mut reactor, begins, answer) = reactor_that_waits();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).connect("some.example:1", client()).id();
    begins.recv().unwrap();
    reactor.cx(&mut seen).conn(id).unwrap().close();
    run(&mut reactor, &mut seen); // does not wait for the answer
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
    answer.send(vec![addr]).unwrap();
    // The helper that has brought the late answer brings the next one too.
    reactor.cx(&mut seen).resolve("other.example", 1, |cx, found| {
        cx.state.notes.push(format!("{:?}", found.unwrap()));
    });
    answer.send(vec![addr]).unwrap();
    run(&mut reactor, &mut seen);
    assert_eq!(seen.notes, [format!("[{addr}]")]);
    assert_eq!(seen.ends.len(), 1);
}

#[test]
fn a_look_up_that_is_cancelled_before_its_turn_is_never_made() {
    let mut reactor = Reactor::with_config(Config { resolver_threads: 1, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    let (asked, asks) = channel();
    let (go, gate) = channel();
    let both = Mutex::new((asked, gate));
    reactor.set_resolver(move |host, _| {
        let both = both.lock().unwrap();
        both.0.send(host.to_string()).unwrap();
        both.1.recv().map_err(io::Error::other)
    });
    let mut cx = reactor.cx(&mut seen);
    for name in ["first.example:1", "second.example:1", "third.example:1"] {
        let id = cx.connect(name, Machine::default()).id();
        if name.starts_with("second") {
            cx.conn(id).unwrap().abort(io::Error::other("changed my mind"));
            reactor.turn(&mut seen, NOW).unwrap();
            cx = reactor.cx(&mut seen);
        }
    }
    for _ in 0..2 {
        go.send(vec![]).unwrap();
    }
    run(&mut reactor, &mut seen);
    assert_eq!(asks.iter().take(2).collect::<Vec<_>>(), ["first.example", "third.example"]);
    assert_eq!(seen.ends.len(), 3);
}

#[test]
fn a_shutdown_while_a_name_is_looked_up_closes_what_owes_nothing_at_once() {
    let (mut reactor, begins, _answer) = reactor_that_waits();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.connect("some.example:1", client());
    cx.resolve("other.example", 1, |_, _| unreachable!("nobody answers"));
    begins.recv().unwrap();
    cx.shutdown(Duration::from_secs(3600));
    run(&mut reactor, &mut seen);
    assert_eq!(seen.ends.len(), 1);
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
}

#[test]
fn a_shutdown_lets_a_name_be_looked_up_for_what_is_owed_to_it() {
    let (server, addr) = listener();
    let (mut reactor, begins, answer) = reactor_that_waits();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.connect("some.example:1", client()).write(b"owed");
    begins.recv().unwrap();
    cx.shutdown(Duration::from_secs(60));
    let serving = std::thread::spawn(move || {
        let mut received = Vec::new();
        server.accept()?.0.read_to_end(&mut received).map(|_| received)
    });
    cx.after(Duration::from_millis(5), move |_| answer.send(vec![addr]).unwrap());
    run(&mut reactor, &mut seen);
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
    assert_eq!(serving.join().unwrap().unwrap(), b"owed");
}

#[test]
fn a_shutdown_gives_up_on_a_look_up_that_takes_longer_than_it_may() {
    let (mut reactor, _begins, _answer) = reactor_that_waits();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.connect("some.example:1", client()).write(b"owed");
    cx.shutdown(Duration::from_millis(20));
    run(&mut reactor, &mut seen);
    assert_eq!(failure(&seen).kind(), ErrorKind::TimedOut);
    assert_eq!(seen.ends[0].unsent, 4);
}

#[test]
fn a_connect_to_a_name_while_everything_is_closed_is_refused_without_a_look_up() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.set_resolver(|host, _| panic!("{host} is looked up"));
    let mut cx = reactor.cx(&mut seen);
    cx.shutdown(Duration::from_secs(60));
    cx.connect("some.example:1", client());
    run(&mut reactor, &mut seen);
    assert_eq!(failure(&seen).kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn the_deadline_holds_for_a_look_up_and_is_not_early() {
    const LIMIT: Duration = Duration::from_millis(30);
    let (mut reactor, _begins, _answer) = reactor_that_waits();
    let mut seen = Seen::default();
    let start = Instant::now();
    reactor.cx(&mut seen).connect("some.example:1", client()).deadline(LIMIT);
    closed(&mut reactor, &mut seen);
    assert!(start.elapsed() >= LIMIT);
    assert_eq!(failure(&seen).kind(), ErrorKind::TimedOut);
    let message = failure(&seen).to_string();
    assert!(message.starts_with("connecting to some.example:1: timed out, resolving"), "{message}");
}

#[test]
fn a_reactor_dropped_during_a_look_up_leaves_no_descriptor_and_no_thread_behind() {
    if !in_child(a_reactor_dropped_during_a_look_up_leaves_no_descriptor_and_no_thread_behind, &[]) {
        return;
    }
    let count = |of: &str| std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count();
    let (descriptors, threads) = (count("fd"), count("task"));
    let (mut reactor, begins, answer) = reactor_that_waits();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    for _ in 0..20 {
        cx.connect("some.example:1", client());
    }
    begins.recv().unwrap();
    assert!(count("task") > threads && count("fd") > descriptors);
    drop(reactor);
    assert_eq!(count("fd"), descriptors, "although a helper has not come back");
    drop(answer); // now they do
    let start = Instant::now();
    while count("task") > threads {
        assert!(start.elapsed() < Duration::from_secs(60), "the helpers do not end");
        std::thread::yield_now();
    }
    assert!(begins.try_iter().count() <= 3, "nobody asks for a reactor that is gone");
    assert!(seen.ends.is_empty());
}

#[test]
fn an_answer_whose_call_panics_does_not_hold_up_the_others() {
    let mut reactor = Reactor::with_config(Config { resolver_threads: 1, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    let (asked, asks) = channel();
    let asked = Mutex::new(asked);
    reactor.set_resolver(move |host, port| {
        asked.lock().unwrap().send(host.to_string()).unwrap();
        Ok(vec![([127, 0, 0, 1], port).into()])
    });
    for port in 1..=3 {
        reactor.cx(&mut seen).resolve("some.example", port, move |cx, found| {
            assert_ne!(port, 1, "this panic is part of the test");
            cx.state.notes.push(format!("{:?}", found.unwrap()));
        });
    }
    for _ in 0..3 {
        asks.recv().unwrap(); // the one helper has asked for the third, so the first two answers are there
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        until(&mut reactor, &mut seen, |cx| cx.state.notes.len() == 2);
    }));
    assert!(panicked.is_err());
    run(&mut reactor, &mut seen);
    assert_eq!(seen.notes, ["[127.0.0.1:2]", "[127.0.0.1:3]"]);
}
