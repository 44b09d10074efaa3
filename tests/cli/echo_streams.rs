//! The echo server and client that log each step.

use super::programs::{PATIENCE, Program, path, run};
use super::servers::{Refusing, connect, expect, stalling};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const MESSAGE: &str = "b'This is the message. It will be sent in parts.'";

struct EchoServer {
    program: Program,
    address: SocketAddr,
}

impl EchoServer {
    fn start(options: &[&str]) -> Self {
        Self::with(Program::start("echo_server", &[&["--listen", "0"], options].concat()))
    }

    /// For much data: the messages do not have it all.
    fn start_quiet(options: &[&str]) -> Self {
        Self::with(with_filter("info", "echo_server", &[&["--listen", "0"], options].concat()))
    }

    fn with(mut program: Program) -> Self {
        let line = program.err.wait_for("main: starting up on localhost port ");
        let port = line.rsplit(' ').next().and_then(|port| port.parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("no port in {line:?}"));
        Self { address: (Ipv4Addr::LOCALHOST, port).into(), program }
    }

    fn terminate(&mut self) {
        self.program.signal(Signal::SIGTERM);
        self.program.err.wait_for("main: ending within");
    }
}

/// An example with this in `RUST_LOG`.
fn with_filter(filter: &str, name: &str, args: &[&str]) -> Program {
    let mut command = Command::new("env");
    command.arg(format!("RUST_LOG={filter}")).arg(path(name)).args(args).stdout(Stdio::piped());
    Program::spawn(command)
}

/// What the server says of a client.
fn name(client: &TcpStream) -> String {
    let address = client.local_addr().expect("its address");
    format!("echo_{}_{}: ", address.ip(), address.port())
}

/// A client that has sent until nothing went any more, and has read nothing; and how much it has sent.
fn owed(server: &EchoServer) -> (TcpStream, usize) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(65_536).expect("a small buffer");
    socket.connect(&server.address.into()).expect("the server accepts");
    let mut client = TcpStream::from(socket);
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout for the test");
    client.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout for the test");
    let mut sent = 0;
    loop {
        let piece: Vec<u8> = (sent..sent + 65_536).map(pattern).collect();
        match client.write(&piece) {
            Ok(n) => sent += n,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "after {sent} bytes: {error}");
                return (client, sent);
            }
        }
    }
}

/// Bytes of which no two stretches look the same.
fn pattern(n: usize) -> u8 {
    (n ^ (n >> 8) ^ (n >> 16).wrapping_mul(37)).to_le_bytes()[0]
}

fn assert_pattern(bytes: &[u8], length: usize) {
    assert_eq!(bytes.len(), length);
    let wrong = bytes.iter().enumerate().position(|(n, &byte)| byte != pattern(n));
    assert_eq!(wrong, None, "the first byte that is not as it was sent");
}

#[test]
fn the_pair_tells_what_it_does_in_order() {
    let mut server = EchoServer::start(&[]);
    let port = server.address.port();
    let ended = run("echo_client", &[&port.to_string()]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let expected = [
        &format!("echo_client: connecting to localhost port {port}"),
        "echo_client: sending b'This is the message. '",
        "echo_client: sending b'It will be sent '",
        "echo_client: sending b'in parts.'",
        "echo_client: waiting for response",
        &format!("echo_client: received {MESSAGE}"),
        "echo_client: closing",
        "main: closing event loop",
    ];
    assert_eq!(ended.err, expected);
    assert!(ended.out.is_empty(), "{ended:#?}");
    server.program.err.wait_for(": closing");
    server.terminate();
    let ended = server.program.end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert_eq!(ended.err[0], format!("main: starting up on localhost port {port}"));
    let (client, _) = ended.err[1].split_once(": ").expect("a name");
    assert!(client.starts_with("echo_127.0.0.1_"), "{client}");
    for (line, said) in ended.err[1..].iter().zip([
        "connection accepted",
        &format!("received {MESSAGE}"),
        &format!("sent {MESSAGE}"),
        "closing",
    ]) {
        assert_eq!(*line, format!("{client}: {said}"));
    }
    assert_eq!(ended.err[5..], ["main: ending within 5s; a second signal ends it at once"]);
}

#[test]
fn rust_log_chooses_by_name() {
    let server = EchoServer::start(&[]);
    let port = server.address.port().to_string();
    for (filter, lines) in [("echo=debug", 7), ("main=debug", 1), ("warn", 0)] {
        let ended = with_filter(filter, "echo_client", &[&port]).end();
        assert_eq!(ended.status, Some(0), "{ended:#?}");
        assert_eq!(ended.err.len(), lines, "{filter}: {ended:#?}");
    }
}

#[test]
fn it_takes_128_bytes_at_a_time_whatever_comes_at_once() {
    let mut server = EchoServer::start(&[]);
    let mut client = connect(server.address);
    let name = name(&client);
    let sent: Vec<u8> = (0..1000).map(|n| b'a' + (n % 26) as u8).collect();
    client.write_all(&sent).expect("the server reads");
    client.shutdown(Shutdown::Write).expect("half a close");
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("all comes back");
    assert_eq!(got, sent);
    server.program.err.wait_for("closing");
    server.terminate();
    let said = server.program.end().err;
    let pieces = |what: &str| -> Vec<String> {
        let start = format!("{name}{what} b'");
        said.iter()
            .filter_map(|line| line.strip_prefix(&start)?.strip_suffix('\''))
            .map(str::to_string)
            .collect()
    };
    let received = pieces("received");
    assert!(received.len() >= 8 && received.iter().all(|piece| piece.len() <= 128), "{received:?}");
    assert_eq!(received.concat().as_bytes(), sent);
    assert_eq!(pieces("sent"), received);
}

#[test]
fn what_comes_in_pieces_goes_back_in_pieces() {
    let mut server = EchoServer::start(&[]);
    let mut client = connect(server.address);
    let name = name(&client);
    for (piece, shown) in
        [(&b"one"[..], "b'one'"), (b"\r\n\0\xff", r"b'\r\n\x00\xff'"), (b"it's", "b\"it's\"")]
    {
        client.write_all(piece).expect("the server reads");
        expect(&mut client, piece);
        assert_eq!(server.program.err.wait_for("received"), format!("{name}received {shown}"));
        assert_eq!(server.program.err.wait_for("sent"), format!("{name}sent {shown}"));
    }
}

#[test]
fn ten_megabytes_read_late_come_back_whole_and_meanwhile_others_are_served() {
    const ALL: usize = 10 << 20;
    let server = EchoServer::start_quiet(&[]);
    // As much as goes before anything is read: the server takes no more than it can give back.
    let (mut client, sent) = owed(&server);
    let mut other = connect(server.address);
    other.write_all(b"ping").expect("the server reads");
    expect(&mut other, b"ping");
    // And the rest, while it reads.
    let mut writer = client.try_clone().expect("a second handle");
    writer.set_write_timeout(None).expect("no timeout");
    let all = ALL.max(sent);
    let writing = thread::spawn(move || {
        let rest: Vec<u8> = (sent..all).map(pattern).collect();
        writer.write_all(&rest).expect("the server reads");
        writer.shutdown(Shutdown::Write).expect("half a close");
    });
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("all comes back");
    writing.join().expect("all was sent");
    assert_pattern(&got, all);
}

#[test]
fn after_sigterm_it_sends_what_it_holds_and_accepts_no_more() {
    let mut server = EchoServer::start_quiet(&["--drain-timeout", "1h"]);
    let (mut client, sent) = owed(&server);
    server.terminate();
    // The message comes a moment before the listener is gone.
    let start = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it still listens");
    }
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("a clean end");
    assert!(got.len() <= sent);
    assert_pattern(&got, got.len());
    drop(client);
    let ended = server.program.end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    ended.message(": closing");
}

#[test]
fn a_client_that_does_not_take_what_it_is_owed_is_cut_off_at_the_deadline() {
    let mut server = EchoServer::start_quiet(&["--drain-timeout", "300ms"]);
    let (client, _) = owed(&server);
    let name = name(&client);
    server.terminate();
    let ended = server.program.end();
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(ended.message(&format!("{name}closing: ")).contains("were not sent"), "{ended:#?}");
    ended.message("main: cut off 1 of the connections");
}

#[test]
fn a_client_without_its_server_says_why_and_exits_with_1() {
    let refusing = Refusing::new();
    let ended = run("echo_client", &[&refusing.address()]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    let why = ended.message("Connection refused");
    assert!(why.starts_with("echo_client: ") && why.contains(&refusing.address()), "{why}");
    assert!(why.contains("is a server listening there?"), "{why}");
}

/// A server that reads to the end before it sends this.
fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        client.read_to_end(&mut Vec::new()).expect("it finishes");
        client.write_all(answer).expect("it reads");
    });
    address.to_string()
}

#[test]
fn an_answer_that_is_not_the_message_is_a_failure() {
    for (server, why) in [
        (answering(b"This is the message"), "the answer ended after 19 of 46 bytes"),
        (answering(b""), "the answer ended after 0 of 46 bytes"),
        (answering(b"Who is there?"), "is not what was sent"),
        (answering(b"This is the message. It will be sent in parts. And so on"), "is not what was sent"),
        (stalling(b"This is"), "nothing came for 1s, after 7 bytes"),
    ] {
        let ended = run("echo_client", &["--timeout", "1s", &server]);
        assert_eq!(ended.status, Some(1), "{ended:#?}");
        assert!(ended.message(why).starts_with("echo_client: "), "{ended:#?}");
    }
}

#[test]
fn a_busy_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let ended = run("echo_server", &["--listen", &port]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    let message = ended.message("already in use");
    assert!(message.starts_with("main: ") && message.contains("--listen 0"), "{message}");
}
