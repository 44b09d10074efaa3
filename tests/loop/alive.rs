//! What the reactor's `Display` lists: each source, its state, and what it waits for.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::places::ANY_PORT;
use crate::common::times::{NEVER, NOW};
use crate::common::until::until;
use enjamb::mio::{Interest, net::UdpSocket};
use enjamb::{Cx, Reactor, Readiness, Step, Watch};

struct Idle;

impl Watch<UdpSocket, Seen> for Idle {
    fn ready(&mut self, _: &mut Cx<'_, Seen>, _: &mut UdpSocket, _: Readiness) -> io::Result<Step> {
        Ok(Step::Wait)
    }
}

fn line_of(reactor: &mut Reactor<Seen>, peer: &str) -> String {
    let alive = reactor.alive().to_string();
    alive.lines().find(|line| line.contains(peer)).map_or(alive.clone(), str::to_string)
}

#[test]
fn an_empty_loop_says_so_in_one_line() {
    let mut reactor = Reactor::<()>::new().unwrap();
    let alive = reactor.alive().to_string();
    assert_eq!(alive, "alive: 0 listeners, 0 connections, 0 watched, 0 timers, 0 handles");
}

#[test]
fn every_kind_is_counted_and_listed() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let handle = reactor.handle();
    let mut cx = reactor.cx(&mut seen);
    let listener = cx.listen(ANY_PORT, |_, _| Machine::default()).unwrap().id();
    let addr = cx.listener(listener).unwrap().local_addr().unwrap();
    let watch = cx.watch(UdpSocket::bind(ANY_PORT.into()).unwrap(), Interest::READABLE, Idle).unwrap();
    cx.after(NEVER, |_| ());
    cx.every(NEVER, |_| ());
    let peer = std::net::TcpStream::connect(addr).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.listener(listener).is_some_and(|mut l| l.open() == 1));
    let (unix, _unix_peer) = UnixStream::pair().unwrap();
    let unix = reactor.cx(&mut seen).adopt(unix, Machine::default()).unwrap().id();
    let _second = handle.clone();

    let alive = reactor.cx(&mut seen).alive().to_string();
    let mut lines = alive.lines();
    let counts = lines.next().unwrap();
    assert_eq!(counts, "alive: 1 listeners, 2 connections, 1 watched, 2 timers, 2 handles");
    let rows: Vec<&str> = lines.collect();
    let peer = peer.local_addr().unwrap();
    for row in [
        format!("  listener {listener} on {addr}, 1 open"),
        format!("  watch {watch}"),
        format!("  connection {unix} a Unix socket"),
    ] {
        assert!(rows.contains(&row.as_str()), "{row:?} in {alive}");
    }
    assert!(rows.iter().any(|row| row.ends_with(&peer.to_string())), "{peer} in {alive}");
    assert_eq!(rows.len(), 4);
}

#[test]
fn a_connection_is_described_by_its_state_and_what_it_has_to_do() {
    let (ours, mut theirs) = sized_pair(Some(4096));
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        received: Box::new(|_, _| Ok(())), // leaves everything
        ended: Box::new(|conn, _| {
            conn.state().notes.push("ended".into());
            Ok(())
        }),
        ..Machine::default()
    };
    let id = reactor.cx(&mut seen).adopt(ours, machine).unwrap().id();
    let peer = theirs.local_addr().unwrap().to_string();
    let row = format!("  connection {id} {peer}");
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(line_of(&mut reactor, &peer), row);

    theirs.write_all(b"hello").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.alive().to_string().contains("unread"));
    assert_eq!(line_of(&mut reactor, &peer), format!("{row}, 5 bytes unread"));

    theirs.shutdown(Shutdown::Write).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    assert_eq!(line_of(&mut reactor, &peer), format!("{row}, peer ended, 5 bytes unread"));

    let mut cx = reactor.cx(&mut seen);
    let mut conn = cx.conn(id).unwrap();
    conn.write(&vec![0; 1 << 20]);
    conn.pause();
    conn.finish();
    conn.deadline(Duration::from_secs(100));
    let unsent = conn.unsent();
    let line = line_of(&mut reactor, &peer);
    let expected = format!(
        "{row}, paused, full, peer ended, finished, {unsent} bytes unsent, 5 bytes unread, deadline in "
    );
    assert!(line.starts_with(&expected), "{line}");
    assert!(
        line[expected.len()..].starts_with("9") || line[expected.len()..].starts_with("100.0s"),
        "{line}"
    );

    let mut cx = reactor.cx(&mut seen);
    cx.conn(id).unwrap().close();
    assert!(line_of(&mut reactor, &peer).contains(", closing, paused"));
    reactor.cx(&mut seen).conn(id).unwrap().abort(io::ErrorKind::Other.into());
    assert!(line_of(&mut reactor, &peer).starts_with(&format!("{row}, gone, paused")));
}

#[test]
fn a_connect_under_way_is_described_with_its_timeout() {
    let listener = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).connect(addr, Machine::default()).id();
    let line = line_of(&mut reactor, &addr.to_string());
    assert!(line.starts_with(&format!("  connection {id} {addr}, connecting, deadline in ")), "{line}");
}

#[test]
fn more_than_a_screenful_is_only_counted() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let pairs: Vec<_> = (0..60).map(|_| UnixStream::pair().unwrap()).collect();
    let mut peers = Vec::new();
    for (ours, theirs) in pairs {
        reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
        peers.push(theirs);
    }
    let alive = reactor.alive().to_string();
    assert_eq!(alive.lines().count(), 42, "{alive}");
    assert_eq!(alive.lines().last(), Some("  and 20 more"));
}
