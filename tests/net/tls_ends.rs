//! How connections over TLS end with peers of another make: which ends are good, and which are errors.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::common::certs::{AUTHORITY, CERTIFICATE, KEY, client, server};
use crate::common::child;
use crate::common::machine;
use crate::common::machine::{Machine, Seen};
use crate::common::until::until;
use enjamb::sim::{Link, Sim};
use enjamb::{Conn, End, Reactor};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A peer of rustls's own, with blocking calls.
type Peer<C> = rustls::StreamOwned<C, TcpStream>;

fn peer_connects(to: SocketAddr) -> Peer<rustls::ClientConnection> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let session = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let socket = TcpStream::connect(to).unwrap();
    socket.set_nodelay(true).unwrap(); // what it says last is on its way when it goes
    rustls::StreamOwned::new(session, socket)
}

fn peer_accepts(listener: &TcpListener) -> Peer<rustls::ServerConnection> {
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    rustls::StreamOwned::new(session, listener.accept().unwrap().0)
}

/// Runs a server with this machine for one connection, which `peer` makes in a thread; returns how it ended.
fn serve(machine: Machine, peer: impl FnOnce(SocketAddr) + Send + 'static) -> (End, Seen) {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut machine = Some(machine);
    let mut cx = reactor.cx(&mut seen);
    let mut listener = cx.listen(([127, 0, 0, 1], 0), move |_, _| machine.take().unwrap()).unwrap();
    listener.secure(&server());
    let to = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || peer(to));
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    peer.join().unwrap();
    (seen.ends.remove(0), seen)
}

fn good(end: &End) {
    assert!(end.result.is_ok() && end.unsent == 0, "{end:?}");
}

/// Answers the first bytes with the same, and closes.
fn answers_and_closes() -> Machine {
    Machine {
        received: Box::new(|conn, input| {
            conn.write(input.take_all());
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    }
}

/// Waits for the peer to be gone before it looks at what came, and closes when it has seen the end.
fn looks_when(gone: Receiver<()>) -> Machine {
    Machine {
        opened: Box::new(move |_| {
            gone.recv().unwrap();
            Ok(())
        }),
        ..Machine::default()
    }
}

#[test]
fn a_peer_that_answers_a_close_without_close_notify_is_a_good_end() {
    let (end, _) = serve(answers_and_closes(), |to| {
        let mut peer = peer_connects(to);
        peer.write_all(b"hello").unwrap();
        let mut all = Vec::new();
        assert_eq!(peer.read_to_end(&mut all).unwrap(), 5); // a clean end, or this is UnexpectedEof
    });
    good(&end);
}

#[test]
fn a_server_that_answers_a_close_without_close_notify_is_a_good_end() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let to = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        let mut peer = peer_accepts(&listener);
        let mut all = Vec::new();
        assert_eq!(peer.read_to_end(&mut all).unwrap(), 5);
    });
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b"hello");
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).connect(to, machine).secure(&client(), "localhost").unwrap();
    reactor.run(&mut seen).unwrap();
    peer.join().unwrap();
    good(&seen.ends[0]);
}

/// In a child that strace interrupts at every third call: each has to be made again, from the handshake to the end.
#[test]
fn calls_that_are_interrupted_are_made_again() {
    let interrupt = "inject=sendto,recvfrom:error=EINTR:when=1+3";
    if !child::in_child(
        calls_that_are_interrupted_are_made_again,
        &["strace", "-f", "-qq", "-o", "/dev/null", "-e", interrupt],
    ) {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut listener = cx.listen(([127, 0, 0, 1], 0), |_, _| Machine::default()).unwrap();
    listener.secure(&server());
    let to = listener.local_addr().unwrap();
    let says = Machine {
        opened: Box::new(|conn| {
            conn.write(&[b'x'; 1_000_000]);
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    cx.connect(to, says).secure(&client(), "localhost").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 2);
    seen.ends.iter().for_each(good);
    assert_eq!(seen.bytes.len(), 1_000_000);
}

#[test]
fn without_close_notify_it_is_no_good_end_for_one_that_only_half_closed() {
    let machine = Machine {
        received: Box::new(|conn, input| {
            conn.write(input.take_all());
            conn.finish();
            Ok(())
        }),
        ..Machine::default()
    };
    let (end, _) = serve(machine, |to| {
        let mut peer = peer_connects(to);
        peer.write_all(b"hello").unwrap();
        peer.read_to_end(&mut Vec::new()).unwrap();
    });
    assert_eq!(end.result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_peer_that_says_close_notify_and_is_gone_before_it_is_looked_at_is_a_good_end() {
    let (tell, gone) = mpsc::channel();
    let (end, seen) = serve(looks_when(gone), move |to| {
        let mut peer = peer_connects(to);
        peer.write_all(b"hello").unwrap();
        peer.conn.send_close_notify();
        peer.flush().unwrap();
        drop(peer); // session tickets may be unread, and then this is a reset
        tell.send(()).unwrap();
    });
    assert_eq!(seen.bytes, b"hello");
    good(&end);
}

#[test]
fn a_close_with_nothing_written_waits_for_the_peer_to_read_close_notify() {
    // Closing with the client's words unread would answer them with a reset, which destroys what is on its way.
    let sim = Sim::new(1);
    let here = SocketAddr::from(([10, 0, 0, 1], 443));
    sim.links(Link { latency: Duration::from_millis(10)..=Duration::from_millis(10), ..Link::default() });
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let closes = || Machine {
        opened: Box::new(|conn| {
            conn.pause();
            conn.deadline(Duration::from_secs(1));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    cx.listen(here, move |_, _| closes()).unwrap().secure(&server());
    let says = Machine {
        opened: Box::new(|conn| {
            conn.write(&[b'x'; 10_000]);
            Ok(())
        }),
        ended: Box::new(|conn, _| {
            conn.state().notes.push("ended".into());
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    cx.connect(here, says).secure(&client(), "localhost").unwrap();
    reactor.cx(&mut seen).after(Duration::from_secs(5), |cx| cx.shutdown(Duration::ZERO));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.notes, ["ended"]);
    seen.ends.iter().for_each(good);
}

#[test]
fn what_has_come_is_read_though_the_session_tickets_cannot_be_sent_any_more() {
    let sim = Sim::new(1);
    let here = SocketAddr::from(([10, 0, 0, 1], 443));
    sim.links(Link { buffer: 100, ..Link::default() }); // less than the tickets take
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let pauses = |seconds| -> machine::Call {
        Box::new(move |conn| {
            conn.pause();
            conn.deadline(Duration::from_secs(seconds));
            Ok(())
        })
    };
    let late = move || Machine {
        opened: pauses(2),
        timed_out: Box::new(|conn| {
            conn.resume();
            Ok(())
        }),
        ..Machine::default()
    };
    cx.listen(here, move |_, _| late()).unwrap().secure(&server());
    let mut pause = pauses(1);
    let resets = Machine {
        opened: Box::new(move |conn| {
            conn.write(b"hello");
            pause(conn)
        }),
        timed_out: Box::new(|conn| {
            conn.reset(ErrorKind::Other.into());
            Ok(())
        }),
        ..Machine::default()
    };
    cx.connect(here, resets).secure(&client(), "localhost").unwrap();
    cx.after(Duration::from_secs(5), |cx| cx.shutdown(Duration::ZERO));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, b"hello", "{:?}", seen.ends);
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), ErrorKind::Other);
    assert!(seen.ends[1].result.is_err());
}

/// Takes what has come when the peer is gone, and calls `end` then.
fn ends_when(gone: Receiver<()>, end: fn(&mut Conn<'_, Seen>)) -> Machine {
    Machine {
        received: Box::new(move |conn, input| {
            conn.state().bytes.extend(input.take_all());
            end(conn);
            Ok(())
        }),
        ended: Box::new(|conn, _| {
            conn.state().notes.push("ended".into());
            Ok(())
        }),
        ..looks_when(gone)
    }
}

/// A peer that says something and, if `notifies`, close_notify, and is gone with a reset: returns how the server that
/// calls `end` behind that has ended.
fn ends_in_received(notifies: bool, end: fn(&mut Conn<'_, Seen>)) -> (End, Seen) {
    let (tell, gone) = mpsc::channel();
    let (end, seen) = serve(ends_when(gone, end), move |to| {
        let mut peer = peer_connects(to);
        peer.write_all(b"hello").unwrap();
        if notifies {
            peer.conn.send_close_notify();
            peer.flush().unwrap();
        }
        socket2::SockRef::from(&peer.sock).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer); // a reset
        tell.send(()).unwrap();
    });
    assert_eq!(seen.bytes, b"hello");
    (end, seen)
}

#[test]
fn closing_before_the_close_notify_of_a_peer_that_is_gone_was_read_is_a_good_end() {
    let (end, seen) = ends_in_received(true, |conn| conn.close());
    good(&end);
    assert!(seen.notes.is_empty());
}

#[test]
fn finishing_before_the_close_notify_of_a_peer_that_is_gone_was_read_is_a_good_end_and_ended_is_called() {
    let (end, seen) = ends_in_received(true, |conn| conn.finish());
    good(&end);
    assert_eq!(seen.notes, ["ended"]);
}

#[test]
fn closing_or_finishing_when_the_peer_is_gone_without_close_notify_is_an_error() {
    for end in
        [|conn: &mut Conn<'_, Seen>| conn.close(), |conn| conn.finish()] as [fn(&mut Conn<'_, Seen>); 2]
    {
        let (end, seen) = ends_in_received(false, end);
        let error = end.result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        assert!(seen.notes.is_empty());
    }
}

/// Runs a program of Python's, which stands in for another TLS stack: OpenSSL. `None` where there is none.
fn python(program: &str, port: u16) -> Option<std::process::Child> {
    let certs = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certs/");
    let child = Command::new("python3")
        .args(["-c", program, &port.to_string(), certs])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    match child {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("not run: python3 is not installed");
            None
        }
        child => Some(child.unwrap()),
    }
}

const CONNECTS: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2] + 'ca.pem')
plain = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
peer = context.wrap_socket(plain, server_hostname='localhost')
";

/// Serves a program of Python's that has connected; `tell` is called when it has ended.
fn serve_python(
    machine: Machine,
    program: &str,
    tell: impl FnOnce() + Send + 'static,
) -> Option<(End, Seen)> {
    let program = format!("{CONNECTS}{program}");
    if python("", 0)?.wait().unwrap().code() != Some(0) {
        return None;
    }
    Some(serve(machine, move |to| {
        let status = python(&program, to.port()).unwrap().wait().unwrap();
        assert!(status.success());
        tell();
    }))
}

#[test]
fn openssl_answers_a_close_with_its_own_or_with_none_and_both_are_good_ends() {
    for answer in ["peer.unwrap().close()", "peer.close()"] {
        let program = format!(
            "peer.sendall(b'hello')\nassert peer.recv(5) == b'hello'\nassert peer.recv(5) == b''\n{answer}"
        );
        let Some((end, _)) = serve_python(answers_and_closes(), &program, || ()) else { return };
        good(&end);
    }
}

#[test]
fn openssl_says_close_notify_and_is_gone_while_the_machine_is_busy() {
    // Without waiting for the answer: unwrap() fails as the socket does not wait, when its own alert is sent.
    let leave = "peer.sendall(b'hello')\npeer.setblocking(False)\ntry: peer.unwrap()\nexcept ssl.SSLWantReadError: pass\npeer.close()";
    for _ in 0..3 {
        let (tell, gone) = mpsc::channel();
        let Some((end, seen)) = serve_python(looks_when(gone), leave, move || tell.send(()).unwrap()) else {
            return;
        };
        assert_eq!(seen.bytes, b"hello");
        good(&end);
    }
}

#[test]
fn openssl_is_gone_when_the_machine_closes_in_its_own_time() {
    let leave = "peer.sendall(b'hello')\npeer.setblocking(False)\ntry: peer.unwrap()\nexcept ssl.SSLWantReadError: pass\npeer.close()";
    for _ in 0..3 {
        let (tell, gone) = mpsc::channel();
        let machine = Machine {
            ended: Box::new(move |conn, _| {
                gone.recv().unwrap(); // it is busy as long as that
                conn.close();
                Ok(())
            }),
            ..Machine::default()
        };
        let Some((end, _)) = serve_python(machine, leave, move || tell.send(()).unwrap()) else { return };
        good(&end);
    }
}
