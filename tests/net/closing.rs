//! Closing: output is flushed, input is drained, both within a time; abort and reset cut off.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::common::bytes::MIB;
use crate::common::child::in_child;
use crate::common::machine::{Machine, Seen, close, opened};
use crate::common::pair::sized_pair;
use crate::common::times::NEVER;
use crate::common::until::until;
use enjamb::sim::{Sim, Solo};
use enjamb::{Config, Conn, ConnId, Cx, Reactor};

pub const SOON: Duration = Duration::from_millis(20);

/// Adopts one end of a connection; the other end is returned.
pub fn adopt(cx: &mut Cx<'_, Seen>, machine: Machine) -> (ConnId, TcpStream) {
    let (ours, theirs) = sized_pair(Some(4096));
    (cx.adopt(ours, machine).expect("adopting").id(), theirs)
}

pub fn abort(conn: &mut Conn<'_, Seen>) -> io::Result<()> {
    conn.abort(wrong());
    Ok(())
}

pub fn reset(peer: TcpStream) {
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("a linger of zero");
}

pub fn wrong() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "wrong")
}

pub fn other() -> io::Error {
    io::Error::other("other")
}

#[test]
fn closing_sends_what_is_unsent_first() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(&vec![b'x'; MIB]);
        conn.close();
        assert!(conn.unsent() > 0, "there would be nothing to send first");
        Ok(())
    });
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes.len())
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(reader.join().unwrap().unwrap(), MIB);
    let end = &seen.ends[0];
    assert!(end.result.is_ok() && end.unsent == 0 && end.unread == 0, "{end}");
    assert_eq!(end.to_string(), "closed");
}

#[test]
fn a_send_that_a_signal_interrupts_while_closing_is_made_again() {
    // Every second send fails with EINTR, the kernel's buffer being full or not.
    let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=sendto:error=EINTR:when=2+2"];
    if !in_child(a_send_that_a_signal_interrupts_while_closing_is_made_again, &inject) {
        return;
    }
    let ends: [fn(&mut Conn<'_, Seen>); 2] = [|conn| conn.close(), |conn| conn.finish()];
    for end in ends {
        let config = Config { close_timeout: NEVER, ..Config::default() };
        let mut reactor = Reactor::with_config(config).unwrap();
        let mut seen = Seen::default();
        let machine = opened(move |conn| {
            conn.write(&vec![b'x'; MIB]);
            end(conn);
            Ok(())
        });
        let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
        let reader = thread::spawn(move || peer.read_to_end(&mut Vec::new()));
        until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
        assert_eq!(reader.join().unwrap().unwrap(), MIB);
        assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    }
}

#[test]
fn a_peer_that_never_reads_cannot_hold_a_closing_connection_for_ever_and_sees_a_reset_not_an_end() {
    let config = Config { close_timeout: SOON, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(&vec![b'x'; MIB]);
        conn.close();
        Ok(())
    });
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    let end = &seen.ends[0];
    let error = end.result.as_ref().expect_err("not all was sent");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains(&format!("closing {}", peer.local_addr().unwrap())), "{error}");
    assert!(end.unsent > 0 && end.unsent < MIB, "{end}");
    assert!(end.to_string().contains(&format!("{} bytes were not sent", end.unsent)), "{end}");
    let error = peer.read_to_end(&mut Vec::new()).expect_err("a part must not look like the whole");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn aborting_with_output_unsent_is_a_reset_and_without_is_an_end() {
    for (size, is_reset) in [(MIB, true), (0, false)] {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let machine = opened(move |conn| {
            conn.write(&vec![b'x'; size]);
            conn.abort(wrong());
            Ok(())
        });
        let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
        until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
        let end = &seen.ends[0];
        assert_eq!(
            end.result.as_ref().unwrap_err().to_string(),
            "wrong",
            "what a callback says is passed on as it is"
        );
        assert_eq!(end.unsent > 0, is_reset, "{end}");
        let read = peer.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert_eq!(read.err(), is_reset.then_some(ErrorKind::ConnectionReset));
    }
}

#[test]
fn resetting_is_a_reset_also_when_all_was_sent() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (id, mut peer) = adopt(&mut reactor.cx(&mut seen), opened(|conn| Ok(_ = conn.write(b"all of it"))));
    let mut bytes = [0; 9];
    peer.set_nonblocking(true).unwrap();
    until(&mut reactor, &mut seen, |_| peer.peek(&mut bytes).is_ok_and(|n| n == 9));
    peer.set_nonblocking(false).unwrap();
    peer.read_exact(&mut bytes).expect("it was sent");
    reactor.cx(&mut seen).conn(id).unwrap().reset(wrong());
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().to_string(), "wrong");
    assert_eq!(peer.read(&mut bytes).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn resetting_after_an_orderly_end_changes_nothing() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        ended: Box::new(|conn, _| {
            conn.close();
            conn.reset(wrong());
            Ok(())
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.shutdown(Shutdown::Write).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert_eq!(peer.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn what_is_gathered_in_a_callback_that_fails_is_not_sent() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(b"half an answer");
        Err(wrong())
    });
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.ends[0].unsent, 14);
    let error = peer.read(&mut [0; 20]).expect_err("nothing was sent");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn closing_with_input_unread_does_not_destroy_the_answer() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        received: Box::new(|conn, _| {
            conn.write(b"enough");
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    // It goes on sending long after the answer was sent, and only then reads.
    let peer = thread::spawn(move || {
        peer.write_all(&vec![b'x'; MIB])?;
        peer.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        peer.read_to_string(&mut answer).map(|_| answer)
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(peer.join().unwrap().unwrap(), "enough");
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
}

#[test]
fn closing_an_adopted_connection_does_not_destroy_what_its_former_owner_wrote() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut ours, mut peer) = sized_pair(None);
    ours.set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(n) = ours.write(&[b'x'; 50_000]) {
        written += n; // more than the peer's kernel takes
    }
    peer.write_all(b"input that nobody reads").unwrap();
    reactor.cx(&mut seen).adopt(ours, opened(close)).unwrap();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap(); // it is closed before the peer reads
    let peer = thread::spawn(move || peer.read_to_end(&mut Vec::new()));
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(peer.join().unwrap().expect("all of it, and an end"), written);
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
}

#[test]
fn a_long_answer_is_sent_while_closing_to_a_peer_that_writes_all_it_has_before_it_reads() {
    let config = Config { close_timeout: NEVER, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        received: Box::new(|conn, input| {
            input.take_all();
            conn.write(&vec![b'x'; 300_000]);
            assert!(conn.unsent() > 0, "it is too short to wait for the peer");
            close(conn)
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    let peer = thread::spawn(move || {
        peer.write_all(&vec![b'?'; MIB])?;
        peer.shutdown(Shutdown::Write)?;
        peer.read_to_end(&mut Vec::new())
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(peer.join().unwrap().unwrap(), 300_000);
    let end = &seen.ends[0];
    assert!(end.result.is_ok() && end.unsent == 0, "{end}");
}

#[test]
fn a_peer_that_never_stops_sending_cannot_hold_a_closing_connection_for_ever() {
    let config = Config { close_timeout: SOON, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(b"bye");
        conn.close();
        Ok(())
    });
    let (ours, mut peer) = sized_pair(None);
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    let peer = thread::spawn(move || while peer.write_all(&[b'x'; 10_000]).is_ok() {});
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    peer.join().unwrap();
    assert!(seen.ends[0].result.is_ok(), "everything was sent: {}", seen.ends[0]);
}

/// Sees that a machine whose peer reads nothing is given up at this time.
#[track_caller]
fn is_given_up_after(time: Duration, machine: Machine) {
    let mut solo = Solo::with_state(machine, Seen::default());
    solo.advance(time - Duration::from_millis(1));
    assert!(solo.end().is_none(), "{:?}", solo.end());
    solo.advance(Duration::from_millis(5));
    let end = solo.end().expect("it was to be given up");
    assert_eq!(end.result.as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn the_close_timeout_of_one_connection_is_its_deadline() {
    for deadline in [SOON, NEVER] {
        let machine = opened(move |conn| {
            conn.write(&vec![0; MIB]);
            conn.close();
            conn.deadline(deadline);
            Ok(())
        });
        is_given_up_after(deadline, machine);
    }
}

#[test]
fn closing_again_and_again_does_not_give_it_more_time() {
    let machine = opened(|conn| {
        conn.write(&vec![0; MIB]);
        let id = conn.id();
        conn.cx().every(Duration::from_millis(10), move |cx| {
            if let Some(mut conn) = cx.conn(id) {
                conn.close();
            }
        });
        close(conn)
    });
    is_given_up_after(Config::default().close_timeout, machine);
}

#[test]
fn the_time_of_a_shutdown_holds_whatever_a_connection_sets_for_itself_afterwards() {
    type Set = fn(&mut Conn<'_, Seen>);
    let ways: [(&str, Set); 4] = [
        ("close", |conn| conn.close()),
        ("a later deadline", |conn| conn.deadline(NEVER)),
        ("no deadline", |conn| conn.deadline(None)),
        ("both", |conn| {
            conn.close();
            conn.deadline(NEVER);
        }),
    ];
    for (name, set) in ways {
        println!("{name}");
        let machine = opened(move |conn| {
            conn.write(&vec![0; MIB]);
            conn.cx().shutdown(SOON);
            set(conn);
            Ok(())
        });
        is_given_up_after(SOON, machine);
    }
}

#[test]
fn a_connection_that_has_sent_everything_waits_a_second_for_a_peer_that_stays_open_not_the_close_timeout() {
    let server = ([10, 0, 0, 1], 80);
    let sim = Sim::new(0);
    let config = Config { close_timeout: NEVER, ..Config::default() };
    let mut reactor = sim.reactor_with(config).unwrap();
    let mut seen = Seen::default();
    let machine = || {
        opened(|conn| {
            conn.write(b"bye");
            close(conn)
        })
    };
    let mut cx = reactor.cx(&mut seen);
    cx.listen(server, move |_, _| machine()).unwrap();
    cx.connect(server, Machine { ended: Box::new(|_, _| Ok(())), ..Machine::default() });
    while seen.ends.is_empty() {
        reactor.turn(&mut seen, None).unwrap();
    }
    let passed = sim.now();
    assert!((Duration::from_secs(1)..Duration::from_millis(1_010)).contains(&passed), "{passed:?}");
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert_eq!(seen.bytes, b"bye");
}
