//! Faults of other pools, which this one must not have: lost places, needless evictions, connections handed out that
//! have ended or are dirty, waiters that wait for ever.

use super::bench::{Ask, Bench, World, key, limit, ms};
use crate::common::logged;
use enjamb::pool::{Error, Reason, Reuse};
use enjamb::sim::Link;
use enjamb::{Conn, Cx, End, Input, Protocol};
use log::Level;
use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

// R1: every way out restores the counts.

#[test]
fn a_refused_connect_gives_its_place_back() {
    let mut bench = Bench::new(limit(2));
    for _ in 0..5 {
        bench.ask(99, "refused", "ok"); // nobody listens there
    }
    bench.settle();
    bench.ask(1, "healthy", "ok");
    bench.settle();
    assert_eq!(
        bench.world.results(),
        ["refused failed"; 5].into_iter().chain(["healthy ok"]).collect::<Vec<_>>()
    );
    assert_eq!(bench.usage(), (0, 1, 0));
}

#[test]
fn cancelling_in_mid_connect_gives_the_place_back() {
    let mut bench = Bench::new(limit(1));
    for _ in 0..5 {
        let ticket = bench.ask(1, "a", "ok");
        assert_eq!(bench.pool.snapshot().total.connecting, 1);
        assert!(bench.cancel(ticket));
        assert!(!bench.cancel(ticket), "it is over");
        bench.settle();
    }
    assert_eq!(bench.pool.snapshot().total.open(), 0);
    bench.ask(2, "b", "ok");
    bench.settle();
    assert!(bench.world.has("b ok"));
    assert!(matches!(Error::of(&bench.world.errors[0]), Some(Error::Cancelled)));
}

#[test]
fn a_panic_in_a_callback_gives_the_place_back() {
    struct Panics;
    impl Protocol<World> for Panics {
        fn opened(&mut self, _: &mut Conn<'_, World>) -> io::Result<()> {
            panic!("as planned")
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
    }
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), Panics);
    bench.ask(1, "next", "ok");
    catch_unwind(AssertUnwindSafe(|| bench.settle())).unwrap_err();
    bench.settle();
    assert!(bench.world.has("next ok"));
}

#[test]
fn a_pooled_connection_that_another_callback_switches_leaves_the_pool() {
    let mut bench = Bench::new(limit(1));
    let id = Rc::new(RefCell::new(None));
    let found = Rc::clone(&id);
    bench.pool.clone().acquire_lease(&mut bench.cx(), &key(1), move |_, lease| {
        *found.borrow_mut() = lease.ok();
    });
    bench.settle();
    let lease = id.take().unwrap();
    bench.cx().conn(lease.id()).unwrap().switch(Ask::new("switched", "ok"));
    bench.ask(2, "next", "ok");
    bench.settle();
    assert!(bench.world.has("next ok"));
    lease.release(&mut bench.cx(), Reuse::Reusable);
}

// R2: evict only at the limit, and exactly one.

#[test]
fn eviction_is_at_the_limit_only_and_takes_just_the_least_recently_used_of_all_hosts() {
    let mut bench = Bench::new(limit(3));
    for host in [1, 2, 3] {
        bench.ask(host, "x", "ok");
        bench.settle();
    }
    bench.ask(1, "x", "ok"); // now 2 is the least recently used
    bench.settle();
    assert_eq!(bench.closed(Reason::Evicted), 0, "there was room");
    bench.ask(4, "y", "ok");
    bench.settle();
    assert_eq!(bench.closed(Reason::Evicted), 1);
    let snapshot = bench.pool.snapshot();
    assert_eq!([1, 2, 3, 4].map(|host| snapshot.host(&key(host)).idle), [1, 0, 1, 1]);
}

// R3: a release is typed, and idempotent.

#[test]
fn releasing_twice_counts_once() {
    struct Twice;
    impl Protocol<World> for Twice {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.release(Reuse::Reusable);
            conn.release(Reuse::Reusable);
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
        fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
            assert!(end.result.is_ok());
            cx.state.notes.push("twice ok".into());
        }
    }
    let mut bench = Bench::new(limit(2));
    bench.acquire(&key(1), Twice);
    bench.settle();
    assert_eq!(bench.world.results(), ["twice ok"]);
    for _ in 0..3 {
        bench.ask(1, "hang", "hang");
    }
    bench.settle();
    assert_eq!(bench.usage(), (2, 0, 1), "two places, not three");
}

#[test]
fn closing_while_leased_gives_the_place_back_once() {
    struct Closes(bool);
    impl Protocol<World> for Closes {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            match self.0 {
                true => conn.close(),
                false => conn.abort(io::ErrorKind::InvalidData.into()),
            }
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
    }
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), Closes(true));
    bench.acquire(&key(1), Closes(false));
    bench.ask(1, "next", "ok");
    bench.settle();
    assert!(bench.world.has("next ok"));
    assert_eq!((bench.opened(), bench.closed(Reason::Lost)), (3, 2));
}

// R4: what has ended or is dirty is never pooled.

#[test]
fn a_connection_whose_peer_closed_while_it_was_idle_is_not_handed_out() {
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "late");
    bench.pass(ms(400));
    assert_eq!(bench.usage(), (0, 1, 0));
    bench.pass(ms(200));
    assert_eq!((bench.usage(), bench.closed(Reason::Ended)), ((0, 0, 0), 1));
    bench.ask(1, "b", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok", "b ok"]);
}

#[test]
fn the_end_that_comes_with_the_answer_is_seen_at_the_release() {
    let mut bench = Bench::new(limit(1));
    bench.sim.links(Link { fin_with_data: 1.0, ..Link::default() });
    bench.ask(1, "a", "last");
    bench.ask(1, "b", "ok"); // it waits, and must not be handed what has ended
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok", "b ok"]);
    assert_eq!((bench.opened(), bench.closed(Reason::Ended)), (2, 1));
}

#[test]
fn a_dirty_connection_is_not_used_again() {
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), Ask { reuse: Reuse::Dirty, ..Ask::new("a", "ok") });
    bench.ask(1, "b", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok", "b ok"]);
    assert_eq!((bench.opened(), bench.closed(Reason::Dirty)), (2, 1));
}

#[test]
fn after_an_error_in_mid_answer_the_next_user_does_not_read_its_tail() {
    struct GivesUp;
    impl Protocol<World> for GivesUp {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.write(b"half\n");
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), GivesUp);
    bench.ask(1, "b", "ok");
    bench.settle();
    assert_eq!((bench.world.results(), bench.opened()), (vec!["b ok"], 2));
}

#[test]
fn what_is_released_with_input_left_is_closed_and_says_what_was_left() {
    logged::capture();
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "more");
    bench.ask(1, "b", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok", "b ok"]);
    assert_eq!(bench.closed(Reason::Unexpected), 1);
    let lines = logged::captured(Level::Debug);
    assert!(lines.iter().any(|line| line.contains("\"and this nobody has asked for, a\"")), "{lines:?}");
}

#[test]
fn what_is_released_with_output_unsent_sends_it_and_is_closed() {
    struct SaysMore;
    impl Protocol<World> for SaysMore {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.release(Reuse::Reusable);
            conn.write(b"ok quit\n");
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
    }
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), SaysMore);
    bench.settle();
    assert_eq!(bench.world.asked, ["ok quit"]);
    assert_eq!(bench.closed(Reason::Dirty), 1);
}

#[test]
fn unexpected_bytes_on_an_idle_connection_close_it() {
    logged::capture();
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "noise");
    bench.pass(ms(600));
    assert_eq!((bench.usage(), bench.closed(Reason::Unexpected)), ((0, 0, 0), 1));
    let lines = logged::captured(Level::Debug);
    assert!(lines.iter().any(|line| line.contains("\"\\x00noise\"")), "{lines:?}");
}

#[test]
fn a_one_shot_key_never_pools() {
    let mut bench = Bench::new(limit(2));
    for name in ["a", "b"] {
        bench.acquire(&key(1).one_shot(), Ask::new(name, "ok"));
        bench.settle();
        assert_eq!(bench.usage(), (0, 0, 0));
    }
    assert_eq!((bench.opened(), bench.closed(Reason::OneShot)), (2, 2));
}

// R5: closing fails the waiters, and every later request.

#[test]
fn closing_fails_who_waits_and_who_comes_later() {
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "leased", "slow");
    bench.settle();
    bench.ask(1, "waits", "ok");
    let pool = bench.pool.clone();
    pool.close(&mut bench.cx());
    assert!(bench.world.results().is_empty(), "nobody is called within the call");
    bench.ask(1, "late", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["waits failed", "late failed"]);
    assert!(bench.world.errors.iter().all(|error| matches!(Error::of(error), Some(Error::Closed))));
    bench.pass(ms(1000));
    assert_eq!(bench.world.results()[2], "leased ok", "who has a connection goes on");
    assert_eq!(bench.pool.snapshot().total.open(), 0);
}

#[test]
fn closing_fails_who_is_being_connected() {
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "ok");
    let pool = bench.pool.clone();
    pool.close(&mut bench.cx());
    bench.settle();
    assert_eq!(bench.world.results(), ["a failed"]);
    assert_eq!((bench.world.asked.len(), bench.closed(Reason::Cancelled)), (0, 1));
}
