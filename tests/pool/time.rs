//! The pool as time passes: idle connections, age, waiting, leases that are held or lost, draining.

use super::bench::{Ask, Bench, World, key, limit, ms};
use crate::common::logged;
use enjamb::pool::{Config, Error, Key, Lease, Phase, Pool, Reason, Reuse};
use enjamb::sim::Link;
use enjamb::{Conn, Input, Protocol};
use log::Level;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn timers(bench: &mut Bench) -> String {
    let alive = bench.reactor.alive().to_string();
    alive.split(", ").find(|part| part.ends_with("timers")).unwrap().to_string()
}

/// A lease in the hand.
fn lease(bench: &mut Bench) -> Lease<World> {
    let hand = Rc::new(RefCell::new(None));
    let into = Rc::clone(&hand);
    bench.pool.clone().acquire_lease(&mut bench.cx(), &key(1), move |_, lease| {
        *into.borrow_mut() = Some(lease.unwrap());
    });
    bench.settle();
    hand.take().expect("a lease")
}

/// The line of this file in which the test has put its mark.
fn here(line: u32) -> String {
    format!("{}:{line}:", file!())
}

// Idle and age.

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let mut bench = Bench::new(Config { idle_timeout: Some(secs(30)), ..limit(2) });
    bench.ask(1, "a", "ok");
    bench.pass(secs(29));
    assert_eq!(bench.usage(), (0, 1, 0));
    bench.ask(1, "b", "ok");
    bench.pass(secs(29));
    assert_eq!(bench.usage(), (0, 1, 0), "its time has begun anew");
    bench.pass(secs(2));
    assert_eq!((bench.usage(), bench.closed(Reason::Idle), bench.opened()), ((0, 0, 0), 1, 1));
}

#[test]
fn there_is_one_timer_for_all_idle_connections_and_none_for_an_empty_pool() {
    let mut bench = Bench::new(Config { idle_timeout: Some(secs(30)), ..limit(5) });
    assert_eq!(timers(&mut bench), "0 timers");
    for host in 1..=5 {
        bench.ask(host, "a", "ok");
        bench.settle();
        assert_eq!(timers(&mut bench), "1 timers");
    }
    bench.pass(secs(31));
    assert_eq!((bench.usage(), timers(&mut bench)), ((0, 0, 0), "0 timers".to_string()));
}

#[test]
fn a_servers_keep_alive_is_honoured_less_one_second() {
    let mut bench = Bench::new(limit(2));
    let keep_alive = || Ask { reuse: Reuse::ReusableFor(secs(5)), ..Ask::new("a", "ok") };
    bench.acquire(&key(1), keep_alive());
    bench.pass(ms(3900));
    bench.acquire(&key(1), keep_alive());
    bench.pass(ms(3900));
    assert_eq!((bench.usage(), bench.opened()), ((0, 1, 0), 1));
    bench.pass(ms(200));
    assert_eq!((bench.usage(), bench.closed(Reason::Idle)), ((0, 0, 0), 1));
    bench.acquire(&key(1), Ask { reuse: Reuse::ReusableFor(ms(900)), ..Ask::new("a", "ok") });
    bench.settle();
    assert_eq!(bench.usage(), (0, 0, 0), "less than a second is not worth keeping");
}

#[test]
fn a_servers_keep_alive_holds_also_if_who_was_lent_the_connection_cancels_before_it_is_used() {
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), Ask { reuse: Reuse::ReusableFor(secs(5)), ..Ask::new("a", "ok") });
    bench.pass(secs(1));
    let ticket = bench.ask(1, "b", "ok");
    assert!(bench.cancel(ticket));
    bench.pass(ms(2900));
    assert_eq!(bench.usage(), (0, 1, 0));
    bench.pass(ms(200));
    assert_eq!((bench.usage(), bench.closed(Reason::Idle)), ((0, 0, 0), 1));
}

#[test]
fn the_maximum_lifetime_is_looked_at_when_acquired_and_released_and_kills_no_lease() {
    let mut bench = Bench::new(Config { max_lifetime: Some(secs(10)), ..limit(1) });
    bench.ask(1, "a", "ok");
    bench.pass(secs(11));
    assert_eq!(bench.usage(), (0, 1, 0), "it does no harm where it is");
    let lease = lease(&mut bench);
    assert_eq!((bench.opened(), bench.closed(Reason::Lifetime)), (2, 1), "too old to be acquired");
    bench.pass(secs(11));
    assert!(lease.conn(&mut bench.cx()).is_some(), "a lease is left alone");
    lease.release(&mut bench.cx(), Reuse::Reusable);
    bench.settle();
    assert_eq!((bench.usage(), bench.closed(Reason::Lifetime)), ((0, 0, 0), 2), "too old to be kept");
}

#[test]
fn an_idle_connection_past_its_lifetime_is_closed_after_its_idle_time_all_the_same() {
    let times = Config { idle_timeout: Some(secs(30)), max_lifetime: Some(secs(10)), ..limit(1) };
    let mut bench = Bench::new(times);
    bench.ask(1, "a", "ok");
    bench.pass(secs(29));
    assert_eq!(bench.usage(), (0, 1, 0));
    bench.pass(secs(2));
    assert_eq!((bench.usage(), bench.closed(Reason::Idle)), ((0, 0, 0), 1));
    assert_eq!(timers(&mut bench), "0 timers");
}

#[test]
fn a_pool_that_nobody_has_a_handle_on_lets_the_loop_end() {
    let mut bench = Bench::new(Config { idle_timeout: None, ..limit(2) });
    bench.ask(1, "idle", "ok");
    bench.settle();
    bench.ask(2, "busy", "slow");
    bench.pool = Pool::new(Config::default()).unwrap();
    bench.reactor.run(&mut bench.world).unwrap(); // a simulation says so if somebody waits for ever
    assert_eq!(bench.world.results(), ["idle ok", "busy ok"]);
}

// Waiting.

#[test]
fn a_wait_times_out_and_says_who_has_the_connections() {
    let mut bench = Bench::new(Config { wait_timeout: Some(secs(31)), ..limit(2) });
    let line = line!() + 1;
    bench.ask(1, "holder", "hang");
    bench.ask(2, "holder", "hang");
    bench.settle();
    bench.ask(1, "waits", "ok");
    bench.pass(secs(30));
    assert!(bench.world.results().is_empty());
    bench.ask(1, "waits longer", "ok");
    bench.pass(secs(2));
    assert_eq!(bench.world.results(), ["waits failed"]);
    let message = bench.world.errors[0].to_string();
    let expected = format!("2 leases held, oldest 31s, acquired at {}", here(line));
    assert!(message.contains(&expected), "{message}");
    assert_eq!(bench.world.errors[0].kind(), io::ErrorKind::TimedOut);
    bench.pass(secs(30));
    assert_eq!(bench.world.results(), ["waits failed", "waits longer failed"]);
}

#[test]
fn looking_up_and_connecting_have_a_limit_each() {
    let config = Config { resolve_timeout: Some(ms(300)), connect_timeout: Some(ms(200)), ..limit(9) };
    let mut bench = Bench::new(config);
    let slow = Link { latency: ms(80)..=ms(80), ..Link::default() };
    bench.sim.link(([10, 0, 0, 1], 7), slow);
    bench.sim.link(([10, 0, 0, 2], 7), Link { silent: 1.0, ..Link::default() });
    bench.sim.name("slow.example", ms(310), [[10, 0, 0, 1]]);
    bench.sim.name("good.example", ms(290), [[10, 0, 0, 1]]);
    bench.sim.name("silent.example", ms(290), [[10, 0, 0, 2]]);
    for (to, phase, within) in [
        ("slow.example:7", Some(Phase::Resolve), 300..310),
        ("silent.example:7", Some(Phase::Connect), 490..500),
        ("10.0.0.2:7", Some(Phase::Connect), 200..210),
        ("good.example:7", None, 450..700),
    ] {
        let began = bench.sim.now();
        bench.world.notes.clear();
        bench.acquire(&Key::new(to), Ask::new("a", "ok"));
        while bench.world.results().is_empty() {
            bench.pass(ms(1));
        }
        let at = match bench.world.errors.pop().map(|error| (error.kind(), error)) {
            Some((io::ErrorKind::TimedOut, error)) => match Error::of(&error) {
                Some(Error::Connect { phase, .. }) => Some(*phase),
                _ => panic!("{error:?}"),
            },
            other => other.map(|other| panic!("{other:?}")),
        };
        let took = (bench.sim.now() - began).as_millis();
        assert!(at == phase && within.contains(&took), "{to}: {took} ms, {at:?}");
    }
}

// Leases.

#[test]
fn a_lease_drives_a_machine_later() {
    let mut bench = Bench::new(limit(1));
    let lease = lease(&mut bench);
    bench.pass(secs(5));
    lease.conn(&mut bench.cx()).unwrap().write(b"ok early\n");
    bench.settle();
    lease.start(&mut bench.cx(), Ask::new("a", "hang")); // the answer to what was asked in the hand is its answer
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok"]);
    assert_eq!(bench.world.asked, ["ok early", "hang a"]);
    assert_eq!(bench.usage(), (0, 1, 0));
}

#[test]
fn a_lease_can_be_used_within_its_callback() {
    let mut bench = Bench::new(limit(1));
    let pool = bench.pool.clone();
    pool.acquire_lease(&mut bench.cx(), &key(1), |cx, lease| lease.unwrap().start(cx, Ask::new("a", "ok")));
    pool.acquire_lease(&mut bench.cx(), &key(1), |cx, lease| lease.unwrap().release(cx, Reuse::Reusable));
    bench.ask(1, "b", "ok");
    bench.settle();
    assert_eq!((bench.world.results(), bench.opened()), (vec!["a ok", "b ok"], 1));
}

#[test]
fn a_lease_released_with_output_unsent_sends_it_and_is_closed() {
    let mut bench = Bench::new(limit(1));
    bench.pool.clone().acquire_lease(&mut bench.cx(), &key(1), |cx, lease| {
        let lease = lease.unwrap();
        lease.conn(cx).unwrap().write(b"hang quit\n");
        lease.release(cx, Reuse::Reusable);
    });
    bench.settle();
    assert_eq!((&bench.world.asked[..], bench.closed(Reason::Dirty)), (&["hang quit".to_string()][..], 1));
}

#[test]
fn a_request_for_a_lease_that_fails_is_told_once() {
    let mut bench = Bench::new(limit(1));
    let told = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..2 {
        let into = Rc::clone(&told);
        bench.pool.clone().acquire_lease(&mut bench.cx(), &key(99), move |_, lease| {
            into.borrow_mut().push(lease.unwrap_err().kind());
        });
    }
    bench.settle();
    assert_eq!(*told.borrow(), [io::ErrorKind::ConnectionRefused; 2]);
}

#[test]
fn a_dropped_lease_is_closed_counted_and_warned_about_once_with_its_place() {
    logged::capture();
    let mut bench = Bench::new(limit(1));
    let line = line!() + 1;
    bench.pool.clone().acquire_lease(&mut bench.cx(), &key(1), |_, lease| drop(lease));
    bench.ask(1, "next", "ok");
    bench.settle();
    assert_eq!((bench.world.results(), bench.closed(Reason::Leaked)), (vec!["next ok"], 1));
    let warnings = logged::captured(Level::Warn);
    assert!(warnings.len() == 1 && warnings[0].contains(&here(line)), "{warnings:?}");
}

#[test]
fn a_lease_dropped_between_two_turns_gives_its_place_back() {
    let mut bench = Bench::new(limit(1));
    let lease = lease(&mut bench);
    bench.ask(1, "next", "ok");
    bench.settle();
    drop(lease);
    bench.settle();
    assert!(bench.world.has("next ok"));
}

#[test]
fn a_lease_whose_connection_is_lost_costs_no_place() {
    let mut bench = Bench::new(limit(1));
    let lease = lease(&mut bench);
    bench.cx().conn(lease.id()).unwrap().abort(io::ErrorKind::ConnectionReset.into());
    bench.ask(1, "next", "ok");
    bench.settle();
    assert!(lease.conn(&mut bench.cx()).is_none());
    assert!(bench.world.has("next ok"));
    lease.start(&mut bench.cx(), Ask::new("late", "ok"));
    bench.settle();
    assert!(bench.world.has("late failed") && !bench.world.has("late opened"));
}

#[test]
fn a_lease_in_the_hand_cannot_be_cancelled_by_its_ticket() {
    let mut bench = Bench::new(limit(1));
    let hand = Rc::new(RefCell::new(None));
    let into = Rc::clone(&hand);
    let ticket = bench.pool.clone().acquire_lease(&mut bench.cx(), &key(1), move |_, lease| {
        *into.borrow_mut() = Some(lease.unwrap());
    });
    bench.settle();
    assert!(!bench.cancel(ticket));
    let lease = hand.take().unwrap();
    lease.start(&mut bench.cx(), Ask::new("a", "hang"));
    assert!(bench.cancel(ticket), "the machine's exchange can be");
    bench.settle();
    assert_eq!(bench.world.results(), ["a failed"]);
}

#[test]
fn what_comes_while_a_lease_is_in_the_hand_is_its_machines() {
    let mut bench = Bench::new(limit(1));
    let lease = lease(&mut bench);
    lease.conn(&mut bench.cx()).unwrap().write(b"more\n");
    bench.settle();
    lease.release(&mut bench.cx(), Reuse::Reusable);
    bench.settle();
    assert_eq!(bench.closed(Reason::Unexpected), 1, "unread, it makes the connection unfit");
}

#[test]
fn a_lease_held_for_long_is_warned_about_once_and_once_more_when_it_comes_back() {
    logged::capture();
    let mut bench = Bench::new(Config { long_hold: Some(secs(60)), ..limit(2) });
    let line = line!() + 1;
    let ticket = bench.ask(1, "long", "hang");
    bench.pass(secs(59));
    assert_eq!(logged::captured(Level::Warn).len(), 0);
    bench.pass(secs(600));
    let warnings = logged::captured(Level::Warn);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(&here(line)) && warnings[0].contains("60s"), "{warnings:?}");
    bench.cancel(ticket);
    bench.settle();
    let warnings = logged::captured(Level::Warn);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[1].contains("has come back after 659s"), "{warnings:?}");
}

// Draining.

#[test]
fn draining_fails_who_waits_closes_what_is_idle_and_waits_for_the_leases() {
    let mut bench = Bench::new(limit(2));
    bench.ask(1, "idle", "ok");
    bench.settle();
    bench.ask(2, "leased", "slow");
    bench.settle();
    bench.ask(3, "leased too", "hang");
    bench.settle();
    bench.ask(4, "waits", "ok");
    let pool = bench.pool.clone();
    pool.drain(&mut bench.cx(), secs(5));
    bench.ask(1, "late", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["idle ok", "waits failed", "late failed"]);
    assert!(bench.world.errors.iter().all(|error| matches!(Error::of(error), Some(Error::Draining))));
    bench.pass(secs(2));
    assert_eq!(bench.world.results()[3..], ["leased ok"]);
    pool.drain(&mut bench.cx(), secs(60)); // asked again, it has no more time
    bench.pass(secs(4));
    assert_eq!(bench.world.results()[4..], ["leased too failed"]);
    assert_eq!(bench.pool.snapshot().total.open(), 0);
    bench.ask(1, "after", "ok");
    bench.settle();
    assert!(matches!(bench.world.last_error(), Error::Closed));
}

#[test]
fn draining_is_over_as_soon_as_the_last_connection_is_gone() {
    let mut bench = Bench::new(limit(2));
    bench.ask(1, "a", "slow");
    bench.settle();
    let pool = bench.pool.clone();
    pool.drain(&mut bench.cx(), secs(3600));
    bench.reactor.turn(&mut bench.world, Some(secs(0))).unwrap();
    bench.pass(secs(2));
    assert_eq!(timers(&mut bench), "0 timers");
}

#[test]
fn a_drain_can_be_hurried() {
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "hang");
    bench.settle();
    let pool = bench.pool.clone();
    pool.drain(&mut bench.cx(), secs(3600));
    pool.drain(&mut bench.cx(), ms(0));
    bench.settle();
    assert_eq!(bench.world.results(), ["a failed"]);
}

#[test]
fn an_exchange_that_ends_itself_within_a_drain_is_no_error() {
    struct Ends;
    impl Protocol<World> for Ends {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.deadline(secs(1));
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
        fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.release(Reuse::Reusable);
            Ok(())
        }
    }
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), Ends);
    bench.settle();
    let pool = bench.pool.clone();
    pool.drain(&mut bench.cx(), secs(5));
    bench.pass(secs(2));
    assert_eq!((bench.closed(Reason::Closed), bench.pool.snapshot().total.open()), (1, 0));
}
