//! Accepting: budgets, the backlog, thousands of clients at once, limits, closed listeners.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::child::in_child;
use crate::common::times::HANGS;
use crate::common::until::until;
use enjamb::{Config, Conn, ConnId, Cx, End, Input, ListenerId, Protocol, Reactor, Turn};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

#[derive(Default)]
pub struct Seen {
    pub accepted: usize,
    pub opened: Vec<ConnId>,
    pub connected: usize,
    pub ends: Vec<End>,
}

/// Echoes, and closes when the peer has ended.
pub struct Server;

impl Protocol<Seen> for Server {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        let id = conn.id();
        conn.state().opened.push(id);
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.ends.push(end);
    }
}

pub fn listen(reactor: &mut Reactor<Seen>, seen: &mut Seen) -> (ListenerId, SocketAddr) {
    let mut cx = reactor.cx(seen);
    let accepted = |cx: &mut Cx<'_, Seen>, peer: SocketAddr| {
        assert!(peer.ip().is_loopback() && peer.port() > 0);
        cx.state.accepted += 1;
        Server
    };
    let id = cx.listen(([127, 0, 0, 1], 0), accepted).unwrap().id();
    let addr = cx.listener(id).unwrap().local_addr().unwrap();
    (id, addr)
}

/// So many connections, all of which stand: they are in the listener's backlog or accepted.
pub fn clients(addr: SocketAddr, n: usize) -> Vec<TcpStream> {
    let connect = |_| {
        let client = TcpStream::connect_timeout(&addr, HANGS / 3)?;
        client.set_read_timeout(Some(HANGS)).map(|()| client)
    };
    (0..n).map(connect).collect::<io::Result<_>>().unwrap()
}

/// Turns until a client has got its answer.
pub fn is_served(reactor: &mut Reactor<Seen>, seen: &mut Seen, client: &mut TcpStream) {
    client.write_all(b"?").unwrap();
    client.set_nonblocking(true).unwrap();
    until(reactor, seen, |_| matches!(client.read(&mut [0]), Ok(1)));
    client.set_nonblocking(false).unwrap();
}

pub fn turn(reactor: &mut Reactor<Seen>, seen: &mut Seen) -> Turn {
    reactor.turn(seen, Some(Duration::ZERO)).unwrap()
}

/// Turns until nothing is left to do now, and returns how long the loop would sleep then.
pub fn come_to_rest(reactor: &mut Reactor<Seen>, seen: &mut Seen) -> Option<Duration> {
    for _ in 0..100 {
        let next = turn(reactor, seen).next;
        if next != Some(Duration::ZERO) {
            return next;
        }
    }
    panic!("the loop spins; {}", reactor.alive());
}

/// Turns, sleeping as the loop itself would, until `done`; returns how many turns that took.
pub fn turns_until(reactor: &mut Reactor<Seen>, seen: &mut Seen, done: impl Fn(&Seen) -> bool) -> usize {
    let start = Instant::now();
    for turns in 0.. {
        if done(seen) {
            return turns;
        }
        assert!(start.elapsed() < HANGS, "a stall; {}", reactor.alive());
        reactor.turn(seen, Some(HANGS)).unwrap();
    }
    unreachable!()
}

#[test]
fn clients_that_reset_before_they_are_accepted_do_not_disturb_the_others() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (id, addr) = listen(&mut reactor, &mut seen);
    let mut clients = clients(addr, 20);
    for i in (0..10).rev() {
        let gone = clients.remove(2 * i);
        socket2::SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
    }
    until(&mut reactor, &mut seen, |cx| cx.state.accepted == 20 && cx.state.ends.len() == 10);
    assert!(seen.ends.iter().all(|end| {
        end.result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    }));
    assert_eq!(reactor.cx(&mut seen).listener(id).unwrap().open(), 10);
    for client in &mut clients {
        is_served(&mut reactor, &mut seen, client);
    }
}

#[test]
fn what_is_accepted_is_opened_in_the_same_turn_and_nothing_is_left_to_do() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    come_to_rest(&mut reactor, &mut seen);
    let _clients = clients(addr, 3);
    let turn = turn(&mut reactor, &mut seen);
    assert_eq!((seen.accepted, seen.opened.len()), (3, 3));
    assert_eq!(turn.next, None, "the loop would go round for nothing");
}

#[test]
fn a_listener_that_used_up_its_accept_budget_is_queued_again() {
    const BUDGET: usize = 16;
    let mut reactor = Reactor::with_config(Config { accept_budget: BUDGET, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    let _clients = clients(addr, 100); // all at once, and none later
    let mut counts = Vec::new();
    until(&mut reactor, &mut seen, |cx| {
        counts.push(cx.state.accepted);
        cx.state.accepted == 100
    });
    assert!(counts.windows(2).all(|pair| pair[1] - pair[0] <= BUDGET), "{counts:?}");
    assert!(counts.len() > 100 / BUDGET);
    until(&mut reactor, &mut seen, |cx| cx.state.opened.len() == 100);
}

#[test]
fn an_accept_budget_of_one_serves_two_listeners_in_turn() {
    let mut reactor = Reactor::with_config(Config { accept_budget: 1, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    let ((one, to_one), (two, to_two)) = (listen(&mut reactor, &mut seen), listen(&mut reactor, &mut seen));
    let _clients = (clients(to_one, 20), clients(to_two, 20));
    until(&mut reactor, &mut seen, |cx| {
        let [one, two] = [one, two].map(|id| cx.listener(id).unwrap().open());
        assert!(one.abs_diff(two) <= 1, "{one} and {two}");
        one + two == 40
    });
}

#[test]
fn the_backlog_the_kernel_knows_of_is_at_least_1024() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most: usize = somaxconn.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024);
    let Ok(output) = Command::new("ss").args(["-H", "-ltn", &format!("sport = :{}", addr.port())]).output()
    else {
        return println!("not run: ss is not installed");
    };
    // State, Recv-Q, Send-Q (for a listener: its backlog), addresses.
    let text = String::from_utf8(output.stdout).unwrap();
    let backlog: usize = text.split_whitespace().nth(2).and_then(|field| field.parse().ok()).expect(&text);
    assert!(backlog >= most.min(1024), "{text}");
}

/// Raises the limit on descriptors to `n`, if that is permitted.
fn allow_descriptors(n: usize) -> bool {
    let n = rlim_t::try_from(n).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let enough = hard >= n;
    if enough {
        setrlimit(Resource::RLIMIT_NOFILE, soft.max(n), hard).unwrap();
    } else {
        println!("not run: it takes {n} descriptors, and the limit is {hard}");
    }
    enough
}

#[test]
fn two_thousand_connections_at_once_stand_before_any_of_them_is_accepted() {
    const RUSH: usize = 2000;
    if !in_child(two_thousand_connections_at_once_stand_before_any_of_them_is_accepted, &[])
        || !allow_descriptors(2 * RUSH + 100)
    {
        return;
    }
    struct Client;
    impl Protocol<Seen> for Client {
        fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
            conn.state().connected += 1;
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, Seen>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
    }
    let config = Config { connect_timeout: HANGS / 2, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let (id, addr) = listen(&mut reactor, &mut seen);
    // Nothing is accepted meanwhile: what stands, stands in the backlog. What does not fit there is dropped, and no
    // retry of the kernel's can help it.
    reactor.cx(&mut seen).listener(id).unwrap().limit(0);
    for _ in 0..RUSH {
        reactor.cx(&mut seen).connect(addr, Client);
    }
    until(&mut reactor, &mut seen, |cx| cx.state.connected == RUSH);
    assert_eq!(seen.accepted, 0);
    reactor.cx(&mut seen).listener(id).unwrap().limit(usize::MAX);
    until(&mut reactor, &mut seen, |cx| cx.state.opened.len() == RUSH);
    assert!(seen.ends.is_empty());
}

#[test]
fn a_limit_on_open_connections_pauses_accepting_drops_nobody_and_does_not_spin() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (id, addr) = listen(&mut reactor, &mut seen);
    reactor.cx(&mut seen).listener(id).unwrap().limit(3);
    let mut waiting = clients(addr, 8);
    until(&mut reactor, &mut seen, |cx| cx.state.opened.len() == 3);
    assert_eq!(come_to_rest(&mut reactor, &mut seen), None);
    // A newcomer is an event, and then there is silence again.
    waiting.extend(clients(addr, 2));
    assert_eq!(come_to_rest(&mut reactor, &mut seen), None);
    assert_eq!(seen.accepted, 3);
    // As places come free the others are served, all of them, in the order in which they came.
    for n in 1..=10 {
        let mut client = waiting.remove(0);
        is_served(&mut reactor, &mut seen, &mut client);
        assert!(reactor.cx(&mut seen).listener(id).unwrap().open() <= 3);
        drop(client);
        until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == n && cx.state.accepted == 10.min(n + 3));
        assert_eq!(come_to_rest(&mut reactor, &mut seen), None);
        assert_eq!(seen.accepted, 10.min(n + 3));
    }
    assert!(seen.ends.iter().all(|end| end.result.is_ok()), "{:?}", seen.ends);
    assert_eq!(reactor.cx(&mut seen).listener(id).unwrap().open(), 0);
}

#[test]
fn a_limit_that_is_raised_lets_in_who_waits_and_one_that_is_lowered_throws_nobody_out() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (id, addr) = listen(&mut reactor, &mut seen);
    reactor.cx(&mut seen).listener(id).unwrap().limit(0);
    let mut clients = clients(addr, 6);
    assert_eq!(come_to_rest(&mut reactor, &mut seen), None);
    assert_eq!(seen.accepted, 0);
    reactor.cx(&mut seen).listener(id).unwrap().limit(4);
    assert_eq!(come_to_rest(&mut reactor, &mut seen), None);
    assert_eq!((seen.accepted, seen.opened.len()), (4, 4));
    reactor.cx(&mut seen).listener(id).unwrap().limit(2);
    for open in [3, 2] {
        drop(clients.remove(0));
        until(&mut reactor, &mut seen, |cx| cx.listener(id).unwrap().open() == open);
        assert_eq!(come_to_rest(&mut reactor, &mut seen), None);
        assert_eq!(seen.accepted, 4);
    }
    drop(clients.remove(0));
    until(&mut reactor, &mut seen, |cx| cx.state.accepted == 5);
    reactor.cx(&mut seen).listener(id).unwrap().limit(usize::MAX);
    until(&mut reactor, &mut seen, |cx| cx.state.opened.len() == 6);
}

#[test]
fn the_limit_counts_connections_of_its_own_listener_only() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let ((one, to_one), (two, to_two)) = (listen(&mut reactor, &mut seen), listen(&mut reactor, &mut seen));
    reactor.cx(&mut seen).listener(one).unwrap().limit(1);
    let held = clients(to_one, 2);
    let free = clients(to_two, 5);
    until(&mut reactor, &mut seen, |cx| cx.state.accepted == 6);
    drop(free);
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 5);
    assert_eq!(come_to_rest(&mut reactor, &mut seen), None);
    assert_eq!(seen.accepted, 6);
    let mut cx = reactor.cx(&mut seen);
    assert_eq!((cx.listener(one).unwrap().open(), cx.listener(two).unwrap().open()), (1, 0));
    drop(held);
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 7); // the second had its turn as well
}

#[test]
fn a_closed_listener_keeps_its_connections_resets_who_waits_and_refuses_who_comes() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (id, addr) = listen(&mut reactor, &mut seen);
    reactor.cx(&mut seen).listener(id).unwrap().limit(1);
    let mut clients = clients(addr, 2);
    until(&mut reactor, &mut seen, |cx| cx.state.opened.len() == 1);
    reactor.cx(&mut seen).listener(id).unwrap().close();
    assert!(reactor.cx(&mut seen).listener(id).is_none());
    let (mut open, mut waiting) = (clients.remove(0), clients.remove(0));
    assert_eq!(waiting.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    is_served(&mut reactor, &mut seen, &mut open);
    // The port is free for a listener again although it has a connection.
    let again = reactor.cx(&mut seen).listen(addr, |_, _| Server).unwrap().id();
    assert_ne!(again, id);
    drop(open);
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 1);
    assert_eq!(reactor.cx(&mut seen).listener(again).unwrap().open(), 0, "it was not this one's");
    reactor.cx(&mut seen).listener(again).unwrap().close();
    assert!(!turn(&mut reactor, &mut seen).alive, "{}", reactor.alive());
}

#[test]
fn a_listener_closed_by_the_callback_that_accepts_still_gets_that_one_connection() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let own = std::rc::Rc::new(std::cell::Cell::new(None));
    let id = std::rc::Rc::clone(&own);
    let listener = cx
        .listen(([127, 0, 0, 1], 0), move |cx, _| {
            cx.state.accepted += 1;
            cx.listener(id.get().unwrap()).unwrap().close();
            Server
        })
        .unwrap()
        .id();
    own.set(Some(listener));
    let addr = cx.listener(listener).unwrap().local_addr().unwrap();
    let mut clients = clients(addr, 3);
    until(&mut reactor, &mut seen, |cx| cx.state.opened.len() == 1);
    assert_eq!(seen.accepted, 1);
    for waiting in &mut clients[1..] {
        assert_eq!(waiting.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
    drop(clients);
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 1);
    assert!(!turn(&mut reactor, &mut seen).alive, "{}", reactor.alive());
}

#[test]
fn listening_where_somebody_listens_already_says_where_and_what_to_try() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    let error = reactor.cx(&mut seen).listen(addr, |_, _| Server).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let message = error.to_string();
    assert!(message.starts_with(&format!("listening on {addr}: ")) && message.contains("port"), "{message}");
    assert!(reactor.alive().to_string().starts_with("alive: 1 listeners"), "{}", reactor.alive());
}
