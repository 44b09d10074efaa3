//! The session on real sockets: over TLS, by name, with a large body, and from a program that only needs a page.

use crate::common::until::until;
use enjamb::http::{Call, Config, Failure, Head, Headers, Receiver, Request, Response, Session};
use enjamb::{Conn, Cx, Input, Protocol, Reactor, http, pool};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

type Results = Vec<Result<Response, Failure>>;

/// Sends them one after the other.
#[track_caller]
fn calls(reactor: &mut Reactor<Results>, session: &Session<Results>, urls: &[String]) -> Results {
    let mut results = Results::new();
    for url in urls {
        let before = results.len();
        session.get(&mut reactor.cx(&mut results), url, |cx, result| cx.state.push(result));
        until(reactor, &mut results, |cx| cx.state.len() > before);
    }
    results
}

/// A server in a thread, for one connection and so many requests.
fn server(answers: Vec<&'static str>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut lines, mut reader) = (Vec::new(), BufReader::new(stream.try_clone().unwrap()));
        for answer in answers {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            lines.push(line.trim_end().to_string());
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
        lines
    });
    (addr, heard)
}

#[test]
fn a_script_gets_a_page_in_one_line() {
    let (addr, heard) = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"]);
    let page = http::get(format!("http://{addr}/a?b")).unwrap();
    assert_eq!((page.status, page.text().as_ref()), (200, "page"));
    assert_eq!(heard.join().unwrap(), ["GET /a?b HTTP/1.1"]);
    let failure = http::send(Request::get("ftp://h/")).unwrap_err();
    assert!(failure.to_string().contains("scheme at byte 0"), "{failure}");
}

#[test]
fn a_server_by_name_is_asked_twice_over_one_connection() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (addr, heard) = server(vec![OK, OK]);
    let mut reactor = Reactor::new().unwrap();
    let session = Session::new(Config::default()).unwrap();
    let urls = ["a", "b"].map(|path| format!("http://localhost:{}/{path}", addr.port()));
    for result in calls(&mut reactor, &session, &urls) {
        assert_eq!(result.unwrap().text(), "ok");
    }
    assert_eq!(heard.join().unwrap(), ["GET /a HTTP/1.1", "GET /b HTTP/1.1"]);
    assert_eq!(session.pool().snapshot().stats.opened, 1);
}

/// Answers each connection's only request.
struct Page;

impl Protocol<Results> for Page {
    fn received(&mut self, conn: &mut Conn<'_, Results>, input: &mut Input<'_>) -> io::Result<()> {
        if input.peek().ends_with(b"\r\n\r\n") {
            input.take_all();
            conn.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\npage");
            conn.close();
        }
        Ok(())
    }
}

#[test]
fn calls_to_one_name_share_its_look_up_and_names_that_hang_hold_up_no_others() {
    let (asked, (release, released)) = (Arc::new(AtomicUsize::new(0)), channel::<()>());
    // The last of those that hang is seen to after three seconds, and others begin only then.
    let config = enjamb::Config { resolver_threads: 1, ..enjamb::Config::default() };
    let (mut reactor, count) = (Reactor::with_config(config).unwrap(), Arc::clone(&asked));
    let released = Mutex::new(released);
    reactor.set_resolver(move |host, port| {
        if host.starts_with("hang") {
            let _ = released.lock().unwrap().recv(); // fails when the test is over
        }
        count.fetch_add(1, SeqCst);
        Ok(vec![([127, 0, 0, 1], port).into()])
    });
    let mut results = Results::new();
    let mut cx = reactor.cx(&mut results);
    let port = cx.listen(([127, 0, 0, 1], 0), |_, _| Page).unwrap().local_addr().unwrap().port();
    let pool =
        pool::Config { resolve_timeout: Some(Duration::from_millis(2_500)), ..pool::Config::default() };
    let session = Session::new(Config { pool, ..Config::default() }).unwrap();
    let hosts = ["hang-1", "hang-2", "hang-3", "a", "b", "c"];
    for host in hosts.into_iter().chain(std::iter::repeat_n("d", 90)) {
        session.get(&mut cx, format!("http://{host}:{port}/"), |cx, result| cx.state.push(result));
    }
    until(&mut reactor, &mut results, |cx| cx.state.len() == 96);
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(asked.load(SeqCst), 4, "a, b, c and d: {failed:?}");
    let phases: Vec<_> = failed.iter().map(|failure| (failure.phase, failure.kind())).collect();
    assert_eq!(phases, [(http::Phase::Resolve, io::ErrorKind::TimedOut); 3], "{failed:?}");
    drop(release);
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    let Ok(listener) = TcpListener::bind(("::1", 0)) else {
        return println!("not run: there is no IPv6 here");
    };
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        stream.write_all(b"HTTP/1.1 204 Here\r\n\r\n").unwrap();
        lines
    });
    let (mut reactor, session) = (Reactor::new().unwrap(), Session::new(Config::default()).unwrap());
    assert_eq!(calls(&mut reactor, &session, std::slice::from_ref(&url))[0].as_ref().unwrap().status, 204);
    let host = format!("Host: {}", &url["http://".len()..url.len() - 1]);
    assert!(heard.join().unwrap().contains(&host));
}

/// Pours out a body for as long as there is room.
struct Pours(usize);

impl Receiver<usize> for Pours {
    fn wanted(&mut self, cx: &mut Cx<'_, usize>, call: &Call<usize>) -> io::Result<()> {
        while self.0 > 0 && !call.is_full(cx) {
            call.write(cx, &[b'x'; 64 << 10])?;
            *cx.state += 64 << 10;
            self.0 -= 1;
            if self.0 == 0 {
                call.finish(cx)?;
            }
        }
        Ok(())
    }
    fn head(&mut self, _: &mut Cx<'_, usize>, _: &Call<usize>, _: Head) -> io::Result<()> {
        Ok(())
    }
    fn data(&mut self, _: &mut Cx<'_, usize>, _: &Call<usize>, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn end(self: Box<Self>, _: &mut Cx<'_, usize>, result: Result<Headers, Failure>) {
        result.unwrap();
    }
}

#[test]
fn a_body_that_the_kernel_takes_at_once_does_not_hold_up_the_loop() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            length = line.strip_prefix("Content-Length: ").map_or(length, |n| n.trim().parse().unwrap());
        }
        io::copy(&mut reader.take(length), &mut io::sink()).unwrap();
        (&stream).write_all(b"HTTP/1.1 204 Done\r\n\r\n").unwrap();
    });
    let (mut reactor, mut poured) = (Reactor::new().unwrap(), 0);
    let session = Session::new(Config::default()).unwrap();
    let request = Request::put(url).stream(256 * (64 << 10));
    let call = session.stream(&mut reactor.cx(&mut poured), request, Pours(256));
    until(&mut reactor, &mut poured, |cx| {
        let poured = std::mem::take(cx.state);
        assert!(poured <= 1 << 20, "{poured} bytes in one turn");
        call.is_over()
    });
    server.join().unwrap();
}

#[cfg(all(feature = "tls", feature = "sim"))]
mod over_tls {
    use super::*;
    use enjamb::http::Phase;
    use enjamb::sim::Script;
    use enjamb::{pool, tls};
    use std::io::ErrorKind;
    use std::time::Duration;

    use crate::common::certs::{AUTHORITY, CERTIFICATE, KEY};

    fn trusting(authority: &str) -> Config {
        Config { tls: tls::Client::with_roots(authority).unwrap(), ..Config::default() }
    }

    /// A server that says it so often on each connection.
    fn listen(reactor: &mut Reactor<Results>, times: usize, answer: &'static str) -> u16 {
        let identity = (CERTIFICATE, KEY);
        let server = tls::Server::new(identity.0, identity.1).unwrap().offering(&["http/1.1"]);
        let mut nothing = Vec::new();
        let mut cx = reactor.cx(&mut nothing);
        let script = move || (0..times).fold(Script::new(), |script, _| script.until("\r\n\r\n").say(answer));
        let mut listener = cx.listen(([127, 0, 0, 1], 0), move |_, _| script()).unwrap();
        listener.secure(&server);
        listener.local_addr().unwrap().port()
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    #[test]
    fn requests_share_a_connection_and_tickets_on_it_are_no_noise() {
        let mut reactor = Reactor::new().unwrap();
        let port = listen(&mut reactor, 5, OK);
        let session = Session::new(trusting(AUTHORITY)).unwrap();
        let urls = vec![format!("https://localhost:{port}/"); 5];
        for result in calls(&mut reactor, &session, &urls) {
            assert_eq!(result.unwrap().text(), "ok");
        }
        assert_eq!(session.pool().snapshot().stats.opened, 1);
    }

    #[test]
    fn a_server_that_closes_in_good_order_costs_nothing_but_a_connection() {
        let mut reactor = Reactor::new().unwrap();
        let port =
            listen(&mut reactor, 1, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        let session = Session::new(trusting(AUTHORITY)).unwrap();
        let urls = vec![format!("https://localhost:{port}/"); 3];
        assert!(calls(&mut reactor, &session, &urls).iter().all(|result| result.is_ok()));
        assert_eq!(session.pool().snapshot().stats.opened, 3);
    }

    #[test]
    fn a_server_that_nobody_vouches_for_is_refused_in_the_handshake() {
        let mut reactor = Reactor::new().unwrap();
        let port = listen(&mut reactor, 1, OK);
        let session = Session::new(Config::default()).unwrap();
        let failure =
            calls(&mut reactor, &session, &[format!("https://localhost:{port}/")]).remove(0).unwrap_err();
        assert_eq!((failure.phase, failure.kind()), (Phase::Tls, ErrorKind::InvalidData), "{failure}");
        let session = Session::new(Config { tls: tls::Client::insecure(), ..Config::default() }).unwrap();
        let url = format!("https://localhost:{port}/");
        assert!(calls(&mut reactor, &session, &[url]).remove(0).is_ok());
    }

    #[test]
    fn a_handshake_has_its_own_limit() {
        let mut reactor = Reactor::new().unwrap();
        let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let pool = pool::Config { tls_timeout: Some(Duration::from_millis(50)), ..pool::Config::default() };
        let session = Session::new(Config { pool, ..trusting(AUTHORITY) }).unwrap();
        let url = format!("https://localhost:{}/", silent.local_addr().unwrap().port());
        let failure = calls(&mut reactor, &session, &[url]).remove(0).unwrap_err();
        assert_eq!((failure.phase, failure.kind()), (Phase::Tls, ErrorKind::TimedOut), "{failure}");
    }

    #[test]
    fn https_does_not_lead_to_http_unless_that_is_allowed() {
        let mut reactor = Reactor::new().unwrap();
        let down = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        let port = listen(&mut reactor, 2, down);
        for allow_downgrade in [false, true] {
            let session = Session::new(Config { allow_downgrade, ..trusting(AUTHORITY) }).unwrap();
            let url = format!("https://localhost:{port}/");
            let failure = calls(&mut reactor, &session, &[url]).remove(0).unwrap_err();
            let followed = failure.phase == Phase::Connect;
            assert_eq!(followed, allow_downgrade, "{failure}");
        }
    }
}
