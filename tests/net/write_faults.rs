//! Writes that fail: after the end, after a reset, after a shutdown; SIGPIPE.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::bytes::{MIB, pattern};
use crate::common::logged;
use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::until::until;
use enjamb::{Conn, Reactor};

#[test]
fn a_write_after_the_end_is_a_logged_no_op_that_the_caller_can_see() {
    type End = fn(&mut Conn<'_, Seen>);
    let ways: [(&str, End); 3] = [
        ("finish", |conn| conn.finish()),
        ("close", |conn| conn.close()),
        ("abort", |conn| conn.abort(io::ErrorKind::Other.into())),
    ];
    for (name, end) in ways {
        logged::capture();
        let (one, mut peer) = sized_pair(None);
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let machine = Machine {
            opened: Box::new(move |conn| {
                end(conn);
                assert!(!conn.write(b"nobody"), "after {name}");
                let error = write!(conn, "hears this").expect_err(name);
                assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "after {name}");
                assert_eq!(conn.unsent(), 0, "after {name}");
                Ok(())
            }),
            ..Machine::default()
        };
        reactor.cx(&mut seen).adopt(one, machine).unwrap();
        reactor.turn(&mut seen, None).unwrap();
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"", "after {name}");
        let logged = logged::captured(log::Level::Debug);
        let address = peer.local_addr().unwrap().to_string();
        let told = |n: &str| logged.iter().filter(|line| line.contains(n) && line.contains(&address)).count();
        assert_eq!((told("6 bytes"), told("10 bytes")), (1, 1), "after {name}: {logged:?}");
    }
}

#[test]
fn a_reset_while_output_waits_is_told_with_what_was_not_sent() {
    let (one, peer) = sized_pair(Some(4096));
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(&pattern(MIB));
            let unsent = conn.unsent();
            conn.state().notes.push(unsent.to_string());
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(one, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    let address = peer.local_addr().unwrap().to_string();
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    let end = &seen.ends[0];
    let error = end.result.as_ref().expect_err("it was reset");
    let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
    assert!(end.unsent > 0 && end.unsent <= MIB, "{end}");
}

#[test]
fn a_write_that_fails_while_an_answer_is_readable_delivers_the_answer_first() {
    let (one, mut peer) = sized_pair(Some(4096));
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(&pattern(MIB));
            assert!(conn.is_full(), "so that nothing is read before the next write fails");
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(one, machine).unwrap();
    reactor.turn(&mut seen, None).unwrap();
    // The peer has heard enough: it answers and closes with most of the request unread, which makes that a reset.
    peer.write_all(b"413 Too Large").unwrap();
    drop(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.bytes, b"413 Too Large");
    assert!(seen.ends[0].result.is_err() && seen.ends[0].unsent > 0, "{}", seen.ends[0]);
}

#[test]
fn a_write_that_fails_to_a_peer_that_stays_but_will_not_read_is_told() {
    let (one, peer) = UnixStream::pair().unwrap();
    peer.shutdown(Shutdown::Read).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(&pattern(1000));
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(one, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    drop(peer); // until here it was there
}

#[test]
fn a_write_that_fails_because_a_duplicate_was_shut_down_is_told_although_the_peer_stays() {
    let (one, peer) = sized_pair(None);
    let duplicate = one.try_clone().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(one, Machine::default()).unwrap().id();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap(); // it is opened
    duplicate.shutdown(Shutdown::Write).unwrap();
    reactor.cx(&mut seen).conn(id).unwrap().write(&pattern(1000));
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    drop(peer);
}

#[test]
fn no_write_raises_sigpipe() {
    let raised = Arc::new(AtomicBool::new(false));
    // A process of Rust's own ignores the signal; with a handler in place it would be seen.
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::clone(&raised)).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let pieces: [&'static [usize]; 3] = [&[10], &[100_000], &[10, 100_000]]; // gathered, at once, one behind the other
    for sizes in pieces {
        let writer = move || Machine {
            opened: Box::new(move |conn| {
                for size in sizes {
                    conn.write(&vec![0; *size]);
                }
                Ok(())
            }),
            ..Machine::default()
        };
        let (tcp, tcp_peer) = sized_pair(None);
        tcp.shutdown(Shutdown::Write).unwrap(); // from here on, every write is an EPIPE
        reactor.cx(&mut seen).adopt(tcp, writer()).unwrap();
        let (unix, peer) = UnixStream::pair().unwrap();
        drop(peer);
        reactor.cx(&mut seen).adopt(unix, writer()).unwrap();
        seen.ends.clear();
        drop(tcp_peer);
        until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 2);
        for end in &seen.ends {
            let error = end.result.as_ref().expect_err("the write failed");
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{sizes:?}");
        }
        assert!(!raised.load(Ordering::SeqCst), "writing {sizes:?} bytes raised SIGPIPE");
    }
}
