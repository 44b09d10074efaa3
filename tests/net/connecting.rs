//! Connecting: one outcome for each attempt, whenever it becomes known.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common::child::in_child;
use crate::common::logged;
use crate::common::places::{full_listener, listener, nobody};
use crate::common::until::until;
use enjamb::sim::{Link, Script, Sim};
use enjamb::{Config, Conn, Cx, End, Input, Protocol, Reactor};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[derive(Default)]
struct Seen {
    calls: Vec<&'static str>,
    bytes: Vec<u8>,
    ends: Vec<End>,
}

impl Seen {
    /// Why the only connection failed.
    fn failure(&self) -> &io::Error {
        assert_eq!(self.ends.len(), 1);
        self.ends[0].result.as_ref().unwrap_err()
    }
}

struct Client;

impl Protocol<Seen> for Client {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.state().calls.push("opened");
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("received");
        conn.state().bytes.extend_from_slice(input.take_all());
        Ok(())
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.state().calls.push("timed out");
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

#[test]
fn a_refusal_is_reported_once_with_the_address() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_kept, addr) = nobody();
    let id = reactor.cx(&mut seen).connect(addr, Client).id();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    for _ in 0..10 {
        reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(seen.calls, ["closed"]);
    assert_eq!(seen.failure().kind(), io::ErrorKind::ConnectionRefused);
    let message = seen.failure().to_string();
    assert!(message.starts_with(&format!("connecting to {addr}: ")), "{message}");
    assert!(reactor.cx(&mut seen).conn(id).is_none());
    assert!(!reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap().alive, "{}", reactor.alive());
}

#[test]
fn a_refusal_is_reported_as_such_also_to_who_has_written_already() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_kept, addr) = nobody();
    let mut cx = reactor.cx(&mut seen);
    let id = cx.connect(addr, Client).id();
    let mut conn = cx.conn(id).unwrap();
    assert!(conn.write(&[b'x'; 100_000])); // both gathered and not, it must not touch the socket's error
    assert!(conn.write(b"y"));
    conn.finish();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.calls, ["closed"]);
    assert_eq!(seen.failure().kind(), io::ErrorKind::ConnectionRefused);
    assert!(seen.failure().to_string().starts_with("connecting to "), "{}", seen.failure());
    assert_eq!((seen.ends[0].unsent, seen.ends[0].unread), (100_001, 0));
}

#[test]
fn a_connect_that_fails_at_once_is_told_on_the_same_path_as_one_that_fails_later() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    // connect(2) itself refuses a broadcast address.
    let addr = SocketAddr::from(([255, 255, 255, 255], 9));
    assert!(TcpStream::connect(addr).is_err());
    let mut cx = reactor.cx(&mut seen);
    cx.connect(addr, Client);
    assert!(cx.state.calls.is_empty(), "nobody is called back before the loop runs");
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.calls, ["closed"]);
    let message = seen.failure().to_string();
    assert!(message.starts_with(&format!("connecting to {addr}: ")), "{message}");
}

#[test]
fn a_connect_for_which_there_is_no_descriptor_is_told_on_the_same_path_too() {
    if !in_child(a_connect_for_which_there_is_no_descriptor_is_told_on_the_same_path_too, &[]) {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (server, addr) = listener();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    reactor.cx(&mut seen).connect(addr, Client);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.calls, ["closed"]);
    let message = seen.failure().to_string();
    assert!(
        message.starts_with(&format!("connecting to {addr}: ")) && message.contains("os error 24"),
        "{message}"
    );
    drop(hoard);
    seen = Seen::default();
    reactor.cx(&mut seen).connect(addr, Client);
    drop(server.accept().unwrap());
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.calls, ["opened", "ended", "closed"]);
}

#[test]
fn a_connect_under_way_is_neither_open_nor_failed_and_keeps_what_is_written_to_it() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (server, addr, first) = full_listener();
    let mut cx = reactor.cx(&mut seen);
    let id = cx.connect(addr, Client).id();
    for n in 1..=10 {
        let mut conn =
            reactor.cx(&mut seen).conn(id).map(|mut conn| (conn.write(b"0123456789"), conn.unsent()));
        assert_eq!(conn.take(), Some((true, 10 * n)));
        reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    }
    reactor.cx(&mut seen).conn(id).unwrap().finish();
    for _ in 0..10 {
        reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    }
    assert!(seen.calls.is_empty(), "{:?}", seen.calls);
    drop((server.accept().unwrap(), first)); // there is room now, and the kernel's next try will find it
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = server.accept()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.calls, ["opened", "ended", "closed"]);
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
    assert_eq!(serving.join().unwrap().unwrap(), b"0123456789".repeat(10));
}

#[test]
fn a_finish_while_connecting_is_sent_when_it_stands() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (server, addr, first) = full_listener();
    reactor.cx(&mut seen).connect(addr, Client).finish();
    for _ in 0..10 {
        reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    }
    assert!(seen.calls.is_empty(), "{:?}", seen.calls);
    drop((server.accept().unwrap(), first));
    let serving = std::thread::spawn(move || server.accept()?.0.read(&mut [0]));
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.calls, ["opened", "ended", "closed"]);
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
    assert_eq!(serving.join().unwrap().unwrap(), 0);
}

#[test]
fn a_paused_connect_under_way_is_not_taken_for_a_loop_that_is_stuck() {
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (server, addr, first) = full_listener();
    let mut cx = reactor.cx(&mut seen);
    let mut conn = cx.connect(addr, Client);
    conn.pause();
    conn.deadline(None);
    drop((server.accept().unwrap(), first)); // there is room, but the kernel tries again only a second later
    while seen.calls.is_empty() {
        reactor.turn(&mut seen, None).unwrap();
    }
    assert_eq!(seen.calls, ["opened"]);
    assert_eq!(logged::captured(log::Level::Warn), [""; 0]);
}

#[test]
fn not_connected_means_not_yet_and_the_next_event_is_waited_for() {
    let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=getpeername:error=ENOTCONN:when=1"];
    if !in_child(not_connected_means_not_yet_and_the_next_event_is_waited_for, &inject) {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (server, addr) = listener();
    reactor.cx(&mut seen).connect(addr, Client);
    let (mut stream, _) = server.accept().unwrap();
    // The event that the kernel has for it turns out to be spurious.
    for _ in 0..10 {
        reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    }
    assert!(seen.calls.is_empty(), "{:?}", seen.calls);
    stream.write_all(b"another event").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 13);
    assert_eq!(seen.calls, ["opened", "received"]);
}

#[test]
fn a_connect_that_a_signal_interrupts_is_made_again() {
    let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=connect:error=EINTR:when=1..2"];
    if !in_child(a_connect_that_a_signal_interrupts_is_made_again, &inject) {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_server, addr) = listener();
    reactor.cx(&mut seen).connect(addr, Client);
    until(&mut reactor, &mut seen, |cx| !cx.state.calls.is_empty());
    assert_eq!(seen.calls, ["opened"]);
}

#[test]
fn a_connection_that_stands_does_not_delay_what_it_sends() {
    let trace = std::env::temp_dir().join(format!("enjamb-nodelay-{}", std::process::id()));
    let wrapper = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=connect,setsockopt,sendto",
        "-o",
        trace.to_str().expect("a path in UTF-8"),
    ];
    if in_child(a_connection_that_stands_does_not_delay_what_it_sends, &wrapper) {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let (_server, addr) = listener();
        let id = reactor.cx(&mut seen).connect(addr, Client).id();
        assert!(reactor.cx(&mut seen).conn(id).expect("it is on its way").write(b"before it stands"));
        until(&mut reactor, &mut seen, |cx| cx.conn(id).expect("it is there").unsent() == 0);
        return;
    }
    let calls = std::fs::read_to_string(&trace).unwrap_or_default();
    std::fs::remove_file(&trace).ok();
    if calls.is_empty() {
        return; // strace is missing or may not trace, as was said
    }
    let at = |call: &str| calls.find(call).unwrap_or_else(|| panic!("no {call} in {calls}"));
    assert!(at("connect(") < at("TCP_NODELAY, [1]"), "{calls}");
    assert!(at("TCP_NODELAY, [1]") < at("before it stands"), "{calls}");
}

#[test]
fn a_connect_that_takes_too_long_fails_once_with_the_address_and_never_early() {
    const TIMEOUT: Duration = Duration::from_millis(30);
    let mut reactor = Reactor::with_config(Config { connect_timeout: TIMEOUT, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    let (_server, addr, _first) = full_listener();
    let start = Instant::now();
    reactor.cx(&mut seen).connect(addr, Client);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(start.elapsed() >= TIMEOUT);
    assert_eq!(seen.calls, ["closed"]);
    assert_eq!(seen.failure().kind(), io::ErrorKind::TimedOut);
    let message = seen.failure().to_string();
    assert!(message.starts_with(&format!("connecting to {addr}: ")), "{message}");
    assert!(!reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap().alive, "{}", reactor.alive());
}

/// A network on which it takes 2 ms to connect, and the reactor on it.
fn simulated(config: Config) -> (Sim, Reactor<Seen>) {
    let sim = Sim::new(0);
    let latency = Duration::from_millis(1);
    sim.links(Link { latency: latency..=latency, ..Link::default() });
    let reactor = sim.reactor_with(config).unwrap();
    (sim, reactor)
}

const SERVER: ([u8; 4], u16) = ([10, 0, 0, 1], 80);

#[test]
fn a_deadline_set_on_a_connect_under_way_is_its_connect_timeout() {
    const TIMEOUT: Duration = Duration::from_millis(20);
    let (sim, mut reactor) = simulated(Config::default());
    sim.links(Link { silent: 1.0, ..Link::default() });
    let mut seen = Seen::default();
    reactor.cx(&mut seen).connect(SERVER, Client).deadline(TIMEOUT);
    reactor.run(&mut seen).unwrap();
    assert!((TIMEOUT..TIMEOUT + Duration::from_millis(2)).contains(&sim.now()), "{:?}", sim.now());
    assert_eq!(seen.calls, ["closed"]);
    assert_eq!(seen.failure().kind(), io::ErrorKind::TimedOut);
}

/// Has an answer come in time, and the time be up when the loop looks.
fn answered_while_the_loop_was_away(sim: &Sim) {
    sim.take_time(Duration::from_millis(1));
    sim.take_time(Duration::from_millis(5));
}

#[test]
fn timeout_and_success_in_the_same_turn_have_exactly_one_outcome() {
    let config = Config { connect_timeout: Duration::from_millis(3), ..Config::default() };
    let (sim, mut reactor) = simulated(config);
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(SERVER, |_, _| Script::new().wait(Duration::from_secs(1)).close()).unwrap();
    cx.connect(SERVER, Client);
    answered_while_the_loop_was_away(&sim);
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    assert_eq!(seen.calls, ["opened"], "what came in time counts");
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.calls, ["opened", "ended", "closed"]);
    assert!(seen.ends[0].result.is_ok() && sim.now() > Duration::from_secs(1), "{}", seen.ends[0]);
}

#[test]
fn timeout_and_refusal_in_the_same_turn_are_told_once() {
    let config = Config { connect_timeout: Duration::from_millis(3), ..Config::default() };
    let (sim, mut reactor) = simulated(config);
    let mut seen = Seen::default();
    reactor.cx(&mut seen).connect(SERVER, Client);
    answered_while_the_loop_was_away(&sim);
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.calls, ["closed"]);
    assert_eq!(seen.failure().kind(), io::ErrorKind::ConnectionRefused);
    assert!(seen.failure().to_string().contains("10.0.0.1:80"), "{}", seen.failure());
}

#[test]
fn a_connect_under_way_that_is_closed_or_aborted_ends_at_once_and_is_never_opened() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_server, addr, _first) = full_listener();
    let mut cx = reactor.cx(&mut seen);
    let closed = cx.connect(addr, Client).id();
    cx.conn(closed).unwrap().close();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    assert_eq!(seen.calls, ["closed"]);
    assert!(seen.ends[0].result.is_ok());
    let mut cx = reactor.cx(&mut seen);
    let aborted = cx.connect(addr, Client).id();
    cx.conn(aborted).unwrap().abort(io::Error::other("changed my mind"));
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    assert_eq!(seen.calls, ["closed", "closed"]);
    assert_eq!(seen.ends[1].result.as_ref().unwrap_err().to_string(), "changed my mind");
}

#[test]
fn what_was_written_before_a_close_while_connecting_is_sent_when_it_stands() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (server, addr) = listener();
    let mut cx = reactor.cx(&mut seen);
    let id = cx.connect(addr, Client).id();
    let mut conn = cx.conn(id).unwrap();
    conn.write(b"just this");
    conn.close();
    assert!(!conn.write(b"nothing after the close"));
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = server.accept()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.calls, ["closed"]);
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
    assert_eq!(serving.join().unwrap().unwrap(), b"just this");
}

#[test]
fn a_server_that_has_spoken_and_left_before_the_connect_is_noticed_is_heard_in_order() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (server, addr) = listener();
    reactor.cx(&mut seen).connect(addr, Client);
    let (mut stream, _) = server.accept().unwrap();
    stream.write_all(b"hello and goodbye").unwrap();
    drop(stream);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.calls, ["opened", "received", "ended", "closed"]);
    assert_eq!(seen.bytes, b"hello and goodbye");
    assert!(seen.ends[0].result.is_ok());
}

#[test]
fn a_server_that_resets_before_the_connect_is_noticed_is_told_of_once() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (server, addr) = listener();
    reactor.cx(&mut seen).connect(addr, Client);
    let (stream, _) = server.accept().unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    for _ in 0..10 {
        reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(seen.calls, ["closed"]);
    assert_eq!(seen.failure().kind(), io::ErrorKind::ConnectionReset);
    assert!(seen.failure().to_string().contains(&addr.to_string()));
}

#[test]
fn many_connects_some_refused_some_not_have_one_outcome_each() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let ((server, addr), (_kept, nowhere)) = (listener(), nobody());
    let mut cx = reactor.cx(&mut seen);
    for _ in 0..50 {
        cx.connect(addr, Client);
        cx.connect(nowhere, Client);
    }
    let serving = std::thread::spawn(move || (0..50).try_for_each(|_| server.accept().map(drop)));
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 100);
    serving.join().unwrap().unwrap();
    let count = |call| seen.calls.iter().filter(|name| **name == call).count();
    assert_eq!(["opened", "ended", "timed out", "closed"].map(count), [50, 50, 0, 100]);
    let refused = seen.ends.iter().filter_map(|end| end.result.as_ref().err());
    assert!(refused.clone().all(|error| error.kind() == io::ErrorKind::ConnectionRefused));
    assert_eq!(refused.count(), 50);
}
