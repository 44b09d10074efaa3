//! Half-close: `finish`, and a peer that has finished.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use super::closing::{adopt, reset};
use crate::common::bytes::MIB;
use crate::common::machine::{Machine, Seen, opened};
use crate::common::pair::sized_pair;
use crate::common::until::until;
use enjamb::{Conn, Reactor};
use nix::poll::{PollFd, PollFlags, poll};

#[test]
fn after_finish_the_peer_sees_the_end_and_can_still_send() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(&vec![b'x'; MIB]);
        conn.finish();
        assert!(conn.unsent() > 0, "the end has to wait for what is unsent");
        Ok(())
    });
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    let peer = thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes)?;
        peer.write_all(format!("{} bytes have come", bytes.len()).as_bytes())
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    peer.join().unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&seen.bytes), format!("{MIB} bytes have come"));
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
}

#[test]
fn a_peer_that_has_finished_still_gets_a_long_answer() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        ended: Box::new(|conn, rest| {
            assert!(rest.is_empty());
            let id = conn.id();
            // In pieces, and not at once.
            conn.cx().after(Duration::from_millis(1), move |cx| {
                let mut conn = cx.conn(id).expect("it is half open");
                conn.write(&vec![b'x'; MIB]);
                conn.cx().after(Duration::from_millis(1), move |cx| {
                    let mut conn = cx.conn(id).expect("it is half open");
                    conn.write(b"!");
                    conn.close();
                });
            });
            Ok(())
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.write_all(b"all I have to say").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let peer = thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes)
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    let bytes = peer.join().unwrap().unwrap();
    assert!(bytes.len() == MIB + 1 && bytes.ends_with(b"x!"), "{}", bytes.len());
    assert_eq!(seen.bytes, b"all I have to say");
}

#[test]
fn a_peer_that_has_finished_and_then_resets_ends_a_half_open_connection_that_has_nothing_to_send() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        ended: Box::new(|conn, _| {
            conn.state().notes.push("ended".into());
            Ok(()) // the answer comes later
        }),
        ..Machine::default()
    };
    let (_, peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.shutdown(Shutdown::Write).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    reset(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(seen.ends[0].result.is_err(), "there is nobody to answer any more: {}", seen.ends[0]);
    assert_eq!(seen.notes, ["ended"]);
}

#[test]
fn finishing_with_nothing_unsent_when_the_peer_has_finished_and_is_gone_is_a_good_end() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (ours, mut peer) = sized_pair(None);
    let watching = ours.try_clone().unwrap();
    peer.write_all(b"all").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut peer = Some(peer);
    let machine = Machine {
        ended: Box::new(move |conn, _| {
            reset(peer.take().unwrap());
            let nothing_else = PollFlags::empty();
            assert_eq!(poll(&mut [PollFd::new(watching.as_fd(), nothing_else)], 60_000u16), Ok(1));
            conn.finish();
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(seen.ends[0].result.is_ok() && seen.ends[0].unsent == 0, "{}", seen.ends[0]);
    assert_eq!(seen.bytes, b"all");
}

#[test]
fn finishing_after_the_peer_has_answered_and_reset_still_reads_the_answer() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (ours, mut peer) = sized_pair(None);
    let watching = ours.try_clone().unwrap();
    let id = reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap().id();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap(); // it is opened
    peer.write_all(b"answer").unwrap();
    reset(peer);
    // Until the reset has come here: POLLERR is told unasked, and tells without taking the error away.
    let nothing_else = PollFlags::empty();
    assert_eq!(poll(&mut [PollFd::new(watching.as_fd(), nothing_else)], 60_000u16), Ok(1));
    reactor.cx(&mut seen).conn(id).unwrap().finish(); // which fails now
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.bytes, b"answer", "{}", seen.ends[0]);
}

/// A machine that has written, and calls `end` when it receives: with the peer's words and, if `ends`, its end, there is a
/// reset behind them by then. Returns what it has noted, and how it ended.
fn ends_in_received(ends: bool, end: fn(&mut Conn<'_, Seen>)) -> Seen {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (ours, mut peer) = sized_pair(None);
    let watching = ours.try_clone().unwrap();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b"hello");
            Ok(())
        }),
        received: Box::new(move |conn, input| {
            conn.state().bytes.extend(input.take_all());
            end(conn);
            Ok(())
        }),
        ended: Box::new(|conn, _| {
            conn.state().notes.push("ended".into());
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap(); // it is opened
    peer.read_exact(&mut [0; 5]).unwrap();
    peer.write_all(b"all").unwrap();
    if ends {
        peer.shutdown(Shutdown::Write).unwrap();
    }
    reset(peer);
    // Until the reset has come here: POLLERR is told unasked, and tells without taking the error away.
    let nothing_else = PollFlags::empty();
    assert_eq!(poll(&mut [PollFd::new(watching.as_fd(), nothing_else)], 60_000u16), Ok(1));
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.bytes, b"all");
    seen
}

#[test]
fn closing_before_the_end_of_a_peer_that_is_gone_was_read_is_a_good_end() {
    let seen = ends_in_received(true, |conn| conn.close());
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert!(seen.notes.is_empty());
}

#[test]
fn finishing_before_the_end_of_a_peer_that_is_gone_was_read_is_a_good_end_and_ended_is_called() {
    let seen = ends_in_received(true, |conn| conn.finish());
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert_eq!(seen.notes, ["ended"]);
}

#[test]
fn closing_or_finishing_when_the_peer_has_reset_without_an_end_is_an_error() {
    for end in
        [|conn: &mut Conn<'_, Seen>| conn.close(), |conn| conn.finish()] as [fn(&mut Conn<'_, Seen>); 2]
    {
        let seen = ends_in_received(false, end);
        let error = seen.ends[0].result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert!(seen.notes.is_empty());
    }
}
