//! The pool on real sockets: its system calls and its descriptors.

use super::bench::{Ask, Server, World, limit};
use crate::common::child;
use crate::common::until::until;
use enjamb::mio::unix::SourceFd;
use enjamb::mio::{Events, Interest, Poll, Token};
use enjamb::pool::{Error, Key, Phase, Pool, Reason, Reuse};
use enjamb::{Cx, Reactor};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

const LOCALHOST: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A reactor, a pool of it, and a server outside of it that does as the test says.
struct Outside {
    reactor: Reactor<World>,
    world: World,
    pool: Pool<World>,
    listener: TcpListener,
}

impl Outside {
    fn new() -> Self {
        Outside {
            reactor: Reactor::new().unwrap(),
            world: World::default(),
            pool: Pool::new(limit(1)).unwrap(),
            listener: TcpListener::bind(LOCALHOST).unwrap(),
        }
    }

    fn cx(&mut self) -> Cx<'_, World> {
        self.reactor.cx(&mut self.world)
    }

    fn ask(&mut self, name: &'static str) {
        let key = Key::new(self.listener.local_addr().unwrap());
        let pool = self.pool.clone();
        pool.acquire(&mut self.cx(), &key, Ask::new(name, "ok"));
    }

    /// Takes part in a whole exchange as the server, over a new connection.
    fn serve(&mut self, name: &'static str) -> TcpStream {
        let opened = format!("{name} opened");
        until(&mut self.reactor, &mut self.world, |cx| cx.state.has(&opened));
        let mut stream = self.listener.accept().unwrap().0;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert_eq!(line, format!("ok {name}\n"));
        stream.write_all(b"ok\n").unwrap();
        let ok = format!("{name} ok");
        until(&mut self.reactor, &mut self.world, |cx| cx.state.has(&ok));
        stream
    }

    /// Waits until the kernel has something for the loop, and leaves it there.
    fn wait_for_the_kernel(&self) {
        let mut poll = Poll::new().unwrap();
        let fd = self.reactor.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
        assert!(!events.is_empty(), "nothing comes");
    }
}

#[test]
fn an_idle_connection_that_the_server_has_closed_is_not_handed_out() {
    let mut outside = Outside::new();
    outside.ask("a");
    drop(outside.serve("a"));
    outside.wait_for_the_kernel(); // the end is there, and the loop has not heard of it
    outside.ask("b");
    outside.serve("b");
    let stats = outside.pool.snapshot().stats;
    assert_eq!((stats.closed(Reason::Ended), stats.reused), (1, 0), "the socket was asked");
}

#[test]
fn an_idle_connection_on_which_something_was_said_is_not_handed_out() {
    let mut outside = Outside::new();
    outside.ask("a");
    let mut first = outside.serve("a");
    first.write_all(b"what nobody asked for").unwrap();
    outside.wait_for_the_kernel();
    outside.ask("b");
    outside.serve("b");
    let stats = outside.pool.snapshot().stats;
    assert_eq!((stats.closed(Reason::Unexpected), stats.reused), (1, 0), "the socket was asked");
}

#[test]
fn a_connection_that_the_server_has_closed_is_not_handed_on() {
    let mut outside = Outside::new();
    let key = Key::new(outside.listener.local_addr().unwrap());
    let held = Rc::new(Cell::new(None));
    let to = Rc::clone(&held);
    let pool = outside.pool.clone();
    pool.acquire_lease(&mut outside.cx(), &key, move |_, lease| to.set(lease.ok()));
    let mut lease = None;
    until(&mut outside.reactor, &mut outside.world, |_| {
        lease = held.take();
        lease.is_some()
    });
    outside.ask("b"); // waits
    drop(outside.listener.accept().unwrap());
    outside.wait_for_the_kernel();
    lease.unwrap().release(&mut outside.cx(), Reuse::Reusable);
    outside.serve("b");
    let stats = outside.pool.snapshot().stats;
    assert_eq!((stats.closed(Reason::Ended), stats.reused), (1, 0), "the socket was asked");
}

#[test]
fn who_is_handed_a_connection_that_dies_before_it_is_used_gets_the_next_before_all_others() {
    for noise in [&b""[..], b"what nobody asked for"] {
        let mut outside = Outside::new();
        outside.ask("a");
        let mut first = outside.serve("a");
        outside.ask("b"); // has it, and is called in the next turn
        outside.ask("c");
        first.write_all(noise).unwrap();
        drop(first);
        outside.wait_for_the_kernel();
        let mut second = outside.serve("b");
        until(&mut outside.reactor, &mut outside.world, |cx| cx.state.has("c opened"));
        second.write_all(b"ok\n").unwrap();
        until(&mut outside.reactor, &mut outside.world, |cx| cx.state.has("c ok"));
        let stats = outside.pool.snapshot().stats;
        let reason = if noise.is_empty() { Reason::Ended } else { Reason::Unexpected };
        assert_eq!((stats.opened, stats.closed(reason), stats.reused), (2, 1, 1));
    }
}

#[test]
fn an_end_while_idle_closes_the_descriptor_at_once() {
    let mut outside = Outside::new();
    outside.ask("a");
    drop(outside.serve("a"));
    let pool = outside.pool.clone();
    until(&mut outside.reactor, &mut outside.world, |_| pool.snapshot().total.open() == 0);
    assert_eq!(outside.pool.snapshot().stats.closed(Reason::Ended), 1);
}

/// A server in the loop itself.
fn serve(cx: &mut Cx<'_, World>) -> SocketAddr {
    cx.listen(LOCALHOST, |_, _| Server).unwrap().local_addr().unwrap()
}

#[test]
fn ten_thousand_queries_at_a_limit_of_ten_open_exactly_ten_sockets() {
    let (mut reactor, mut world) = (Reactor::new().unwrap(), World::default());
    let mut cx = reactor.cx(&mut world);
    let key = Key::new(serve(&mut cx));
    let pool = Pool::new(limit(10)).unwrap();
    for _ in 0..10_000 {
        pool.acquire(&mut cx, &key, Ask::new("q", "ok"));
    }
    until(&mut reactor, &mut world, |cx| cx.state.results().len() == 10_000);
    assert!(world.results().iter().all(|result| *result == "q ok"));
    assert_eq!((pool.snapshot().stats.opened, world.accepted), (10, 10));
}

#[test]
fn a_pool_that_was_drained_has_no_descriptor_left() {
    if !child::in_child(a_pool_that_was_drained_has_no_descriptor_left, &[]) {
        return;
    }
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (mut reactor, mut world) = (Reactor::new().unwrap(), World::default());
    let mut cx = reactor.cx(&mut world);
    let key = Key::new(serve(&mut cx));
    let before = open();
    let pool = Pool::new(limit(10)).unwrap();
    for _ in 0..100 {
        pool.acquire(&mut cx, &key, Ask::new("q", "ok"));
    }
    until(&mut reactor, &mut world, |cx| cx.state.results().len() == 100);
    assert!(open() >= before + 10, "ten connections, both ends of which are in this process");
    pool.drain(&mut reactor.cx(&mut world), Duration::from_secs(60));
    until(&mut reactor, &mut world, |_| pool.snapshot().total.open() == 0);
    until(&mut reactor, &mut world, |_| open() == before);
}

#[test]
fn a_unix_socket_is_pooled_by_its_path() {
    let path = std::env::temp_dir().join(format!("enjamb-pool-{}.sock", std::process::id()));
    let (mut reactor, mut world) = (Reactor::new().unwrap(), World::default());
    let mut cx = reactor.cx(&mut world);
    cx.listen_unix(&path, |_| Server).unwrap();
    let pool = Pool::new(limit(2)).unwrap();
    let key = Key::new(path.as_path());
    for _ in 0..100 {
        pool.acquire(&mut cx, &key, Ask::new("q", "ok"));
    }
    until(&mut reactor, &mut world, |cx| cx.state.results().len() == 100);
    assert_eq!((pool.snapshot().stats.opened, world.accepted), (2, 2));
    // One whose server has closed it is not handed out here either.
    pool.acquire(&mut reactor.cx(&mut world), &key, Ask::new("last", "last"));
    until(&mut reactor, &mut world, |cx| cx.state.has("last ok"));
    until(&mut reactor, &mut world, |_| pool.snapshot().stats.closed(Reason::Ended) == 1);
    std::fs::remove_file(&path).ok();
}

#[test]
fn a_name_is_looked_up_and_pooled_by_its_name() {
    let (mut reactor, mut world) = (Reactor::new().unwrap(), World::default());
    reactor.set_resolver(|host, port| {
        assert_eq!(host, "directory");
        Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))])
    });
    let mut cx = reactor.cx(&mut world);
    let key = Key::new(("directory", serve(&mut cx).port()));
    let pool = Pool::new(limit(1)).unwrap();
    for name in ["a", "b"] {
        pool.acquire(&mut cx, &key, Ask::new(name, "ok"));
    }
    until(&mut reactor, &mut world, |cx| cx.state.has("b ok"));
    assert_eq!((world.results(), pool.snapshot().stats.opened), (vec!["a ok", "b ok"], 1));
}

#[test]
fn a_path_at_which_nobody_listens_is_told_with_the_path() {
    let (mut reactor, mut world) = (Reactor::new().unwrap(), World::default());
    let pool = Pool::new(limit(2)).unwrap();
    let key = Key::new(std::path::Path::new("/nowhere/pool.sock"));
    pool.acquire(&mut reactor.cx(&mut world), &key, Ask::new("a", "ok"));
    until(&mut reactor, &mut world, |cx| cx.state.has("a failed"));
    let error = world.last_error();
    assert!(
        matches!(error, Error::Connect { phase: Phase::Connect, tried, .. } if tried.is_empty()),
        "{error:?}"
    );
    assert!(error.to_string().contains("/nowhere/pool.sock"), "{error}");
}
