//! `listen_on`: listeners that the program made.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::common::child;
use crate::common::logged;
use crate::common::pair;
use crate::common::places;
use crate::common::until::until;
use enjamb::{Conn, Input, Protocol, Reactor};

struct Echo;

impl<S> Protocol<S> for Echo {
    fn received(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> std::io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }
}

fn assert_served<S>(reactor: &mut Reactor<S>, state: &mut S, client: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    client.set_nonblocking(true).unwrap();
    let mut got = [0; 4];
    until(reactor, state, |_| client.peek(&mut got).is_ok_and(|n| n == 4));
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
}

#[test]
fn a_listener_that_blocks_is_set_nonblocking_and_serves_also_who_came_before() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut early = TcpStream::connect(addr).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut state = ();
    let mut cx = reactor.cx(&mut state);
    let mut listening = cx.listen_on(listener, |_, _| Echo).unwrap();
    assert_eq!(listening.local_addr().unwrap(), addr);
    let id = listening.id();
    // Accepting until nobody is left would hang here if it waited.
    until(&mut reactor, &mut (), |cx| cx.listener(id).is_some_and(|mut listener| listener.open() == 1));
    assert_served(&mut reactor, &mut (), &mut early);
    let mut late = TcpStream::connect(addr).unwrap();
    assert_served(&mut reactor, &mut (), &mut late);
}

#[test]
#[cfg(target_os = "linux")]
fn a_kernel_that_refuses_a_limit_on_what_is_not_sent_is_listened_on_all_the_same() {
    // The calls before set SO_REUSEADDR and TCP_NODELAY.
    let refuse = "inject=setsockopt:error=ENOPROTOOPT:when=3";
    if !child::in_child(
        a_kernel_that_refuses_a_limit_on_what_is_not_sent_is_listened_on_all_the_same,
        &["strace", "-f", "-qq", "-o", "/dev/null", "-e", refuse],
    ) {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let mut state = ();
    let mut cx = reactor.cx(&mut state);
    let addr = cx.listen(([127, 0, 0, 1], 0), |_, _| Echo).unwrap().local_addr().unwrap();
    let mut client = TcpStream::connect(addr).unwrap();
    assert_served(&mut reactor, &mut (), &mut client);
}

#[test]
fn what_it_accepts_sends_without_delay() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kept = listener.try_clone().unwrap();
    let mut reactor = Reactor::new().unwrap();
    reactor.cx(&mut ()).listen_on(listener, |_, _| Echo).unwrap();
    assert!(socket2::SockRef::from(&kept).tcp_nodelay().unwrap());
}

#[test]
fn a_limit_and_closing_work_as_with_a_listener_of_the_loops_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kept = listener.try_clone().unwrap(); // as a service manager keeps it: closing ours does not close the socket
    let addr = listener.local_addr().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut state = ();
    let mut cx = reactor.cx(&mut state);
    let mut listening = cx.listen_on(listener, |_, _| Echo).unwrap();
    listening.limit(1);
    let id = listening.id();
    let mut first = TcpStream::connect(addr).unwrap();
    assert_served(&mut reactor, &mut (), &mut first);
    let mut second = TcpStream::connect(addr).unwrap();
    for _ in 0..10 {
        reactor.turn(&mut (), Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(reactor.cx(&mut ()).listener(id).unwrap().open(), 1);
    drop(first);
    assert_served(&mut reactor, &mut (), &mut second);
    reactor.cx(&mut ()).listener(id).unwrap().close();
    drop(second);
    reactor.run(&mut ()).unwrap(); // nothing is left
    let _third = TcpStream::connect(addr).unwrap();
    kept.set_nonblocking(false).unwrap();
    kept.accept().unwrap(); // whoever has it still may go on
}

#[test]
#[cfg(unix)]
fn a_socket_that_is_not_tcp_is_refused() {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};
    let (socket, mut peer) = UnixStream::pair().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let not_tcp = TcpListener::from(OwnedFd::from(socket));
    let error = reactor.cx(&mut ()).listen_on(not_tcp, |_, _| Echo).unwrap_err();
    assert!(error.to_string().starts_with("listening on "), "{error}");
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "it is closed");
    reactor.run(&mut ()).unwrap(); // and nothing of it is kept
}

#[test]
fn a_socket_that_does_not_listen_is_refused_by_its_address() {
    use socket2::{Domain, Socket, Type};
    let (bound, addr) = places::nobody();
    let unbound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let (connected, _peer) = pair::sized_pair(None);
    let none = SocketAddr::from(([0, 0, 0, 0], 0));
    let local = connected.local_addr().unwrap();
    for (socket, addr) in [(unbound, none), (bound, addr), (connected.into(), local)] {
        let mut reactor = Reactor::new().unwrap();
        let error = reactor.cx(&mut ()).listen_on(socket.into(), |_, _| Echo).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let expected = "it does not listen: call listen(2) first, or have Cx::listen do it";
        assert_eq!(error.to_string(), format!("listening on {addr}: {expected}"));
        reactor.run(&mut ()).unwrap(); // nothing of it is kept
    }
}

#[test]
#[cfg(target_os = "linux")] // elsewhere, shutdown(2) refuses a listener
fn a_listener_that_another_owner_shuts_down_is_said_to_listen_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let theirs = socket2::Socket::from(listener.try_clone().unwrap());
    let mut reactor = Reactor::new().unwrap();
    reactor.cx(&mut ()).listen_on(listener, |_, _| Echo).unwrap();
    logged::capture();
    theirs.shutdown(std::net::Shutdown::Both).unwrap();
    until(&mut reactor, &mut (), |_| !logged::captured(log::Level::Warn).is_empty());
    let lines = logged::captured(log::Level::Warn);
    let expected = "it listens no more: another owner of the socket has shut it down";
    assert!(
        lines[0].starts_with(&format!("accepting on {addr}: ")) && lines[0].contains(expected),
        "{lines:?}"
    );
}

#[test]
fn while_the_loop_shuts_down_it_is_refused() {
    let (ours, _peer) = pair::sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut state = ();
    let mut cx = reactor.cx(&mut state);
    cx.adopt(ours, Echo).unwrap();
    cx.shutdown(Duration::from_secs(60));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let error = cx.listen_on(listener, |_, _| Echo).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused, "it is closed");
}

#[test]
#[cfg(target_os = "linux")]
fn several_loops_share_a_port() {
    use socket2::{Domain, Socket, Type};
    let listen = |port: u16| -> TcpListener {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::ReusePort, &true).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        socket.listen(128).unwrap();
        socket.into()
    };
    let first = listen(0);
    let addr = first.local_addr().unwrap();
    let second = listen(addr.port());
    let mut reactors = [first, second].map(|listener| {
        let mut reactor = Reactor::<usize>::new().unwrap();
        let accepted = |cx: &mut enjamb::Cx<'_, usize>, _| {
            *cx.state += 1;
            Echo
        };
        reactor.cx(&mut 0).listen_on(listener, accepted).unwrap();
        (reactor, 0)
    });
    let _clients: Vec<_> = (0..100).map(|_| TcpStream::connect(addr).unwrap()).collect();
    while reactors.iter().map(|(_, served)| served).sum::<usize>() < 100 {
        for (reactor, served) in &mut reactors {
            reactor.turn(served, Some(Duration::ZERO)).unwrap();
        }
    }
    // By chance alone, one of them would be left out once in 2^99 times.
    assert!(reactors.iter().all(|(_, served)| *served > 0));
}
