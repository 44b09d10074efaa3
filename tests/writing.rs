//! Covers the traps of writing: partial writes, writing after the end, slow readers, water marks, pausing, SIGPIPE.
#![cfg(all(unix, feature = "sim"))]

#[path = "common/log.rs"]
mod log_capture;
#[path = "common/machine.rs"]
mod machine;
#[path = "common/sized.rs"]
mod sized;
#[path = "common/until.rs"]
mod until;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use enjamb::sim::{Link, Sim, Solo};
use enjamb::{Config, Conn, ConnId, Input, Protocol, Reactor};
use machine::{Machine, Seen};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use sized::sized_pair;
use until::until;

const MIB: usize = 1 << 20;

/// Bytes of which no two stretches look the same, so that what is lost, repeated or swapped shows.
fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i ^ (i >> 8) ^ (i >> 16).wrapping_mul(37)) as u8).collect()
}

fn reading_to_the_end(mut peer: TcpStream) -> thread::JoinHandle<io::Result<Vec<u8>>> {
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

#[test]
fn a_write_after_the_end_is_a_logged_no_op_that_the_caller_can_see() {
    type End = fn(&mut Conn<'_, Seen>);
    let ways: [(&str, End); 3] = [
        ("finish", |conn| conn.finish()),
        ("close", |conn| conn.close()),
        ("abort", |conn| conn.abort(io::ErrorKind::Other.into())),
    ];
    for (name, end) in ways {
        log_capture::capture();
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
        let logged = log_capture::captured(log::Level::Debug);
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

/// Two machines that write a lot before they read, on both ends of one connection, with little room between them.
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
