//! A reset ends a paused connection, unless input from before the reset is still to be read.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::common::child;
use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::times::NOW;
use crate::common::until::until;
use enjamb::sim::Solo;
use enjamb::{ConnId, Reactor, Socket};
use nix::poll::{PollFd, PollFlags, poll};

struct Paused<P> {
    reactor: Reactor<Seen>,
    seen: Seen,
    id: ConnId,
    peer: P,
    /// A duplicate of our own end.
    watching: P,
}

impl<P: AsFd> Paused<P> {
    /// A connection that was paused when it opened.
    fn new(ours: impl Into<Socket>, watching: P, peer: P, machine: Machine) -> Self {
        let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
        let id = reactor.cx(&mut seen).adopt(ours, machine).unwrap().id();
        reactor.turn(&mut seen, NOW).unwrap();
        Paused { reactor, seen, id, peer, watching }
    }

    /// Waits until the kernel tells this of our end. POLLERR is told unasked, and telling does not take the error away.
    fn await_event(&self, events: PollFlags) {
        assert_eq!(poll(&mut [PollFd::new(self.watching.as_fd(), events)], 60_000u16), Ok(1));
    }

    /// Turns as often as there is something to do, and sees that this comes to an end.
    fn settle(&mut self) {
        for _ in 0..10 {
            if self.reactor.turn(&mut self.seen, NOW).unwrap().next.is_none() {
                return;
            }
        }
        panic!("it spins");
    }

    fn resume(&mut self) {
        self.reactor.cx(&mut self.seen).conn(self.id).expect("it is open").resume();
        until(&mut self.reactor, &mut self.seen, |cx| !cx.state.ends.is_empty());
    }

    /// How it has ended.
    fn error(&self) -> Option<ErrorKind> {
        self.seen.ends.first().expect("it has ended").result.as_ref().err().map(|error| error.kind())
    }
}

fn pauses() -> Machine {
    Machine {
        opened: Box::new(|conn| {
            conn.pause();
            Ok(())
        }),
        ended: Box::new(|conn, _| {
            conn.state().notes.push("ended".into());
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    }
}

fn paused(machine: Machine) -> Paused<TcpStream> {
    let (ours, peer) = sized_pair(None);
    Paused::new(ours.try_clone().unwrap(), ours, peer, machine)
}

/// Has the peer reset the connection, and waits until that has come here.
fn reset(paused: Paused<TcpStream>) -> Paused<TcpStream> {
    let Paused { reactor, seen, id, peer, watching } = paused;
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let paused = Paused { reactor, seen, id, peer: watching.try_clone().unwrap(), watching };
    paused.await_event(PollFlags::empty());
    paused
}

#[test]
fn a_reset_ends_a_paused_connection_within_the_turn() {
    let mut paused = reset(paused(pauses()));
    paused.reactor.turn(&mut paused.seen, NOW).unwrap();
    assert_eq!(paused.error(), Some(ErrorKind::ConnectionReset));
}

#[test]
fn a_reset_ends_a_paused_connection_whose_peer_had_finished() {
    let mut paused = paused(pauses());
    paused.peer.shutdown(Shutdown::Write).unwrap();
    paused.await_event(PollFlags::POLLIN);
    paused.settle();
    assert!(paused.seen.ends.is_empty(), "a peer that has finished may still be written to");
    let mut paused = reset(paused);
    paused.reactor.turn(&mut paused.seen, NOW).unwrap();
    assert_eq!(paused.error(), Some(ErrorKind::BrokenPipe)); // as Linux tells it in the state CLOSE-WAIT
}

#[test]
fn the_peers_end_leaves_a_paused_connection_open_and_is_told_when_it_is_resumed() {
    let mut paused = paused(pauses());
    paused.peer.shutdown(Shutdown::Write).unwrap();
    paused.await_event(PollFlags::POLLIN);
    paused.settle();
    assert!(paused.seen.ends.is_empty());
    paused.resume();
    assert_eq!((paused.error(), &*paused.seen.notes), (None, &["ended".to_string()][..]));
}

#[test]
fn what_came_before_a_reset_is_kept_for_a_paused_connection_and_the_reset_told_behind_it() {
    let mut paused = paused(pauses());
    paused.peer.write_all(b"said before").unwrap();
    paused.await_event(PollFlags::POLLIN);
    paused.settle();
    let mut paused = reset(paused);
    paused.settle();
    assert!(paused.seen.ends.is_empty());
    paused.resume();
    assert_eq!(
        (paused.error(), &*paused.seen.bytes),
        (Some(ErrorKind::ConnectionReset), &b"said before"[..])
    );
}

#[test]
fn a_signal_that_interrupts_the_look_for_unread_bytes_does_not_end_a_paused_connection() {
    let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=recvfrom:error=EINTR:when=1"];
    if !child::in_child(
        a_signal_that_interrupts_the_look_for_unread_bytes_does_not_end_a_paused_connection,
        &inject,
    ) {
        return;
    }
    let mut paused = paused(pauses());
    paused.peer.write_all(b"said before").unwrap();
    paused.await_event(PollFlags::POLLIN);
    let mut paused = reset(paused);
    paused.settle();
    assert!(paused.seen.ends.is_empty(), "{:?}", paused.seen.ends);
    paused.resume();
    assert_eq!(paused.seen.bytes, b"said before");
}

#[test]
fn bytes_that_came_before_a_reset_are_read_although_sending_failed_while_paused() {
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.pause();
            conn.write(&vec![b'x'; 8 * 1024 * 1024]);
            Ok(())
        }),
        ..Machine::default()
    };
    let (ours, peer) = sized_pair(Some(4096));
    let mut paused = Paused::new(ours.try_clone().unwrap(), ours, peer, machine);
    paused.peer.write_all(b"said before").unwrap();
    paused.await_event(PollFlags::POLLIN);
    paused.settle();
    let mut paused = reset(paused);
    paused.settle();
    assert!(paused.seen.ends.is_empty());
    paused.resume();
    assert_eq!(
        (paused.error(), &*paused.seen.bytes),
        (Some(ErrorKind::ConnectionReset), &b"said before"[..])
    );
    assert!(paused.seen.ends[0].unsent > 0, "{}", paused.seen.ends[0]);
}

#[test]
fn input_left_by_a_machine_that_paused_is_kept_and_the_reset_told_behind_it() {
    let machine = Machine {
        received: Box::new(|conn, input| {
            if conn.state().notes.is_empty() {
                conn.state().notes.push("paused".into());
                conn.pause();
                return Ok(());
            }
            conn.state().bytes.extend(input.take_all());
            Ok(())
        }),
        ..Machine::default()
    };
    let mut paused = paused(machine);
    paused.peer.write_all(b"left").unwrap();
    until(&mut paused.reactor, &mut paused.seen, |cx| !cx.state.notes.is_empty());
    let mut paused = reset(paused);
    paused.settle();
    assert!(paused.seen.ends.is_empty());
    paused.resume();
    assert_eq!((paused.error(), &*paused.seen.bytes), (Some(ErrorKind::ConnectionReset), &b"left"[..]));
}

#[test]
fn a_machine_that_pauses_with_the_last_bytes_before_a_reset_is_ended_within_the_turn() {
    let machine = Machine {
        received: Box::new(|conn, input| {
            conn.state().bytes.extend(input.take_all());
            conn.pause();
            Ok(())
        }),
        ..Machine::default()
    };
    let mut paused = paused(machine);
    paused.peer.write_all(b"the last").unwrap();
    paused.await_event(PollFlags::POLLIN);
    let mut paused = reset(paused);
    paused.reactor.turn(&mut paused.seen, NOW).unwrap();
    assert_eq!((paused.error(), &*paused.seen.bytes), (Some(ErrorKind::ConnectionReset), &b"the last"[..]));
}

#[test]
fn resuming_in_part_after_a_reset_ends_a_connection_that_pauses_when_all_is_read() {
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.pause();
            Ok(())
        }),
        received: Box::new(|conn, input| {
            conn.state().bytes.extend(input.take_all());
            conn.pause();
            Ok(())
        }),
        ..Machine::default()
    };
    let mut paused = paused(machine);
    paused.peer.write_all(b"the last").unwrap();
    paused.await_event(PollFlags::POLLIN);
    let mut paused = reset(paused);
    paused.settle();
    assert!(paused.seen.ends.is_empty());
    paused.resume();
    assert_eq!((paused.error(), &*paused.seen.bytes), (Some(ErrorKind::ConnectionReset), &b"the last"[..]));
}

#[test]
#[cfg(target_os = "linux")]
fn a_unix_peer_that_closes_with_our_bytes_unread_ends_a_paused_connection_within_the_turn() {
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b"never read");
            conn.pause();
            Ok(())
        }),
        ..Machine::default()
    };
    let (ours, peer) = UnixStream::pair().unwrap();
    let Paused { mut reactor, mut seen, peer, .. } =
        Paused::new(ours.try_clone().unwrap(), ours, peer, machine);
    drop(peer); // its kernel tells us at once: unix(7), ECONNRESET
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_ends_a_paused_machine_in_a_simulation_too() {
    let mut solo = Solo::with_state(pauses(), Seen::default());
    solo.reset();
    let end = solo.end().expect("it is gone");
    assert_eq!(end.result.as_ref().unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut solo = Solo::with_state(pauses(), Seen::default());
    solo.finish();
    assert!(solo.end().is_none(), "{:?}", solo.end());

    let mut solo = Solo::with_state(pauses(), Seen::default());
    solo.send("said before");
    solo.reset();
    assert!(solo.end().is_none(), "{:?}", solo.end());
}
