//! One machine without a reactor, and scripted peers.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::common::machine::{Machine, Seen};
use enjamb::sim::{Script, Sim, Solo};
use enjamb::{Conn, Input, Protocol, Reactor};

const SECOND: Duration = Duration::from_secs(1);

fn server() -> SocketAddr {
    ([10, 0, 0, 1], 80).into()
}

/// Shouts back, a line at a time; leaves on QUIT; becomes silent on HUSH.
struct Shout;

impl Protocol for Shout {
    fn opened(&mut self, conn: &mut Conn<'_>) -> io::Result<()> {
        conn.deadline(60 * SECOND);
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            match line {
                b"QUIT" => conn.close(),
                b"HUSH" => {
                    conn.switch(Hush);
                    return Ok(());
                }
                b"" => return Err(ErrorKind::InvalidData.into()),
                line => _ = conn.write(&[&line.to_ascii_uppercase()[..], b"\n"].concat()),
            }
        }
        Ok(())
    }
}

struct Hush;

impl Protocol for Hush {
    fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(&vec![b'.'; input.take_all().len()]);
        Ok(())
    }
}

#[test]
fn a_line_protocol_is_tested_in_three_lines() {
    let mut solo = Solo::new(Shout);
    assert_eq!(solo.feed("hello\nwor"), b"HELLO\n");
    assert_eq!(solo.feed("ld\n"), b"WORLD\n");
}

#[test]
fn what_is_written_is_returned_once_and_in_order() {
    let mut solo = Solo::new(Shout);
    solo.send("one\n");
    solo.send("two\n");
    assert_eq!(solo.written(), b"ONE\nTWO\n");
    assert_eq!(solo.written(), b"");
    let lines = "a line\n".repeat(100_000);
    assert_eq!(solo.feed(&lines), lines.to_ascii_uppercase().as_bytes());
}

#[test]
fn a_deadline_passes_when_time_is_advanced_and_not_before() {
    let mut solo = Solo::new(Shout);
    solo.advance(59 * SECOND);
    assert!(solo.end().is_none());
    solo.advance(2 * SECOND);
    let end = solo.end().unwrap();
    assert_eq!(end.result.as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(end.to_string().contains("127.0.0.1:2"), "{end}");
    assert!(solo.end().is_some(), "it stays to be asked for");
}

#[test]
fn how_it_ended_is_told_for_every_way_to_end() {
    let ended = |how: fn(&mut Solo)| {
        let mut solo = Solo::new(Shout);
        how(&mut solo);
        solo.end().map(|end| (end.result.as_ref().err().map(|error| error.kind()), end.unread))
    };
    assert_eq!(ended(|solo| solo.finish()), Some((None, 0)));
    assert_eq!(ended(|solo| solo.reset()), Some((Some(ErrorKind::ConnectionReset), 0)));
    assert_eq!(ended(|solo| _ = solo.feed("\n")), Some((Some(ErrorKind::InvalidData), 0)));
    assert_eq!(ended(|solo| _ = solo.feed("QUIT\n")), Some((None, 0)), "nothing was ever written");
    assert_eq!(ended(|solo| _ = solo.feed("half a line")), None);
    assert_eq!(ended(|solo| solo.feed("x\nQUIT\n").clear()), None, "it waits for the peer's end");
    assert_eq!(ended(|solo| [solo.feed("x\nQUIT\n").clear(), solo.finish()][0]), Some((None, 0)));
    assert_eq!(ended(|solo| [solo.feed("x\nQUIT\n").clear(), solo.advance(2 * SECOND)][0]), Some((None, 0)));
    let reset_with_half_a_line = |solo: &mut Solo| [solo.feed("half").clear(), solo.reset()][0];
    assert_eq!(ended(reset_with_half_a_line), Some((Some(ErrorKind::ConnectionReset), 4)));
}

#[test]
fn after_the_end_feeding_is_in_vain_and_no_panic() {
    let mut solo = Solo::new(Shout);
    solo.reset();
    assert_eq!(solo.feed("hello\n"), b"");
    solo.finish();
    solo.reset();
    solo.advance(Duration::MAX);
    assert_eq!(solo.written(), b"");
}

#[test]
fn another_machine_can_take_over() {
    let mut solo = Solo::new(Shout);
    assert_eq!(solo.feed("a\nHUSH\nbcd"), b"A\n...");
    assert_eq!(solo.feed("e\n"), b"..");
    solo.finish();
    assert!(solo.end().unwrap().result.is_ok());
}

#[test]
fn a_peer_that_does_not_read_holds_the_machine_back_until_it_does() {
    let floods = Machine {
        received: Box::new(|conn, input| {
            while !conn.is_full() && !input.take(1).is_empty() {
                conn.write(&[b'x'; 10_000]);
            }
            Ok(())
        }),
        drained: Box::new(|conn| {
            conn.state().notes.push("drained".into());
            Ok(())
        }),
        ..Machine::default()
    };
    let mut solo = Solo::with_state(floods, Seen::default());
    assert_eq!(solo.send(vec![0; 100]), 100);
    assert!(solo.state.notes.is_empty(), "nobody has read");
    let alive = solo.cx().alive().to_string();
    assert!(alive.contains("full") && alive.contains("unread"), "{alive}");
    assert_eq!(solo.written().len(), 1_000_000);
    assert!(Solo::new(Script::new().pause()).send(vec![0; 1 << 20]) < 1 << 20, "it reads nothing");
    assert!(!solo.state.notes.is_empty());
}

#[test]
fn the_state_is_shared_and_the_loop_can_be_reached() {
    let mut solo = Solo::with_state(Machine::default(), Seen::default());
    solo.cx().after(5 * SECOND, |cx| cx.state.notes.push("five".into()));
    solo.feed("abc");
    solo.advance(4 * SECOND);
    assert!(solo.state.notes.is_empty());
    solo.advance(2 * SECOND);
    assert_eq!((&solo.state.notes[..], &solo.state.bytes[..]), (&["five".to_string()][..], &b"abc"[..]));
}

#[test]
fn a_machine_that_panics_panics_where_it_was_fed() {
    let fails = Machine { received: Box::new(|_, _| panic!("planted")), ..Machine::default() };
    let mut solo = Solo::with_state(fails, Seen::default());
    assert!(catch_unwind(AssertUnwindSafe(|| solo.feed("x"))).is_err());
    solo.advance(SECOND);
}

/// Lets two scripts talk, and returns how they ended.
fn talk(reactor: &mut Reactor<Seen>, at: SocketAddr, client: Script, served: Script) {
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let addr = cx.listen(at, move |cx, _| {
        cx.after(Duration::ZERO, |_| ());
        served.clone()
    });
    let mut listener = addr.unwrap();
    let (id, addr) = (listener.id(), listener.local_addr().unwrap());
    cx.connect(addr, client);
    // Nobody else comes: on a real reactor a listener would keep the loop.
    cx.every(Duration::from_millis(1), move |cx| {
        if cx.listener(id).is_some_and(|mut listener| listener.open() == 0)
            && cx.alive().to_string().contains("0 conn")
        {
            cx.stop();
        }
    });
    reactor.run(&mut seen).unwrap();
}

fn dialogue() -> (Script, Script) {
    let client = Script::new()
        .until("ready\r\n")
        .say("QU")
        .wait(Duration::from_millis(3))
        .say("IT\r\n")
        .expect("bye\r\n");
    let served = Script::new().say("+OK this is\r\n+OK ready\r\n").expect("QUIT\r\n").say("bye\r\n").close();
    (client, served)
}

#[test]
fn scripts_talk_in_a_simulation_and_over_real_sockets() {
    let (client, served) = dialogue();
    talk(&mut Reactor::new().unwrap(), ([127, 0, 0, 1], 0).into(), client.clone(), served.clone());
    for seed in 0..50 {
        talk(&mut Sim::new(seed).rough().reactor().unwrap(), server(), client.clone(), served.clone());
    }
}

#[test]
fn a_script_that_hears_something_else_fails_the_test_with_both() {
    let (client, _) = dialogue();
    let rude = Script::new().say("ready\r\n").expect("EHLO").close();
    let mut reactor = Sim::new(0).reactor().unwrap();
    let failed = catch_unwind(AssertUnwindSafe(|| talk(&mut reactor, server(), client, rude))).unwrap_err();
    let message = failed.downcast_ref::<String>().unwrap();
    assert!(message.contains(r#"expected "EHLO", and "QU" came"#), "{message}");
}

/// What a machine that only listens sees of a script, on a network without faults.
fn heard(script: Script) -> (Seen, Duration) {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), move |_, _| script.clone()).unwrap();
    reactor.cx(&mut seen).connect(server(), Machine::default());
    reactor.run(&mut seen).unwrap();
    (seen, sim.now())
}

#[test]
fn a_script_says_waits_finishes_closes_and_resets() {
    let (seen, now) = heard(Script::new().say("a").wait(3 * SECOND).say("b").finish());
    assert_eq!((&seen.bytes[..], seen.ends[0].result.is_ok()), (&b"ab"[..], true));
    assert!(now >= 3 * SECOND);
    let (seen, _) = heard(Script::new().say("all of it").close());
    assert_eq!((&seen.bytes[..], seen.ends[0].result.is_ok()), (&b"all of it"[..], true));
    let (seen, _) = heard(Script::new().say("part").wait(SECOND).reset());
    assert_eq!(seen.bytes, b"part");
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_script_expects_across_pieces_skips_until_and_throws_the_rest_away() {
    let mut solo =
        Solo::new(Script::new().expect("GET ").until("\r\n\r\n").say("200").expect("").until("").say("!"));
    assert_eq!(solo.feed("GE"), b"");
    assert_eq!(solo.feed("T /x\r\nHost: y\r\n"), b"");
    assert_eq!(solo.feed("\r\nrest"), b"200!");
    assert_eq!(solo.feed("anything"), b"");
    solo.finish();
    assert!(solo.end().unwrap().result.is_ok());
}

#[test]
fn a_script_that_pauses_reads_again_when_it_resumes() {
    let mut solo = Solo::new(Script::new().pause().wait(SECOND).resume().expect("now").say("heard"));
    assert_eq!(solo.feed("now"), b"");
    solo.advance(2 * SECOND);
    assert_eq!(solo.written(), b"heard");
}

#[test]
fn a_script_whose_peer_ends_early_closes() {
    let mut solo = Solo::new(Script::new().expect("more").say("never"));
    solo.feed("mo");
    solo.finish();
    assert!(solo.end().unwrap().result.is_ok() && solo.written().is_empty());
}
