//! The examples of the HTTP session: fetch, fetch10 and login.

use super::programs::{PATIENCE, Program, path, run};
use crate::common::certs;
use crate::examples::site;
use enjamb::{Conn, Input, Protocol, Reactor, tls};
use nix::sys::signal::Signal;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// A server that says these, each on a connection of its own, and passes on what it was asked. The first waits until the
/// second was answered, if there are two.
fn server(answers: &'static [&'static str]) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let (asked, was_asked) = channel();
    thread::spawn(move || {
        let mut streams = Vec::new();
        for _ in answers {
            let (stream, _) = listener.accept().expect("a client");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout for the test");
            let (mut reader, mut request) = (BufReader::new(&stream), String::new());
            while !request.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut request).expect("a request") > 0, "{request}");
            }
            let length = request.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
            reader.read_exact(&mut body).expect("its body");
            request.push_str(&String::from_utf8_lossy(&body));
            let index = if request.contains(" /1 ") { 1 } else { 0 };
            asked.send(request).ok();
            streams.push((index, stream));
        }
        streams.sort_by_key(|(index, _)| usize::MAX - index);
        for (index, mut stream) in streams {
            stream.write_all(answers[index].as_bytes()).expect("it reads");
        }
    });
    (port, was_asked)
}

const ZERO: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nzero\n";
const ONE: &str = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 4\r\n\r\none\n";

#[test]
fn fetch_prints_bodies_in_the_order_of_the_arguments() {
    let (port, _) = server(&[ZERO, ONE]);
    let urls = [0, 1].map(|page| format!("http://127.0.0.1:{port}/{page}"));
    let ended = run("fetch", &[&urls[0], &urls[1]]);
    assert_eq!(
        (ended.status, &ended.out[..]),
        (Some(0), &["zero".to_string(), "one".to_string()][..]),
        "{ended:#?}"
    );
    assert!(ended.message(&urls[0]).trim_start().starts_with("200         5"), "{ended:#?}");
    assert!(ended.message(&urls[1]).trim_start().starts_with("404         4"), "{ended:#?}");
    ended.message("2 of 2 fetched with 2 sockets");
}

#[test]
fn fetch_sends_a_form_and_fields() {
    let (port, asked) = server(&[ZERO]);
    let url = format!("http://127.0.0.1:{port}/");
    let ended = run("fetch", &["-d", "a=b", "-H", "X-Own: yes", &url]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let asked = asked.recv_timeout(PATIENCE).expect("a request");
    assert!(
        asked.starts_with("POST / ") && asked.contains("X-Own: yes\r\n") && asked.ends_with("\r\n\r\na=b"),
        "{asked}"
    );
}

#[test]
fn fetch_sends_the_content_type_and_the_expectation_that_it_is_given() {
    let (port, asked) = server(&[ZERO]);
    let url = format!("http://127.0.0.1:{port}/");
    let fields = ["-H", "content-type: application/json", "-H", "Expect: 100-continue"];
    let ended = run("fetch", &[&["-d", "[1]"], &fields[..], &[&url]].concat());
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let asked = asked.recv_timeout(PATIENCE).expect("a request");
    assert_eq!(asked.to_ascii_lowercase().matches("content-type").count(), 1, "{asked}");
    assert!(asked.contains("content-type: application/json\r\n") && asked.ends_with("[1]"), "{asked}");
}

#[test]
fn fetch_names_what_failed_and_prints_the_rest() {
    let (port, _) = server(&[ZERO]);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let (good, bad) = (format!("http://127.0.0.1:{port}/"), format!("http://{nobody}/x"));
    let ended = run("fetch", &[&bad, &good]);
    assert_eq!((ended.status, &ended.out[..]), (Some(1), &["zero".to_string()][..]), "{ended:#?}");
    ended.message(&format!("{bad}: connecting to {nobody}: "));
    ended.message("1 of 2 fetched with 1 socket");
}

/// A server of so many connections that answers each with its number and this many bytes.
fn large(connections: usize, length: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().expect("a client");
            thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let first = lines.next().expect("a request");
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let number = first.split(['/', ' ']).find_map(|word| word.parse::<u8>().ok());
                let head =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                (&stream).write_all(head.as_bytes()).ok();
                (&stream).write_all(&vec![b'0' + number.expect("a number"); length]).ok();
            });
        }
    });
    port
}

#[test]
fn fetch_writes_what_is_large_as_it_comes_and_lets_the_others_wait() {
    const LENGTH: usize = 12 << 20; // more than a whole body may have
    let port = large(3, LENGTH);
    let urls = [1, 2, 3].map(|page| format!("http://127.0.0.1:{port}/{page}"));
    let folder = std::env::temp_dir().join(format!("enjamb-fetch-{}", std::process::id()));
    let mut fetch = Command::new(path("fetch"));
    fetch.args(&urls).args(["-o"]).arg(&folder).stdout(Stdio::piped());
    let mut program = Program::spawn(fetch);
    program.err.wait_for("3 of 3 fetched");
    let ended = program.end();
    let came = std::fs::read(&folder).expect("a file");
    std::fs::remove_file(&folder).ok();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert_eq!(came.len(), 3 * LENGTH);
    assert!(came.chunks(LENGTH).zip(b"123").all(|(page, digit)| page.iter().all(|byte| byte == digit)));
}

/// Reads a request's head.
fn take_head(stream: &TcpStream) {
    BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
}

/// A server of one connection that says 32 MiB of `2`, and tells when nobody takes any more of it for the moment; `false`
/// if all was taken first.
fn flood() -> (u16, Receiver<bool>) {
    const LENGTH: usize = 32 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let (tell, told) = channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        take_head(&stream);
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n").ok();
        stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let (body, mut written) = (vec![b'2'; LENGTH], 0);
        while let Ok(more @ 1..) = stream.write(&body[written..]) {
            written += more;
        }
        tell.send(written < LENGTH).ok();
        stream.set_write_timeout(None).expect("no timeout");
        stream.write_all(&body[written..]).ok();
        drop(stream);
        // Whoever is sent here by the other.
        while let Ok((mut stream, _)) = listener.accept() {
            take_head(&stream);
            stream.write_all(ZERO.as_bytes()).ok();
        }
    });
    (port, told)
}

/// Fetches from a server that says this, once the flood at a second URL has come to a halt.
#[track_caller]
fn fetch_before_a_flood(args: &[&str], says: impl FnOnce(u16) -> String) {
    let (flood, halts) = flood();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let slow = listener.local_addr().expect("its address");
    let file = std::env::temp_dir().join(format!("enjamb-flood-{}-{flood}", std::process::id()));
    let mut fetch = Command::new(path("fetch"));
    fetch.args(args).args(["-o"]).arg(&file).stdout(Stdio::piped());
    fetch.args([format!("http://{slow}/"), format!("http://127.0.0.1:{flood}/")]);
    let program = Program::spawn(fetch);
    let (mut stream, _) = listener.accept().expect("fetch");
    take_head(&stream);
    let halted = halts.recv_timeout(PATIENCE).expect("word of the flood");
    stream.write_all(says(flood).as_bytes()).expect("it reads");
    drop(stream);
    let ended = program.end();
    let came = std::fs::read(&file).expect("a file");
    std::fs::remove_file(&file).ok();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert!(halted, "all of it was taken, though none could be written");
    assert!(came.starts_with(b"zero\n2") && came.len() == 5 + (32 << 20), "{} bytes", came.len());
}

#[test]
fn fetch_holds_up_a_flood_before_its_turn_also_where_the_first_page_has_not_begun() {
    fetch_before_a_flood(&[], |_| ZERO.to_string());
}

#[test]
fn fetch_lets_a_flood_go_on_that_has_the_place_the_first_page_waits_for() {
    fetch_before_a_flood(&["--limit-per-host", "1"], |flood| {
        format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{flood}/\r\nContent-Length: 0\r\n\r\n")
    });
}

#[test]
fn fetch_ends_quietly_when_nobody_reads() {
    let port = large(1, 40 << 20);
    let mut fetch = Command::new(path("fetch"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    fetch.arg(format!("http://127.0.0.1:{port}/1")).stdout(writer);
    let program = Program::spawn(fetch);
    drop(reader);
    let ended = program.end();
    assert_eq!((ended.status, ended.err.len()), (Some(0), 0), "{ended:#?}");
}

#[test]
fn fetch_that_is_interrupted_says_so() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", silent.local_addr().expect("its address"));
    let program = Program::start("fetch", &[&url]);
    let _client = silent.accept().expect("the program");
    program.signal(Signal::SIGINT);
    assert_eq!(program.end().status, Some(130));
}

#[test]
fn fetch_does_not_wait_longer_than_it_may() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", silent.local_addr().expect("its address"));
    let ended = run("fetch", &["--timeout", "100ms", &url]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    ended.message("longer than 100.0ms in all");
}

#[test]
fn fetch_has_the_limit_for_connecting_for_the_handshake_too() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}/", silent.local_addr().expect("its address"));
    let ended = run("fetch", &["--connect-timeout", "100ms", "--timeout", "5s", &url]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    ended.message("the TLS handshake with");
    assert!(!ended.err.iter().any(|line| line.contains("in all")), "{ended:#?}");
}

#[test]
fn fetch_refuses_what_it_cannot_do() {
    for args in [
        &[][..],
        &["ftp://h/"],
        &["http://exa mple/"],
        &["-H", "no colon", "http://h/"],
        &["-H", "X: a\nb", "http://h/"],
        &["-H", "Expect: 100-continue", "http://h/"],
        &["-H", "Content-Type: a/b", "-H", "Content-Type: c/d", "http://h/"],
        &["--limit", "0", "http://h/"],
        &["--limit-per-host", "-1", "http://h/"],
        &["--limit", "1", "--limit-per-host", "2", "http://h/"],
        &["--output", "/nonexistent/x", "http://h/"],
        &["--timeout", "0", "http://h/"],
        &["--ca", "/nonexistent.pem", "http://h/"],
        &["--ca", "x", "--insecure", "http://h/"],
    ] {
        let ended = run("fetch", args);
        assert_eq!(ended.status, Some(2), "{args:?}: {ended:#?}");
    }
}

#[test]
fn fetch_says_that_insecure_is() {
    let (port, _) = server(&[ZERO]);
    let ended = run("fetch", &["--insecure", &format!("http://127.0.0.1:{port}/")]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    ended.message("whoever answers is trusted");
}

/// Answers each request with the same page.
struct Page;

impl Protocol for Page {
    fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> io::Result<()> {
        if input.peek().ends_with(b"\r\n\r\n") {
            input.take_all();
            conn.write(ZERO.as_bytes());
        }
        Ok(())
    }
}

#[test]
fn fetch_trusts_whom_it_is_told_to() {
    let (listens, listening) = channel();
    thread::spawn(move || {
        let (certificate, key) = (certs::CERTIFICATE, certs::KEY);
        let server = tls::Server::new(certificate, key).expect("a certificate");
        let (mut reactor, mut state) = (Reactor::new().expect("a loop"), ());
        let mut cx = reactor.cx(&mut state);
        let mut listener = cx.listen(([127, 0, 0, 1], 0), |_, _| Page).expect("a free port");
        listener.secure(&server);
        listens.send(listener.local_addr().expect("its address").port()).expect("the test waits");
        reactor.run(&mut state).expect("it runs");
    });
    let port = listening.recv_timeout(PATIENCE).expect("a server");
    let url = format!("https://localhost:{port}/");
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certs/ca.pem");
    for (options, status) in [(&["--ca", authority][..], 0), (&["--insecure"], 0), (&[], 1)] {
        let ended = run("fetch", &[options, &[&url]].concat());
        assert_eq!((ended.status, ended.out.len()), (Some(status), 1 - status as usize), "{ended:#?}");
        if status == 1 {
            ended.message("invalid peer certificate");
        }
    }
}

#[test]
fn a_kept_session_opens_one_socket_and_one_for_each_opens_as_many() {
    for args in [&[][..], &["--different"]] {
        let ended = run("fetch10", args);
        assert_eq!(ended.status, Some(0), "{ended:#?}");
        let sockets: Vec<&str> =
            ended.out[1..].iter().filter_map(|row| row.split_whitespace().rev().nth(1)).collect();
        assert_eq!(sockets, ["1", "10"], "{ended:#?}");
    }
}

#[test]
fn a_login_visits_the_members_and_logs_out() {
    let ended = run("login", &[]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let expected = [
        "the form has 2 hidden inputs: token, next",
        "logged in as ann, with 1 cookie",
        "welcome to the members' room",
        "logged out, with 0 cookies",
        "3 requests and a redirect over 1 socket",
    ];
    assert_eq!(ended.out, expected, "{ended:#?}");
}

#[test]
fn a_visit_that_fails_logs_out_all_the_same() {
    let ended = run("login", &["--must-say", "something else"]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(ended.out.contains(&"logged out, with 0 cookies".to_string()), "{ended:#?}");
    ended.message("does not say \"something else\"");
}

#[test]
fn a_login_that_is_refused_says_so() {
    let ended = run("login", &["--password", "x"]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    ended.message("401: wrong name or password");
}

#[test]
fn the_site_refuses_a_request_whose_length_it_could_not_count() {
    for length in ["18446744073709551615", "99999999999999999999", "16385", "x"] {
        let mut reactor = Reactor::<()>::new().expect("a reactor");
        let mut state = ();
        let mut cx = reactor.cx(&mut state);
        let listening = cx.listen(([127, 0, 0, 1], 0), |_, _| site::Site);
        let address = listening.expect("a free port").local_addr().expect("its address");
        let mut stream = TcpStream::connect(address).expect("the site");
        write!(stream, "POST /login HTTP/1.1\r\nContent-Length: {length}\r\n\r\n").expect("it reads");
        let reader = thread::spawn(move || stream.read(&mut [0]));
        while !reader.is_finished() {
            reactor.turn(&mut (), Some(Duration::from_millis(10))).expect("a turn");
        }
        let answer = reader.join().expect("a reader");
        assert!(!matches!(answer, Ok(1)), "{length}: closed without an answer");
    }
}
