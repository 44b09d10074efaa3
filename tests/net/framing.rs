//! Framing on real connections: frames over the maximum, frames over the input limit, frames cut short. The other
//! connections go on. The framings alone have unit tests beside their code.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::until::until;
use enjamb::framing::{Fixed, LengthPrefixed, Lines, Prefix};
use enjamb::{Config, Input, Reactor};

/// One step of a framing; at the end the flag is up.
type Step = Box<dyn FnMut(&mut Input<'_>, bool) -> io::Result<Option<Vec<u8>>>>;

fn lines(most: usize) -> Step {
    let mut lines = Lines::new(most);
    Box::new(move |input, at_end| {
        let line = if at_end { lines.last(input)? } else { lines.next(input)? };
        Ok(line.map(<[u8]>::to_vec))
    })
}

fn prefixed(prefix: Prefix, most: usize) -> Step {
    let frames = LengthPrefixed::new(prefix, most);
    Box::new(move |input, at_end| {
        let frame = if at_end { frames.last(input)? } else { frames.next(input)? };
        Ok(frame.map(<[u8]>::to_vec))
    })
}

fn fixed(size: usize) -> Step {
    let frames = Fixed::new(size);
    Box::new(move |input, at_end| {
        let frame = if at_end { frames.last(input)? } else { frames.next(input)? };
        Ok(frame.map(<[u8]>::to_vec))
    })
}

/// Notes every frame, and closes at the end.
fn noting(step: Step) -> Machine {
    let step = std::rc::Rc::new(std::cell::RefCell::new(step));
    let at_end = step.clone();
    Machine {
        received: Box::new(move |conn, input| {
            while let Some(frame) = step.borrow_mut()(input, false)? {
                conn.state().notes.push(String::from_utf8(frame).unwrap());
            }
            Ok(())
        }),
        ended: Box::new(move |conn, rest| {
            while let Some(frame) = at_end.borrow_mut()(rest, true)? {
                conn.state().notes.push(String::from_utf8(frame).unwrap());
            }
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    }
}

fn adopt(reactor: &mut Reactor<Seen>, seen: &mut Seen, machine: Machine) -> TcpStream {
    let (ours, theirs) = sized_pair(None);
    reactor.cx(seen).adopt(ours, machine).unwrap();
    theirs
}

/// Sends `bytes` to a connection with this framing, beside two others; returns how it ended.
fn beside_others(step: Step, bytes: &[u8]) -> io::Error {
    let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
    let mut before = adopt(&mut reactor, &mut seen, noting(lines(100)));
    let mut bad = adopt(&mut reactor, &mut seen, noting(step));
    let mut after = adopt(&mut reactor, &mut seen, noting(lines(100)));
    before.write_all(b"half of a").unwrap();
    bad.write_all(bytes).unwrap();
    after.write_all(b"a line\n").unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    before.write_all(b" line\n").unwrap();
    after.write_all(b"another\n").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.notes.len() == 3);
    seen.notes.sort();
    assert_eq!(seen.notes, ["a line", "another", "half of a line"]);
    assert_eq!(seen.ends.len(), 1);
    seen.ends.remove(0).result.unwrap_err()
}

#[test]
fn a_line_without_end_is_an_error_that_names_the_maximum_and_the_others_go_on() {
    let error = beside_others(lines(1000), &[b'x'; 5000]);
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().starts_with("a line is longer than the maximum of 1000 bytes;"), "{error}");
}

#[test]
fn four_gigabytes_announced_are_an_error_that_names_them_and_the_maximum_and_the_others_go_on() {
    for (prefix, bytes, announced) in [
        (Prefix::U32Be, &b"\xff\xff\xff\xff"[..], "4294967295"),
        (Prefix::U64Be, b"\0\0\0\x01\0\0\0\0", "4294967296"),
    ] {
        let error = beside_others(prefixed(prefix, 1 << 20), bytes);
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let said = format!("a frame of {announced} bytes is announced, and the maximum is 1048576;");
        assert!(error.to_string().starts_with(&said), "{error}");
    }
}

#[test]
fn a_frame_over_the_input_limit_arrives_if_its_maximum_allows_it() {
    let long = "x".repeat(1000);
    let mut with_length = Vec::new();
    LengthPrefixed::new(Prefix::U16Le, 1000).write(long.as_bytes(), &mut with_length).unwrap();
    for read_buffer in [1, 7, 4096] {
        for (step, stream) in [
            (lines(1000), [long.as_bytes(), b"\n"].concat()),
            (lines(1000), [long.as_bytes(), b"\r\n"].concat()),
            (lines(1000), [long.as_bytes(), b"\r"].concat()),
            (lines(usize::MAX), [long.as_bytes(), b"\r\n"].concat()),
            (prefixed(Prefix::U16Le, 1000), with_length.clone()),
            (prefixed(Prefix::U16Le, usize::MAX), with_length.clone()),
            (fixed(1000), long.clone().into_bytes()),
        ] {
            let config = Config { input_limit: 3, read_buffer, ..Config::default() };
            let (mut reactor, mut seen) = (Reactor::with_config(config).unwrap(), Seen::default());
            let mut peer = adopt(&mut reactor, &mut seen, noting(step));
            peer.write_all(&stream).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
            assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
            assert_eq!(seen.notes, [long.as_str()]);
        }
    }
}

#[test]
fn a_megabyte_of_a_line_arrives_by_default() {
    let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
    let mut peer = adopt(&mut reactor, &mut seen, noting(lines(1 << 20)));
    let writer = thread::spawn(move || {
        let mut line = vec![b'x'; 1 << 20];
        line.push(b'\n');
        peer.write_all(&line).unwrap();
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    writer.join().unwrap();
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert_eq!(seen.notes.iter().map(String::len).collect::<Vec<_>>(), [1 << 20]);
}

#[test]
fn when_the_frame_is_through_the_input_limit_holds_again() {
    let mut first = Lines::new(1000);
    let mut done = false;
    let machine = Machine {
        received: Box::new(move |_, input| {
            done = done || first.next(input)?.is_some();
            Ok(()) // and leaves everything else
        }),
        ..Machine::default()
    };
    let config = Config { input_limit: 10, read_buffer: 5, ..Config::default() };
    let (mut reactor, mut seen) = (Reactor::with_config(config).unwrap(), Seen::default());
    let mut peer = adopt(&mut reactor, &mut seen, machine);
    peer.write_all(b"a line of more than the limit\n1234567890").unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(seen.ends[0].to_string().contains("the input limit is 10"), "{}", seen.ends[0]);
}

#[test]
fn a_frame_cut_short_is_how_the_connection_ends() {
    for (step, stream, said) in [
        (fixed(10), &b"1234567"[..], "a frame: 3 of its 10 bytes are missing"),
        (prefixed(Prefix::U16Be, 10), b"\0\x0a12", "a frame: 8 of its 10 bytes are missing"),
        (prefixed(Prefix::U16Be, 10), b"\0", "a frame's length: 1 of its 2 bytes are missing"),
    ] {
        let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
        let mut peer = adopt(&mut reactor, &mut seen, noting(step));
        peer.write_all(stream).unwrap();
        drop(peer);
        until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
        let error = seen.ends[0].result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn frames_are_written_to_a_connection_and_one_over_the_maximum_is_not() {
    let frames = LengthPrefixed::new(Prefix::U32Be, 10);
    let machine = Machine {
        opened: Box::new(move |conn| {
            frames.write(b"one", conn)?;
            let error = frames.write(b"longer than it may be", conn).unwrap_err();
            conn.state().notes.push(error.to_string());
            frames.write(b"", conn)?;
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
    let mut peer = adopt(&mut reactor, &mut seen, machine);
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    assert!(
        seen.notes[0].starts_with("a frame of 21 bytes is not written: the maximum is 10;"),
        "{:?}",
        seen.notes
    );
    let mut got = [0; 11];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"\0\0\0\x03one\0\0\0\0");
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}
