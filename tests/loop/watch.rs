//! `watch`: UDP, pipes, descriptors of other code, the steps that a machine returns, and `rouse`.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use crate::common::times::HANGS;
use crate::common::until::until;
use enjamb::mio::Interest;
use enjamb::mio::net::UdpSocket;
use enjamb::mio::unix::{SourceFd, pipe};
use enjamb::{Cx, Reactor, Readiness, Step, Watch, WatchId};

#[derive(Default)]
pub struct Seen {
    pub calls: Vec<String>,
    pub bytes: Vec<u8>,
    pub results: Vec<io::Result<()>>,
    pub returned: Vec<pipe::Receiver>,
    pub watch: Option<WatchId>,
}

pub type Ready<E> = Box<dyn FnMut(&mut Cx<'_, Seen>, &mut E, Readiness) -> io::Result<Step>>;

/// A machine made of a closure. Keeps how it ended.
pub struct Machine<E>(Ready<E>);

pub fn machine<E>(
    ready: impl FnMut(&mut Cx<'_, Seen>, &mut E, Readiness) -> io::Result<Step> + 'static,
) -> Machine<E> {
    Machine(Box::new(ready))
}

impl<E> Watch<E, Seen> for Machine<E> {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>, source: &mut E, ready: Readiness) -> io::Result<Step> {
        (self.0)(cx, source, ready)
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, _source: E, result: io::Result<()>) {
        cx.state.results.push(result);
    }
}

/// Reads a pipe, at most so many bytes at a time, and gives it back at the end.
pub struct Reader(pub usize);

impl Watch<pipe::Receiver, Seen> for Reader {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>, pipe: &mut pipe::Receiver, _: Readiness) -> io::Result<Step> {
        cx.state.calls.push("ready".into());
        let mut bytes = vec![0; self.0];
        match pipe.read(&mut bytes) {
            Ok(0) => Ok(Step::Done),
            Ok(n) => {
                cx.state.bytes.extend_from_slice(&bytes[..n]);
                Ok(Step::Again)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Step::Wait),
            Err(error) => Err(error),
        }
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, pipe: pipe::Receiver, result: io::Result<()>) {
        cx.state.results.push(result);
        cx.state.returned.push(pipe);
    }
}

pub fn idle(reactor: &mut Reactor<Seen>, seen: &mut Seen) {
    for _ in 0..10 {
        reactor.turn(seen, Some(Duration::ZERO)).unwrap();
    }
}

pub fn describe(ready: Readiness) -> &'static str {
    match (ready.is_readable(), ready.is_writable()) {
        (true, true) => "both",
        (true, false) => "readable",
        (false, true) => "writable",
        (false, false) => "",
    }
}

/// A watch that notes its calls and never hears from the kernel.
pub fn quiet(name: &'static str) -> (pipe::Sender, pipe::Receiver, Machine<pipe::Receiver>) {
    let (sender, receiver) = pipe::new().unwrap();
    let noting = machine(move |cx, _, ready| {
        cx.state.calls.push(format!("{name}:{}", describe(ready)));
        Ok(Step::Wait)
    });
    (sender, receiver, noting)
}

#[test]
fn udp_datagrams_that_came_in_one_edge_are_all_echoed() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = socket.local_addr().unwrap();
    let echo = machine(|_, socket: &mut UdpSocket, _| {
        let mut datagram = [0; 1500];
        match socket.recv_from(&mut datagram) {
            Ok((n, from)) => socket.send_to(&datagram[..n], from).map(|_| Step::Again),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Step::Wait),
            Err(error) => Err(error),
        }
    });
    reactor.cx(&mut seen).watch(socket, Interest::READABLE, echo).unwrap();
    let client = StdUdpSocket::bind(("127.0.0.1", 0)).unwrap();
    client.set_nonblocking(true).unwrap();
    for round in 0..3 {
        for i in 0..50 {
            client.send_to(&[round, i], addr).unwrap();
        }
        let mut echoed = Vec::new();
        until(&mut reactor, &mut seen, |_| {
            let mut datagram = [0; 2];
            while client.recv(&mut datagram).is_ok() {
                echoed.push(datagram);
            }
            echoed.len() == 50
        });
        assert_eq!(echoed, (0..50).map(|i| [round, i]).collect::<Vec<_>>());
    }
}

#[test]
fn an_error_from_ready_ends_the_watch_and_closed_is_told_that_error() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    // A connected UDP socket whose peer has nobody at its port: the kernel tells with the next call.
    let nobody = StdUdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket.connect(nobody.local_addr().unwrap()).unwrap();
    nobody.connect(("127.0.0.1", 9)).unwrap(); // takes datagrams from there only, so that ours are refused
    socket.send(b"anybody?").unwrap();
    let id = reactor
        .cx(&mut seen)
        .watch(
            socket,
            Interest::READABLE,
            machine(|_, socket: &mut UdpSocket, _| match socket.recv(&mut [0; 100]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Step::Wait),
                result => result.map(|_| Step::Again),
            }),
        )
        .unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.results.is_empty());
    idle(&mut reactor, &mut seen);
    assert_eq!(seen.results.len(), 1);
    assert_eq!(seen.results[0].as_ref().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(!reactor.cx(&mut seen).unwatch(id));
    assert!(!reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap().alive);
}

#[test]
fn a_pipe_is_read_to_its_end_and_then_comes_back_once() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut sender, receiver) = pipe::new().unwrap();
    reactor.cx(&mut seen).watch(receiver, Interest::READABLE, Reader(3)).unwrap();
    sender.write_all(b"through the pipe").unwrap();
    drop(sender); // bytes and end in one edge
    until(&mut reactor, &mut seen, |cx| !cx.state.results.is_empty());
    idle(&mut reactor, &mut seen);
    assert_eq!(seen.bytes, b"through the pipe");
    assert!(matches!(seen.results[..], [Ok(())]));
    assert_eq!(seen.returned.len(), 1);
    assert_eq!(seen.returned[0].read(&mut [0]).unwrap(), 0, "it is still a pipe");
    assert!(!reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap().alive);
}

#[test]
fn a_source_that_came_back_is_deregistered_and_can_be_watched_again_also_by_another_loop() {
    let mut seen = Seen::default();
    let (mut sender, receiver) = pipe::new().unwrap();
    let mut source = Some(receiver);
    let mut reactor = Reactor::new().unwrap();
    for round in 1..=4 {
        if round == 3 {
            reactor = Reactor::new().unwrap();
        }
        let mut cx = reactor.cx(&mut seen);
        let id = cx.watch(source.take().unwrap(), Interest::READABLE, Reader(100)).unwrap();
        sender.write_all(b"x").unwrap();
        until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == round);
        assert!(reactor.cx(&mut seen).unwatch(id));
        until(&mut reactor, &mut seen, |cx| cx.state.results.len() == round);
        source = seen.returned.pop();
    }
    assert!(seen.results.iter().all(Result::is_ok));
}

#[test]
fn a_pipe_that_is_full_is_told_of_when_it_can_be_written_again() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (sender, mut receiver) = pipe::new().unwrap();
    let total = 1 << 20;
    let mut left = total;
    let writer = machine(move |cx, pipe: &mut pipe::Sender, ready| {
        assert!(ready.is_writable());
        while left > 0 {
            match pipe.write(&[b'w'; 4096][..left.min(4096)]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    cx.state.calls.push("full".into());
                    return Ok(Step::Wait);
                }
                result => left -= result?,
            }
        }
        Ok(Step::Done) // and the pipe is dropped, which is the end for its reader
    });
    reactor.cx(&mut seen).watch(sender, Interest::WRITABLE, writer).unwrap();
    receiver.set_nonblocking(true).unwrap();
    let (mut got, mut buffer) = (0, vec![0; 64 * 1024]);
    until(&mut reactor, &mut seen, |_| match receiver.read(&mut buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        result => {
            got += result.as_ref().unwrap();
            matches!(result, Ok(0))
        }
    });
    assert_eq!(got, total);
    assert!(seen.calls.len() > 1);
    assert!(matches!(seen.results[..], [Ok(())]));
}

#[test]
fn a_descriptor_of_somebody_elses_is_watched_through_source_fd_and_stays_theirs() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut sender, receiver) = pipe::new().unwrap();
    let theirs = Rc::new(RefCell::new(receiver));
    let fd: &'static RawFd = Box::leak(Box::new(theirs.borrow().as_raw_fd()));
    let reader = machine({
        let theirs = Rc::clone(&theirs);
        move |cx, _: &mut SourceFd<'static>, ready| {
            assert!(ready.is_readable());
            let mut bytes = [0; 100];
            match theirs.borrow_mut().read(&mut bytes) {
                Ok(n) => {
                    cx.state.bytes.extend_from_slice(&bytes[..n]);
                    Ok(Step::Again)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Step::Wait),
                Err(error) => Err(error),
            }
        }
    });
    let id = reactor.cx(&mut seen).watch(SourceFd(fd), Interest::READABLE, reader).unwrap();
    sender.write_all(b"lent").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes == b"lent");
    reactor.cx(&mut seen).unwatch(id);
    until(&mut reactor, &mut seen, |cx| cx.state.results.len() == 1);
    // No longer watched, and not closed.
    sender.write_all(b"still open").unwrap();
    idle(&mut reactor, &mut seen);
    assert_eq!(seen.bytes, b"lent");
    let mut bytes = [0; 10];
    theirs.borrow_mut().read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"still open");
}

#[test]
fn again_comes_back_in_the_next_turn_without_waiting_and_keeps_the_hints() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut sender, receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    let mut times = 0;
    let again = machine(move |cx, _: &mut pipe::Receiver, ready| {
        cx.state.calls.push(describe(ready).into());
        times += 1;
        Ok(if times < 5 { Step::Again } else { Step::Wait })
    });
    reactor.cx(&mut seen).watch(receiver, Interest::READABLE, again).unwrap();
    for n in 1..=5 {
        // No event comes any more after the first: were it to wait for one, it would hang.
        let turn = reactor.turn(&mut seen, Some(HANGS)).unwrap();
        assert_eq!(seen.calls.len(), n);
        assert_eq!(turn.next, (n < 5).then_some(Duration::ZERO));
    }
    assert_eq!(seen.calls, ["readable"; 5]);
    idle(&mut reactor, &mut seen);
    assert_eq!(seen.calls.len(), 5);
}

#[test]
fn a_watch_that_always_says_again_starves_neither_its_neighbours_nor_the_timers() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut senders = Vec::new();
    for name in ["a", "b"] {
        let (mut sender, receiver) = pipe::new().unwrap();
        sender.write_all(b"x").unwrap();
        let greedy = machine(move |cx, _: &mut pipe::Receiver, _| {
            cx.state.calls.push(name.into());
            Ok(Step::Again)
        });
        reactor.cx(&mut seen).watch(receiver, Interest::READABLE, greedy).unwrap();
        senders.push(sender);
    }
    for delay in [0, 1, 5] {
        reactor.cx(&mut seen).after(Duration::from_millis(delay), |cx| cx.state.results.push(Ok(())));
    }
    until(&mut reactor, &mut seen, |cx| cx.state.results.len() == 3 && cx.state.calls.len() >= 20);
    let calls = |name| seen.calls.iter().filter(|call| *call == name).count();
    assert!(calls("a").abs_diff(calls("b")) <= 1, "{} and {}", calls("a"), calls("b"));
}

#[test]
fn wait_is_waited_for_the_next_edge_also_where_something_was_left() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut sender, receiver) = pipe::new().unwrap();
    let careless = machine(|cx, _: &mut pipe::Receiver, _| {
        cx.state.calls.push("ready".into());
        Ok(Step::Wait) // without reading
    });
    reactor.cx(&mut seen).watch(receiver, Interest::READABLE, careless).unwrap();
    for n in 1..=3 {
        sender.write_all(b"x").unwrap();
        until(&mut reactor, &mut seen, |cx| cx.state.calls.len() == n);
        idle(&mut reactor, &mut seen);
        assert_eq!(seen.calls.len(), n, "it was not drained, and that is told once");
    }
}

#[test]
fn the_end_of_a_pipe_is_hinted_at_as_read_closed() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (sender, receiver) = pipe::new().unwrap();
    let noting = machine(|cx, _: &mut pipe::Receiver, ready| {
        assert!(ready.is_readable() && ready.is_read_closed(), "{ready:?}");
        cx.state.calls.push("ready".into());
        Ok(Step::Done)
    });
    reactor.cx(&mut seen).watch(receiver, Interest::READABLE, noting).unwrap();
    drop(sender);
    until(&mut reactor, &mut seen, |cx| !cx.state.results.is_empty());
    assert_eq!(seen.calls, ["ready"]);
}

#[test]
fn only_what_is_of_interest_is_told() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let client = StdUdpSocket::bind(("127.0.0.1", 0)).unwrap();
    client.send_to(b"unread", socket.local_addr().unwrap()).unwrap();
    let noting = machine(|cx, _: &mut UdpSocket, ready| {
        cx.state.calls.push(describe(ready).into());
        Ok(Step::Wait)
    });
    reactor.cx(&mut seen).watch(socket, Interest::WRITABLE, noting).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.calls.is_empty());
    idle(&mut reactor, &mut seen);
    assert_eq!(seen.calls, ["writable"]);
}

#[test]
fn a_roused_watch_is_called_once_in_the_next_turn_with_no_hint() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_sender, receiver, noting) = quiet("watch");
    let id = reactor.cx(&mut seen).watch(receiver, Interest::READABLE, noting).unwrap();
    idle(&mut reactor, &mut seen);
    assert!(seen.calls.is_empty());
    let mut cx = reactor.cx(&mut seen);
    assert!(cx.rouse(id));
    assert!(cx.rouse(id));
    reactor.turn(&mut seen, Some(HANGS)).unwrap(); // does not wait
    assert_eq!(seen.calls, ["watch:"]);
    idle(&mut reactor, &mut seen);
    assert_eq!(seen.calls.len(), 1);
}

#[test]
fn a_watch_roused_while_an_event_is_on_its_way_is_called_once_with_the_hint() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut sender, receiver, noting) = quiet("watch");
    let id = reactor.cx(&mut seen).watch(receiver, Interest::READABLE, noting).unwrap();
    idle(&mut reactor, &mut seen);
    sender.write_all(b"x").unwrap();
    assert!(reactor.cx(&mut seen).rouse(id));
    idle(&mut reactor, &mut seen);
    assert_eq!(seen.calls, ["watch:readable"]);
}

#[test]
fn a_watch_can_rouse_itself_and_others_from_within() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_sender, receiver, noting) = quiet("other");
    let other = reactor.cx(&mut seen).watch(receiver, Interest::READABLE, noting).unwrap();
    let (_own_sender, receiver) = pipe::new().unwrap();
    let mut left = 3;
    let rousing = machine(move |cx, _: &mut pipe::Receiver, ready| {
        cx.state.calls.push(format!("self:{}", describe(ready)));
        left -= 1;
        if left > 0 {
            assert!(cx.rouse(cx.state.watch.unwrap()));
            assert!(cx.rouse(other));
        }
        Ok(Step::Wait)
    });
    let own = reactor.cx(&mut seen).watch(receiver, Interest::READABLE, rousing).unwrap();
    seen.watch = Some(own);
    reactor.cx(&mut seen).rouse(own);
    idle(&mut reactor, &mut seen);
    // The other is roused twice before it is its turn, and called once, after both.
    assert_eq!(seen.calls, ["self:", "self:", "other:", "self:"]);
}
