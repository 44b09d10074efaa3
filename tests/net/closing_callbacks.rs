//! Closing and callbacks: none but `closed` follows, and a callback may close itself, another or all.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::closing::{abort, adopt, wrong};
use crate::common::machine::{Machine, Seen, close, opened};
use crate::common::pair::sized_pair;
use crate::common::places::nobody;
use crate::common::until::until;
use enjamb::Reactor;

#[test]
fn no_callback_but_closed_comes_after_close() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.water_marks(0, 1);
            conn.write(b"bye");
            conn.deadline(Duration::ZERO);
            conn.close();
            conn.resume();
            Ok(())
        }),
        received: Box::new(|_, _| panic!("received after close")),
        drained: Box::new(|_| panic!("drained after close")),
        ended: Box::new(|_, _| panic!("ended after close")),
        timed_out: Box::new(|_| panic!("timed out after close")),
        ..Machine::default()
    };
    let (id, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.write_all(b"too late").unwrap();
    reactor.turn(&mut seen, None).unwrap();
    assert!(reactor.cx(&mut seen).conn(id).is_some_and(|mut conn| !conn.write(b"either")));
    peer.write_all(b"and later").unwrap();
    drop(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(reactor.cx(&mut seen).conn(id).is_none());
}

#[test]
fn no_callback_but_closed_comes_after_an_error_although_the_output_has_drained() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.water_marks(0, 10);
            conn.write(&[0; 20]);
            conn.write(&[0; 40_000]); // goes out at once, and what was gathered goes with it
            assert!(conn.is_full());
            assert_eq!(conn.unsent(), 0, "nothing would have drained");
            Err(wrong())
        }),
        drained: Box::new(|_| panic!("drained after an error")),
        ..Machine::default()
    };
    let (ours, _peer) = sized_pair(None);
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.ends[0].to_string(), "wrong");
}

#[test]
fn the_descriptor_is_closed_before_closed_is_called() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(abort), // without a shutdown(2) before
        closed: Box::new(move |cx, _| {
            let read = theirs.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(read, Ok(0), "the peer sees no end yet");
            cx.state.notes.push("closed".into());
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.notes, ["closed"]);
}

#[test]
fn what_the_machine_left_is_told_as_unread() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        received: Box::new(|conn, input| {
            input.take(4);
            conn.abort(wrong());
            Ok(())
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.write_all(b"tastes good").unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!((seen.ends[0].unread, seen.ends[0].unsent), (7, 0));
    assert_eq!(seen.ends[0].to_string(), "wrong; 7 bytes were not read");
}

#[test]
fn a_callback_closes_itself_another_and_all() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut peers = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..10 {
        let machine =
            Machine { received: Box::new(|_, _| panic!("it was closed by the first")), ..Machine::default() };
        let (id, peer) = adopt(&mut cx, machine);
        ids.push(id);
        peers.push(peer);
    }
    // All have input in the same batch; whoever comes first closes the nine others, aborts one of them, and itself.
    let killer = Machine {
        received: Box::new(move |conn, input| {
            input.take_all();
            let id = conn.id();
            conn.cx().conn(id).expect("itself").close();
            for id in &ids {
                conn.cx().conn(*id).expect("another").close();
            }
            if let Some(mut conn) = conn.cx().conn(ids[3]) {
                conn.abort(wrong());
            }
            Ok(())
        }),
        ..Machine::default()
    };
    let (ours, theirs) = sized_pair(None);
    cx.adopt(ours, killer).unwrap();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap(); // they are opened
    peers.push(theirs);
    peers.last_mut().unwrap().write_all(b"now").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 11);
    drop(peers);
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.ends.len(), 11);
}

#[test]
fn a_connect_inside_closed_comes_about() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_nobody, refused) = nobody();
    let machine = Machine {
        closed: Box::new(move |cx, _| {
            let again = opened(|conn| {
                conn.state().notes.push("opened".into());
                close(conn)
            });
            cx.connect(addr, again);
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).connect(refused, machine);
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 2);
    assert_eq!(seen.notes, ["opened"]);
}
