//! The connection pool's rules: limits, hand-over, liveness and cancelling, each in the simulation.
#![cfg(feature = "sim")]

#[path = "common/log.rs"]
mod log_capture;
#[path = "common/pooled.rs"]
mod pooled;

use enjamb::pool::{Config, Error, Key, Phase, Pool, Reason, Reuse};
use enjamb::sim::Link;
use enjamb::{Conn, Cx, End, Input, Protocol};
use log::Level;
use pooled::{Ask, Bench, World, key, ms};
use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

fn limit(limit: usize) -> Config {
    Config { limit: Some(limit), ..Config::default() }
}

fn limits(limit: usize, per_host: usize) -> Config {
    Config { limit: Some(limit), limit_per_host: Some(per_host), ..Config::default() }
}

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
    log_capture::capture();
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "more");
    bench.ask(1, "b", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok", "b ok"]);
    assert_eq!(bench.closed(Reason::Unexpected), 1);
    let warnings = log_capture::captured(Level::Warn);
    assert!(warnings[0].contains("\"and this nobody has asked for, a\""), "{warnings:?}");
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
    log_capture::capture();
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "noise");
    bench.pass(ms(600));
    assert_eq!((bench.usage(), bench.closed(Reason::Unexpected)), ((0, 0, 0), 1));
    let warnings = log_capture::captured(Level::Warn);
    assert!(warnings[0].contains("\"\\x00noise\""), "{warnings:?}");
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

// Limits.

struct SaysBye;
impl Protocol<World> for SaysBye {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.write(b"hang\n"); // the server will not close: closing lingers
        conn.close();
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closing_connection_keeps_its_place_until_it_is_gone() {
    let mut bench = Bench::new(limit(1));
    bench.sim.links(Link { latency: ms(100)..=ms(100), ..Link::default() });
    bench.acquire(&key(1), SaysBye);
    bench.ask(2, "next", "ok");
    bench.pass(ms(250));
    let total = bench.pool.snapshot().total;
    assert_eq!((total.closing, total.waiting, total.open()), (1, 1, 1));
    bench.pass(ms(1000));
    assert!(bench.world.has("next ok"));
}

#[test]
fn who_wants_a_place_is_not_made_to_wait_for_a_connection_that_lingers() {
    let mut bench = Bench::new(limit(2));
    bench.ask(3, "idle", "ok");
    bench.settle();
    bench.sim.links(Link { latency: ms(100)..=ms(100), ..Link::default() });
    bench.acquire(&key(1), SaysBye);
    bench.pass(ms(250));
    assert_eq!(bench.pool.snapshot().total.closing, 1);
    bench.sim.links(Link::default());
    bench.ask(2, "next", "ok");
    bench.settle();
    assert!(bench.world.has("next ok"), "the idle connection has made room");
    assert_eq!((bench.closed(Reason::Evicted), bench.pool.snapshot().total.closing), (1, 1));
}

#[test]
fn a_host_without_anything_has_no_entry() {
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1).one_shot(), Ask::new("a", "ok"));
    assert_eq!(bench.pool.snapshot().hosts.len(), 1);
    bench.settle();
    assert!(bench.pool.snapshot().hosts.is_empty());
}

#[test]
fn a_limit_of_zero_and_one_above_the_total_are_refused_with_the_values() {
    let refused = |config| Pool::<()>::new(config).unwrap_err().to_string();
    assert!(refused(limit(0)).contains("Config::limit is 0"));
    assert!(refused(limits(5, 0)).contains("Config::limit_per_host is 0"));
    let message = refused(limits(5, 6));
    assert!(message.contains("limit_per_host (6)") && message.contains("limit (5)"), "{message}");
    Pool::<()>::new(Config { limit: None, limit_per_host: Some(6), ..Config::default() }).unwrap();
}

#[test]
fn available_is_the_smaller_rest_of_the_limits() {
    let mut bench = Bench::new(limits(6, 4));
    for (host, name) in [(1, "a"), (1, "b"), (1, "c"), (2, "d")] {
        bench.ask(host, name, "hang");
    }
    bench.ask(3, "idle", "ok");
    bench.settle();
    let snapshot = bench.pool.snapshot();
    let available = [1, 2, 3, 4].map(|host| snapshot.host(&key(host)).available.unwrap());
    assert_eq!(available, [1, 2, 2, 2], "4 - 3, 6 - 4, 6 - 4, 6 - 4");
}

// Acquiring.

#[test]
fn nothing_calls_back_within_the_call() {
    let mut bench = Bench::new(limits(1, 1));
    bench.ask(1, "a", "ok");
    bench.settle();
    let before = bench.world.notes.len();
    let ticket = bench.ask(1, "idle connection", "ok");
    bench.ask(1, "queued", "ok");
    bench.cancel(ticket);
    let pool = bench.pool.clone();
    pool.drain(&mut bench.cx(), ms(0));
    bench.ask(1, "refused", "ok");
    assert_eq!(bench.world.notes.len(), before);
    bench.settle();
    assert_eq!(bench.world.results().len(), 4, "and everybody is told in the end");
}

#[test]
fn the_most_recently_used_connection_is_handed_out_first() {
    let mut bench = Bench::new(limit(3));
    bench.ask(1, "a", "slow");
    bench.settle();
    bench.ask(1, "b", "slow");
    bench.pass(ms(1100));
    bench.ask(1, "c", "ok");
    bench.settle();
    let conns = &bench.world.conns;
    assert_eq!(bench.world.results(), ["a ok", "b ok", "c ok"]);
    assert!(conns[0] != conns[1] && conns[2] == conns[1], "{conns:?}");
}

#[test]
fn a_newcomer_does_not_overtake_who_waits() {
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "first", "slow");
    bench.ask(1, "second", "ok");
    bench.ask(1, "third", "ok");
    bench.pass(ms(1100));
    assert_eq!(bench.world.asked, ["slow first", "ok second", "ok third"]);
    assert_eq!(bench.opened(), 1, "each was handed the same connection");
}

#[test]
fn past_max_waiters_it_is_queue_full() {
    let mut bench = Bench::new(Config { max_waiters: Some(2), ..limit(1) });
    for name in ["leased", "w1", "w2"] {
        bench.ask(1, name, "slow");
    }
    bench.ask(1, "refused", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["refused failed"]);
    let error = bench.world.last_error();
    assert!(matches!(error, Error::QueueFull { waiting: 2, held, .. } if held.connecting == 1), "{error}");
    bench.pass(ms(3100));
    assert_eq!(bench.world.results(), ["refused failed", "leased ok", "w1 ok", "w2 ok"]);
}

#[test]
fn with_no_waiters_allowed_an_eviction_still_makes_room() {
    let mut bench = Bench::new(Config { max_waiters: Some(0), ..limit(1) });
    bench.ask(1, "a", "ok");
    bench.settle();
    bench.ask(2, "b", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["a ok", "b ok"]);
}

#[test]
fn a_failed_connect_fails_one_ticket_with_address_and_phase_and_wakes_the_next() {
    let mut bench = Bench::new(limits(1, 1));
    let server = ([10, 0, 0, 1], 7);
    bench.sim.link(server, Link { refused: 1.0, ..Link::default() });
    bench.ask(1, "a", "ok");
    bench.ask(1, "b", "ok");
    bench.sim.link(server, Link::default()); // for the next connect
    bench.settle();
    assert_eq!(bench.world.results(), ["a failed", "b ok"]);
    let error = bench.world.last_error();
    let Error::Connect { key: of, phase, tried, source } = error else { panic!("{error}") };
    assert_eq!((of, *phase, &tried[..]), (&key(1), Phase::Connect, &[server.into()][..]));
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("connecting to 10.0.0.1:7"), "{error}");
    assert_eq!(bench.closed(Reason::Unconnected), 1);
}

#[test]
fn a_connection_by_name_is_pooled_under_its_name() {
    let mut bench = Bench::new(limit(1));
    bench.sim.name("one", ms(5), [[10, 0, 0, 1]]);
    for name in ["a", "b"] {
        bench.acquire(&Key::new("one:7"), Ask::new(name, "ok"));
    }
    bench.settle();
    assert_eq!((bench.world.results(), bench.opened()), (vec!["a ok", "b ok"], 1));
    assert_eq!(bench.pool.snapshot().hosts[0].0.to_string(), "one:7");
}

#[test]
fn a_name_that_leads_nowhere_is_told_with_the_phase_and_what_was_tried() {
    let mut bench = Bench::new(limit(1));
    bench.sim.name("nobody", ms(5), [[10, 0, 0, 98], [10, 0, 0, 99]]);
    bench.acquire(&Key::new("unknown:7"), Ask::new("a", "ok"));
    bench.acquire(&Key::new("nobody:7"), Ask::new("b", "ok"));
    bench.ask(1, "next", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["a failed", "b failed", "next ok"]);
    let far = |error: &io::Error| match Error::of(error) {
        Some(Error::Connect { phase, tried, .. }) => {
            (*phase, tried.iter().map(ToString::to_string).collect())
        }
        _ => panic!("{error}"),
    };
    let nobody = vec!["10.0.0.98:7".to_string(), "10.0.0.99:7".to_string()];
    assert_eq!(far(&bench.world.errors[0]), (Phase::Resolve, Vec::new()));
    assert_eq!(far(&bench.world.errors[1]), (Phase::Connect, nobody));
}

#[test]
fn a_look_up_that_takes_too_long_is_told_as_such() {
    let mut bench = Bench::new(limit(1));
    bench.sim.name("slow", ms(60_000), [[10, 0, 0, 1]]);
    bench.acquire(&Key::new("slow:7"), Ask::new("a", "ok"));
    bench.pass(ms(11_000));
    let error = bench.world.last_error();
    assert!(matches!(error, Error::Connect { phase: Phase::Resolve, .. }), "{error:?}");
}

#[test]
fn cancelling_while_a_name_is_looked_up_gives_the_place_back() {
    let mut bench = Bench::new(limit(1));
    bench.sim.name("slow", ms(5000), [[10, 0, 0, 1]]);
    let ticket = bench.acquire(&Key::new("slow:7"), Ask::new("a", "ok"));
    bench.settle();
    assert!(bench.cancel(ticket));
    bench.ask(2, "b", "ok");
    bench.settle();
    assert_eq!(bench.world.results(), ["a failed", "b ok"]);
}

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

// Where a machine has its connection from makes no difference to it.

#[test]
fn a_machine_without_a_pool_closes_where_it_would_release() {
    let mut bench = Bench::new(limit(1));
    bench.cx().connect(([10, 0, 0, 1], 7), Ask::new("a", "ok"));
    bench.settle();
    bench.pass(ms(2000));
    assert_eq!(bench.world.results(), ["a ok"]);
}

#[test]
fn a_machine_that_switches_keeps_its_pooled_connection() {
    struct First;
    impl Protocol<World> for First {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.write(b"ok\n");
            conn.switch(Ask::new("second", ""));
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            panic!("it was switched away")
        }
        fn closed(self: Box<Self>, _: &mut Cx<'_, World>, _: End) {
            panic!("it was switched away")
        }
    }
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), First);
    bench.settle();
    assert_eq!((bench.world.results(), bench.usage()), (vec!["second ok"], (0, 1, 0)));
}

#[test]
fn what_one_user_has_set_on_a_connection_the_next_does_not_find() {
    struct Sets;
    impl Protocol<World> for Sets {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.deadline(ms(50));
            conn.pause();
            conn.input_limit(1);
            conn.water_marks(0, 0);
            conn.release(Reuse::Reusable);
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
    }
    let mut bench = Bench::new(limit(1));
    bench.acquire(&key(1), Sets);
    bench.ask(1, "b", "slow");
    bench.pass(ms(1200));
    assert_eq!((bench.world.results(), bench.opened()), (vec!["b ok"], 1));
    bench.acquire(&key(1), Sets);
    bench.ask(1, "c", "half"); // what it leaves of its input is as much as the limit that was set
    bench.settle();
    assert_eq!((bench.world.results(), bench.usage()), (vec!["b ok"], (1, 0, 0)));
}

#[test]
fn who_waits_is_told_when_the_loop_shuts_down() {
    let mut bench = Bench::new(limit(1));
    bench.ask(1, "a", "hang");
    bench.ask(1, "b", "ok");
    bench.ask(2, "c", "ok");
    bench.settle();
    bench.cx().shutdown(ms(100));
    bench.reactor.run(&mut bench.world).unwrap();
    let mut results = bench.world.results();
    results.sort();
    assert_eq!(results.len(), 3, "{results:?}");
    assert_eq!(results[1..], ["b failed", "c failed"]);
}

#[test]
fn a_snapshot_prints_as_a_table() {
    let mut bench = Bench::new(limits(3, 2));
    for name in ["a", "b", "c"] {
        bench.ask(1, name, "hang");
    }
    bench.ask(2, "d", "ok");
    bench.settle();
    let expected = "\
host        connecting  leased  idle  closing  waiting  available
10.0.0.1:7           0       2     0        0        1          0
10.0.0.2:7           0       0     1        0        0          1
in all               0       2     1        0        1          1
opened 3, used again 0";
    assert_eq!(bench.pool.snapshot().to_string(), expected);
}

#[test]
fn keys_of_one_target_share_its_connections() {
    let mut bench = Bench::new(limit(2));
    bench.ask(1, "a", "ok");
    bench.settle();
    bench.acquire(&Key::new(([10, 0, 0, 1], 7)).one_shot(), Ask::new("b", "ok"));
    bench.settle();
    assert_eq!((bench.opened(), bench.usage()), (1, (0, 0, 0)));
}
