//! Writing: what one callback writes goes out with one system call, in order, whatever the kernel takes of it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crate::common::bytes::pattern;
use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::until::until;
use enjamb::{Conn, Reactor};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

pub fn reading_to_the_end(mut peer: TcpStream) -> thread::JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes)
    })
}

/// A pair of sockets that keep messages apart: each send is received as one.
fn messages() -> (UnixStream, UnixStream) {
    let (one, other) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::empty()).expect("a pair");
    (one.into(), other.into())
}

fn next_message(peer: &mut UnixStream) -> String {
    let mut bytes = [0; 1000];
    let n = peer.read(&mut bytes).expect("a message");
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

#[test]
fn what_is_written_during_one_callback_is_sent_with_one_system_call() {
    let (one, mut peer) = messages();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b"a");
            conn.write(b"bc");
            write!(conn, "{}", 42)?;
            let id = conn.id();
            conn.cx().after(Duration::ZERO, move |cx| {
                for piece in ["two", " ", "pieces"] {
                    cx.conn(id).expect("it is open").write(piece.as_bytes());
                }
            });
            Ok(())
        }),
        received: Box::new(|conn, input| {
            for byte in input.take_all() {
                conn.write(&[byte + 1]);
            }
            Ok(())
        }),
        ..Machine::default()
    };
    let id = reactor.cx(&mut seen).adopt(one, machine).unwrap().id();
    reactor.turn(&mut seen, None).unwrap();
    assert_eq!(next_message(&mut peer), "abc42");
    until(&mut reactor, &mut seen, |cx| cx.alive().to_string().contains(", 0 timers"));
    assert_eq!(next_message(&mut peer), "two pieces");
    peer.write_all(b"HAL").unwrap();
    reactor.turn(&mut seen, None).unwrap();
    assert_eq!(next_message(&mut peer), "IBM");

    let mut cx = reactor.cx(&mut seen);
    cx.conn(id).unwrap().write(b"from ");
    cx.conn(id).unwrap().write(b"outside");
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    assert_eq!(next_message(&mut peer), "from outside");
}

#[test]
fn a_large_write_goes_out_at_once_and_behind_what_was_gathered_before_it() {
    let (one, mut peer) = messages();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b"head");
            conn.write(&[b'x'; 100_000]);
            assert_eq!(conn.unsent(), 0, "gathering that much costs more than it saves");
            conn.write(b"tail");
            assert_eq!(conn.unsent(), 4);
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(one, machine).unwrap();
    reactor.turn(&mut seen, None).unwrap();
    assert_eq!(next_message(&mut peer), "head");
    let mut bytes = vec![0; 200_000];
    assert_eq!(peer.read(&mut bytes).unwrap(), 100_000);
    assert_eq!(next_message(&mut peer), "tail");
}

#[test]
fn pieces_of_any_size_written_in_one_callback_arrive_in_order() {
    const KIB: usize = 1024;
    let sizes = [5, 7 * KIB, KIB, 0, 1, 8 * KIB - 1, 8 * KIB, 3, 40 * KIB, 2, 8 * KIB + 1, 9];
    let total = sizes.iter().sum();
    let (one, peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(move |conn| {
            let bytes = pattern(total);
            let mut rest = &bytes[..];
            for size in sizes {
                let (piece, behind) = rest.split_at(size);
                assert!(conn.write(piece));
                rest = behind;
            }
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(one, machine).unwrap();
    let reader = reading_to_the_end(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(reader.join().unwrap().unwrap() == pattern(total));
}

#[test]
fn what_a_callback_has_written_counts_as_unsent_until_it_returns() {
    let (one, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b"abc");
            assert_eq!(conn.unsent(), 3);
            conn.write(b"de");
            assert_eq!(conn.unsent(), 5);
            Ok(())
        }),
        received: Box::new(|conn, input| {
            conn.write(input.take_all());
            let alive = conn.cx().alive().to_string();
            assert!(alive.contains(", 3 bytes unsent"), "{alive}");
            Ok(())
        }),
        ..Machine::default()
    };
    let id = reactor.cx(&mut seen).adopt(one, machine).unwrap().id();
    peer.write_all(b"fgh").unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = [0; 8];
        peer.read_exact(&mut bytes).map(|()| (peer, bytes))
    });
    until(&mut reactor, &mut seen, |_| reader.is_finished());
    let (_peer, bytes) = reader.join().unwrap().unwrap();
    assert_eq!(&bytes, b"abcdefgh");
    assert_eq!(reactor.cx(&mut seen).conn(id).unwrap().unsent(), 0);
}

#[test]
fn what_was_written_before_a_callback_ends_its_connection_with_an_error_counts_as_unsent() {
    type Call = fn(&mut Conn<'_, Seen>) -> io::Result<()>;
    let ways: [(&str, Call); 2] = [
        ("an error", |_| Err(io::ErrorKind::Other.into())),
        ("abort", |conn| {
            conn.abort(io::ErrorKind::Other.into());
            Ok(())
        }),
    ];
    for (name, fail) in ways {
        let (one, mut peer) = sized_pair(None);
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let machine = Machine {
            opened: Box::new(move |conn| {
                conn.write(b"half of");
                fail(conn)
            }),
            ..Machine::default()
        };
        reactor.cx(&mut seen).adopt(one, machine).unwrap();
        until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
        assert_eq!((seen.ends[0].result.is_err(), seen.ends[0].unsent), (true, 7), "after {name}");
        let end = peer.read(&mut [0]).expect_err(name);
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset, "after {name}");
    }
}

#[test]
fn what_was_written_before_finishing_or_closing_in_the_same_callback_is_sent() {
    let ways: [fn(&mut Conn<'_, Seen>); 2] = [|conn| conn.finish(), |conn| conn.close()];
    for end in ways {
        let (one, peer) = sized_pair(None);
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let machine = Machine {
            opened: Box::new(move |conn| {
                conn.write(b"before");
                end(conn);
                assert!(!conn.write(b"after"));
                Ok(())
            }),
            ..Machine::default()
        };
        reactor.cx(&mut seen).adopt(one, machine).unwrap();
        let reader = reading_to_the_end(peer);
        until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
        assert_eq!(reader.join().unwrap().unwrap(), b"before");
        assert_eq!((seen.ends[0].result.is_ok(), seen.ends[0].unsent), (true, 0));
    }
}

#[test]
fn a_high_mark_set_in_a_callback_that_has_written_already_holds_for_what_it_writes_then() {
    let (one, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b"much");
            assert!(!conn.is_full());
            conn.water_marks(0, 1);
            conn.write(b"more");
            assert!(conn.is_full());
            Ok(())
        }),
        received: Box::new(|conn, input| {
            conn.write(input.take_all());
            assert!(conn.is_full(), "and in the callbacks after it");
            Ok(())
        }),
        drained: Box::new(|conn| {
            conn.state().notes.push("drained".into());
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(one, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.notes == ["drained"]);
    peer.write_all(b"a bit").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.notes == ["drained", "drained"]);
}

#[test]
fn what_opened_writes_comes_behind_what_was_written_before_the_connection_stood() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b"second");
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).connect(listener.local_addr().unwrap(), machine).write(b"first, ");
    let mut peer = listener.accept().unwrap().0;
    let reader = thread::spawn(move || {
        let mut bytes = [0; 13];
        peer.read_exact(&mut bytes).map(|()| bytes)
    });
    until(&mut reactor, &mut seen, |_| reader.is_finished());
    assert_eq!(&reader.join().unwrap().unwrap(), b"first, second");
}

#[test]
fn what_is_written_from_outside_callbacks_goes_out_with_the_next_turn() {
    let (one, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(one, Machine::default()).unwrap().id();
    // Before the first turn and so before `opened`, and later too.
    for text in ["early", "later"] {
        assert!(reactor.cx(&mut seen).conn(id).unwrap().write(text.as_bytes()));
        reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
        let mut bytes = [0; 5];
        peer.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, text.as_bytes());
    }
}

#[test]
fn a_callback_writes_to_another_connection_and_it_goes_out_in_that_turn() {
    let (one, mut speaker) = sized_pair(None);
    let (two, mut listener) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let to = cx.adopt(two, Machine::default()).unwrap().id();
    let relay = Machine {
        received: Box::new(move |conn, input| {
            let bytes = input.take_all();
            assert!(conn.cx().conn(to).expect("it is open").write(bytes));
            conn.state().bytes.extend(bytes);
            Ok(())
        }),
        ..Machine::default()
    };
    cx.adopt(one, relay).unwrap();
    speaker.write_all(b"pass it on").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 10);
    let mut bytes = [0; 10];
    listener.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"pass it on");
}

#[test]
fn partial_writes_lose_repeat_and_swap_nothing() {
    // Pieces on both sides of the size from which a write is no longer gathered, in every order.
    let sizes = [1, 8 * 1024, 3, 20_000, 8 * 1024 - 1, 100, 70_000, 8 * 1024 + 1, 1, 1, 300_000, 5];
    let (one, peer) = sized_pair(Some(4096));
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let text = pattern(sizes.iter().sum::<usize>() * 4);
    let to_send = text.clone();
    let machine = Machine {
        opened: Box::new(move |conn| {
            let mut rest = &to_send[..];
            for size in sizes.iter().cycle().take(4 * sizes.len()) {
                let (piece, more) = rest.split_at(*size);
                assert!(conn.write(piece));
                rest = more;
            }
            let unsent = conn.unsent();
            assert!(unsent > 0, "the kernel took all of it: nothing was partial");
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(one, machine).unwrap();
    let reader = reading_to_the_end(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(reader.join().unwrap().unwrap() == text, "the bytes are not the same");
    assert!(seen.ends[0].result.is_ok() && seen.ends[0].unsent == 0, "{}", seen.ends[0]);
}

#[test]
fn writing_before_the_connection_stands_is_kept_and_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b", world");
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    let mut cx = reactor.cx(&mut seen);
    let id = cx.connect(listener.local_addr().unwrap(), machine).id();
    let mut conn = cx.conn(id).unwrap();
    assert!(conn.write(b"hello"));
    assert_eq!(conn.unsent(), 5);
    let reader = reading_to_the_end(listener.accept().unwrap().0);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(reader.join().unwrap().unwrap(), b"hello, world");
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
}
