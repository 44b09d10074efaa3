//! Racing the addresses of a name on real sockets.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::names::{client, closed, failure, reactor_that_finds};
use crate::common::child::in_child;
use crate::common::machine::Seen;
use crate::common::places::{full_listener, listener, nobody};
use crate::common::until::until;

#[test]
fn the_first_that_connects_wins_and_the_others_are_closed() {
    if !in_child(the_first_that_connects_wins_and_the_others_are_closed, &[]) {
        return;
    }
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let ((server, addr), (_full, silent, _first)) = (listener(), full_listener());
    let mut reactor = reactor_that_finds(&[silent, addr, nobody().1]);
    let mut seen = Seen::default();
    let before = descriptors();
    let start = Instant::now();
    let id = reactor.cx(&mut seen).connect("some.example:1", client()).id();
    until(&mut reactor, &mut seen, |cx| {
        let alive = cx.alive().to_string();
        alive.contains(&format!("{silent}: no answer yet, {addr}: not tried yet, "))
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    assert!(start.elapsed() >= Duration::from_millis(250), "the second came before its time");
    assert_eq!(seen.notes, [format!("opened to {addr}")]);
    assert_eq!(descriptors(), before + 1, "the winner's only");
    assert_eq!(reactor.cx(&mut seen).conn(id).unwrap().peer_addr().unwrap(), addr);
    drop(server.accept().unwrap());
    closed(&mut reactor, &mut seen);
    assert_eq!(descriptors(), before);
}

#[test]
fn a_race_that_is_closed_or_out_of_time_leaves_no_descriptor_behind() {
    if !in_child(a_race_that_is_closed_or_out_of_time_leaves_no_descriptor_behind, &[]) {
        return;
    }
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (_full, silent, _first) = full_listener();
    let mut reactor = reactor_that_finds(&[silent, nobody().1]);
    for within in [None, Some(Duration::from_millis(20))] {
        let mut seen = Seen::default();
        let before = descriptors();
        let id = reactor.cx(&mut seen).connect("some.example:1", client()).id();
        until(&mut reactor, &mut seen, |_| descriptors() > before);
        let mut cx = reactor.cx(&mut seen);
        match within {
            None => cx.conn(id).unwrap().close(),
            within => cx.conn(id).unwrap().deadline(within),
        }
        closed(&mut reactor, &mut seen);
        assert_eq!(descriptors(), before);
        assert_eq!(seen.ends[0].result.is_ok(), within.is_none());
    }
}

#[test]
fn all_failing_is_one_error_that_lists_every_address_and_why() {
    let ((_one, first), (_other, second)) = (nobody(), nobody());
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9)); // nobody listens there either, or there is no IPv6
    let mut reactor = reactor_that_finds(&[first, second, v6, first]);
    let mut seen = Seen::default();
    reactor.cx(&mut seen).connect("some.example:1", client()).write(b"12345");
    closed(&mut reactor, &mut seen);
    assert!(seen.notes.is_empty());
    assert_eq!(seen.ends[0].unsent, 5);
    assert_eq!(failure(&seen).kind(), ErrorKind::ConnectionRefused);
    let message = failure(&seen).to_string();
    let refused = io::Error::from_raw_os_error(nix::libc::ECONNREFUSED);
    let start = format!("connecting to some.example:1: {first}: {refused}, {v6}: ");
    let end = format!(", {second}: {refused}; is a server listening there?");
    assert!(message.starts_with(&start) && message.ends_with(&end), "{message}");
    assert_eq!(message.matches(&first.to_string()).count(), 1, "an address is tried once: {message}");
}
