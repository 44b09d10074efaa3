//! What a pool tells its client about a connection that was used before, and what the client may ask for instead.

use super::bench::{Bench, World, key, ms};
use crate::common::logged;
use enjamb::pool::{Config, Pool, Reason, Reuse};
use enjamb::{Conn, Input, Protocol};
use std::io;

/// Notes whether its connection was used before.
struct Looks;

impl Protocol<World> for Looks {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        let note = if conn.is_reused() { "used" } else { "new" };
        conn.state().notes.push(note.into());
        conn.write(b"ok\n");
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        conn.release(Reuse::Reusable);
        Ok(())
    }
}

fn bench(limit: usize) -> Bench {
    Bench::new(Config { limit: Some(limit), ..Config::default() })
}

#[test]
fn a_machine_is_told_whether_its_connection_was_used_before() {
    let mut bench = bench(2);
    bench.acquire(&key(1), Looks);
    bench.settle();
    bench.acquire(&key(1), Looks); // idle before
    bench.acquire(&key(1), Looks);
    bench.acquire(&key(1), Looks); // handed on
    bench.settle();
    assert_eq!(bench.world.notes, ["new", "used", "new", "used"]);
}

#[test]
fn a_connection_that_was_only_in_a_hand_is_new() {
    let mut bench = bench(1);
    let pool: Pool<World> = bench.pool.clone();
    pool.acquire_lease(&mut bench.cx(), &key(1), |cx, lease| lease.unwrap().start(cx, Looks));
    bench.settle();
    assert_eq!(bench.world.notes, ["new"]);
}

#[test]
fn a_fresh_connection_is_new_and_the_idle_ones_are_closed() {
    let mut bench = bench(3);
    bench.acquire(&key(1), Looks);
    bench.acquire(&key(1), Looks);
    bench.acquire(&key(2), Looks);
    bench.settle();
    bench.acquire(&key(1).fresh(), Looks);
    bench.settle();
    assert_eq!(bench.world.notes, ["new"; 4]);
    assert_eq!((bench.usage().1, bench.closed(Reason::Evicted)), (2, 2), "host 2 is left alone");
}

#[test]
fn who_waits_for_a_fresh_connection_is_not_given_a_used_one() {
    let mut bench = bench(1);
    bench.acquire(&key(1), Looks);
    bench.acquire(&key(1).fresh(), Looks);
    bench.acquire(&key(1), Looks);
    bench.settle();
    assert_eq!(
        (bench.world.notes.clone(), bench.opened()),
        (["new", "new", "used"].map(String::from).to_vec(), 2)
    );
}

#[test]
fn what_a_server_says_by_way_of_farewell_is_not_taken_for_unexpected() {
    let noise: fn(&[u8]) -> bool = |bytes| bytes == b"\x00noise";
    let other: fn(&[u8]) -> bool = |bytes| bytes == b"bye";
    for (farewell, warnings) in [(Some(noise), 0), (Some(other), 1), (None, 1)] {
        logged::capture();
        let mut bench = Bench::new(Config { farewell, ..Config::default() });
        bench.ask(1, "a", "noise");
        bench.pass(ms(1000));
        let (ended, unexpected) = (bench.closed(Reason::Ended), bench.closed(Reason::Unexpected));
        assert_eq!((ended, unexpected), (1 - warnings, warnings));
        assert!(logged::captured(log::Level::Warn).is_empty());
        let lines = logged::captured(log::Level::Debug);
        let told = lines.iter().filter(|line| line.contains("unexpected bytes")).count();
        assert_eq!(told as u64, warnings, "{lines:?}");
    }
}
