//! Panics outside a connection's callback: in a `Drop`, in the last `closed` of a shutdown, in the closure that makes
//! the machines of a listener. `panics.rs` has those in a callback.

use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::common::machine::{Machine, Seen};
use crate::common::pair::{arrived, pair};
use crate::common::places::ANY_PORT;
use crate::common::times::{HANGS, NEVER, NOW};
use crate::common::until::until;
use enjamb::pool::{self, Pool};
use enjamb::{Conn, Input, PostError, Reactor};

/// Panics when it is dropped, but not while another panic unwinds: that would end the process.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "in a Drop");
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bomb")
    }
}

impl std::error::Error for Bomb {}

/// A machine that has something to drop.
fn holding(held: impl Sized + 'static) -> Machine {
    let drained = move |_: &mut Conn<'_, Seen>| {
        let _ = &held;
        Ok(())
    };
    Machine { drained: Box::new(drained), ..Machine::default() }
}

/// A machine that panics when it is dropped.
fn armed() -> Machine {
    holding(Bomb)
}

fn panics<T>(what: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(what)).is_err()
}

/// Turns until something panics.
#[track_caller]
fn turn_until_it_panics(reactor: &mut Reactor<Seen>, seen: &mut Seen) {
    let start = Instant::now();
    while !panics(|| reactor.turn(seen, Some(Duration::from_millis(1))).unwrap()) {
        assert!(start.elapsed() < HANGS, "nothing panics");
    }
}

type Received = fn(&mut Conn<'_, Seen>, &mut Input<'_>) -> io::Result<()>;

/// Callbacks that return, after which a `Drop` panics.
const DROPS: [(&str, Received); 3] = [
    ("the machine that was switched away", |conn, _| {
        conn.write(b"alice's secret");
        conn.switch(Machine::default());
        Ok(())
    }),
    ("an error that comes too late", |conn, _| {
        conn.write(b"alice's secret");
        conn.abort(ErrorKind::Other.into());
        Err(io::Error::other(Bomb))
    }),
    ("a timer that is cancelled", |conn, _| {
        conn.write(b"alice's secret");
        let bomb = Bomb;
        let timer = conn.cx().after(NEVER, move |_| drop(bomb));
        conn.cx().cancel(timer);
        Ok(())
    }),
];

fn dropping(received: Received) -> Machine {
    Machine { received: Box::new(received), ..armed() }
}

#[test]
fn what_one_connection_wrote_before_a_drop_panics_is_never_sent_on_another() {
    for (name, received) in DROPS {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let (alice, mut alices_peer) = pair();
        let (bob, mut bobs_peer) = pair();
        reactor.cx(&mut seen).adopt(alice, dropping(received)).unwrap();
        let echo = Machine {
            received: Box::new(|conn, input| {
                conn.write(input.take_all());
                conn.close();
                Ok(())
            }),
            ..Machine::default()
        };
        reactor.cx(&mut seen).adopt(bob, echo).unwrap();
        alices_peer.write_all(b"x").unwrap();
        turn_until_it_panics(&mut reactor, &mut seen);
        bobs_peer.write_all(b"bob's own").unwrap();
        bobs_peer.shutdown(std::net::Shutdown::Write).unwrap();
        until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 1);
        let mut heard = String::new();
        bobs_peer.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "bob's own", "{name}");
        // Alice's connection is cut off for her peer to see.
        let error = alices_peer.read(&mut [0]).expect_err("no orderly end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{name}");
    }
}

/// Ten connections that are all sent a byte, of which the fifth has this machine.
fn ten_ready(reactor: &mut Reactor<Seen>, seen: &mut Seen, mut fifth: Option<Machine>) -> Vec<TcpStream> {
    let mut ends = Vec::new();
    for n in 0..10 {
        let (ours, theirs) = pair();
        ends.push((ours.try_clone().unwrap(), theirs));
        let machine = fifth.take_if(|_| n == 5).unwrap_or_default();
        reactor.cx(seen).adopt(ours, machine).unwrap();
    }
    // All are open, and their first events, which say that they are writable, have come and gone.
    for _ in 0..10 {
        reactor.turn(seen, NOW).unwrap();
    }
    for (ours, theirs) in &mut ends {
        theirs.write_all(b"x").unwrap();
        arrived(ours, 1);
    }
    ends.into_iter().map(|(_, theirs)| theirs).collect()
}

#[test]
fn what_was_ready_in_the_same_batch_as_one_whose_drop_panics_is_not_lost() {
    for (name, received) in DROPS {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let _peers = ten_ready(&mut reactor, &mut seen, Some(dropping(received)));
        assert!(panics(|| reactor.turn(&mut seen, NOW)), "{name}: all have come, the fifth too");
        assert!(seen.bytes.len() < 9, "it was the last of the batch: nothing could be lost");
        until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 9);
    }
}

#[test]
fn what_was_ready_is_not_lost_either_where_cleaning_up_after_a_panic_panics_itself() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let fifth = Machine {
        received: Box::new(|conn, _| {
            conn.switch(armed());
            panic!("in received, switched");
        }),
        ..Machine::default()
    };
    let _peers = ten_ready(&mut reactor, &mut seen, Some(fifth));
    assert!(panics(|| reactor.turn(&mut seen, NOW)), "in received");
    assert!(panics(|| reactor.turn(&mut seen, NOW)), "in the Drop of the machine that was to take over");
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 9);
}

#[test]
fn all_others_are_told_of_their_end_when_a_machine_panics_in_its_drop() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut peers = Vec::new();
    for n in 0..10 {
        let (ours, theirs) = pair();
        let machine = if n == 5 { armed() } else { Machine::default() };
        let id = reactor.cx(&mut seen).adopt(ours, machine).unwrap().id();
        reactor.cx(&mut seen).conn(id).unwrap().abort(ErrorKind::Other.into());
        peers.push(theirs);
    }
    assert!(panics(|| reactor.turn(&mut seen, NOW)));
    assert!(seen.ends.len() < 10, "the fifth was the last: nothing could be lost");
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 10);
    assert!(!reactor.turn(&mut seen, NOW).unwrap().alive, "{}", reactor.alive());
}

#[test]
fn a_machine_that_takes_over_from_outside_is_offered_the_input_also_if_the_old_one_panics_in_its_drop() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (ours, mut peer) = pair();
    let leaves = Machine {
        received: Box::new(|conn, _| {
            conn.state().notes.push("came".into());
            Ok(())
        }),
        ..armed()
    };
    let id = reactor.cx(&mut seen).adopt(ours, leaves).unwrap().id();
    peer.write_all(b"left over").unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    let switch = |cx: &mut enjamb::Cx<'_, Seen>| cx.conn(id).unwrap().switch(Machine::default());
    assert!(panics(|| switch(&mut reactor.cx(&mut seen))));
    until(&mut reactor, &mut seen, |cx| cx.state.bytes == b"left over");
}

#[test]
fn a_socket_that_could_not_be_adopted_does_not_hold_up_a_shutdown_if_its_machine_panics_in_its_drop() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let no_socket = TcpStream::from(std::os::fd::OwnedFd::from(file));
    assert!(panics(|| reactor.cx(&mut seen).adopt(no_socket, armed()).map(drop)));
    reactor.cx(&mut seen).shutdown(NEVER);
    assert!(!reactor.turn(&mut seen, NOW).unwrap().alive, "{}", reactor.alive());
}

#[test]
fn a_shutdown_closes_all_also_if_what_a_listener_has_captured_panics_in_its_drop() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    for n in 0..3 {
        let bomb = (n == 1).then(|| Bomb);
        cx.listen(ANY_PORT, move |_, _| {
            let _ = &bomb;
            Machine::default()
        })
        .unwrap();
    }
    let (ours, _peer) = pair();
    cx.adopt(ours, Machine::default()).unwrap();
    assert!(panics(|| reactor.cx(&mut seen).shutdown(NEVER)));
    let alive = reactor.alive().to_string();
    assert!(alive.starts_with("alive: 0 listeners"), "{alive}");
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 1); // it was told to close
    assert!(!reactor.turn(&mut seen, NOW).unwrap().alive, "{}", reactor.alive());
}

#[test]
fn a_reactor_in_which_drops_panic_drops_all_the_rest_and_refuses_what_is_posted() {
    let kept = Rc::new(());
    for in_a_call in [false, true] {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let handle = reactor.handle();
        let mut peers = Vec::new();
        for n in 0..3 {
            let (ours, theirs) = pair();
            let machine = if n == 1 && !in_a_call { armed() } else { holding(Rc::clone(&kept)) };
            reactor.cx(&mut seen).adopt(ours, machine).unwrap();
            peers.push(theirs);
        }
        let held = Rc::clone(&kept);
        reactor.cx(&mut seen).after(NEVER, move |_| drop(held));
        if in_a_call {
            let bomb = Bomb;
            handle.post(move |_| drop(bomb)).unwrap();
        }
        assert!(panics(move || drop(reactor)));
        assert!(matches!(handle.post(|_| ()), Err(PostError::Gone(_))));
        assert_eq!(Rc::strong_count(&kept), 1, "something is still held");
        for mut peer in peers {
            assert_eq!(peer.read(&mut [0]).unwrap(), 0, "its descriptor is still open");
        }
    }
}

#[test]
fn a_reactor_refuses_what_is_posted_also_if_a_machine_that_its_pool_still_had_to_tell_panics_in_its_drop() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let id = Rc::new(Cell::new(None));
    let noting = Rc::clone(&id);
    let opened = move |conn: &mut Conn<'_, Seen>| {
        noting.set(Some(conn.id()));
        Ok(())
    };
    let pool = Pool::new(pool::Config::default()).unwrap();
    let key = listener.local_addr().unwrap().into();
    pool.acquire(&mut reactor.cx(&mut seen), &key, Machine { opened: Box::new(opened), ..armed() });
    until(&mut reactor, &mut seen, |_| id.get().is_some());
    // It is taken away from the pool, which has its first machine told of that in the next turn.
    reactor.cx(&mut seen).conn(id.get().unwrap()).unwrap().switch(Machine::default());
    let handle = reactor.handle();
    assert!(panics(move || drop(reactor)));
    assert!(matches!(handle.post(|_| ()), Err(PostError::Gone(_))));
}

#[test]
fn a_listener_is_closed_with_the_closure_that_panicked_and_what_it_had_accepted_stays() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut count = 0;
    let mut listener = cx
        .listen(ANY_PORT, move |_, _| {
            count += 1;
            assert!(count < 2, "the second");
            Machine::default()
        })
        .unwrap();
    let (id, addr) = (listener.id(), listener.local_addr().unwrap());
    let mut first = TcpStream::connect(addr).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.listener(id).unwrap().open() == 1);
    let mut second = TcpStream::connect(addr).unwrap();
    turn_until_it_panics(&mut reactor, &mut seen);
    first.write_all(b"still heard").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes == b"still heard");
    assert!(reactor.cx(&mut seen).listener(id).is_none());
    assert_eq!(second.read(&mut [0]).unwrap(), 0);
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// A loop whose shutdown has ended with a panic, and which would go on for a handle but for the shutdown. The panic comes
/// from the last connection, or from one that its `closed` has opened too late.
fn shut_down_with_a_panic(too_late: bool) -> (Reactor<Seen>, Seen, enjamb::Handle<Seen>) {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (ours, _peer) = pair();
    let panics_in_closed =
        || Machine { closed: Box::new(|_, _| panic!("in the last closed")), ..Machine::default() };
    let connects = Machine {
        closed: Box::new(move |cx, _| _ = cx.connect(([127, 0, 0, 1], 9), panics_in_closed())),
        ..Machine::default()
    };
    let mut cx = reactor.cx(&mut seen);
    cx.adopt(ours, if too_late { connects } else { panics_in_closed() }).unwrap();
    cx.shutdown(Duration::ZERO);
    let handle = reactor.handle();
    assert!(panics(|| reactor.run(&mut seen)));
    (reactor, seen, handle)
}

#[test]
fn after_a_shutdown_whose_last_closed_panicked_the_loop_takes_new_work_at_once() {
    for too_late in [false, true] {
        let (mut reactor, mut seen, _handle) = shut_down_with_a_panic(too_late);
        let mut cx = reactor.cx(&mut seen);
        let addr = cx.listen(ANY_PORT, |_, _| Machine::default()).unwrap().local_addr().unwrap();
        let mut peer = TcpStream::connect(addr).unwrap();
        peer.write_all(b"as new").unwrap();
        until(&mut reactor, &mut seen, |cx| cx.state.bytes == b"as new");
    }
}

#[test]
fn run_again_after_a_shutdown_whose_last_closed_panicked_returns_at_once() {
    for too_late in [false, true] {
        let (mut reactor, mut seen, _handle) = shut_down_with_a_panic(too_late);
        reactor.handle().post(|_| panic!("it goes on")).unwrap();
        reactor.run(&mut seen).unwrap();
    }
}
