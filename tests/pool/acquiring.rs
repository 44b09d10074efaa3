//! The pool's limits, how connections are acquired, and what a machine sees of the pool, in the simulation.

use super::bench::{Ask, Bench, World, key, limit, limits, ms};
use enjamb::pool::{Config, Error, Key, Phase, Pool, Reason, Reuse};
use enjamb::sim::Link;
use enjamb::{Conn, Cx, End, Input, Protocol};
use std::io;

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
