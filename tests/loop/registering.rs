//! Registering with the kernel: duplicated descriptors, registering twice, registrations that fail.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use super::identity::{By, EndsTheOthers, Newcomer, World, end_the_others, slot_of};
use crate::common::child::in_child;
use crate::common::logged;
use crate::common::pair::{arrived, pair};
use crate::common::until::until;
use enjamb::mio::event::Source;
use enjamb::mio::unix::{SourceFd, pipe};
use enjamb::mio::{Events, Interest, Poll, Registry, Token};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor, Readiness, Step, Watch};

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
    if !in_child(a_failed_registration_of_a_regular_file_leaks_neither_slot_nor_machine_nor_descriptor, &[]) {
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
        an_accepted_or_connected_socket_that_cannot_be_registered_is_closed_and_its_machine_told_why,
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
