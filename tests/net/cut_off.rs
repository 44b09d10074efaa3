//! A connection that was cut off does not look complete to its peer: by a dropped reactor, by a panic, on Unix sockets.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::common::bytes::MIB;
use crate::common::machine::{Machine, Seen, opened};
use crate::common::pair::sized_pair;
use crate::common::times::NOW;
use enjamb::{Conn, Reactor};

type Setup = fn(&mut Conn<'_, Seen>);

/// A reactor with a connection on which `setup` is called when it opens, and that connection's peer.
fn open(setup: Setup) -> (Reactor<Seen>, Seen, TcpStream) {
    let (ours, peer) = sized_pair(Some(4096));
    let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
    let machine = opened(move |conn| {
        setup(conn);
        conn.state().notes.push("opened".into());
        Ok(())
    });
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(seen.notes, ["opened"]);
    (reactor, seen, peer)
}

/// How many bytes come to the peer before an orderly end.
fn read(mut peer: TcpStream) -> Result<usize, ErrorKind> {
    peer.read_to_end(&mut Vec::new()).map_err(|error| error.kind())
}

#[test]
fn a_dropped_reactor_resets_the_connections_with_output_unsent() {
    let ways: [(&str, Setup); 3] = [
        ("open", |conn| _ = conn.write(&[b'x'; MIB])),
        ("finishing", |conn| {
            conn.write(&[b'x'; MIB]);
            conn.finish();
        }),
        ("closing", |conn| {
            conn.write(&[b'x'; MIB]);
            conn.close();
        }),
    ];
    for (way, setup) in ways {
        let (reactor, _seen, peer) = open(setup);
        drop(reactor);
        assert_eq!(read(peer), Err(ErrorKind::ConnectionReset), "{way}");
    }
}

#[test]
fn a_dropped_reactor_resets_a_connection_that_was_written_to_after_the_last_turn() {
    let (ours, peer) = sized_pair(None);
    let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
    let id = reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap().id();
    reactor.turn(&mut seen, NOW).unwrap();
    assert!(reactor.cx(&mut seen).conn(id).unwrap().write(b"not sent before the next turn"));
    drop(reactor);
    assert_eq!(read(peer), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_dropped_reactor_ends_a_connection_that_has_sent_everything_in_good_order() {
    let (reactor, _seen, peer) = open(|conn| _ = conn.write(b"all of it"));
    drop(reactor);
    assert_eq!(read(peer), Ok(9));
}

#[test]
fn a_panic_that_drops_the_reactor_resets_the_connections_with_output_unsent() {
    let (mut reactor, mut seen, peer) = open(|conn| _ = conn.write(&[b'x'; MIB]));
    reactor.cx(&mut seen).after(Duration::ZERO, |_| panic!("in a timer"));
    catch_unwind(AssertUnwindSafe(move || reactor.run(&mut seen))).expect_err("it panics");
    assert_eq!(read(peer), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_connection_whose_machine_panicked_is_reset_although_all_it_wrote_was_sent() {
    for goes_on in [true, false] {
        let (ours, peer) = sized_pair(None);
        let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
        let machine = opened(|conn| {
            conn.write(&[b'x'; 20_000]);
            assert_eq!(conn.unsent(), 0, "it is too short to be sent at once");
            panic!("before the rest of the answer")
        });
        reactor.cx(&mut seen).adopt(ours, machine).unwrap();
        catch_unwind(AssertUnwindSafe(|| reactor.run(&mut seen))).expect_err("it panics");
        if goes_on {
            reactor.turn(&mut seen, NOW).unwrap();
        } else {
            drop(reactor);
        }
        assert_eq!(read(peer), Err(ErrorKind::ConnectionReset), "goes on: {goes_on}");
    }
}

/// A Unix connection on which the peer has said something that is not read: what the peer sees of its end by `abort`.
fn aborted_over_a_unix_socket(paused: bool) -> io::Result<usize> {
    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(b"?").unwrap();
    let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
    let machine = opened(move |conn| {
        if paused {
            conn.pause();
        }
        conn.write(&[b'x'; 20_000]);
        Ok(())
    });
    let id = reactor.cx(&mut seen).adopt(ours, machine).unwrap().id();
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(seen.bytes.is_empty(), paused);
    reactor.cx(&mut seen).conn(id).unwrap().reset(ErrorKind::InvalidData.into());
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(seen.ends.len(), 1);
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).inspect_err(|_| assert_eq!(bytes, [b'x'; 20_000]))
}

#[test]
#[cfg(target_os = "linux")]
fn over_a_unix_socket_a_reset_with_the_peers_bytes_unread_is_seen_as_one() {
    assert_eq!(aborted_over_a_unix_socket(true).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
#[cfg(target_os = "linux")]
fn over_a_unix_socket_a_reset_with_everything_read_looks_like_an_end_as_documented() {
    assert_eq!(aborted_over_a_unix_socket(false).unwrap(), 20_000);
}
