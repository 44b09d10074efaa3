//! What a readiness event means: an edge comes once, and its flags are hints.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::common::pair::{arrived, pair};
use crate::common::until::until;
use enjamb::{Config, Conn, Cx, End, Input, Protocol, Reactor};

#[derive(Default)]
pub struct Seen {
    pub bytes: Vec<u8>,
    pub calls: Vec<&'static str>,
    pub ends: Vec<End>,
}

impl Seen {
    pub fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|name| **name == call).count()
    }
}

/// Takes everything and writes down what happens.
pub struct Taker;

impl Protocol<Seen> for Taker {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.state().calls.push("opened");
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("received");
        conn.state().bytes.extend_from_slice(input.take_all());
        Ok(())
    }
    fn drained(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.state().calls.push("drained");
        Ok(())
    }
    fn ended(&mut self, conn: &mut Conn<'_, Seen>, _rest: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("ended");
        conn.close();
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.calls.push("closed");
        cx.state.ends.push(end);
    }
}

pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_read_stopped_early_by_its_budget_goes_on_without_a_new_edge() {
    let config = Config { read_buffer: 1024, read_budget: 4096, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let (near, mut far) = pair();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(near, Taker).unwrap();
    let burst = pattern(1 << 20);
    let expected = burst.clone();
    // The far end stays open: neither more bytes nor an end bring another event for what is left.
    let writer = std::thread::spawn(move || far.write_all(&burst).map(|()| far));
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 1 << 20);
    assert!(seen.bytes == expected, "the burst arrives whole and in order");
    assert_eq!(seen.count("ended"), 0);
    drop(writer.join().unwrap().unwrap());
}

#[test]
fn a_burst_that_arrived_before_the_first_turn_is_read_with_a_buffer_of_one_byte() {
    let config = Config { read_buffer: 1, read_budget: 1, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let (near, mut far) = pair();
    far.write_all(&pattern(1000)).unwrap();
    arrived(&near, 1000);
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(near, Taker).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 1000);
    assert_eq!(seen.bytes, pattern(1000));
    assert_eq!(seen.count("received"), 1000);
}

#[test]
fn data_and_fin_in_one_event_then_a_short_read_is_read_to_the_end() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    far.write_all(b"last words").unwrap();
    drop(far);
    arrived(&near, 10);
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(near, Taker).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.count("closed") == 1);
    assert_eq!(seen.bytes, b"last words");
    assert_eq!(seen.calls, ["opened", "received", "ended", "closed"]);
    assert!(seen.ends[0].result.is_ok());
}

#[test]
fn data_and_fin_in_one_event_of_a_connection_that_had_been_idle_are_both_seen() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    let watching = near.try_clone().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(near, Taker).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.count("opened") == 1);
    far.write_all(b"last words").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    arrived(&watching, 10);
    until(&mut reactor, &mut seen, |cx| cx.state.count("closed") == 1);
    assert_eq!(seen.bytes, b"last words");
    assert_eq!(seen.calls, ["opened", "received", "ended", "closed"]);
}

/// Two connections whose machines take each other's bytes from the kernel behind the loop's back.
struct Thief {
    other: TcpStream,
}

impl Protocol<Seen> for Thief {
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("received");
        conn.state().bytes.extend_from_slice(input.take_all());
        self.other.set_nonblocking(true)?; // also for the loop's own end, which is the same socket
        let mut stolen = [0; 16];
        if matches!((&self.other).read(&mut stolen), Ok(1..)) {
            conn.state().calls.push("stolen");
        }
        Ok(())
    }
    fn ended(&mut self, conn: &mut Conn<'_, Seen>, _rest: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("ended");
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.calls.push("closed");
        cx.state.ends.push(end);
    }
}

#[test]
fn a_spurious_event_brings_no_callback_and_no_error() {
    let mut reactor = Reactor::new().unwrap();
    let ((one, mut to_one), (two, mut to_two)) = (pair(), pair());
    let dups = [one.try_clone().unwrap(), two.try_clone().unwrap()];
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.adopt(one, Thief { other: dups[1].try_clone().unwrap() }).unwrap();
    cx.adopt(two, Thief { other: dups[0].try_clone().unwrap() }).unwrap();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    for round in 1..=3 {
        to_one.write_all(b"1").unwrap();
        to_two.write_all(b"2").unwrap();
        dups.iter().for_each(|dup| arrived(dup, 1));
        // Both events are in one batch: whoever comes first leaves the other with nothing to read.
        until(&mut reactor, &mut seen, |cx| cx.state.count("stolen") == round);
        reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
        assert_eq!(seen.count("received"), round);
    }
    assert_eq!(seen.calls.len(), 6, "{:?}", seen.calls);
    // And a real event is still an event, for both.
    let before = seen.bytes.len();
    to_one.write_all(b"1").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == before + 1);
    to_two.write_all(b"2").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == before + 2);
    assert_eq!(&seen.bytes[before..], b"12");
}

/// Writes so much when it opens that the kernel cannot take it, and takes what comes.
struct Filler;

const FILL: usize = 8 << 20;

impl Protocol<Seen> for Filler {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.water_marks(0, usize::MAX); // so that reading goes on meanwhile
        conn.write(&pattern(FILL));
        assert!(conn.unsent() > 0);
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("received");
        conn.state().bytes.extend_from_slice(input.take_all());
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.ends.push(end);
    }
}

#[test]
fn read_and_write_readiness_that_come_as_one_event_are_both_used() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    let watching = near.try_clone().unwrap();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(near, Filler).unwrap().id();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    let mut unsent = 0;
    until(&mut reactor, &mut seen, |cx| {
        std::mem::replace(&mut unsent, cx.conn(id).unwrap().unsent()) == unsent
    });
    // While the loop stands still, the peer both makes room and sends.
    // On Linux the kernel holds little more than this, TCP_NOTSENT_LOWAT. Elsewhere it tells of room when a third of its
    // buffer is free.
    let mut taken = vec![0; if cfg!(target_os = "linux") { 128 * 1024 } else { 1 << 20 }];
    far.read_exact(&mut taken).unwrap();
    far.write_all(b"and now me").unwrap();
    arrived(&watching, 10);
    until(&mut reactor, &mut seen, |cx| {
        cx.state.bytes.len() == 10 && cx.conn(id).is_some_and(|mut conn| conn.unsent() < unsent)
    });
    read_the_rest(reactor, seen, far, taken);
}

#[test]
fn read_and_write_readiness_that_come_as_two_events_are_both_used() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(near, Filler).unwrap().id();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    let mut unsent = 0;
    until(&mut reactor, &mut seen, |cx| {
        std::mem::replace(&mut unsent, cx.conn(id).unwrap().unsent()) == unsent
    });
    far.write_all(b"me ").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 3); // not writable yet
    let mut taken = vec![0; 4 << 20];
    let reader = std::thread::spawn(move || far.read_exact(&mut taken).map(|()| (far, taken)));
    until(&mut reactor, &mut seen, |_| reader.is_finished());
    assert_eq!(seen.count("received"), 1);
    let (mut far, taken) = reader.join().unwrap().unwrap();
    far.write_all(b"again").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 8);
    read_the_rest(reactor, seen, far, taken);
}

fn read_the_rest(mut reactor: Reactor<Seen>, mut seen: Seen, mut far: TcpStream, mut taken: Vec<u8>) {
    let reader = std::thread::spawn(move || {
        let start = taken.len();
        taken.resize(FILL, 0);
        far.read_exact(&mut taken[start..]).map(|()| taken)
    });
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 1); // the far end is closed when it has it all
    assert!(reader.join().unwrap().unwrap() == pattern(FILL));
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends[0]);
}

#[test]
fn what_came_before_a_reset_is_read_and_then_the_reset_is_told_once() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    let peer = near.peer_addr().unwrap().to_string();
    let mut seen = Seen::default();
    far.write_all(b"before").unwrap();
    arrived(&near, 6);
    reactor.cx(&mut seen).adopt(near, Taker).unwrap();
    socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    until(&mut reactor, &mut seen, |cx| cx.state.count("closed") == 1);
    // The event says readable, read-closed, write-closed and error, all at once: the reads tell what is true.
    assert_eq!(seen.bytes, b"before");
    assert_eq!(seen.calls, ["opened", "received", "closed"]);
    let error = seen.ends[0].result.as_ref().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(error.to_string().starts_with(&format!("reading from {peer}: ")), "{error}");
}

#[test]
fn urgent_data_is_no_error_and_no_end() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(near, Taker).unwrap();
    socket2::SockRef::from(&far).send_out_of_band(b"!").unwrap(); // EPOLLPRI, which mio calls readable
    far.write_all(b"text").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 4);
    assert_eq!((seen.count("ended"), seen.count("closed")), (0, 0));
    drop(far);
    until(&mut reactor, &mut seen, |cx| cx.state.count("closed") == 1);
    assert_eq!(seen.bytes, b"text");
    assert!(seen.ends[0].result.is_ok());
}

#[cfg(unix)]
#[test]
fn what_is_held_up_behind_urgent_data_comes_with_the_next_bytes_at_the_latest() {
    use nix::sys::socket::{MsgFlags, send};
    use std::os::fd::AsRawFd;
    let (near, mut far) = pair();
    far.set_nodelay(true).unwrap(); // so that all of it is there before the first read
    far.write_all(b"aaa").unwrap();
    send(far.as_raw_fd(), b"!", MsgFlags::MSG_OOB).unwrap();
    far.write_all(b"bbb").unwrap();
    arrived(&near, 3); // as far as can be seen: peeking, like reading, stops at the mark
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(near, Taker).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.starts_with(b"aaa"));
    far.write_all(b"ccc").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 9);
    assert_eq!(seen.bytes, b"aaabbbccc");
    assert!(seen.ends.is_empty());
}

#[cfg(unix)]
#[test]
fn a_read_cut_short_by_a_descriptor_that_is_passed_is_no_drained_socket() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::os::fd::AsRawFd;
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    let passed = [far.as_raw_fd()];
    let text = [io::IoSlice::new(b"aaa")];
    let rights = [ControlMessage::ScmRights(&passed)];
    sendmsg::<()>(far.as_raw_fd(), &text, &rights, MsgFlags::empty(), None).unwrap();
    far.write_all(b"bbb").unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(near, Taker).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes == b"aaabbb");
}

/// Answers only when the peer has finished.
struct AnswersTheEnd(Vec<u8>);

impl Protocol<Seen> for AnswersTheEnd {
    fn received(&mut self, _conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        self.0.extend_from_slice(input.take_all());
        Ok(())
    }
    fn ended(&mut self, conn: &mut Conn<'_, Seen>, _rest: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("ended");
        // Later, from outside: nothing ties the answer to the callback that saw the end.
        let (id, question) = (conn.id(), std::mem::take(&mut self.0));
        conn.cx().after(Duration::from_millis(1), move |cx| {
            let mut conn = cx.conn(id).expect("a FIN is no hang-up");
            assert!(conn.write(b"you asked: "));
            assert!(conn.write(&question));
            conn.close();
        });
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.ends.push(end);
    }
}

#[test]
fn a_peer_that_half_closed_can_still_be_written_to() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(near, AnswersTheEnd(Vec::new())).unwrap();
    far.write_all(b"what?").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 1);
    assert_eq!(seen.calls, ["ended"]);
    assert!(seen.ends[0].result.is_ok());
    let mut answer = String::new();
    far.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "you asked: what?");
}

/// Takes one byte of what it is offered, then pauses.
struct Sipper;

impl Protocol<Seen> for Sipper {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.state().calls.push("opened");
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("received");
        conn.state().bytes.extend_from_slice(input.take(1));
        conn.pause();
        Ok(())
    }
    fn ended(&mut self, conn: &mut Conn<'_, Seen>, rest: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("ended");
        conn.state().bytes.extend_from_slice(rest.take_all());
        conn.close();
        Ok(())
    }
}

#[test]
fn a_resumed_connection_is_driven_at_once_without_a_new_edge() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    let watching = near.try_clone().unwrap();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(near, Taker).unwrap().id();
    until(&mut reactor, &mut seen, |cx| cx.state.count("opened") == 1);
    reactor.cx(&mut seen).conn(id).unwrap().pause();
    far.write_all(b"while it pauses").unwrap();
    arrived(&watching, 15);
    // The edge is taken from the kernel now, and no other comes.
    for _ in 0..10 {
        reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(seen.calls, ["opened"]);
    reactor.cx(&mut seen).conn(id).unwrap().resume();
    reactor.turn(&mut seen, Some(Duration::from_secs(60))).unwrap(); // must not wait
    assert_eq!(seen.bytes, b"while it pauses");
    drop(far);
}

#[test]
fn a_resumed_connection_is_offered_what_it_left_and_then_the_end() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    let watching = near.try_clone().unwrap();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(near, Sipper).unwrap().id();
    far.write_all(b"abc").unwrap();
    arrived(&watching, 3);
    drop(far);
    for n in 1..=3 {
        until(&mut reactor, &mut seen, |cx| cx.state.count("received") == n);
        for _ in 0..10 {
            reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
        }
        assert_eq!((seen.bytes.as_slice(), seen.count("ended")), (&b"abc"[..n], 0));
        reactor.cx(&mut seen).conn(id).unwrap().resume();
    }
    until(&mut reactor, &mut seen, |cx| cx.state.count("ended") == 1);
    assert_eq!(seen.calls, ["opened", "received", "received", "received", "ended"]);
}

#[test]
fn a_reset_of_a_paused_connection_neither_spins_nor_is_lost() {
    let mut reactor = Reactor::new().unwrap();
    let (near, mut far) = pair();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(near, Taker).unwrap().id();
    until(&mut reactor, &mut seen, |cx| cx.state.count("opened") == 1);
    reactor.cx(&mut seen).conn(id).unwrap().pause();
    far.write_all(b"before").unwrap();
    socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    for _ in 0..10 {
        let turn = reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
        assert_eq!(turn.next, None);
    }
    assert_eq!(seen.calls, ["opened"]);
    reactor.cx(&mut seen).conn(id).unwrap().resume();
    until(&mut reactor, &mut seen, |cx| cx.state.count("closed") == 1);
    assert_eq!(seen.calls, ["opened", "received", "closed"]);
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
