//! A logger that asks the pool for a snapshot at each record: the pool logs nothing while it is borrowed.

use super::bench::{Ask, Bench, key, ms};
use crate::common::logged;
use enjamb::pool::{Config, Key, Reason, Reuse};
use enjamb::sim::Link;
use log::Level;
use std::cell::Cell;
use std::rc::Rc;

thread_local! {
    static LOGGED: Cell<usize> = const { Cell::new(0) };
    static WARNED: Cell<usize> = const { Cell::new(0) };
}

/// A bench whose pool the logger asks.
fn bench(config: Config) -> Bench {
    let bench = Bench::new(config);
    let pool = bench.pool.clone();
    logged::listen(move |record| {
        pool.snapshot();
        LOGGED.set(LOGGED.get() + 1);
        WARNED.set(WARNED.get() + usize::from(record.level() <= Level::Warn));
    });
    bench
}

#[test]
fn what_is_said_of_leases() {
    let mut bench = bench(Config { long_hold: Some(ms(1000)), ..Config::default() });
    let held = Rc::new(Cell::new(None));
    let pool = bench.pool.clone();
    for drops in [false, true] {
        let to = Rc::clone(&held);
        pool.acquire_lease(&mut bench.cx(), &key(1), move |_, lease| to.set(lease.ok()));
        bench.settle();
        let before = LOGGED.get();
        let lease = held.take().unwrap();
        if drops {
            drop(lease);
            bench.settle();
            assert!(LOGGED.get() > before && bench.closed(Reason::Leaked) == 1, "it was dropped");
        } else {
            bench.pass(ms(2000));
            assert!(LOGGED.get() > before, "it is held for long");
            let before = LOGGED.get();
            lease.release(&mut bench.cx(), Reuse::Reusable);
            assert!(LOGGED.get() > before, "it has come back");
        }
    }
}

#[test]
fn what_is_said_of_connections() {
    let mut bench = bench(Config { limit: Some(2), ..Config::default() });
    bench.sim.name("several", ms(5), [[10, 0, 0, 99], [10, 0, 0, 1]]);
    bench.acquire(&Key::new("several:7"), Ask::new("a", "ok"));
    bench.settle();
    bench.sim.name("other", ms(5), [[10, 0, 0, 2]]);
    bench.sim.link(([10, 0, 0, 2], 7), Link { latency: ms(100)..=ms(100), ..Link::default() });
    bench.acquire(&Key::new("other:7"), Ask::new("b", "noise"));
    bench.pass(ms(850));
    bench.sim.take_time(ms(100)); // the noise is there now, and the loop has not heard it
    let before = LOGGED.get();
    bench.acquire(&Key::new("other:7"), Ask::new("c", "ok"));
    bench.pass(ms(1000));
    assert!(LOGGED.get() > before && bench.closed(Reason::Unexpected) == 1, "the noise");
    assert_eq!(bench.world.results(), ["a ok", "b ok", "c ok"]);
}

#[test]
fn what_a_server_sends_unasked_is_counted_and_is_no_warning() {
    let mut bench = bench(Config::default());
    for n in 1..=3 {
        bench.acquire(&key(1), Ask::new("a", "noise"));
        bench.pass(ms(1000));
        assert_eq!(bench.closed(Reason::Unexpected), n);
    }
    assert!(LOGGED.get() > 0);
    assert_eq!(WARNED.get(), 0);
}
