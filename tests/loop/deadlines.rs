//! Deadlines of connections, and the timeout of connecting.

use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::time::AT;
use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::times::{NEVER, NOW, ms};
use crate::common::until::until;
use enjamb::sim::{Link, Script, Sim};
use enjamb::{Config, Conn, Cx, End, Input, Protocol, Reactor};

/// With a deadline as soon as it is opened.
fn opened_with(deadline: Duration) -> Machine {
    Machine {
        opened: Box::new(move |conn| {
            conn.deadline(deadline);
            Ok(())
        }),
        ..Machine::default()
    }
}

/// A machine that leaves what happens at its deadline to the default.
struct Waiting;

impl Protocol<Seen> for Waiting {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.deadline(ms(5));
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, Seen>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.ends.push(end);
    }
}

#[test]
fn by_default_a_deadline_ends_the_connection_with_an_error_that_names_the_peer_and_is_not_early() {
    let (ours, peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let start = Instant::now();
    reactor.cx(&mut seen).adopt(ours, Waiting).unwrap();
    reactor.run(&mut seen).unwrap();
    assert!(start.elapsed() >= ms(5), "{:?} is early", start.elapsed());
    let error = seen.ends[0].result.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains(&format!("waiting for {}", peer.local_addr().unwrap())), "{error}");
}

#[test]
fn a_deadline_of_zero_passes_in_the_next_turn_also_if_that_may_not_wait() {
    let (ours, _peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        timed_out: Box::new(|conn| {
            conn.state().notes.push("timed out".into());
            conn.deadline(Duration::ZERO); // again, and not in this turn
            Ok(())
        }),
        ..Machine::default()
    };
    let id = reactor.cx(&mut seen).adopt(ours, machine).unwrap().id();
    reactor.turn(&mut seen, NOW).unwrap();
    reactor.cx(&mut seen).conn(id).unwrap().deadline(Duration::ZERO);
    for n in 1..=50 {
        reactor.turn(&mut seen, NOW).unwrap();
        assert_eq!(seen.notes.len(), n);
    }
}

#[test]
fn a_deadline_is_not_armed_again_by_itself_and_the_connection_goes_on() {
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        timed_out: Box::new(|conn| {
            conn.state().notes.push("timed out".into());
            Ok(())
        }),
        ..opened_with(ms(1))
    };
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    let turn = reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(turn.next, None, "a timer is set, for what?");
    peer.write_all(b"after it").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes == b"after it");
    assert_eq!(seen.notes.len(), 1);
}

#[test]
fn a_deadline_moved_on_with_every_message_passes_only_when_none_comes() {
    let idle = ms(60);
    let sim = Sim::new(0);
    let clock = sim.clone();
    let machine = move || {
        let (clock, touched) = (clock.clone(), Rc::new(Cell::new(Duration::ZERO)));
        let (last, judged) = (clock.clone(), Rc::clone(&touched));
        Machine {
            received: Box::new(move |conn, input| {
                touched.set(last.now());
                conn.deadline(idle);
                conn.state().bytes.extend(input.take_all());
                let timers = conn.cx().alive().to_string();
                assert!(timers.contains(", 2 timers"), "its own, and that of the peer's wait: {timers}");
                Ok(())
            }),
            timed_out: Box::new(move |conn| {
                let passed = clock.now() - judged.get();
                assert!(passed >= idle && passed < idle + ms(2), "{passed:?} after the last message");
                conn.state().notes.push("timed out".into());
                conn.close();
                Ok(())
            }),
            ..opened_with(idle)
        }
    };
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(AT, move |_, _| machine()).unwrap();
    // Together longer than the idle time, each much shorter.
    let talks = (0..15).fold(Script::new(), |script, _| script.say("x").wait(ms(10)));
    reactor.cx(&mut seen).connect(AT, talks.wait(NEVER));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes.len(), 15);
    assert_eq!(seen.notes, ["timed out"]);
}

#[test]
fn setting_a_deadline_again_moves_it_both_ways_and_none_disarms_it() {
    let sim = Sim::new(0);
    let (mut reactor, mut seen) = (sim.reactor().unwrap(), Seen::default());
    reactor.cx(&mut seen).listen(AT, |_, _| Script::new()).unwrap();
    let machine = Machine {
        timed_out: Box::new(|conn| {
            conn.state().notes.push("timed out".into());
            Ok(())
        }),
        ..opened_with(NEVER)
    };
    let id = reactor.cx(&mut seen).connect(AT, machine).id();
    reactor.turn(&mut seen, Some(ms(1))).unwrap();

    // Away, back, and away for good: nothing is left of it.
    for deadline in [Some(Duration::ZERO), Some(NEVER), Some(ms(1)), None] {
        reactor.cx(&mut seen).conn(id).unwrap().deadline(deadline);
    }
    assert!(reactor.alive().to_string().contains(", 0 timers"), "{}", reactor.alive());

    // Later: the timer that was set for the earlier time finds that it has moved on.
    reactor.cx(&mut seen).conn(id).unwrap().deadline(ms(2));
    reactor.cx(&mut seen).conn(id).unwrap().deadline(NEVER);
    sim.take_time(ms(4));
    reactor.turn(&mut seen, NOW).unwrap();
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(seen.notes, [""; 0]);

    // Nearer.
    reactor.cx(&mut seen).conn(id).unwrap().deadline(ms(2));
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    assert_eq!(seen.notes, ["timed out"]);
}

/// A loop with a client that waits for a server's answer, 100 ms at most, and which is held up for a second meanwhile,
/// as if the process had been stopped. A message takes `latency` from one to the other: the client waits from twice
/// that, the answer comes after four times that, and the loop is held up from `stall`.
fn held_up(latency: Duration, stall: Duration, clients: usize, events: usize) -> Seen {
    let sim = Sim::new(0);
    sim.link(AT, Link { latency: latency..=latency, ..Link::default() });
    let config = Config { events, slow_callback: Duration::MAX, ..Config::default() };
    let (mut reactor, mut seen) = (sim.reactor_with(config).unwrap(), Seen::default());
    let mut cx = reactor.cx(&mut seen);
    cx.listen(AT, |_, _| Script::new().say("answer")).unwrap();
    let neighbour = ([10, 0, 0, 2], 80);
    cx.listen(neighbour, move |_, _| Script::new().wait(stall).say("x").close()).unwrap();
    for _ in 0..clients {
        let answered = |conn: &mut Conn<'_, Seen>, input: &mut Input<'_>| {
            conn.state().notes.push(String::from_utf8_lossy(input.take_all()).into());
            conn.close();
            Ok(())
        };
        let timed_out = |conn: &mut Conn<'_, Seen>| {
            conn.state().notes.push("timed out".into());
            conn.close();
            Ok(())
        };
        let waits = opened_with(ms(100));
        let waits = Machine { received: Box::new(answered), timed_out: Box::new(timed_out), ..waits };
        cx.connect(AT, waits);
    }
    let stalls = move |_: &mut Conn<'_, Seen>, input: &mut Input<'_>| {
        assert_eq!(input.take_all(), b"x");
        assert!(sim.now() < stall + ms(10), "{:?}", sim.now());
        sim.take_time(Duration::from_secs(1));
        Ok(())
    };
    cx.connect(neighbour, Machine { received: Box::new(stalls), ..Machine::default() });
    reactor.run(&mut seen).unwrap();
    seen
}

#[test]
fn an_answer_that_came_before_its_deadline_is_received_although_the_loop_was_held_up_past_both() {
    assert_eq!(held_up(ms(30), ms(100), 1, 1024).notes, ["answer"]);
}

#[test]
fn after_a_hold_up_the_events_that_one_batch_does_not_hold_come_before_the_deadlines_too() {
    for events in [1, 2, 10] {
        assert_eq!(held_up(ms(30), ms(100), 10, events).notes, ["answer"; 10], "{events} events at a time");
    }
}

#[test]
fn an_answer_that_has_not_come_when_a_hold_up_is_over_has_timed_out() {
    assert_eq!(held_up(ms(600), ms(1_250), 1, 1024).notes, ["timed out"]);
}

/// An address that answers no SYN any more: its backlog is full.
fn silent() -> (SocketAddr, Vec<socket2::Socket>) {
    let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = new();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    loop {
        let client = new();
        match client.connect_timeout(&addr, ms(200)) {
            Ok(()) => sockets.push(client),
            Err(_) => return (addr.as_socket().unwrap(), sockets),
        }
    }
}

#[test]
fn a_connect_times_out_by_the_config_or_by_its_own_deadline() {
    let (addr, _kept) = silent();
    for own in [false, true] {
        let connect_timeout = if own { NEVER } else { ms(20) };
        let config = Config { connect_timeout, ..Config::default() };
        let mut reactor = Reactor::with_config(config).unwrap();
        let mut seen = Seen::default();
        let machine = Machine {
            opened: Box::new(|_| panic!("nobody answers")),
            timed_out: Box::new(|_| panic!("that is for open connections")),
            ..Machine::default()
        };
        let start = Instant::now();
        let mut cx = reactor.cx(&mut seen);
        let id = cx.connect(addr, machine).id();
        if own {
            cx.conn(id).unwrap().deadline(ms(20));
        }
        reactor.run(&mut seen).unwrap();
        assert!(start.elapsed() >= ms(20), "{:?} is early", start.elapsed());
        let error = seen.ends[0].result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains(&format!("connecting to {addr}")), "{error}");
    }
}

#[test]
fn the_connect_timeout_is_over_once_the_connection_stands() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.state().notes.push("opened".into());
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).connect(listener.local_addr().unwrap(), machine);
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    assert!(reactor.alive().to_string().contains(", 0 timers"), "{}", reactor.alive());
}

#[test]
fn a_deadline_goes_with_its_connection() {
    let (ours, _peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        closed: Box::new(|cx, _| {
            assert!(cx.alive().to_string().contains(", 0 timers"), "{}", cx.alive());
        }),
        ..Machine::default()
    };
    let id = reactor.cx(&mut seen).adopt(ours, machine).unwrap().id();
    reactor.cx(&mut seen).conn(id).unwrap().deadline(NEVER);
    reactor.cx(&mut seen).conn(id).unwrap().abort(ErrorKind::Other.into());
    reactor.run(&mut seen).unwrap(); // returns although the deadline is far
    assert_eq!(seen.ends.len(), 1);
}

#[test]
fn a_connection_aborted_by_a_timer_is_not_told_of_the_deadline_that_passed_in_the_same_turn() {
    let sim = Sim::new(0);
    let (mut reactor, mut seen) = (sim.reactor().unwrap(), Seen::default());
    reactor.cx(&mut seen).listen(AT, |_, _| Script::new()).unwrap();
    let machine = Machine { timed_out: Box::new(|_| panic!("it was aborted before")), ..Machine::default() };
    let id = reactor.cx(&mut seen).connect(AT, machine).id();
    reactor.turn(&mut seen, Some(ms(1))).unwrap();
    let mut cx = reactor.cx(&mut seen);
    cx.after(ms(1), move |cx| cx.conn(id).expect("it is open").abort(io::Error::other("enough")));
    cx.conn(id).unwrap().deadline(ms(20));
    sim.take_time(ms(30)); // so that both are due in one turn, the timer first
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.ends[0].to_string(), "enough");
}

#[test]
fn an_answer_that_came_before_its_deadline_is_received_although_two_callbacks_in_a_row_held_the_loop_up() {
    let sim = Sim::new(0);
    let config = Config { slow_callback: Duration::MAX, ..Config::default() };
    let (mut reactor, mut seen) = (sim.reactor_with(config).unwrap(), Seen::default());
    let mut cx = reactor.cx(&mut seen);
    let latency = |ms| Link { latency: ms..=ms, ..Link::default() };
    sim.link(AT, latency(ms(300)));
    cx.listen(AT, |_, _| Script::new().say("answer").wait(NEVER)).unwrap();
    cx.connect(AT, opened_with(ms(900))); // from 600 ms to 1500 ms, and the answer comes at 1200 ms
    cx.after(ms(1_000), |_| ()); // due while the first callback holds the loop up
    for (n, comes, holds_until) in [(2, 950, 1_100), (3, 1_040, 2_000)] {
        let neighbour = ([10, 0, 0, n], 80);
        sim.link(neighbour, latency(ms(100)));
        cx.listen(neighbour, move |_, _| Script::new().wait(ms(comes - 400)).say("x").wait(NEVER)).unwrap();
        let clock = sim.clone();
        let holds_up = move |conn: &mut Conn<'_, Seen>, input: &mut Input<'_>| {
            conn.state().notes.push(format!("{} at {} ms", input.len(), clock.now().as_millis()));
            input.take_all();
            clock.take_time(ms(holds_until) - clock.now());
            Ok(())
        };
        cx.connect(neighbour, Machine { received: Box::new(holds_up), ..Machine::default() });
    }
    reactor.cx(&mut seen).after(ms(2_500), |cx| cx.stop());
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.notes, ["1 at 950 ms", "1 at 1100 ms"]);
    assert_eq!(seen.bytes, b"answer");
}
