//! A reactor that another loop polls.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use crate::common::machine::{Machine, Seen, echo};
use crate::common::pair::{arrived, pair, sized_pair};
use crate::common::times::{HANGS, NOW};
use enjamb::mio::{self, Interest, Token};
use enjamb::{Config, Reactor};

#[test]
fn another_loop_polls_the_reactor_and_turns_it() {
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, echo()).unwrap();
    let mut outer = mio::Poll::new().unwrap();
    let fd = reactor.as_raw_fd();
    outer.registry().register(&mut mio::unix::SourceFd(&fd), Token(7), Interest::READABLE).unwrap();
    let mut events = mio::Events::with_capacity(4);
    // Whatever is due now, until only events are waited for.
    while reactor.turn(&mut seen, NOW).unwrap().next.is_some() {}
    while {
        outer.poll(&mut events, NOW).unwrap();
        !events.is_empty()
    } {
        reactor.turn(&mut seen, NOW).unwrap();
    }
    let mut wait_outside = |reactor: &mut Reactor<Seen>, seen: &mut Seen| {
        outer.poll(&mut events, Some(HANGS)).unwrap();
        assert!(events.iter().any(|event| event.token() == Token(7)), "the outer loop is not told");
        reactor.turn(seen, NOW).unwrap()
    };

    peer.write_all(b"ping").unwrap();
    let turn = wait_outside(&mut reactor, &mut seen);
    assert!(turn.alive && turn.next.is_none(), "{turn:?}");
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");

    let handle = reactor.handle();
    thread::spawn(move || handle.post(|cx| cx.state.notes.push("posted".into())));
    while seen.notes.is_empty() {
        wait_outside(&mut reactor, &mut seen);
    }

    peer.shutdown(Shutdown::Write).unwrap();
    while seen.ends.is_empty() {
        wait_outside(&mut reactor, &mut seen);
    }
    drop(peer);
    while reactor.turn(&mut seen, NOW).unwrap().alive {} // the handle's farewell
}

#[test]
fn an_edge_triggered_outer_loop_comes_to_all_that_are_ready_when_one_batch_does_not_hold_them() {
    const BATCH: usize = 8;
    for ready in [BATCH - 1, BATCH, BATCH + 1, 5 * BATCH] {
        let mut reactor = Reactor::with_config(Config { events: BATCH, ..Config::default() }).unwrap();
        let mut seen = Seen::default();
        let mut peers = Vec::new();
        for _ in 0..ready {
            let (ours, theirs) = pair();
            peers.push((ours.try_clone().unwrap(), theirs));
            reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
        }
        while reactor.turn(&mut seen, NOW).unwrap().next.is_some() {}
        let mut outer = mio::Poll::new().unwrap(); // which is edge-triggered
        let fd = reactor.as_raw_fd();
        outer.registry().register(&mut mio::unix::SourceFd(&fd), Token(7), Interest::READABLE).unwrap();
        for (ours, theirs) in &mut peers {
            theirs.write_all(b"x").unwrap();
            arrived(ours, 1);
        }
        let mut events = mio::Events::with_capacity(4);
        while seen.bytes.len() < ready {
            outer.poll(&mut events, NOW).unwrap();
            assert!(
                !events.is_empty(),
                "the outer loop hears no more, with {} of {ready} told",
                seen.bytes.len()
            );
            while reactor.turn(&mut seen, NOW).unwrap().next == Some(Duration::ZERO) {}
        }
    }
}
