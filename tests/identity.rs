//! Who an event is for, traps 10 to 15: sources that left, slots used again, registrations that fail.
#![cfg(all(unix, feature = "sim"))]

#[path = "common/child.rs"]
mod child;
#[path = "common/log.rs"]
mod logged;
#[path = "common/pair.rs"]
mod pair;
#[path = "common/until.rs"]
mod until;

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use child::in_child;
use enjamb::mio::event::Source;
use enjamb::mio::unix::{SourceFd, pipe};
use enjamb::mio::{Events, Interest, Poll, Registry, Token};
use enjamb::sim::{Polling, Script, check};
use enjamb::{Conn, ConnId, Cx, End, Input, ListenerId, Protocol, Reactor, Readiness, Step, Watch, WatchId};
use pair::{arrived, pair};
use until::until;

#[derive(Default)]
struct World {
    conns: Vec<ConnId>,
    listener: Option<ListenerId>,
    watch: Option<WatchId>,
    calls: Vec<&'static str>,
    ends: Vec<End>,
    watches_over: usize,
}

/// How a machine that is called ends everybody else.
#[derive(Clone, Copy)]
enum By {
    Abort,
    Close,
}

fn end_the_others(cx: &mut Cx<'_, World>, by: By, own: Option<ConnId>) {
    for id in cx.state.conns.clone() {
        if Some(id) != own
            && let Some(mut conn) = cx.conn(id)
        {
            match by {
                By::Abort => conn.abort(io::Error::other("ended by another")),
                By::Close => conn.close(),
            }
        }
    }
}

struct EndsTheOthers(By);

impl Protocol<World> for EndsTheOthers {
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        conn.state().calls.push("received");
        let (own, cx) = (conn.id(), conn.cx());
        end_the_others(cx, self.0, Some(own));
        if let Some(id) = cx.state.listener.take() {
            cx.listener(id).unwrap().close();
        }
        if let Some(id) = cx.state.watch.take() {
            assert!(cx.unwatch(id));
        }
        Ok(())
    }
    fn ended(&mut self, conn: &mut Conn<'_, World>, _rest: &mut Input<'_>) -> io::Result<()> {
        conn.state().calls.push("ended");
        conn.close();
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
        cx.state.ends.push(end);
    }
}

impl Watch<pipe::Receiver, World> for EndsTheOthers {
    fn ready(
        &mut self,
        cx: &mut Cx<'_, World>,
        _source: &mut pipe::Receiver,
        _ready: Readiness,
    ) -> io::Result<Step> {
        cx.state.calls.push("ready");
        end_the_others(cx, self.0, None);
        if let Some(id) = cx.state.listener.take() {
            cx.listener(id).unwrap().close();
        }
        Ok(Step::Wait)
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, _source: pipe::Receiver, result: io::Result<()>) {
        result.unwrap();
        cx.state.watches_over += 1;
    }
}

/// Says something, and then is one that ends the others.
struct Greets(By);

impl Protocol<World> for Greets {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        let id = conn.id();
        conn.state().conns.push(id);
        conn.write(b"hello");
        conn.switch(EndsTheOthers(self.0));
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
        unreachable!("another has taken over")
    }
}

/// Three connections have input in the same batch, in an order that the seed draws; whoever is called first ends the
/// other two.
fn ends_the_others(by: By) {
    let server = ([10, 0, 0, 1], 80);
    check(0..30, |sim| {
        sim.polling(Polling { shuffled: true, ..Polling::default() });
        let mut reactor = sim.reactor().unwrap();
        let mut world = World::default();
        // A connection that has said something is not gone with its close: it waits for the peer's end.
        let client =
            Script::new().expect("hello").wait(Duration::from_millis(100)).say("to all of them").finish();
        let mut cx = reactor.cx(&mut world);
        cx.listen(server, move |_, _| Greets(by)).unwrap();
        for _ in 0..3 {
            cx.connect(server, client.clone());
        }
        reactor.run(&mut world).unwrap();
        assert_eq!(world.ends.len(), 3);
        assert_eq!(world.calls, ["received", "ended"]);
    });
}

#[test]
fn events_of_the_batch_at_hand_do_not_reach_connections_aborted_in_it() {
    ends_the_others(By::Abort);
}

#[test]
fn events_of_the_batch_at_hand_do_not_reach_connections_closed_in_it() {
    ends_the_others(By::Close);
}

#[test]
fn events_of_the_batch_at_hand_reach_neither_a_watch_nor_a_listener_ended_in_it() {
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let (near, mut far) = pair();
    let watching = near.try_clone().unwrap();
    let (mut sender, receiver) = pipe::new().unwrap();
    let mut cx = reactor.cx(&mut world);
    let conn = cx.adopt(near, EndsTheOthers(By::Abort)).unwrap().id();
    let watch = cx.watch(receiver, Interest::READABLE, EndsTheOthers(By::Abort)).unwrap();
    let listener = cx
        .listen(([127, 0, 0, 1], 0), |cx, _| {
            cx.state.calls.push("accepted");
            end_the_others(cx, By::Abort, None);
            if let Some(id) = cx.state.watch.take() {
                assert!(cx.unwatch(id));
            }
            EndsTheOthers(By::Abort)
        })
        .unwrap()
        .id();
    let addr = cx.listener(listener).unwrap().local_addr().unwrap();
    cx.state.conns.push(conn);
    (cx.state.watch, cx.state.listener) = (Some(watch), Some(listener));
    reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    far.write_all(b"x").unwrap();
    arrived(&watching, 1);
    sender.write_all(b"x").unwrap();
    let _client = TcpStream::connect(addr).unwrap();
    until(&mut reactor, &mut world, |cx| !cx.state.calls.is_empty());
    for _ in 0..10 {
        reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    }
    // Whoever came first was the only one.
    assert_eq!(world.calls.len(), 1, "{:?}", world.calls);
}

/// A watch that only says that it was called.
struct Newcomer;

impl Watch<pipe::Receiver, World> for Newcomer {
    fn ready(
        &mut self,
        cx: &mut Cx<'_, World>,
        source: &mut pipe::Receiver,
        _: Readiness,
    ) -> io::Result<Step> {
        cx.state.calls.push("newcomer ready");
        match source.read(&mut [0; 64]) {
            Ok(0) => Ok(Step::Done),
            Ok(_) => Ok(Step::Again),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Wait),
            Err(error) => Err(error),
        }
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, _source: pipe::Receiver, result: io::Result<()>) {
        result.unwrap();
        cx.state.watches_over += 1;
    }
}

fn slot_of(id: impl std::fmt::Display) -> String {
    id.to_string().split('.').next().unwrap().to_owned()
}

#[test]
fn the_newcomer_in_a_slot_used_again_within_a_batch_sees_nothing_of_the_old_tenants_events() {
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let mut cx = reactor.cx(&mut world);
    let listener = cx
        .listen(([127, 0, 0, 1], 0), |cx, _| {
            cx.state.calls.push("accepted");
            EndsTheOthers(By::Close)
        })
        .unwrap()
        .id();
    let addr = cx.listener(listener).unwrap().local_addr().unwrap();
    reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    let _client = TcpStream::connect(addr).unwrap();
    let (mut sender, receiver) = pipe::new().unwrap();
    // The call runs after the listener's event was noted and before anybody is driven.
    let handle = reactor.handle();
    handle
        .post(move |cx| {
            cx.listener(listener).unwrap().close();
            cx.state.watch = Some(cx.watch(receiver, Interest::READABLE, Newcomer).unwrap());
            assert_eq!(cx.state.watch.map(slot_of), Some(slot_of(listener)));
        })
        .unwrap();
    until(&mut reactor, &mut world, |cx| cx.state.watch.is_some());
    for _ in 0..10 {
        reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    }
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    sender.write_all(b"for the newcomer").unwrap();
    drop(sender);
    until(&mut reactor, &mut world, |cx| cx.state.watches_over == 1);
    assert!(world.calls.iter().all(|call| *call == "newcomer ready"));
}

/// Closes the listener, and puts a watch in its slot.
struct Replaces(Option<(ListenerId, pipe::Receiver)>);

impl Protocol<World> for Replaces {
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        let (listener, receiver) = self.0.take().expect("it is called once");
        let cx = conn.cx();
        cx.listener(listener).unwrap().close();
        cx.state.watch = Some(cx.watch(receiver, Interest::READABLE, Newcomer)?);
        assert_eq!(cx.state.watch.map(slot_of), Some(slot_of(listener)));
        Ok(())
    }
}

#[test]
fn a_slot_that_a_connections_callback_frees_and_fills_gets_no_event_still_in_the_batch() {
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let (near, mut far) = pair();
    let watching = near.try_clone().unwrap();
    let (_sender, receiver) = pipe::new().unwrap();
    let mut cx = reactor.cx(&mut world);
    let listener = cx
        .listen(([127, 0, 0, 1], 0), |cx, _| {
            cx.state.calls.push("accepted");
            EndsTheOthers(By::Close)
        })
        .unwrap()
        .id();
    let addr = cx.listener(listener).unwrap().local_addr().unwrap();
    cx.adopt(near, Replaces(Some((listener, receiver)))).unwrap();
    reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    far.write_all(b"now").unwrap();
    arrived(&watching, 3);
    let _client = TcpStream::connect(addr).unwrap(); // its event comes with the other one's, and behind it
    until(&mut reactor, &mut world, |cx| cx.state.watch.is_some());
    for _ in 0..10 {
        reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    }
    assert!(world.calls.is_empty(), "{:?}", world.calls);
}

#[test]
fn ids_of_those_who_left_find_nobody_in_a_slot_used_again() {
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let (near, _far) = pair();
    let mut cx = reactor.cx(&mut world);
    let conn = cx.adopt(near, EndsTheOthers(By::Close)).unwrap().id();
    cx.conn(conn).unwrap().close();
    until(&mut reactor, &mut world, |cx| cx.state.ends.len() == 1);
    let mut cx = reactor.cx(&mut world);
    let listener = cx.listen(([127, 0, 0, 1], 0), |_, _| EndsTheOthers(By::Close)).unwrap().id();
    assert_eq!(slot_of(listener), slot_of(conn));
    assert!(cx.conn(conn).is_none());
    cx.listener(listener).unwrap().close();
    let (_sender, receiver) = pipe::new().unwrap();
    let watch = cx.watch(receiver, Interest::READABLE, Newcomer).unwrap();
    assert_eq!(slot_of(watch), slot_of(listener));
    assert!(cx.listener(listener).is_none());
    assert!(cx.unwatch(watch));
    assert!(!cx.unwatch(watch), "it is over once");
    assert!(!cx.rouse(watch));
    until(&mut reactor, &mut world, |cx| cx.state.watches_over == 1);
    let (near, _far) = pair();
    let mut cx = reactor.cx(&mut world);
    let conn = cx.adopt(near, EndsTheOthers(By::Close)).unwrap().id();
    assert_eq!(slot_of(conn), slot_of(watch));
    assert!(!cx.unwatch(watch));
    assert!(!cx.rouse(watch));
    for _ in 0..3 {
        reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    }
    assert!(reactor.cx(&mut world).conn(conn).is_some());
    assert!(world.calls.is_empty());
}

#[test]
fn ten_thousand_tenants_of_one_slot_have_ten_thousand_names() {
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let mut names = HashSet::new();
    let (_sender, receiver) = pipe::new().unwrap();
    let mut receiver = Some(OwnedFd::from(receiver));
    for n in 1..=10_000 {
        let source = pipe::Receiver::from(receiver.take().unwrap());
        receiver = Some(source.as_fd().try_clone_to_owned().unwrap());
        let mut cx = reactor.cx(&mut world);
        let id = cx.watch(source, Interest::READABLE, Newcomer).unwrap();
        assert_eq!(slot_of(id), "0");
        assert!(names.insert(id));
        cx.unwatch(id);
        until(&mut reactor, &mut world, |cx| cx.state.watches_over == n);
    }
}

#[test]
fn the_wakers_token_is_taken_for_no_source() {
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let mut others = Vec::new();
    let mut cx = reactor.cx(&mut world);
    cx.listen(([127, 0, 0, 1], 0), |cx, _| {
        cx.state.calls.push("accepted");
        EndsTheOthers(By::Close)
    })
    .unwrap();
    for _ in 0..10 {
        let (near, far) = pair();
        cx.adopt(near, EndsTheOthers(By::Abort)).unwrap();
        let (sender, receiver) = pipe::new().unwrap();
        cx.watch(receiver, Interest::READABLE, Newcomer).unwrap();
        others.push((far, sender));
    }
    reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    let handle = reactor.handle();
    for n in 1..=10 {
        let handle = handle.clone();
        std::thread::spawn(move || handle.post(|cx| cx.state.watches_over += 1)).join().unwrap().unwrap();
        until(&mut reactor, &mut world, |cx| cx.state.watches_over == n);
    }
    assert!(world.calls.is_empty(), "{:?}", world.calls);
}

/// Whether the kernel has events for the reactor.
fn has_events(reactor: &Reactor<World>) -> bool {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1);
    let fd = reactor.as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    !events.is_empty()
}

#[test]
fn a_duplicate_of_an_adopted_socket_reports_nothing_after_the_close_and_cannot_make_the_loop_spin() {
    // Closing reads what had come, and throws it away.
    for (by, left) in [(By::Abort, 2), (By::Close, 1)] {
        let mut reactor = Reactor::new().unwrap();
        let mut world = World::default();
        let (near, mut far) = pair();
        let duplicate = near.try_clone().unwrap();
        let id = reactor.cx(&mut world).adopt(near, EndsTheOthers(by)).unwrap().id();
        reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
        far.write_all(b"1").unwrap();
        arrived(&duplicate, 1);
        assert!(has_events(&reactor), "this test can tell");
        world.conns.push(id);
        end_the_others(&mut reactor.cx(&mut world), by, None);
        until(&mut reactor, &mut world, |cx| cx.state.ends.len() == 1);
        assert!(!has_events(&reactor));
        far.write_all(b"2").unwrap();
        arrived(&duplicate, left);
        drop(far);
        assert!(!has_events(&reactor));
        assert!(world.calls.is_empty());
    }
}

#[test]
fn a_duplicate_of_a_watched_source_reports_nothing_after_the_watch() {
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let (mut sender, receiver) = pipe::new().unwrap();
    let duplicate = receiver.as_fd().try_clone_to_owned().unwrap();
    let id = reactor.cx(&mut world).watch(receiver, Interest::READABLE, Newcomer).unwrap();
    reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    sender.write_all(b"1").unwrap();
    assert!(has_events(&reactor), "this test can tell");
    reactor.cx(&mut world).unwatch(id);
    until(&mut reactor, &mut world, |cx| cx.state.watches_over == 1);
    sender.write_all(b"2").unwrap(); // a pipe takes it at once: it is there now
    assert!(!has_events(&reactor));
    drop(sender);
    assert!(!has_events(&reactor));
    drop(duplicate);
}

/// Somebody else's descriptor, by its number.
struct Lent(Rc<Cell<Option<OwnedFd>>>, RawFd);

impl Lent {
    fn new(fd: impl Into<OwnedFd>) -> Self {
        let fd = fd.into();
        let number = fd.as_raw_fd();
        Lent(Rc::new(Cell::new(Some(fd))), number)
    }
}

impl Source for Lent {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.1).register(registry, token, interests)
    }
    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.1).reregister(registry, token, interests)
    }
    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.1).deregister(registry)
    }
}

impl Watch<Lent, World> for Newcomer {
    fn ready(&mut self, cx: &mut Cx<'_, World>, _: &mut Lent, _: Readiness) -> io::Result<Step> {
        cx.state.calls.push("ready");
        Ok(Step::Wait)
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, _: Lent, result: io::Result<()>) {
        result.unwrap();
        cx.state.watches_over += 1;
    }
}

#[test]
fn registering_a_descriptor_twice_is_an_error_to_the_second_and_the_first_goes_on() {
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let (mut sender, receiver) = pipe::new().unwrap();
    let first = Lent::new(receiver);
    let second = Lent(Rc::clone(&first.0), first.1);
    let mut cx = reactor.cx(&mut world);
    cx.watch(first, Interest::READABLE, Newcomer).unwrap();
    let error = cx.watch(second, Interest::READABLE, Newcomer).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(cx.alive().to_string().contains("1 watched"));
    sender.write_all(b"x").unwrap();
    until(&mut reactor, &mut world, |cx| !cx.state.calls.is_empty());
    assert_eq!((world.calls, world.watches_over), (vec!["ready"], 0));
}

#[test]
fn deregistering_what_is_not_registered_any_more_is_logged_and_no_panic() {
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let (_sender, receiver) = pipe::new().unwrap();
    let source = Lent::new(receiver);
    let owner = Rc::clone(&source.0);
    let id = reactor.cx(&mut world).watch(source, Interest::READABLE, Newcomer).unwrap();
    drop(owner.take()); // closed behind the loop's back: the kernel has forgotten the registration
    reactor.cx(&mut world).unwatch(id);
    until(&mut reactor, &mut world, |cx| cx.state.watches_over == 1);
    let lines = logged::captured(log::Level::Debug);
    assert!(lines.iter().any(|line| line.contains("was not registered any more")), "{lines:?}");
    assert!(reactor.alive().to_string().contains("0 watched"));
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Counts how many of its kind are alive, by the `Rc`.
struct Counted(#[expect(dead_code, reason = "it is there to be dropped")] Rc<()>);

impl Protocol<World> for Counted {
    fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
        unreachable!("a file is no connection")
    }
    fn closed(self: Box<Self>, _: &mut Cx<'_, World>, _: End) {
        unreachable!("it never was one of the loop's")
    }
}

impl Watch<Lent, World> for Counted {
    fn ready(&mut self, _: &mut Cx<'_, World>, _: &mut Lent, _: Readiness) -> io::Result<Step> {
        unreachable!("a file cannot be polled")
    }
    fn closed(self: Box<Self>, _: &mut Cx<'_, World>, _: Lent, _: io::Result<()>) {
        unreachable!("it never was one of the loop's")
    }
}

#[test]
fn a_failed_registration_of_a_regular_file_leaks_neither_slot_nor_machine_nor_descriptor() {
    if !in_child("a_failed_registration_of_a_regular_file_leaks_neither_slot_nor_machine_nor_descriptor", &[])
    {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let alive = Rc::new(());
    let file = || OwnedFd::from(std::fs::File::open(std::env::current_exe().unwrap()).unwrap());
    let before = open_descriptors();
    for _ in 0..1000 {
        let mut cx = reactor.cx(&mut world);
        let error = cx.adopt(TcpStream::from(file()), Counted(Rc::clone(&alive))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        let machine = Counted(Rc::clone(&alive));
        let error = cx.watch(Lent::new(file()), Interest::READABLE, machine).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    }
    assert_eq!(Rc::strong_count(&alive), 1);
    assert_eq!(open_descriptors(), before);
    assert!(reactor.alive().to_string().contains("0 connections, 0 watched"), "{}", reactor.alive());
    reactor.turn(&mut world, Some(Duration::ZERO)).unwrap();
    assert!(!reactor.turn(&mut world, Some(Duration::ZERO)).unwrap().alive);
    // The slots are free: the next tenant gets the first of them.
    let (_sender, receiver) = pipe::new().unwrap();
    let id = reactor.cx(&mut world).watch(receiver, Interest::READABLE, Newcomer).unwrap();
    assert_eq!(slot_of(id), "0");
}

#[test]
fn an_accepted_or_connected_socket_that_cannot_be_registered_is_closed_and_its_machine_told_why() {
    // The waker is the first registration, the listener the second, the two ends come after it.
    let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=epoll_ctl:error=ENOSPC:when=3..4"];
    if !in_child(
        "an_accepted_or_connected_socket_that_cannot_be_registered_is_closed_and_its_machine_told_why",
        &inject,
    ) {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let mut world = World::default();
    let mut cx = reactor.cx(&mut world);
    let id = cx.listen(([127, 0, 0, 1], 0), |_, _| EndsTheOthers(By::Close)).unwrap().id();
    let addr = cx.listener(id).unwrap().local_addr().unwrap();
    let mut client = TcpStream::connect(addr).unwrap();
    until(&mut reactor, &mut world, |cx| cx.state.ends.len() == 1);
    assert!(world.calls.is_empty());
    assert_eq!(world.ends.pop().unwrap().result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let mut cx = reactor.cx(&mut world);
    assert_eq!(cx.listener(id).unwrap().open(), 0);
    cx.connect(addr, EndsTheOthers(By::Close));
    until(&mut reactor, &mut world, |cx| !cx.state.ends.is_empty());
    let error = world.ends.pop().unwrap().result.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().starts_with(&format!("connecting to {addr}: ")), "{error}");
}
