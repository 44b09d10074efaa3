//! Warnings of the loop: nothing can ever happen again, and a callback is slow.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::sources::{Watcher, listen, udp};
use crate::common::logged;
use crate::common::machine::{Machine, Seen, opened, pause};
use crate::common::pair::sized_pair;
use crate::common::places::ANY_PORT;
use crate::common::times::{NEVER, NOW};
use crate::common::until::until;
use enjamb::mio::Interest;
use enjamb::sim::{Script, Sim};
use enjamb::{Config, Reactor, Step};
use log::Level;

/// What changes a standstill, and what has to be kept for that.
type Arrange = fn(&mut Reactor<Seen>, &mut Seen) -> Option<enjamb::Handle<Seen>>;

fn standstill(arrange: Arrange) -> Vec<String> {
    logged::capture();
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(ours, opened(pause)).unwrap().id();
    reactor.turn(&mut seen, NOW).unwrap();
    let _kept = arrange(&mut reactor, &mut seen);
    reactor.turn(&mut seen, NOW).unwrap();
    for _ in 0..3 {
        peer.write_all(b"x").unwrap(); // so that the wait without end comes to an end here
        reactor.turn(&mut seen, None).unwrap();
    }
    assert!(reactor.cx(&mut seen).conn(id).is_some());
    logged::captured(Level::Warn)
}

#[test]
fn that_nothing_can_ever_happen_again_is_said_in_one_warning() {
    let warnings = standstill(|_, _| None);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("nothing can ever happen again"), "{warnings:?}");
    assert!(warnings[0].contains("paused") && warnings[0].contains("127.0.0.1:"), "{warnings:?}");
}

#[test]
fn while_something_can_still_happen_there_is_no_warning() {
    let reasons: [Arrange; 5] = [
        |reactor, _| Some(reactor.handle()),
        |reactor, seen| {
            reactor.set_resolver(|_, _| {
                loop {
                    std::thread::park(); // the helper goes with the test
                }
            });
            reactor.cx(seen).resolve("some.example", 80, |_, _| ());
            None
        },
        |reactor, seen| {
            reactor.cx(seen).after(NEVER, |_| ());
            None
        },
        |reactor, seen| {
            listen(&mut reactor.cx(seen), |_| Machine::default());
            None
        },
        |reactor, seen| {
            let (ours, theirs) = sized_pair(None);
            std::mem::forget(theirs);
            reactor.cx(seen).adopt(ours, Machine::default()).expect("adopting");
            None
        },
    ];
    for arrange in reasons {
        assert_eq!(standstill(arrange), [""; 0]);
    }
}

#[test]
fn a_listener_at_its_limit_with_nothing_but_paused_connections_is_a_standstill_too() {
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut listener = cx.listen(ANY_PORT, |_, _| opened(pause)).unwrap();
    listener.limit(1);
    let (id, addr) = (listener.id(), listener.local_addr().unwrap());
    let _first = TcpStream::connect(addr).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.alive().to_string().contains(", paused"));
    while reactor.turn(&mut seen, NOW).unwrap().next.is_some() {}
    assert_eq!(logged::captured(Level::Warn), [""; 0]);
    let _second = TcpStream::connect(addr).unwrap(); // an event, so that the wait without end comes to an end here
    reactor.turn(&mut seen, None).unwrap();
    assert_eq!(reactor.cx(&mut seen).listener(id).unwrap().open(), 1);
    let warnings = logged::captured(Level::Warn);
    assert!(warnings.len() == 1 && warnings[0].contains("nothing can ever happen again"), "{warnings:?}");
}

#[test]
fn a_standstill_that_begins_with_a_message_is_said_in_run_too() {
    logged::capture();
    let server = ([10, 0, 0, 1], 80);
    let mut reactor = Sim::new(0).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(server, |_, _| Script::new().say("x").pause()).unwrap().limit(1);
    let machine = Machine { received: Box::new(|conn, _| pause(conn)), ..Machine::default() };
    cx.connect(server, machine);
    assert_eq!(reactor.run(&mut seen).unwrap_err().kind(), ErrorKind::Deadlock); // in a simulation it can end
    let warnings = logged::captured(Level::Warn);
    assert!(warnings.len() == 1 && warnings[0].contains("nothing can ever happen again"), "{warnings:?}");
}

#[test]
fn a_slow_callback_is_warned_about_once_with_its_connection_and_how_long_it_took() {
    logged::capture();
    let server = ([10, 0, 0, 1], 80);
    let sim = Sim::new(0);
    let slow = Duration::from_millis(300);
    let mut reactor = sim.reactor_with(Config { slow_callback: slow, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server, |_, _| Script::new()).unwrap();
    let sleeper = opened(move |_| {
        sim.take_time(slow + Duration::from_millis(50));
        Ok(())
    });
    let id = reactor.cx(&mut seen).connect(server, sleeper).id();
    reactor.turn(&mut seen, Some(slow)).unwrap();
    // Waiting for longer is not a slow callback.
    reactor.cx(&mut seen).after(slow + Duration::from_millis(50), |cx| cx.stop());
    reactor.run(&mut seen).unwrap();
    let warnings = logged::captured(Level::Warn);
    let of_it: Vec<_> = warnings.iter().filter(|line| line.contains(&format!("connection {id} "))).collect();
    assert_eq!(of_it.len(), 1, "{warnings:?}");
    assert!(of_it[0].contains("10.0.0.1:80") && of_it[0].contains("350.0ms"), "{of_it:?}");
    assert!(of_it[0].contains("slow_callback"), "{of_it:?}");
}

#[test]
fn a_slow_call_timer_and_watch_are_named_for_what_they_are() {
    logged::capture();
    let nap = || thread::sleep(Duration::from_millis(30));
    let config = Config { slow_callback: Duration::from_millis(20), ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    reactor.handle().post(move |_| nap()).unwrap();
    let mut cx = reactor.cx(&mut seen);
    cx.after(Duration::ZERO, move |_| nap());
    let mut left = 1;
    cx.every(Duration::from_millis(1), move |cx| {
        nap();
        left -= 1;
        if left == 0 {
            cx.stop();
        }
    });
    let watcher = Watcher(Box::new(move |_| {
        nap();
        Ok(Step::Done)
    }));
    cx.watch(udp(), Interest::WRITABLE, watcher).unwrap();
    reactor.run(&mut seen).unwrap();
    let warnings = logged::captured(Level::Warn);
    for what in ["of a posted call held", "of a timer held", "of a periodic timer held", "of a watch "] {
        assert!(warnings.iter().any(|line| line.contains(what)), "{what}: {warnings:?}");
    }
}

#[test]
fn the_slow_callback_warning_can_be_turned_off() {
    logged::capture();
    let sim = Sim::new(0);
    let mut reactor = sim.reactor_with(Config { slow_callback: Duration::MAX, ..Config::default() }).unwrap();
    reactor.cx(&mut ()).after(Duration::ZERO, move |_| sim.take_time(Duration::from_secs(1_000)));
    reactor.run(&mut ()).unwrap();
    assert_eq!(logged::captured(Level::Warn), [""; 0]);
}
