//! The echo server for datagrams: what comes back, what is dropped, and that only a signal ends it.

use super::programs::{PATIENCE, Program, path, run};
use nix::sys::signal::Signal;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(to).expect("an address to send to");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout for the test");
    socket
}

fn expect(client: &UdpSocket, expected: &[u8]) {
    let mut got = vec![0; 65_536];
    let n = client.recv(&mut got).expect("it comes back");
    assert!(&got[..n] == expected, "{n} bytes came instead of {}", expected.len());
}

#[test]
fn every_datagram_goes_back_to_its_own_sender() {
    let mut echo = Program::start("udp_echo", &["--listen", "0"]);
    let address = echo.address();
    let clients = [client(address), client(address)];
    for round in 0..100_u8 {
        for (n, client) in (0..).zip(&clients) {
            client.send(&[round, n]).expect("it is sent");
        }
        for (n, client) in (0..).zip(&clients) {
            expect(client, &[round, n]);
        }
    }
    clients[0].send(b"").expect("an empty one is one, too");
    expect(&clients[0], b"");
    echo.signal(Signal::SIGTERM);
    let ended = echo.end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert_eq!(ended.out.last().expect("a tally"), "echoed 201 datagrams, 400 bytes; dropped 0");
}

#[test]
fn more_datagrams_than_its_budget_in_one_edge_all_come_back() {
    let mut echo = Program::start("udp_echo", &["--listen", "0"]);
    let client = client(echo.address());
    // Stopped, it finds them all at once: they wait in its receive buffer, which holds a few hundred small ones.
    echo.signal(Signal::SIGSTOP);
    for n in 0..150_u8 {
        client.send(&[n]).expect("it is sent");
    }
    echo.signal(Signal::SIGCONT);
    for n in 0..150 {
        expect(&client, &[n]);
    }
}

#[test]
fn the_largest_datagram_comes_back_whole_and_one_over_the_limit_is_dropped() {
    let mut echo = Program::start("udp_echo", &["--listen", "0"]);
    let one = client(echo.address());
    let largest = vec![b'x'; 65_507]; // what IPv4 leaves of its 65,535 bytes
    one.send(&largest).expect("it is sent");
    expect(&one, &largest);

    let mut echo = Program::start("udp_echo", &["--listen", "0", "--max-bytes", "10"]);
    let one = client(echo.address());
    for datagram in [&b"12345678901"[..], b"1234567890", &largest, b"and on"] {
        one.send(datagram).expect("it is sent");
    }
    expect(&one, b"1234567890");
    expect(&one, b"and on");
    echo.signal(Signal::SIGINT);
    let ended = echo.end();
    assert_eq!(ended.out.last().expect("a tally"), "echoed 2 datagrams, 16 bytes; dropped 2");
}

#[test]
fn a_client_that_has_left_before_its_answer_disturbs_no_other() {
    let mut echo = Program::start("udp_echo", &["--listen", "0"]);
    let address = echo.address();
    let staying = client(address);
    echo.signal(Signal::SIGSTOP);
    for _ in 0..10 {
        client(address).send(b"and away").expect("it is sent"); // its answer meets an ICMP message: nobody at that port
    }
    staying.send(b"still here").expect("it is sent");
    echo.signal(Signal::SIGCONT);
    expect(&staying, b"still here");
}

/// Which call of sendto(2) is the first of the server's own: signal-hook tries each of its two pipes out with one.
const FIRST_SEND: usize = 3;

/// The server with a fault that the kernel is made to tell. `None` where that cannot be done.
fn faulty(inject: &str) -> Option<Program> {
    let traced = Command::new("strace").args(["-e", "trace=none", "true"]).stderr(Stdio::null()).status();
    if !traced.is_ok_and(|status| status.success()) {
        println!("not run: strace is not installed, or not permitted to trace");
        return None;
    }
    let mut command = Command::new("strace");
    // As a grandchild (-D), so that what is started, and killed if the test ends first, is the server itself.
    // With seccomp-bpf, only the calls that are injected into are stopped at; and what strace itself says is not needed.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", inject]).arg(path("udp_echo"));
    command.args(["--listen", "0"]).stdout(Stdio::piped());
    Some(Program::spawn(command))
}

#[test]
#[cfg(target_os = "linux")]
fn an_error_that_icmp_has_brought_does_not_end_it() {
    for error in ["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH"] {
        let Some(mut echo) = faulty(&format!("inject=recvfrom:error={error}:when=1..3")) else { return };
        let client = client(echo.address());
        client.send(b"all the same").expect("it is sent");
        expect(&client, b"all the same");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_receive_that_fails_for_good_ends_it_with_the_reason() {
    let Some(mut echo) = faulty("inject=recvfrom:error=ENOMEM") else { return };
    client(echo.address()).send(b"anybody?").expect("it is sent");
    let message = echo.err.wait_for("receiving on");
    assert!(message.contains("memory"), "{message}");
    assert_eq!(echo.end().status, Some(1));
}

#[test]
#[cfg(target_os = "linux")]
fn a_datagram_that_found_the_send_buffer_full_waits_and_goes_first() {
    let Some(mut echo) = faulty(&format!("inject=sendto:error=EAGAIN:when={FIRST_SEND}")) else { return };
    let client = client(echo.address());
    client.send(b"one").expect("it is sent");
    // No buffer was full, so none will say that it has room: the events of these have to do.
    client.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout for the test");
    let start = Instant::now();
    let mut got = [0; 3];
    while client.recv(&mut got).is_err() {
        assert!(start.elapsed() < PATIENCE, "it does not come back");
        client.send(b"two").expect("it is sent");
    }
    assert_eq!(&got, b"one");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout for the test");
    client.send(b"end").expect("it is sent");
    while &got != b"end" {
        client.recv(&mut got).expect("those behind it come, too");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_datagram_that_cannot_be_sent_is_dropped_and_the_next_is_not() {
    let Some(mut echo) = faulty(&format!("inject=sendto:error=EPERM:when={FIRST_SEND}")) else { return };
    let client = client(echo.address());
    client.send(b"one").expect("it is sent");
    client.send(b"two").expect("it is sent");
    expect(&client, b"two");
}

#[test]
fn a_busy_port_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let ended = run("udp_echo", &["--listen", &port]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(ended.message("already in use").contains(&port), "{ended:#?}");
}
