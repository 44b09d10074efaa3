//! `stop` and `shutdown`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::sources::{listen, run_elsewhere};
use crate::common::machine::{Machine, Seen, opened};
use crate::common::pair::sized_pair;
use crate::common::places::ANY_PORT;
use crate::common::times::{NEVER, NOW};
use crate::common::until::until;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};

#[test]
fn a_loop_that_was_stopped_can_be_run_again_and_has_lost_nothing() {
    let seen = run_elsewhere(|| {
        let (ours, mut peer) = sized_pair(None);
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let machine = Machine {
            received: Box::new(|conn, input| {
                conn.state().bytes.extend(input.take_all());
                conn.cx().stop();
                Ok(())
            }),
            ..Machine::default()
        };
        reactor.cx(&mut seen).adopt(ours, machine).unwrap();
        for n in 1..=3 {
            peer.write_all(b"x").unwrap();
            reactor.run(&mut seen).unwrap();
            assert_eq!((seen.bytes.len(), seen.ends.len()), (n, 0));
        }
        drop(peer);
        reactor.run(&mut seen).unwrap();
        (seen.bytes, seen.ends.len())
    });
    assert_eq!(seen, (b"xxx".to_vec(), 1));
}

#[test]
fn shutdown_closes_listeners_sends_what_is_owed_and_cuts_who_does_not_take_it() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let addr = listen(&mut reactor.cx(&mut seen), |_| Machine::default());
    let owing = || {
        opened(|conn| {
            conn.write(&vec![b'x'; 1 << 20]);
            Ok(())
        })
    };
    let (good, mut good_peer) = sized_pair(Some(4096));
    let (bad, bad_peer) = sized_pair(Some(4096));
    let mut cx = reactor.cx(&mut seen);
    cx.adopt(good, owing()).unwrap();
    cx.adopt(bad, owing()).unwrap();
    cx.after(NEVER, |_| panic!("timers no longer count"));
    let _handle = reactor.handle();
    reactor.turn(&mut seen, NOW).unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        good_peer.read_to_end(&mut bytes).map(|_| bytes.len())
    });
    reactor.cx(&mut seen).shutdown(NEVER);
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 1);
    assert_eq!(reader.join().unwrap().unwrap(), 1 << 20);
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert_eq!(
        TcpStream::connect(addr).map(drop).map_err(|error| error.kind()),
        Err(ErrorKind::ConnectionRefused)
    );

    // Called again, it sets the time anew; a new connection is told that it comes too late.
    let mut cx = reactor.cx(&mut seen);
    cx.connect(addr, Machine::default());
    cx.shutdown(Duration::from_millis(10));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.ends.len(), 3);
    let error = |n: usize| seen.ends[n].result.as_ref().expect_err("it was cut").to_string();
    assert!(error(1).contains("shutting down"), "{}", error(1));
    assert!(error(2).contains(&bad_peer.local_addr().unwrap().to_string()), "{}", error(2));
    assert!(seen.ends[2].unsent > 0, "{}", seen.ends[2]);

    // After that, the loop is as good as new.
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let again = opened(|conn| {
        conn.cx().stop();
        Ok(())
    });
    reactor.cx(&mut seen).connect(listener.local_addr().unwrap(), again);
    reactor.run(&mut seen).unwrap();
}

#[test]
fn shutdown_from_within_accepted_ends_the_newcomer_too() {
    let ends = run_elsewhere(|| {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let addr = listen(&mut reactor.cx(&mut seen), |cx| {
            cx.shutdown(Duration::from_millis(10));
            Machine::default()
        });
        let _peer = TcpStream::connect(addr).unwrap();
        reactor.run(&mut seen).unwrap();
        seen.ends.len()
    });
    assert_eq!(ends, 1);
}

#[test]
fn a_socket_adopted_while_the_loop_shuts_down_does_not_keep_it() {
    let (ours, _peer) = sized_pair(None);
    let (late, _late_peer) = sized_pair(None);
    let ends = run_elsewhere(move || {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let machine = Machine {
            closed: Box::new(move |cx, _| drop(cx.adopt(late, Machine::default()))),
            ..Machine::default()
        };
        let mut cx = reactor.cx(&mut seen);
        cx.adopt(ours, machine).unwrap();
        cx.shutdown(Duration::from_millis(10));
        reactor.run(&mut seen).unwrap();
        seen.ends.len()
    });
    assert!(ends >= 1);
}

#[test]
fn listening_while_the_loop_shuts_down_is_refused() {
    let (ours, _peer) = sized_pair(Some(4096));
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(&vec![b'x'; 1 << 20]);
        conn.cx().shutdown(Duration::from_millis(20));
        let error = conn.cx().listen(ANY_PORT, |_, _| Machine::default()).expect_err("it would be left over");
        conn.state().notes.push(error.to_string());
        Ok(())
    });
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    reactor.run(&mut seen).unwrap();
    assert!(seen.notes.len() == 1 && seen.notes[0].contains("shutting down"), "{:?}", seen.notes);
    assert!(reactor.alive().to_string().starts_with("alive: 0 listeners"), "{}", reactor.alive());
}

#[test]
fn a_client_that_reconnects_when_it_is_closed_cannot_hold_up_a_shutdown() {
    struct Stubborn(SocketAddr);
    impl Protocol<usize> for Stubborn {
        fn received(&mut self, _: &mut Conn<'_, usize>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
        fn closed(self: Box<Self>, cx: &mut Cx<'_, usize>, _: End) {
            *cx.state += 1;
            let addr = self.0;
            cx.connect(addr, *self);
        }
    }
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let addr = listener.local_addr().unwrap();
    let count = run_elsewhere(move || {
        let mut reactor = Reactor::new().unwrap();
        let mut count = 0;
        let mut cx = reactor.cx(&mut count);
        cx.connect(addr, Stubborn(addr));
        cx.after(Duration::from_millis(5), |cx| cx.shutdown(Duration::from_millis(5)));
        reactor.run(&mut count).unwrap();
        count
    });
    assert_eq!(count, 2, "the one that comes too late is told so, and that is all");
    drop(listener);
}
