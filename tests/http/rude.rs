//! Servers that misbehave, over real sockets. Each is a thread that does one thing. None hangs the session, and no bytes
//! of one response are taken for another.

use crate::common::until::until;
use enjamb::Reactor;
use enjamb::http::{Config, Error, Failure, Phase, Request, Response, Rule, Session};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server for so many connections: what is done with each, by its number.
fn server(
    connections: usize,
    each: impl Fn(usize, &mut TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        for number in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            each(number, &mut stream);
        }
    });
    (addr, thread)
}

/// Reads the head of a request; whether there was one.
fn take_head(stream: &mut TcpStream) -> bool {
    let (mut heard, mut byte) = (Vec::new(), [0]);
    while !heard.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => heard.extend(byte),
            _ => return false,
        }
    }
    true
}

/// Says it again and again until the client has had enough of it.
fn say_for_ever(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

struct Client {
    reactor: Reactor<Vec<Result<Response, Failure>>>,
    session: Session<Vec<Result<Response, Failure>>>,
}

impl Client {
    fn new(config: Config) -> Self {
        Client { reactor: Reactor::new().unwrap(), session: Session::new(config).unwrap() }
    }

    fn fetch(&mut self, request: impl TryInto<Request, Error = Error>) -> Result<Response, Failure> {
        let mut results = Vec::new();
        self.session.send(&mut self.reactor.cx(&mut results), request, |cx, result| cx.state.push(result));
        until(&mut self.reactor, &mut results, |cx| !cx.state.is_empty());
        results.remove(0)
    }

    fn get(&mut self, addr: SocketAddr) -> Result<Response, Failure> {
        self.fetch(Request::get(format!("http://{addr}/")))
    }

    fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        until(&mut self.reactor, &mut Vec::new(), |_| Instant::now() >= end);
    }

    fn is_unconnected(&mut self) {
        until(&mut self.reactor, &mut Vec::new(), |_| self.session.pool().snapshot().total.open() == 0);
    }
}

#[track_caller]
fn rule(failure: &Failure) -> Rule {
    match failure.http() {
        Some(Error::Response(error)) => error.rule,
        _ => panic!("{failure:?}"),
    }
}

#[test]
fn what_never_ends_is_too_large() {
    let head: &[u8] = b"HTTP/1.1 200 OK\r\n";
    for (begins, goes_on, expected) in [
        (&b""[..], &b"HTTP/1.1 103 Early Hints\r\n\r\n"[..], Rule::HeadTooLarge),
        (&head[..8], b"                              ", Rule::HeadTooLarge),
        (head, b"X: and so on, without an end of the line", Rule::HeadTooLarge),
        (head, b"X: y\r\n", Rule::HeadTooLarge), // nothing is looked at before the empty line
        (
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"a body, up to the close that does not come",
            Rule::BodyTooLarge(100_000),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"5\r\nhello\r\n",
            Rule::BodyTooLarge(100_000),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1;extended=\"without any need\"\r\nx\r\n",
            Rule::ExtensionsTooLarge,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"extension", Rule::ExtensionsTooLarge),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"more", Rule::TrailersTooLarge),
    ] {
        let (addr, thread) = server(1, move |_, stream| {
            take_head(stream);
            stream.write_all(begins).unwrap();
            say_for_ever(stream, goes_on);
        });
        let mut client = Client::new(Config { body_limit: 100_000, ..Config::default() });
        let failure = client.get(addr).unwrap_err();
        assert_eq!(rule(&failure), expected, "{} … {}", begins.escape_ascii(), goes_on.escape_ascii());
        client.is_unconnected();
        thread.join().unwrap();
    }
}

#[test]
fn a_server_that_says_a_byte_now_and_then_is_given_up_in_the_end() {
    for begins in [&b"HTTP/1.1 200 OK\r\nX: "[..], b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"] {
        let (addr, thread) = server(1, move |_, stream| {
            take_head(stream);
            stream.write_all(begins).unwrap();
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let total = Duration::from_millis(300);
        let start = Instant::now();
        let mut client = Client::new(Config { total: Some(total), ..Config::default() });
        let failure = client.get(addr).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::TimedOut, "{failure}");
        assert!(start.elapsed() >= total, "never early");
        thread.join().unwrap();
    }
}

#[test]
fn a_server_that_says_nothing_has_its_limits() {
    let (addr, thread) = server(2, |number, stream| {
        take_head(stream);
        if number == 1 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").unwrap();
        }
        assert!(!take_head(stream), "it hears that the client has gone");
    });
    let limit = Some(Duration::from_millis(50));
    let mut client = Client::new(Config { first_byte: limit, ..Config::default() });
    let failure = client.get(addr).unwrap_err();
    assert_eq!((failure.phase, failure.kind()), (Phase::FirstByte, ErrorKind::TimedOut), "{failure}");
    let mut client = Client::new(Config { between_bytes: limit, ..Config::default() });
    let failure = client.get(addr).unwrap_err();
    assert_eq!((failure.phase, failure.kind()), (Phase::Body, ErrorKind::TimedOut), "{failure}");
    assert_eq!(failure.partial.unwrap().text(), "part");
    thread.join().unwrap();
}

#[test]
fn a_reset_is_told_with_what_had_come() {
    let part = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart";
    for (said, phase) in [(&part[..], Phase::Body), (&part[..20], Phase::Head), (&[], Phase::FirstByte)] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let Client { mut reactor, session } = Client::new(Config::default());
        let mut results = Vec::new();
        let url = format!("http://{addr}/");
        let call = session.get(&mut reactor.cx(&mut results), url, |cx, result| cx.state.push(result));
        let (mut stream, _) = listener.accept().unwrap();
        until(&mut reactor, &mut results, |_| session.pool().snapshot().total.leased == 1);
        assert!(take_head(&mut stream));
        stream.write_all(said).unwrap();
        // A reset destroys what is not read yet.
        until(&mut reactor, &mut results, |_| call.received() == said.len() as u64);
        reset(stream);
        until(&mut reactor, &mut results, |_| call.is_over());
        let failure = results.remove(0).unwrap_err();
        assert_eq!((failure.phase, failure.kind()), (phase, ErrorKind::ConnectionReset), "{failure}");
        assert!(failure.to_string().contains(&addr.to_string()), "{failure}");
        assert_eq!(failure.partial.is_some(), phase == Phase::Body);
        assert_eq!(session.retried(), 0);
    }
}

#[test]
fn an_answer_that_comes_before_the_request_is_written_is_delivered() {
    let no = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
    let (addr, thread) = server(2, move |number, stream| {
        take_head(stream);
        stream.write_all(no).unwrap();
        if number == 1 {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        std::io::copy(stream, &mut std::io::sink()).ok(); // up to the client's end
    });
    let mut client = Client::new(Config::default());
    for _ in 0..2 {
        let response = client.fetch(Request::put(format!("http://{addr}/")).body(vec![0; 32 << 20])).unwrap();
        assert_eq!((response.status, response.text().as_ref()), (413, "no"));
        client.is_unconnected();
    }
    thread.join().unwrap();
}

#[test]
fn a_server_that_closes_as_soon_as_it_has_answered_costs_nothing_but_a_connection() {
    let (addr, thread) = server(20, |_, stream| {
        take_head(stream);
        stream.write_all(OK).unwrap(); // and it does not say that it closes
    });
    let mut client = Client::new(Config::default());
    for _ in 0..20 {
        assert_eq!(client.get(addr).unwrap().text(), "ok");
    }
    assert_eq!(client.session.pool().snapshot().stats.opened, 20);
    thread.join().unwrap();
}

#[test]
fn noise_on_an_idle_connection_is_never_an_answer() {
    const EVIL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for delay in [0, 100, 1500].map(Duration::from_millis) {
        let (addr, thread) = server(2, move |number, stream| {
            take_head(stream);
            if number == 0 && delay.is_zero() {
                return stream.write_all(&[OK, EVIL].concat()).unwrap();
            }
            stream.write_all(OK).unwrap();
            if number == 0 {
                thread::sleep(delay);
                stream.write_all(EVIL).unwrap();
                assert!(!take_head(stream), "no request comes on it any more");
            }
        });
        let mut client = Client::new(Config::default());
        assert_eq!(client.get(addr).unwrap().text(), "ok");
        client.pass(delay);
        client.is_unconnected();
        assert_eq!(client.get(addr).unwrap().text(), "ok", "after {delay:?}");
        thread.join().unwrap();
    }
}

#[test]
fn noise_that_the_loop_has_not_heard_yet_is_no_answer_either() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut client = Client::new(Config::default());
    let (session, mut results) = (client.session.clone(), Vec::new());
    let send = |client: &mut Client, results: &mut Vec<_>| {
        let opened = session.pool().snapshot().stats.opened;
        session.get(&mut client.reactor.cx(results), &url, |cx, result| cx.state.push(result));
        until(&mut client.reactor, results, |_| session.pool().snapshot().stats.opened == opened + 1);
        let (mut stream, _) = listener.accept().unwrap();
        until(&mut client.reactor, results, |_| session.pool().snapshot().total.leased == 1);
        assert!(take_head(&mut stream));
        stream.write_all(OK).unwrap();
        stream
    };
    let mut first = send(&mut client, &mut results);
    until(&mut client.reactor, &mut results, |cx| cx.state.len() == 1);
    assert_eq!(session.pool().snapshot().total.idle, 1);
    first.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").unwrap();
    let _second = send(&mut client, &mut results);
    until(&mut client.reactor, &mut results, |cx| cx.state.len() == 2);
    assert!(results.iter().all(|result| result.as_ref().unwrap().text() == "ok"));
}

#[test]
fn a_server_that_closes_at_the_moment_of_the_next_request_is_asked_again() {
    let (addr, thread) = server(2, |number, stream| {
        take_head(stream);
        stream.write_all(OK).unwrap();
        if number == 0 {
            take_head(stream); // it hears the request, and closes all the same
        }
    });
    let mut client = Client::new(Config::default());
    for _ in 0..2 {
        assert_eq!(client.get(addr).unwrap().text(), "ok");
    }
    assert_eq!(client.session.retried(), 1);
    thread.join().unwrap();
}

#[test]
fn a_body_that_the_server_does_not_take_is_given_up() {
    let (addr, thread) = server(1, |_, stream| {
        take_head(stream);
        let mut ended = [0];
        while stream.peek(&mut ended).is_ok_and(|n| n > 0) {
            if stream.take_error().unwrap().is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    let config = Config { between_bytes: Some(Duration::from_millis(200)), ..Config::default() };
    let mut client = Client::new(config);
    let failure = client.fetch(Request::put(format!("http://{addr}/")).body(vec![0; 32 << 20])).unwrap_err();
    assert_eq!((failure.phase, failure.kind()), (Phase::Send, ErrorKind::TimedOut), "{failure}");
    drop(client);
    thread.join().unwrap();
}
