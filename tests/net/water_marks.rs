//! Backpressure: water marks, `drained`, limits on output, and two peers that both write first.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::writing::reading_to_the_end;
use crate::common::bytes::{MIB, pattern};
use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::until::until;
use enjamb::sim::{Link, Sim, Solo};
use enjamb::{Config, Conn, ConnId, Input, Protocol, Reactor};

/// Writes `left` bytes as the peer takes them.
struct Streaming {
    left: usize,
    most_unsent: usize,
}

impl Streaming {
    const PIECE: usize = 5_000;

    fn go_on(&mut self, conn: &mut Conn<'_, Vec<usize>>) {
        while self.left > 0 && !conn.is_full() {
            let n = self.left.min(Self::PIECE);
            conn.write(&[7; Self::PIECE][..n]);
            self.left -= n;
            self.most_unsent = self.most_unsent.max(conn.unsent());
        }
        if self.left == 0 {
            conn.state().push(self.most_unsent);
            conn.close();
        }
    }
}

impl Protocol<Vec<usize>> for Streaming {
    fn opened(&mut self, conn: &mut Conn<'_, Vec<usize>>) -> io::Result<()> {
        conn.water_marks(1_000, 20_000);
        self.go_on(conn);
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, Vec<usize>>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        Ok(())
    }
    fn drained(&mut self, conn: &mut Conn<'_, Vec<usize>>) -> io::Result<()> {
        assert!(conn.unsent() <= 1_000, "{} bytes are above the low-water mark", conn.unsent());
        assert!(!conn.is_full());
        self.go_on(conn);
        Ok(())
    }
}

#[test]
fn a_machine_that_goes_on_in_drained_sends_a_lot_within_little_memory() {
    let (one, peer) = sized_pair(Some(8192));
    let mut reactor = Reactor::new().unwrap();
    let mut most = Vec::new();
    reactor.cx(&mut most).adopt(one, Streaming { left: 8 * MIB, most_unsent: 0 }).unwrap();
    let reader = reading_to_the_end(peer);
    until(&mut reactor, &mut most, |cx| !cx.state.is_empty());
    until(&mut reactor, &mut most, |cx| cx.alive().to_string().contains(", 0 connections"));
    assert_eq!(reader.join().unwrap().unwrap().len(), 8 * MIB);
    assert!(most[0] <= 20_000 + Streaming::PIECE, "{} bytes were held", most[0]);
}

#[test]
fn drained_has_hysteresis_it_is_called_at_the_low_water_mark_and_once() {
    let (one, peer) = sized_pair(Some(4096));
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.water_marks(10_000, 50_000);
            conn.write(&pattern(MIB));
            assert!(conn.is_full());
            Ok(())
        }),
        drained: Box::new(|conn| {
            let unsent = conn.unsent();
            assert!(unsent <= 10_000 && !conn.is_full(), "{unsent}");
            conn.state().notes.push(format!("drained at {unsent}"));
            Ok(())
        }),
        ..Machine::default()
    };
    let id = reactor.cx(&mut seen).adopt(one, machine).unwrap().id();
    reactor.turn(&mut seen, None).unwrap();
    assert!(seen.notes.is_empty(), "nothing was read yet: {:?}", seen.notes);
    let reader = reading_to_the_end(peer);
    until(&mut reactor, &mut seen, |cx| cx.conn(id).is_some_and(|mut conn| conn.unsent() == 0));
    reactor.cx(&mut seen).conn(id).unwrap().close();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(reader.join().unwrap().unwrap() == pattern(MIB));
    assert_eq!(seen.notes.len(), 1, "{:?}", seen.notes);
}

#[test]
fn a_callback_that_writes_more_than_the_high_mark_to_a_fast_reader_is_told_that_it_drained() {
    // All of it goes to the kernel when the callback returns: no event will come of that.
    let (one, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.water_marks(0, 100);
            for _ in 0..20 {
                conn.write(&[1; 10]);
            }
            assert!(conn.is_full());
            Ok(())
        }),
        drained: Box::new(|conn| {
            conn.state().notes.push("drained".into());
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(one, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    peer.read_exact(&mut [0; 200]).unwrap();
    peer.write_all(b"and it reads again").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 18);
    assert_eq!(seen.notes, ["drained"]);
}

#[test]
fn drained_is_due_and_reading_goes_on_also_after_finish() {
    // In a simulation, as shutdown(2) raises an event on Linux, which would do instead.
    let machine = Machine {
        received: Box::new(|conn, input| {
            conn.state().bytes.extend(input.take_all());
            if !conn.state().bytes.ends_with(b"?") {
                return Ok(());
            }
            conn.water_marks(0, 10);
            conn.write(&[1; 20]);
            assert!(conn.is_full());
            conn.finish();
            Ok(())
        }),
        drained: Box::new(|conn| {
            assert!(!conn.is_full());
            conn.state().notes.push("drained".into());
            Ok(())
        }),
        ..Machine::default()
    };
    let mut solo = Solo::with_state(machine, Seen::default());
    assert_eq!(solo.feed("well?"), [1; 20]);
    assert_eq!(solo.state.notes, ["drained"]);
    solo.feed(" thanks");
    assert_eq!(solo.state.bytes, b"well? thanks");
    assert_eq!(solo.state.notes, ["drained"]);
}

#[test]
fn the_memory_for_a_client_that_sends_and_never_reads_is_bounded() {
    let (one, mut client) = sized_pair(Some(8192));
    client.set_nonblocking(true).unwrap();
    let config = Config { low_water: 1_000, high_water: 20_000, read_buffer: 4_096, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let echo = Machine {
        received: Box::new(|conn, input| {
            conn.write(input.take_all());
            let unsent = conn.unsent();
            assert!(unsent <= 20_000 + 4_096, "{unsent} bytes are kept for a client that does not read");
            Ok(())
        }),
        ..Machine::default()
    };
    let id = reactor.cx(&mut seen).adopt(one, echo).unwrap().id();
    let text = pattern(4 * MIB);
    let mut sent = 0;
    // Until the loop reads no more and the kernel takes no more.
    until(&mut reactor, &mut seen, |cx| match client.write(&text[sent..]) {
        Ok(n) => {
            sent += n;
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            cx.conn(id).expect("it is open").is_full()
        }
    });
    assert!(sent < text.len(), "all was taken from a client that does not read");

    // It reads at last, and nothing of what it sent is missing.
    client.shutdown(Shutdown::Write).unwrap();
    client.set_nonblocking(false).unwrap();
    let reader = reading_to_the_end(client);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(reader.join().unwrap().unwrap() == text[..sent]);
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
}

#[test]
fn input_left_while_the_output_was_full_is_offered_again_when_it_has_drained() {
    let (one, mut peer) = sized_pair(Some(4096));
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    // Answers each request with 100 kB, one at a time: what else has come waits.
    let machine = Machine {
        received: Box::new(|conn, input| {
            while !conn.is_full()
                && let Some(request) = input.take_line()
            {
                conn.state().notes.push(String::from_utf8_lossy(request).into_owned());
                conn.write(&[b'x'; 100_000]);
            }
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(one, machine).unwrap();
    peer.write_all(b"one\ntwo\nthree\n").unwrap(); // and no more comes after that
    let reader = thread::spawn(move || peer.read_exact(&mut vec![0; 300_000]).map(|()| peer));
    until(&mut reactor, &mut seen, |cx| cx.state.notes.len() == 3);
    until(&mut reactor, &mut seen, |_| reader.is_finished());
    reader.join().unwrap().unwrap();
    assert_eq!(seen.notes, ["one", "two", "three"]);
}

#[test]
fn raising_the_water_marks_from_elsewhere_lets_reading_go_on_at_once() {
    let id = Rc::new(Cell::new(None));
    let told = Rc::clone(&id);
    let machine = Machine {
        opened: Box::new(move |conn| {
            told.set(Some(conn.id()));
            conn.write(&pattern(MIB));
            Ok(())
        }),
        ..Machine::default()
    };
    let mut solo = Solo::with_state(machine, Seen::default());
    // The event comes, and no other will: the peer neither reads nor says more.
    solo.send("hello");
    solo.advance(Duration::from_secs(1));
    assert_eq!(solo.state.bytes, b"", "reading is held back");
    solo.cx().conn(id.get().expect("it is open")).unwrap().water_marks(usize::MAX, usize::MAX);
    solo.advance(Duration::ZERO);
    assert_eq!(solo.state.bytes, b"hello");
}

#[test]
fn broadcasting_to_a_slow_reader_gives_up_that_one_and_tells_its_owner() {
    let (fast, fast_peer) = sized_pair(None);
    let (slow, slow_peer) = sized_pair(Some(4096));
    let config = Config { output_limit: MIB, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let ids: Vec<ConnId> =
        [fast, slow].map(|socket| cx.adopt(socket, Machine::default()).unwrap().id()).into_iter().collect();
    let reader = reading_to_the_end(fast_peer);
    let piece = pattern(64 * 1024);
    let mut rounds = 0;
    until(&mut reactor, &mut seen, |cx| {
        for id in &ids {
            if let Some(mut conn) = cx.conn(*id)
                && !(*id == ids[0] && conn.is_full())
            {
                conn.write(&piece);
                rounds += usize::from(*id == ids[0]);
            }
        }
        !cx.state.ends.is_empty()
    });
    let end = &seen.ends[0];
    let error = end.result.as_ref().expect_err("it was given up");
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    let text = error.to_string();
    let address = slow_peer.local_addr().unwrap().to_string();
    assert!(text.contains(&address) && text.contains("output_limit") && text.contains("1048576"), "{text}");
    assert!(end.unsent >= MIB && end.unsent <= MIB + piece.len(), "{end}");

    reactor.cx(&mut seen).conn(ids[0]).expect("the fast one goes on").close();
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 2);
    assert!(seen.ends[1].result.is_ok(), "{}", seen.ends[1]);
    assert_eq!(reader.join().unwrap().unwrap().len(), rounds * piece.len());
}

/// Two machines that write a lot before they read, on both ends of one connection, with little room between them.
#[test]
fn a_connection_is_given_up_when_its_unsent_output_reaches_the_limit_whatever_its_marks_are() {
    const LIMIT: usize = 10_000;
    for high in [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, usize::MAX] {
        for of_config in [false, true] {
            if of_config && high > LIMIT {
                continue; // refused
            }
            let marks = if of_config { (0, high) } else { (0, LIMIT) };
            let config =
                Config { low_water: marks.0, high_water: marks.1, output_limit: LIMIT, ..Config::default() };
            let mut reactor = Sim::new(0).reactor_with(config).unwrap();
            let mut seen = Seen::default();
            let mut cx = reactor.cx(&mut seen);
            // Before the connection stands, all that is written is unsent.
            let mut conn = cx.connect(([10, 0, 0, 1], 80), Machine::default());
            if !of_config {
                conn.water_marks(0, high);
            }
            let id = conn.id();
            conn.write(&[0; LIMIT - 1]);
            assert_eq!(
                conn.is_full(),
                LIMIT - 1 > high,
                "just below the limit, with {high} as the high mark"
            );
            assert!(cx.conn(id).is_some(), "given up below the limit, with {high} as the high mark");
            cx.conn(id).unwrap().write(&[0]);
            assert!(cx.conn(id).is_none(), "not given up at the limit, with {high} as the high mark");
        }
    }
}

fn both_write_first(setup: fn(&mut Conn<'_, Seen>)) -> Seen {
    let writes_first = move || Machine {
        opened: Box::new(move |conn| {
            setup(conn);
            conn.write(&pattern(MIB));
            conn.finish();
            Ok(())
        }),
        ..Machine::default()
    };
    let sim = Sim::new(0);
    sim.links(Link { buffer: 8192, ..Link::default() });
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let server = ([10, 0, 0, 1], 80);
    reactor.cx(&mut seen).listen(server, move |_, _| writes_first()).unwrap();
    reactor.cx(&mut seen).connect(server, writes_first());
    reactor.run(&mut seen).unwrap();
    seen
}

#[test]
fn two_peers_that_both_write_and_never_read_are_ended_by_their_deadlines() {
    let seen = both_write_first(|conn| conn.deadline(Duration::from_secs(50)));
    let kinds: Vec<_> = seen.ends.iter().map(|end| end.result.as_ref().map_err(io::Error::kind)).collect();
    // Who is told first cuts the other off.
    assert_eq!(kinds, [Err(io::ErrorKind::TimedOut), Err(io::ErrorKind::TimedOut)]);
}

#[test]
fn without_a_high_mark_two_peers_that_both_write_first_come_through() {
    let seen = both_write_first(|conn| conn.water_marks(0, usize::MAX));
    for end in &seen.ends {
        assert!(end.result.is_ok() && end.unsent == 0, "{end}");
    }
    assert_eq!((seen.ends.len(), seen.bytes.len()), (2, 2 * MIB));
}

#[test]
fn where_reading_goes_on_while_full_two_peers_that_both_write_first_come_through() {
    let seen = both_write_first(|conn| conn.read_while_full(true));
    for end in &seen.ends {
        assert!(end.result.is_ok() && end.unsent == 0, "{end}");
    }
    assert_eq!((seen.ends.len(), seen.bytes.len()), (2, 2 * MIB));
}

#[test]
fn a_connection_that_reads_while_full_still_says_when_it_is_full_and_when_it_has_drained() {
    let id = Rc::new(Cell::new(None));
    let told = Rc::clone(&id);
    let machine = Machine {
        opened: Box::new(move |conn| {
            told.set(Some(conn.id()));
            conn.read_while_full(true);
            conn.write(&pattern(MIB));
            assert!(conn.is_full());
            Ok(())
        }),
        drained: Box::new(|conn| {
            conn.state().notes.push("drained".into());
            Ok(())
        }),
        ..Machine::default()
    };
    let mut solo = Solo::with_state(machine, Seen::default());
    let id = id.get().expect("it is open");
    solo.send("x");
    assert_eq!(solo.state.bytes, b"x");
    solo.cx().conn(id).unwrap().read_while_full(false);
    solo.send("y");
    solo.advance(Duration::from_secs(1));
    assert_eq!(solo.state.bytes, b"x");
    solo.cx().conn(id).unwrap().read_while_full(true); // what had come meanwhile comes without an event
    solo.advance(Duration::ZERO);
    assert_eq!(solo.state.bytes, b"xy");
    assert!(solo.cx().conn(id).unwrap().is_full() && solo.state.notes.is_empty(), "it has not drained");
    assert!(solo.written() == pattern(MIB));
    assert_eq!(solo.state.notes, ["drained"]);
}
