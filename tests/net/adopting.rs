//! `adopt`: connections that the program made.

use std::io::{Error, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::common::child;
use crate::common::machine::{Machine, Seen};
use crate::common::pair::{arrived, pair};
use crate::common::places::{full_listener, listener, nobody};
use enjamb::Reactor;
use socket2::{Domain, SockRef, Socket, Type};

/// What `adopt` says to a socket; nothing of it is left behind.
#[track_caller]
fn refusal(socket: impl Into<enjamb::Socket>) -> Error {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let error = reactor.cx(&mut seen).adopt(socket, Machine::default()).expect_err("it is no connection");
    reactor.run(&mut seen).unwrap(); // returns, as there is nothing to wait for
    assert!(seen.ends.is_empty(), "its machine was never the loop's: {:?}", seen.ends);
    error
}

fn unix(socket: impl Into<OwnedFd>) -> UnixStream {
    socket.into().into()
}

/// A Unix listener that needs no file: unix(7), abstract addresses; elsewhere than on Linux, one that has no address.
fn unix_listener() -> UnixListener {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    #[cfg(target_os = "linux")]
    socket
        .bind(&socket2::SockAddr::unix(format!("\0enjamb-adopting-{}", std::process::id())).unwrap())
        .unwrap();
    socket.listen(1).unwrap();
    OwnedFd::from(socket).into()
}

#[test]
fn a_listener_is_refused_with_its_address_and_where_it_belongs() {
    let (tcp, addr) = listener();
    let error = refusal(TcpStream::from(OwnedFd::from(tcp)));
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), format!("adopting {addr}: it listens: give it to Cx::listen_on"));
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused, "it is closed");
    let error = refusal(unix(unix_listener()));
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("it listens"), "{error}");
}

#[test]
fn a_socket_that_was_never_connected_is_refused_with_its_address() {
    let unbound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let (bound, addr) = nobody();
    let none = SocketAddr::from(([0, 0, 0, 0], 0));
    for (socket, addr) in [(unbound, none), (bound, addr)] {
        let error = refusal(TcpStream::from(socket));
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert_eq!(
            error.to_string(),
            format!("adopting {addr}: it is not connected: connect it first, or have Cx::connect do it")
        );
    }
    let error = refusal(unix(Socket::new(Domain::UNIX, Type::STREAM, None).unwrap()));
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert!(error.to_string().starts_with("adopting a Unix socket: it is not connected"), "{error}");
}

#[test]
fn a_socket_that_is_still_connecting_is_refused_as_such() {
    let (_full, addr, _first) = full_listener();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let under_way = socket.connect(&addr.into()).unwrap_err();
    assert_eq!(under_way.raw_os_error(), Some(nix::libc::EINPROGRESS));
    let error = refusal(TcpStream::from(socket));
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert!(error.to_string().contains(": it is still connecting: "), "{error}");
}

#[test]
fn a_connection_that_was_reset_before_is_taken_and_its_machine_told() {
    // A peer can do that at any time: it is no mistake of the program's.
    let (ours, theirs) = pair();
    SockRef::from(&theirs).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(theirs);
    while ours.peer_addr().is_ok() {
        std::thread::yield_now(); // the reset is on its way
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.ends.len(), 1);
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_connection_that_both_sides_have_ended_is_taken_and_what_had_come_is_received() {
    let (ours, mut theirs) = pair();
    theirs.write_all(b"the last words").unwrap();
    arrived(&ours, 14);
    ours.shutdown(Shutdown::Write).unwrap();
    drop(theirs);
    while ours.peer_addr().is_ok() {
        std::thread::yield_now(); // the end is on its way
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, b"the last words");
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
}

#[test]
fn a_unix_socket_whose_peer_is_gone_is_taken() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"bye").unwrap();
    drop(theirs);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, b"bye");
}

#[test]
fn what_is_sent_on_it_is_not_delayed() {
    let (ours, _theirs) = pair();
    let same = ours.try_clone().unwrap();
    assert!(!same.nodelay().unwrap());
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
    assert!(same.nodelay().unwrap());
}

#[test]
fn a_signal_that_interrupts_the_look_at_a_socket_does_not_end_it() {
    let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=recvfrom:error=EINTR:when=1"];
    if !child::in_child(a_signal_that_interrupts_the_look_at_a_socket_does_not_end_it, &inject) {
        return;
    }
    // It is looked at, as it has no peer any more.
    let (ours, mut theirs) = pair();
    theirs.write_all(b"the last words").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    drop(theirs);
    while ours.peer_addr().is_ok() {
        std::thread::yield_now(); // the end is on its way
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, b"the last words");
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
}
