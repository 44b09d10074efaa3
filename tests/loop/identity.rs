//! Which source an event belongs to: sources that left, and slots that are used again.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::common::pair::{arrived, pair};
use crate::common::until::until;
use enjamb::mio::Interest;
use enjamb::mio::unix::pipe;
use enjamb::sim::{Polling, Script, check};
use enjamb::{Conn, ConnId, Cx, End, Input, ListenerId, Protocol, Reactor, Readiness, Step, Watch, WatchId};

#[derive(Default)]
pub struct World {
    pub conns: Vec<ConnId>,
    pub listener: Option<ListenerId>,
    pub watch: Option<WatchId>,
    pub calls: Vec<&'static str>,
    pub ends: Vec<End>,
    pub watches_over: usize,
}

/// How a machine that is called ends everybody else.
#[derive(Clone, Copy)]
pub enum By {
    Abort,
    Close,
}

pub fn end_the_others(cx: &mut Cx<'_, World>, by: By, own: Option<ConnId>) {
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

pub struct EndsTheOthers(pub By);

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
pub struct Newcomer;

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

pub fn slot_of(id: impl std::fmt::Display) -> String {
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
