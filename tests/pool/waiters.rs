//! The queue for a pool's connections: the order, and cancelled entries.

use super::bench::{Ask, Bench, World, key, limit, limits, ms};
use enjamb::pool::{Error, Pool};
use enjamb::{Conn, Cx, End, Input, Protocol};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;

// Waiters.

#[test]
fn a_host_at_its_own_limit_blocks_no_other() {
    let mut bench = Bench::new(limits(3, 1));
    bench.ask(1, "a1", "hang");
    bench.ask(1, "a2", "hang");
    bench.ask(1, "a3", "hang");
    bench.ask(2, "b", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["b ok"]);
    assert_eq!(bench.usage(), (1, 1, 2));
}

#[test]
fn a_flooded_host_hands_on_eight_times_at_most_while_another_waits() {
    let mut bench = Bench::new(limit(1));
    for _ in 0..100 {
        bench.ask(1, "a", "ok");
    }
    bench.ask(2, "b", "ok");
    bench.pass(ms(1000));
    let b = bench.world.results().iter().position(|note| *note == "b ok").unwrap();
    assert_eq!(b, 9, "the first, and eight that it was handed on to");
    assert_eq!(bench.opened(), 3, "to a, to b, and to a again");
    assert_eq!(bench.world.results().len(), 101);
}

#[test]
fn hosts_take_turns_also_where_nothing_is_handed_on() {
    let mut bench = Bench::new(limit(1));
    for _ in 0..20 {
        bench.acquire(&key(1).one_shot(), Ask::new("a", "ok"));
    }
    bench.acquire(&key(2).one_shot(), Ask::new("b", "ok"));
    bench.pass(ms(1000));
    let b = bench.world.results().iter().position(|note| *note == "b ok").unwrap();
    assert!(b <= 2, "{b}");
}

// Cancelling.

#[test]
fn cancelling_a_waiter_unlinks_it() {
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "slow");
    let ticket = bench.ask(1, "b", "ok");
    bench.ask(1, "c", "ok");
    assert!(bench.cancel(ticket));
    bench.pass(ms(1100));
    assert_eq!(bench.world.results(), ["b failed", "a ok", "c ok"]);
}

#[test]
fn cancelling_what_is_granted_and_not_delivered_passes_it_on() {
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "ok");
    bench.settle();
    let granted = bench.ask(1, "b", "ok"); // the idle connection is its own now, and the loop has not told it
    bench.ask(1, "c", "ok");
    assert_eq!(bench.usage(), (1, 0, 1));
    assert!(bench.cancel(granted));
    assert_eq!(bench.usage(), (1, 0, 0), "the next has it");
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok", "b failed", "c ok"]);
    assert!(!bench.world.has("b opened"));
    assert_eq!(bench.opened(), 1);
}

#[test]
fn a_connection_being_made_for_who_cancels_goes_to_the_next_of_its_host() {
    let mut bench = Bench::new(limit(1));
    let first = bench.ask(1, "a", "ok");
    bench.ask(1, "b", "ok");
    assert!(bench.cancel(first));
    assert_eq!(bench.pool.snapshot().total.connecting, 1);
    bench.settle();
    assert_eq!(bench.world.results(), ["a failed", "b ok"]);
    assert_eq!(bench.opened(), 1);
}

#[test]
fn cancelling_an_exchange_aborts_it() {
    let mut bench = Bench::new(limit(1));
    let ticket = bench.ask(1, "a", "hang");
    bench.settle();
    assert!(bench.cancel(ticket));
    bench.ask(1, "b", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["a failed", "b ok"]);
    assert!(matches!(bench.world.last_error(), Error::Cancelled));
}

#[test]
fn a_machine_can_cancel_itself_and_acquire_anew_in_a_callback() {
    struct Again {
        pool: Pool<World>,
        ticket: Rc<RefCell<Option<enjamb::pool::Ticket>>>,
        left: u32,
    }
    impl Protocol<World> for Again {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            let ticket = self.ticket.borrow_mut().take().unwrap();
            assert!(self.pool.cancel(conn.cx(), ticket));
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
        fn closed(mut self: Box<Self>, cx: &mut Cx<'_, World>, _: End) {
            cx.state.notes.push("again".into());
            self.left -= 1;
            if self.left > 0 {
                let (pool, ticket) = (self.pool.clone(), Rc::clone(&self.ticket));
                *ticket.borrow_mut() = Some(pool.acquire_boxed(cx, &key(1), self));
            }
        }
    }
    let mut bench = Bench::new(limit(1));
    let ticket = Rc::new(RefCell::new(None));
    let machine = Again { pool: bench.pool.clone(), ticket: Rc::clone(&ticket), left: 3 };
    *ticket.borrow_mut() = Some(bench.acquire(&key(1), machine));
    bench.settle();
    assert_eq!(bench.world.notes, ["again"; 3]);
}
