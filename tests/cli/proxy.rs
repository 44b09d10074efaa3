//! The proxy: what passes through, backpressure, and how one side's end reaches the other.

use super::programs::{Ended, Program, path, run};
use super::servers::{Refusing, connect, expect};
use nix::sys::signal::Signal;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

struct Proxy {
    program: Program,
    address: SocketAddr,
    upstream: TcpListener,
}

impl Proxy {
    fn start(options: &[&str]) -> Self {
        let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let to = upstream.local_addr().expect("its address");
        let (program, address) = start_to(to, options);
        Self { program, address, upstream }
    }

    /// A client, and what it is connected to.
    fn connect(&self) -> (TcpStream, TcpStream) {
        (connect(self.address), self.accept())
    }

    /// The connection that the proxy makes for a client.
    fn accept(&self) -> TcpStream {
        let (upstream, _) = self.upstream.accept().expect("the proxy connects");
        upstream.set_read_timeout(Some(super::programs::PATIENCE)).expect("a timeout for the test");
        upstream
    }

    /// Asks it to end, which it does when the connections have.
    fn end(self) -> Ended {
        self.program.signal(Signal::SIGTERM);
        self.program.end()
    }
}

fn start_to(to: SocketAddr, options: &[&str]) -> (Program, SocketAddr) {
    // Of the pairs that fail, all but one in a second would be counted only.
    let mut program =
        Program::start_telling_all("proxy", &[&["--listen", "0", "--to", &to.to_string()], options].concat());
    let address = program.address();
    (program, address)
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i ^ (i >> 8) ^ (i >> 16).wrapping_mul(37)) as u8).collect()
}

/// Writes until nothing goes any more, and returns how much went.
fn fill(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout for the test");
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    stream.set_write_timeout(None).expect("no timeout");
    sent
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
}

fn assert_reset(stream: &mut TcpStream) {
    let error = stream.read_to_end(&mut Vec::new()).expect_err("a part must not look like the whole");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_half_close_passes_through_in_both_directions() {
    let proxy = Proxy::start(&[]);
    for client_first in [true, false] {
        let (client, upstream) = proxy.connect();
        let (mut first, mut second) = if client_first { (client, upstream) } else { (upstream, client) };
        first.write_all(b"my last word").expect("it is taken");
        first.shutdown(Shutdown::Write).expect("half a close");
        let mut got = String::new();
        second.read_to_string(&mut got).expect("bytes and their end");
        assert_eq!(got, "my last word");
        second.write_all(b"but not mine").expect("it is taken");
        expect(&mut first, b"but not mine");
        second.shutdown(Shutdown::Write).expect("the other half");
        assert_eq!(first.read(&mut [0]).expect("an end"), 0);
    }
}

#[test]
fn a_slow_side_slows_the_other_and_nothing_is_lost() {
    const SIZE: usize = 64 * MIB;
    let proxy = Proxy::start(&[]);
    for slow_client in [false, true] {
        let (client, upstream) = proxy.connect();
        let (mut fast, mut slow) = if slow_client { (upstream, client) } else { (client, upstream) };
        let bytes = pattern(SIZE);
        let sent = fill(&mut fast, &bytes);
        assert!(sent < SIZE, "it was not held back");
        let rest = bytes[sent..].to_vec();
        let writing = thread::spawn(move || {
            fast.write_all(&rest).expect("it is taken in the end");
            fast.shutdown(Shutdown::Write).expect("half a close");
            fast
        });
        let mut got = Vec::new();
        slow.read_to_end(&mut got).expect("all comes through");
        assert!(got == bytes, "{} bytes came, but not those that were sent", got.len());
        drop(slow);
        let mut fast = writing.join().expect("all was sent");
        assert_eq!(fast.read(&mut [0]).expect("an end"), 0);
    }
    let ended = proxy.end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let (there, back) = (&ended.out[1], &ended.out[2]);
    assert!(there.ends_with(&format!(": {SIZE} bytes there, 0 bytes back")), "{ended:#?}");
    assert!(back.ends_with(&format!(": 0 bytes there, {SIZE} bytes back")), "{ended:#?}");
    assert_eq!(ended.out[3], format!("2 connections: {SIZE} bytes there, {SIZE} bytes back"));
}

#[test]
fn a_direction_that_is_held_back_does_not_hold_back_the_other() {
    const SIZE: usize = 64 * MIB;
    let proxy = Proxy::start(&[]);
    let (mut client, mut upstream) = proxy.connect();
    let sent = fill(&mut client, &pattern(SIZE)); // and upstream reads none of it
    let bytes = pattern(SIZE);
    let filled = fill(&mut upstream, &bytes); // now both are full
    assert!(sent < SIZE && filled < SIZE);
    let rest = bytes[filled..].to_vec();
    let writing = thread::spawn(move || {
        upstream.write_all(&rest).expect("the client reads");
        upstream
    });
    let mut got = vec![0; SIZE];
    client.read_exact(&mut got).expect("upstream's bytes come, though it reads none");
    assert!(got == bytes);
    client.shutdown(Shutdown::Write).expect("half a close");
    let mut upstream = writing.join().expect("all was sent");
    let mut got = Vec::new();
    upstream.read_to_end(&mut got).expect("now it reads");
    assert!(got == pattern(SIZE)[..sent]);
}

#[test]
#[cfg(target_os = "linux")]
fn the_memory_is_the_same_for_a_few_bytes_and_for_many() {
    let peak = |size: usize| {
        let proxy = Proxy::start(&[]);
        let (mut client, mut upstream) = proxy.connect();
        let bytes = pattern(size);
        // Both directions, first with nobody who reads, and then as fast as may be.
        let sent = fill(&mut client, &bytes);
        let back = fill(&mut upstream, &bytes);
        let reading = thread::spawn(move || {
            upstream.read_exact(&mut vec![0; size]).expect("all comes");
            upstream.write_all(&vec![0; size - back]).expect("all goes");
        });
        let answers = client.try_clone().expect("a second handle");
        let answers = thread::spawn(move || { answers }.read_exact(&mut vec![0; size]).expect("all comes"));
        client.write_all(&bytes[sent..]).expect("all goes");
        reading.join().expect("all came there");
        answers.join().expect("all came back");
        proxy.program.peak_memory()
    };
    let (few, many) = (peak(10_000), peak(64 * MIB));
    // Two connections, each with the high-water mark and one buffer above it, the buffer's growth, and its spares.
    assert!(many <= few + 1024, "{few} KiB for 10,000 bytes, {many} KiB for 64 MiB each way");
}

#[test]
fn a_connect_that_fails_closes_its_client_names_the_address_and_hurts_no_other() {
    let refusing = Refusing::new();
    let (mut program, address) = start_to(refusing.address().parse().expect("an address"), &[]);
    for _ in 0..2 {
        let mut client = connect(address);
        assert_eq!(client.read(&mut [0]).expect("an end"), 0);
        let message = program.err.wait_for("connecting to");
        let own = client.local_addr().expect("its address").to_string();
        assert!(message.contains(&refusing.address()) && message.starts_with(&own), "{message}");
    }
}

#[test]
fn of_the_pairs_that_fail_one_in_a_second_is_named_and_the_others_are_counted() {
    const MANY: usize = 200;
    let refusing = Refusing::new();
    let mut program = Program::start("proxy", &["--listen", "0", "--to", &refusing.address()]);
    let (address, start) = (program.address(), Instant::now());
    for _ in 0..MANY {
        assert_eq!(connect(address).read(&mut [0]).expect("an end"), 0);
    }
    let seconds = start.elapsed().as_secs() as usize + 1;
    program.signal(Signal::SIGTERM);
    let ended = program.end();
    let named = ended.err.iter().filter(|line| line.contains("connecting to")).count();
    let more = |line: &String| line.strip_prefix("… and ")?.split(' ').next()?.parse::<usize>().ok();
    let counted: usize = ended.err.iter().filter_map(more).sum();
    assert!(named <= seconds, "{named} in {seconds} s: {ended:#?}");
    assert_eq!(named + counted, MANY, "{ended:#?}");
}

#[test]
fn what_comes_before_there_is_another_side_stays_with_the_kernel_and_arrives_in_the_end() {
    const SIZE: usize = 64 * MIB;
    let bytes = pattern(SIZE); // which takes a while, and the proxy gives the connect up after ten seconds
    // A listener that is not accepted from: once its backlog is full, a connect stays under way.
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    deaf.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    deaf.listen(0).expect("a listener");
    let to = deaf.local_addr().ok().and_then(|address| address.as_socket()).expect("its address");
    let backlog = TcpStream::connect(to).expect("the one place in the backlog");
    let (program, address) = start_to(to, &[]);
    let mut client = connect(address);
    let before = program.peak_memory();
    let sent = fill(&mut client, &bytes);
    assert!(sent < SIZE, "it was not held back");
    assert!(program.peak_memory() <= before + 512, "{} KiB more", program.peak_memory() - before);
    deaf.set_read_timeout(Some(crate::cli::programs::PATIENCE)).expect("a timeout for the test"); // accept(2) keeps to it
    let listener = TcpListener::from(deaf);
    drop(listener.accept().expect("who filled the backlog"));
    drop(backlog);
    let (mut upstream, _) = listener.accept().expect("the kernel tries again");
    client.shutdown(Shutdown::Write).expect("half a close");
    let mut got = Vec::new();
    upstream.read_to_end(&mut got).expect("all comes through");
    assert!(got == bytes[..sent]);
}

#[test]
fn a_side_that_is_reset_resets_the_other() {
    let mut proxy = Proxy::start(&[]);
    for client_first in [true, false] {
        let (client, upstream) = proxy.connect();
        let (mut first, mut second) = if client_first { (client, upstream) } else { (upstream, client) };
        first.write_all(b"half a sen").expect("it is taken");
        expect(&mut second, b"half a sen");
        reset(first);
        assert_reset(&mut second);
        proxy.program.err.wait_for("reset");
    }
}

#[test]
fn a_side_that_is_reset_while_the_other_is_held_back_resets_it_too() {
    let proxy = Proxy::start(&[]);
    let (mut client, upstream) = proxy.connect();
    fill(&mut client, &pattern(64 * MIB));
    reset(upstream);
    let error = client.write_all(&pattern(64 * MIB)).expect_err("nobody takes it");
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

/// Writes until nothing goes any more, or the connection is cut off for that.
fn flood(stream: &mut TcpStream) {
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout for the test");
    stream.write_all(&vec![b'x'; 64 * MIB]).expect_err("it is held back");
}

/// How many descriptors it has open: proc_pid_fd(5).
#[cfg(target_os = "linux")]
fn descriptors(program: &Program) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", program.id())).expect("it runs").count()
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_that_floods_and_is_reset_past_a_server_that_does_not_read_is_cut_off() {
    let mut proxy = Proxy::start(&["--stall-timeout", "4s"]);
    let before = descriptors(&proxy.program);
    for client_ends in [false, true] {
        let (mut client, mut upstream) = proxy.connect();
        let name = client.local_addr().expect("its address").to_string();
        flood(&mut client);
        if client_ends {
            client.shutdown(Shutdown::Write).ok(); // and it is still there
        } else {
            reset(client);
        }
        proxy.program.out.wait_for(&name); // the pair has ended
        assert_eq!(descriptors(&proxy.program), before);
        assert_reset(&mut upstream);
    }
    let ended = proxy.end();
    ended.message("nothing has moved for 4s");
}

#[test]
fn a_pair_that_moves_in_one_direction_or_has_nothing_to_send_is_not_cut_off() {
    let mut proxy = Proxy::start(&["--stall-timeout", "4s"]);
    let (mut idle, mut idle_upstream) = proxy.connect();
    let (client, mut upstream) = proxy.connect();
    let mut flooding = client.try_clone().expect("a second handle");
    let done = Arc::new(AtomicBool::new(false));
    let still = Arc::clone(&done);
    let other_direction = thread::spawn(move || {
        while !still.load(Ordering::Relaxed) {
            upstream.write_all(b"on and").expect("it is taken");
            expect(&mut &client, b"on and");
        }
    });
    flood(&mut flooding); // in this direction nothing moves any more
    // One after the other, so that the time is up for the first pairs too.
    for _ in 0..2 {
        let (mut stalled, _upstream) = proxy.connect();
        flood(&mut stalled);
        proxy.program.err.wait_for("nothing has moved for 4s");
    }
    done.store(true, Ordering::Relaxed);
    other_direction.join().expect("it goes on");
    idle.write_all(b"still there").expect("it is taken");
    expect(&mut idle_upstream, b"still there");
}

#[test]
fn the_whole_answer_of_a_server_that_ended_and_left_arrives_although_the_client_still_sends() {
    let proxy = Proxy::start(&[]);
    // Nearly all of the answer stays at the proxy, where a reset would destroy it. It is no more than fits there: the
    // proxy cannot have what the server's kernel still holds at the reset.
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    client.set_recv_buffer_size(4096).expect("a small buffer");
    client.connect(&proxy.address.into()).expect("it listens");
    let (mut client, mut upstream) = (TcpStream::from(client), proxy.accept());
    let bytes = pattern(192 * 1024);
    upstream.write_all(&bytes).expect("the kernel holds that much");
    upstream.shutdown(Shutdown::Write).expect("its last");
    // Each of these takes the proxy a turn, in which it reads on: the end has arrived after them.
    for _ in 0..50 {
        client.write_all(b"on and").expect("it is taken");
        expect(&mut upstream, b"on and");
    }
    drop(upstream);
    client.write_all(b"this is answered with a reset").expect("it is taken");
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("all of it, and an end");
    assert!(got == bytes, "{} of {} bytes", got.len(), bytes.len());
}

#[test]
fn bytes_each_way_are_told_when_a_pair_ends_and_in_sum() {
    let mut proxy = Proxy::start(&[]);
    for (there, back) in [(10_000, 3), (5, 70_000)] {
        let (mut client, mut upstream) = proxy.connect();
        let name = client.local_addr().expect("its address");
        client.write_all(&vec![b'x'; there]).expect("it is taken");
        upstream.read_exact(&mut vec![0; there]).expect("it comes");
        upstream.write_all(&vec![b'y'; back]).expect("it is taken");
        client.read_exact(&mut vec![0; back]).expect("it comes");
        drop((client, upstream));
        let line = proxy.program.out.wait_for("bytes there");
        assert_eq!(line, format!("{name}: {there} bytes there, {back} bytes back"));
    }
    let ended = proxy.end();
    assert_eq!(ended.out.last().expect("a sum"), "2 connections: 10005 bytes there, 70003 bytes back");
}

#[test]
fn after_sigterm_it_accepts_no_more_and_ends_when_the_connections_have() {
    let mut proxy = Proxy::start(&["--drain-timeout", "1h"]);
    let (mut client, mut upstream) = proxy.connect();
    proxy.program.signal(Signal::SIGTERM);
    proxy.program.err.wait_for("ending within");
    client.write_all(b"one more").expect("it is taken");
    expect(&mut upstream, b"one more");
    let refused = TcpStream::connect(proxy.address).expect_err("it listens no more");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop((client, upstream));
    let ended = proxy.program.end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
}

#[test]
fn who_has_not_ended_in_time_is_cut_off() {
    let proxy = Proxy::start(&["--drain-timeout", "100ms"]);
    let (mut client, mut upstream) = proxy.connect();
    client.write_all(b"half a sen").expect("it is taken");
    expect(&mut upstream, b"half a sen");
    let ended = proxy.end();
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    ended.message("cut off 1 connections after 100ms: give a longer --drain-timeout");
    assert_reset(&mut client);
    assert_reset(&mut upstream);
}

#[test]
fn a_side_that_does_not_take_what_it_is_owed_is_cut_off_though_the_other_has_left() {
    // How much the kernel takes for a server that does not read differs; what the proxy holds besides is more than a step.
    const STEP: usize = MIB / 20;
    let proxy = Proxy::start(&["--drain-timeout", "100ms"]);
    SockRef::from(&proxy.upstream)
        .set_recv_buffer_size(4096)
        .expect("a small buffer, and those it accepts inherit it");
    let sent = pattern(STEP);
    let mut pairs = Vec::new();
    loop {
        let (mut client, upstream) = proxy.connect();
        upstream.shutdown(Shutdown::Write).expect("half a close");
        assert_eq!(client.read(&mut [0]).expect("an end"), 0);
        let steps = pairs.len() + 1;
        let held_back = (0..steps).any(|_| fill(&mut client, &sent) < STEP);
        client.shutdown(Shutdown::Write).expect("the other half");
        pairs.push((client, upstream));
        if held_back {
            break; // one of those before it was read to its end and could not be sent to its end
        }
    }
    let ended = proxy.end();
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    ended.message("cut off");
}

#[test]
fn a_reader_of_its_results_that_leaves_ends_no_connection() {
    let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let to = upstream.local_addr().expect("its address").to_string();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(path("proxy"));
    command.args(["--listen", "0", "--to", &to]).stdout(writer);
    let mut program = Program::spawn(command);
    let mut first = String::new();
    BufReader::new(reader).read_line(&mut first).expect("a line"); // and the reader is gone
    let address = first.trim_end().strip_prefix("listening on ").expect("an address");
    let connect = || {
        let client = connect(address.parse().expect("an address"));
        (client, upstream.accept().expect("the proxy connects").0)
    };
    let mut living: Vec<_> = (0..5).map(|_| connect()).collect();
    for _ in 0..2 {
        drop(connect()); // it leaves a line for nobody
    }
    program.err.wait_for("cannot write to standard output");
    for (client, upstream) in &mut living {
        client.write_all(b"go on").expect("it is taken");
        expect(upstream, b"go on");
    }
    drop(living);
    program.signal(Signal::SIGTERM);
    let ended = program.end();
    let told = ended.err.iter().filter(|line| line.contains("cannot write")).count();
    assert_eq!((ended.status, told), (Some(0), 1), "{ended:#?}");
}

#[test]
fn a_busy_port_is_named_and_itself_is_no_address_to_connect_to() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let ended = run("proxy", &["--listen", &address, "--to", "1"]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    ended.message("already in use");
    drop(taken);
    let ended = run("proxy", &["--listen", &address, "--to", &address]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(ended.message("the proxy itself").contains("--to"), "{ended:#?}");
}
