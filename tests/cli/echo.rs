//! The echo server: what it sends back, its limits, and how it ends.

use super::programs::{PATIENCE, Program, run};
use super::servers::{connect, expect};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

struct Echo {
    program: Program,
    address: SocketAddr,
}

impl Echo {
    fn start(options: &[&str]) -> Self {
        let mut program = Program::start("echo", &[&["--listen", "0"], options].concat());
        let line = program.out.wait_for("");
        let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("no address in {line:?}")), program }
    }

    fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// A client that has sent until nothing went any more, and has read nothing: it is owed a lot.
    fn connect_owed(&self) -> TcpStream {
        let mut client = self.connect();
        client.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout for the test");
        let error = loop {
            if let Err(error) = client.write_all(&[b'x'; 65_536]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        client
    }

    /// Asks it to end, and returns once it is about to.
    fn terminate(&mut self) {
        self.program.signal(Signal::SIGTERM);
        self.program.err.wait_for("ending within");
    }
}

fn ping(client: &mut TcpStream) {
    client.write_all(b"ping").expect("the server reads");
    expect(client, b"ping");
}

/// A message comes a moment before the listener is gone.
fn wait_until_refused(address: SocketAddr) {
    let start = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "{address} still listens");
    }
}

fn assert_closed(client: &mut TcpStream) {
    assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
}

#[test]
fn it_sends_back_what_comes_and_says_nothing() {
    let echo = Echo::start(&[]);
    assert!(echo.address.ip().is_loopback());
    let (mut one, mut two) = (echo.connect(), echo.connect());
    ping(&mut one);
    ping(&mut two);
    ping(&mut one);
    echo.program.signal(Signal::SIGKILL);
    let ended = echo.program.end();
    assert_eq!(ended.out.len(), 1, "{ended:#?}");
    assert!(ended.err.is_empty(), "{ended:#?}");
}

#[test]
fn a_megabyte_comes_back_after_a_half_close() {
    let echo = Echo::start(&[]);
    let sent: Vec<u8> = (0..1_048_576_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let mut client = echo.connect();
    let mut writer = client.try_clone().expect("a second handle");
    let writing = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&writing).expect("the server reads");
        writer.shutdown(Shutdown::Write).expect("half a close");
    });
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("all comes back");
    writing.join().expect("all was sent");
    assert!(got == sent, "{} bytes came back, but not those that were sent", got.len());
}

#[test]
fn a_silent_connection_is_closed_and_an_active_one_is_not() {
    let echo = Echo::start(&["--idle-timeout", "2s"]);
    let (mut active, mut silent) = (echo.connect(), echo.connect());
    ping(&mut silent);
    let silent = thread::spawn(move || assert_closed(&mut silent));
    while !silent.is_finished() {
        ping(&mut active);
        thread::sleep(Duration::from_millis(5));
    }
    silent.join().expect("the silent one is closed");
    ping(&mut active);
}

#[test]
fn a_client_that_takes_nothing_of_what_it_is_owed_is_reset_not_ended() {
    let echo = Echo::start(&["--idle-timeout", "10s"]);
    let mut client = echo.connect_owed();
    // Nothing can be sent before the server has given up.
    let given_up = poll(&mut [PollFd::new(client.as_fd(), PollFlags::POLLOUT)], 60_000u16);
    assert_eq!(given_up, Ok(1));
    let error = client.read_to_end(&mut Vec::new()).expect_err("a part must not look like the whole");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn past_max_conns_accepting_pauses_and_goes_on_when_a_place_is_free() {
    let echo = Echo::start(&["--max-conns", "2"]);
    let mut served = [echo.connect(), echo.connect()];
    served.iter_mut().for_each(ping);
    let mut waiting = [echo.connect(), echo.connect(), echo.connect()];
    for client in &mut waiting {
        client.write_all(b"pong").expect("the backlog takes it");
    }
    // The loop would have served them long before it has answered this often.
    for _ in 0..100 {
        served.iter_mut().for_each(ping);
    }
    for client in &waiting {
        client.set_nonblocking(true).expect("nonblocking");
        let early = { client }.read(&mut [0]).expect_err("no place yet");
        assert_eq!(early.kind(), ErrorKind::WouldBlock);
        client.set_nonblocking(false).expect("blocking");
    }
    drop(served);
    for mut client in waiting {
        expect(&mut client, b"pong");
    }
}

#[test]
fn sigterm_ends_it_with_0_when_nothing_is_owed() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let echo = Echo::start(&["--drain-timeout", "1h"]);
        let mut client = echo.connect();
        ping(&mut client);
        echo.program.signal(signal);
        assert_closed(&mut client);
        drop(client);
        let ended = echo.program.end();
        assert_eq!(ended.status, Some(0), "{ended:#?}");
    }
}

#[test]
fn after_sigterm_it_sends_what_is_owed_and_accepts_no_more() {
    let mut echo = Echo::start(&["--drain-timeout", "1h"]);
    let mut client = echo.connect_owed();
    echo.terminate();
    wait_until_refused(echo.address);
    let mut owed = Vec::new();
    client.read_to_end(&mut owed).expect("a clean end");
    assert!(owed.iter().all(|&byte| byte == b'x'));
    drop(client);
    let ended = echo.program.end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
}

#[test]
fn a_client_that_will_not_take_what_it_is_owed_is_cut_off() {
    let mut echo = Echo::start(&["--drain-timeout", "300ms"]);
    let _client = echo.connect_owed();
    echo.terminate();
    let ended = echo.program.end();
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    let message = ended.message("cut off 1 of the connections");
    assert!(message.contains("300ms") && message.contains("--drain-timeout"), "{message}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (second, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut echo = Echo::start(&["--drain-timeout", "1h"]);
        let _client = echo.connect_owed();
        echo.terminate();
        echo.program.signal(second);
        let ended = echo.program.end();
        assert_eq!(ended.status, Some(status), "{ended:#?}");
    }
}

#[test]
fn a_busy_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let ended = run("echo", &["--listen", &port]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(ended.out.is_empty(), "{ended:#?}");
    let message = ended.message("already in use");
    assert!(message.contains(&port) && message.contains("--listen 0"), "{message}");
}
