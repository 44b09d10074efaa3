//! Received bytes: lines, leftovers that are offered again, limits, pausing, a switch of machines, split UTF-8.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::times::NOW;
use crate::common::until::until;
use enjamb::sim::Solo;
use enjamb::{Config, Conn, ConnId, Input, Reactor};

fn start(config: Config, machine: Machine) -> (Reactor<Seen>, Seen, ConnId, TcpStream) {
    let (ours, theirs) = sized_pair(None);
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(ours, machine).unwrap().id();
    (reactor, seen, id, theirs)
}

/// A machine alone in a simulation, whose callbacks can be counted on not to come: set up when it opens.
fn alone(machine: Machine, set_up: fn(&mut Conn<'_, Seen>)) -> (Solo<Seen>, ConnId) {
    let id = Rc::new(Cell::new(None));
    let told = Rc::clone(&id);
    let opened = Box::new(move |conn: &mut Conn<'_, Seen>| {
        told.set(Some(conn.id()));
        set_up(conn);
        Ok(())
    });
    let solo = Solo::with_state(Machine { opened, ..machine }, Seen::default());
    (solo, id.get().expect("it is open"))
}

fn note(conn: &mut Conn<'_, Seen>, what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    conn.state().notes.push(format!("{what} {text}"));
}

/// Notes each line, and leaves what is not a whole one.
fn lines() -> Machine {
    Machine {
        received: Box::new(|conn, input| {
            while let Some(line) = input.take_line() {
                note(conn, "line", line);
            }
            Ok(())
        }),
        ended: Box::new(|conn, rest| {
            note(conn, "rest", rest.take_all());
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    }
}

#[test]
fn the_cursor_takes_what_is_asked_for_and_no_more_than_there_is() {
    let mut input = Input::new(b"one\ntwo\r\n\n\r\n\rx\r\nhalf\r");
    assert_eq!(input.take(0), b"");
    for line in [&b"one"[..], b"two", b"", b"", b"\rx"] {
        assert_eq!(input.take_line(), Some(line));
    }
    assert_eq!((input.take_line(), input.len()), (None, 5));
    assert_eq!(input.take(2), b"ha");
    assert_eq!(input.peek(), b"lf\r");
    assert_eq!(input.take(usize::MAX), b"lf\r");
    assert!(input.is_empty());
    assert_eq!((input.take_all(), input.take_line()), (&b""[..], None));
}

#[test]
fn half_a_line_is_offered_again_with_what_comes_next_and_at_the_end_to_ended() {
    let (mut reactor, mut seen, _, mut peer) = start(Config::default(), lines());
    let mut expected = Vec::new();
    for (piece, lines) in
        [("fi", &[][..]), ("rst\r", &[]), ("\nsec", &["first"]), ("ond\nthird\nfo", &["second", "third"])]
    {
        peer.write_all(piece.as_bytes()).unwrap();
        expected.extend(lines.iter().map(|line| format!("line {line}")));
        until(&mut reactor, &mut seen, |cx| cx.state.notes.len() == expected.len());
    }
    peer.shutdown(Shutdown::Write).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    expected.push("rest fo".into());
    assert_eq!(seen.notes, expected);
    assert_eq!(seen.ends[0].unread, 0);
}

#[test]
fn the_smallest_read_buffer_and_budget_lose_nothing() {
    let config = Config { read_buffer: 1, read_budget: 1, ..Config::default() };
    let (mut reactor, mut seen, _, mut peer) = start(config, lines());
    peer.write_all(b"a line\nand a rest").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.notes, ["line a line", "rest and a rest"]);
}

#[test]
fn taking_a_little_at_a_time_of_a_lot_sees_every_byte_once() {
    // One byte more is taken with every call, so what is left shifts against what comes.
    let mut n = 0;
    let machine = Machine {
        received: Box::new(move |conn, input| {
            n += 1;
            conn.input_limit(usize::MAX);
            conn.state().bytes.extend(input.take(n));
            Ok(())
        }),
        ended: Box::new(|conn, rest| {
            conn.state().bytes.extend(rest.take_all());
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    let config = Config { read_buffer: 100, ..Config::default() };
    let (mut reactor, mut seen, _, mut peer) = start(config, machine);
    let text: Vec<u8> = (0..200_000u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    let to_send = text.clone();
    let writer = thread::spawn(move || peer.write_all(&to_send));
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    writer.join().unwrap().unwrap();
    assert!(seen.bytes == text);
}

#[test]
fn reaching_the_input_limit_is_an_error_that_says_what_to_do() {
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.input_limit(10);
            Ok(())
        }),
        ..lines()
    };
    let (mut reactor, mut seen, _, mut peer) = start(Config::default(), machine);
    let address = peer.local_addr().unwrap();
    peer.write_all(b"123456789").unwrap(); // one byte less is in order
    until(&mut reactor, &mut seen, |cx| cx.alive().to_string().contains("9 bytes unread"));
    reactor.turn(&mut seen, NOW).unwrap();
    assert!(seen.ends.is_empty());
    peer.write_all(b"\n1234567890").unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.notes, ["line 123456789"]);
    let error = seen.ends[0].result.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(
        error.to_string(),
        format!(
            "reading from {address}: 10 bytes have come and were not consumed, and the input limit is 10; is it the \
             right protocol? Conn::input_limit raises it"
        )
    );
    assert_eq!(seen.ends[0].unread, 10);
}

#[test]
fn the_config_sets_the_input_limit_of_every_connection() {
    let (mut reactor, mut seen, _, mut peer) = start(Config { input_limit: 5, ..Config::default() }, lines());
    peer.write_all(b"12345").unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(seen.ends[0].to_string().contains("the input limit is 5"), "{}", seen.ends[0]);
}

#[test]
fn whoever_pauses_may_leave_more_than_the_limit_and_is_offered_it_on_resuming() {
    let mut paused = false;
    let machine = Machine {
        received: Box::new(move |conn, input| {
            if std::mem::replace(&mut paused, true) {
                note(conn, "again", input.take(4));
                note(conn, "rest", input.take_all());
            } else {
                note(conn, "first", input.peek());
                conn.pause();
            }
            Ok(())
        }),
        ..Machine::default()
    };
    let (mut solo, id) = alone(machine, |conn| conn.input_limit(3));
    solo.feed("too much");
    // More comes meanwhile, and the end: a paused connection sees none of it.
    solo.feed(" of it");
    solo.finish();
    solo.advance(Duration::from_secs(60));
    assert_eq!(solo.state.notes, ["first too much"]);
    solo.cx().conn(id).unwrap().resume();
    // No event will come for what arrived before: it is driven at once.
    solo.advance(Duration::ZERO);
    assert_eq!(solo.state.notes, ["first too much", "again too ", "rest much", "again  of ", "rest it"]);
    assert!(solo.end().is_some_and(|end| end.result.is_ok()), "{:?}", solo.end());
}

#[test]
fn resuming_with_nothing_left_offers_nothing_and_pausing_or_resuming_twice_is_as_good_as_once() {
    let machine = Machine {
        received: Box::new(|conn, input| {
            note(conn, "received", input.take_all());
            Ok(())
        }),
        ..Machine::default()
    };
    let (mut reactor, mut seen, id, mut peer) = start(Config::default(), machine);
    reactor.turn(&mut seen, NOW).unwrap();
    for pausing in [false, true, true, false, false] {
        let mut cx = reactor.cx(&mut seen);
        let mut conn = cx.conn(id).unwrap();
        if pausing {
            conn.pause();
        } else {
            conn.resume();
        }
        reactor.turn(&mut seen, NOW).unwrap();
    }
    assert_eq!(seen.notes, [""; 0]);
    peer.write_all(b"now").unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    assert_eq!(seen.notes, ["received now"]);
}

#[test]
fn a_connection_paused_when_it_opens_receives_what_came_before_on_resuming() {
    let (mut solo, id) = alone(Machine::default(), |conn| conn.pause());
    solo.feed("waiting");
    solo.advance(Duration::from_secs(60));
    assert_eq!(solo.state.bytes, b"");
    solo.cx().conn(id).unwrap().resume();
    solo.advance(Duration::ZERO);
    assert_eq!(solo.state.bytes, b"waiting");
}

#[test]
fn switching_hands_what_was_left_to_the_new_machine() {
    let upgrade = Machine {
        received: Box::new(|conn, input| {
            assert_eq!(input.take_line(), Some(&b"UPGRADE"[..]));
            conn.switch(Machine {
                opened: Box::new(|_| panic!("it has been open all the time")),
                closed: Box::new(|cx, _| cx.state.notes.push("the new one".into())),
                ..lines()
            });
            conn.write(b"upgraded\n");
            Ok(())
        }),
        closed: Box::new(|_, _| panic!("that is for the new one")),
        ..Machine::default()
    };
    let (mut reactor, mut seen, _, mut peer) = start(Config::default(), upgrade);
    // The first words of the new protocol come in the same segment, and none after that.
    peer.write_all(b"UPGRADE\nfirst\nsecond\nha").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.notes.len() == 2);
    assert_eq!(seen.notes, ["line first", "line second"]);
    let mut answer = [0; 9];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"upgraded\n");
    peer.write_all(b"lf\n").unwrap();
    drop(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.notes[2..], ["line half", "rest ", "the new one"]);
}

#[test]
fn switching_with_nothing_left_or_while_paused_goes_on_with_what_comes() {
    for paused in [false, true] {
        let first = Machine {
            received: Box::new(move |conn, input| {
                input.take(if paused { 2 } else { 5 });
                if paused {
                    conn.pause();
                }
                conn.switch(lines());
                Ok(())
            }),
            ..Machine::default()
        };
        let (mut reactor, mut seen, id, mut peer) = start(Config::default(), first);
        peer.write_all(b"first").unwrap();
        if paused {
            until(&mut reactor, &mut seen, |cx| cx.alive().to_string().contains("3 bytes unread"));
            reactor.turn(&mut seen, NOW).unwrap();
            reactor.cx(&mut seen).conn(id).unwrap().resume();
        }
        peer.write_all(b" second\n").unwrap();
        until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
        let expected = if paused { "line rst second" } else { "line  second" };
        assert_eq!(seen.notes, [expected]);
    }
}

#[test]
fn a_machine_switched_in_when_the_peer_has_ended_is_told_so() {
    let first = Machine {
        ended: Box::new(|conn, _| {
            conn.switch(lines());
            Ok(())
        }),
        received: Box::new(|_, _| Ok(())), // leaves everything
        ..Machine::default()
    };
    let (mut reactor, mut seen, _, mut peer) = start(Config::default(), first);
    peer.write_all(b"left over").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.notes, ["rest left over"]);
}

#[test]
fn an_input_that_the_machine_replaces_by_a_longer_one_does_not_bring_down_the_loop() {
    let machine = Machine {
        received: Box::new(|conn, input| {
            note(conn, "received", input.peek());
            if input.len() > 3 {
                *input = Input::new(b"something longer than it was");
            }
            Ok(())
        }),
        ..Machine::default()
    };
    let (mut reactor, mut seen, _, mut peer) = start(Config::default(), machine);
    peer.write_all(b"abc").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.notes.len() == 1);
    peer.write_all(b"d").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.notes.len() == 2);
    assert_eq!(seen.notes, ["received abc", "received abcd"]);
    drop(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
}

#[test]
fn utf8_split_across_reads_is_decoded_at_the_end_or_with_the_remainder_kept() {
    let text = "Über allen Gipfeln ist Ruh, 在所有的山峰之上, 🌄";
    for read_buffer in 1..8 {
        let machine = Machine {
            received: Box::new(|conn, input| {
                let whole = match std::str::from_utf8(input.peek()) {
                    Ok(text) => text.len(),
                    Err(error) => error.valid_up_to(),
                };
                note(conn, "", input.take(whole));
                Ok(())
            }),
            ..Machine::default()
        };
        let config = Config { read_buffer, ..Config::default() };
        let (mut reactor, mut seen, _, mut peer) = start(config, machine);
        peer.write_all(text.as_bytes()).unwrap();
        drop(peer);
        until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
        let read: String = seen.notes.iter().map(|note| &note[1..]).collect();
        assert_eq!(read, text, "{read_buffer} bytes at a time");
    }
}
