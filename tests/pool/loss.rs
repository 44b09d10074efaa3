//! What is lost around a pool: a callback panics, a reactor or a lease is dropped, a connection is closed from
//! elsewhere. Nothing else is lost, and nothing is kept for ever.

use super::bench::{Ask, Bench, World, key, limit, ms};
use crate::common::logged;
use enjamb::pool::{Config, Error, Key, Lease, Pool, Reason, Reuse};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use log::Level;
use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

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

// Panics.

/// Panics in `opened`, or in `closed`.
struct Panics {
    in_opened: bool,
}

impl Protocol<World> for Panics {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        assert!(!self.in_opened, "as planned");
        conn.release(Reuse::Reusable);
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
    fn closed(self: Box<Self>, _: &mut Cx<'_, World>, _: End) {
        panic!("as planned")
    }
}

#[test]
fn who_waits_is_served_after_a_panic_also_if_nothing_else_keeps_the_loop_alive() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(); // outside of the loop
    let (mut reactor, mut world) = (Reactor::new().unwrap(), World::default());
    let pool = Pool::new(Config { long_hold: None, ..limit(1) }).unwrap();
    let key = Key::new(listener.local_addr().unwrap());
    pool.acquire(&mut reactor.cx(&mut world), &key, Panics { in_opened: true });
    pool.acquire(&mut reactor.cx(&mut world), &Key::new("not a target"), Ask::new("next", "ok"));
    catch_unwind(AssertUnwindSafe(|| reactor.run(&mut world))).unwrap_err();
    reactor.run(&mut world).unwrap();
    assert_eq!(world.results(), ["next failed"]);
}

#[test]
fn who_has_been_handed_the_connection_of_one_that_panics_in_closed_is_told() {
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), Panics { in_opened: false });
    bench.ask(1, "next", "ok");
    bench.ask(1, "third", "ok");
    catch_unwind(AssertUnwindSafe(|| bench.settle())).unwrap_err();
    bench.settle();
    assert_eq!(bench.world.results(), ["next failed", "third ok"]);
}

// What is dropped.

/// Says when it is dropped, and has a handle on its pool.
struct Witness {
    _pool: Pool<World>,
    _alive: Rc<()>,
}

impl Protocol<World> for Witness {
    fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_dropped_reactor_leaves_no_machine_behind_that_has_a_handle_on_its_pool() {
    let alive = Rc::new(());
    let mut bench = Bench::new(limit(1));
    for _ in 0..3 {
        let pool = bench.pool.clone();
        bench.acquire(&key(1), Witness { _pool: pool, _alive: Rc::clone(&alive) });
    }
    bench.settle();
    assert_eq!((bench.usage(), Rc::strong_count(&alive)), ((1, 0, 2), 4));
    drop(bench);
    assert_eq!(Rc::strong_count(&alive), 1, "the one that has the connection, and the two that wait");
}

#[test]
fn a_lease_dropped_after_its_reactor_keeps_nothing_alive() {
    let alive = Rc::new(());
    let mut bench = Bench::new(limit(1));
    let lease = lease(&mut bench);
    bench.acquire(&key(1), Ask::new("waits", "ok"));
    let (pool, witness) = (bench.pool.clone(), Rc::clone(&alive));
    bench.acquire(&key(1), Witness { _pool: pool, _alive: witness });
    drop(bench);
    drop(lease);
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn a_lease_dropped_just_before_its_reactor_keeps_nothing_alive() {
    let alive = Rc::new(());
    let mut bench = Bench::new(limit(1));
    let lease = lease(&mut bench);
    let pool = Pool::new(limit(1)).unwrap();
    let bench_pool = std::mem::replace(&mut bench.pool, pool);
    bench_pool.acquire(
        &mut bench.cx(),
        &key(1),
        Witness { _pool: Pool::new(limit(1)).unwrap(), _alive: Rc::clone(&alive) },
    );
    drop(lease);
    drop(bench_pool);
    drop(bench);
    assert_eq!(Rc::strong_count(&alive), 1);
}

// Leases, and what comes on them.

#[test]
fn what_came_while_a_lease_was_in_the_hand_and_resumed_is_its_machines_at_once() {
    let mut bench = Bench::new(limit(1));
    let lease = lease(&mut bench);
    lease.conn(&mut bench.cx()).unwrap().write(b"ok early\n");
    lease.conn(&mut bench.cx()).unwrap().resume();
    bench.settle();
    lease.start(&mut bench.cx(), Ask::new("a", "hang"));
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok"]);
}

#[test]
fn what_was_asked_in_the_hand_is_not_answered_to_the_next_when_the_machine_is_cancelled_at_once() {
    let mut bench = Bench::new(limit(1));
    let hand = Rc::new(RefCell::new(None));
    let into = Rc::clone(&hand);
    let ticket = bench.pool.clone().acquire_lease(&mut bench.cx(), &key(1), move |_, lease| {
        *into.borrow_mut() = Some(lease.unwrap());
    });
    bench.settle();
    let lease: Lease<World> = hand.take().unwrap();
    lease.conn(&mut bench.cx()).unwrap().write(b"slow\n");
    bench.settle();
    lease.start(&mut bench.cx(), Ask::new("a", "ok"));
    assert!(bench.cancel(ticket), "and nothing has been called of it yet");
    bench.ask(1, "next", "hang");
    bench.pass(ms(2000));
    assert_eq!(bench.world.results(), ["a failed"], "the answer is not the next one's");
    assert!(matches!(bench.world.last_error(), Error::Cancelled));
    assert_eq!(bench.closed(Reason::Cancelled), 1);
}

#[test]
fn a_machine_whose_lease_was_closed_in_the_hand_is_not_told_that_the_loop_shuts_down() {
    let mut bench = Bench::new(limit(1));
    let lease = lease(&mut bench);
    lease.conn(&mut bench.cx()).unwrap().close();
    lease.start(&mut bench.cx(), Ask::new("late", "ok"));
    bench.settle();
    assert_eq!(bench.world.results(), ["late failed"]);
    let message = bench.world.errors[0].to_string();
    assert!(message.contains("closed before it was used"), "{message}");
}

#[test]
fn what_is_left_on_a_connection_that_is_released_as_dirty_is_nothing_unexpected() {
    logged::capture();
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), Ask { reuse: Reuse::Dirty, ..Ask::new("a", "more") });
    bench.settle();
    assert_eq!((bench.closed(Reason::Dirty), bench.closed(Reason::Unexpected)), (1, 0));
    assert_eq!(logged::captured(Level::Warn), Vec::<String>::new());
}

#[test]
fn who_releases_a_connection_in_another_callback_is_told_how_much_it_left_unread() {
    struct Leaves;
    impl Protocol<World> for Leaves {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.write(b"ok\n");
            conn.deadline(ms(100));
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(()) // three bytes, which stay
        }
        fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.release(Reuse::Dirty);
            Ok(())
        }
        fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
            cx.state.notes.push(format!("{} unread", end.unread));
        }
    }
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), Leaves);
    bench.pass(ms(200));
    assert_eq!(bench.world.notes, ["3 unread"]);
}

#[test]
fn a_machine_dropped_by_the_pool_may_ask_the_pool() {
    struct AsksInDrop(Pool<World>);
    impl Protocol<World> for AsksInDrop {
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
    }
    impl Drop for AsksInDrop {
        fn drop(&mut self) {
            self.0.snapshot();
        }
    }
    let mut bench = Bench::new(limit(1));
    let pool = bench.pool.clone();
    let asks = AsksInDrop(pool.clone());
    pool.acquire_lease(&mut bench.cx(), &key(1), move |cx, lease| {
        let lease = lease.unwrap();
        lease.conn(cx).unwrap().switch(asks); // and what it is given to takes over instead
        lease.start(cx, Ask::new("a", "ok"));
    });
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok"]);
}
