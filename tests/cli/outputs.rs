//! Servers whose outputs are not read, are closed, or go to a full disk. Their clients must not notice.

use super::programs::{PATIENCE, Program, path};
use super::servers::{connect, expect};
use crate::examples::line_queue::LineQueue;
use nix::sys::signal::Signal;
use socket2::SockRef;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// With as many connections, a log line for each is more than a pipe and the program's own buffers hold.
const MANY: usize = 2500;

/// A server whose output is read to the address that it tells, and no further.
struct Unread {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Unread {
    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("it was piped"));
        Unread { child, stdout }
    }

    fn start(name: &str, args: &[&str], level: &str) -> (Self, SocketAddr) {
        let mut command = Command::new(path(name));
        command.args(["--listen", "0"]).args(args).env("RUST_LOG", level);
        let mut unread = Self::spawn(command);
        let mut line = String::new();
        unread.stdout.read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        (unread, address.unwrap_or_else(|| panic!("no address in {line:?}")))
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
}

/// Sends back what comes, to one client after another.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a client");
            let mut from = client.try_clone().expect("a second handle");
            io::copy(&mut from, &mut client).ok(); // an end or a reset
        }
    });
    address
}

#[test]
fn a_proxy_whose_outputs_nobody_reads_still_serves() {
    for level in ["warn", "debug"] {
        let to = echo().to_string();
        let (_unread, address) = Unread::start("proxy", &["--to", &to], level);
        for _ in 0..MANY {
            let mut client = connect(address);
            client.write_all(b"x").expect("it is taken");
            reset(client);
        }
        let mut client = connect(address);
        client.write_all(b"still there?").expect("it is taken");
        expect(&mut client, b"still there?");
    }
}

#[test]
fn a_chat_whose_log_nobody_reads_still_serves() {
    for level in ["info", "debug"] {
        let (_unread, address) = Unread::start("chat", &[], level);
        for n in 0..MANY {
            let mut member = connect(address);
            expect(&mut member, b"* your name?\n");
            writeln!(member, "member-{n}").expect("it is taken");
            expect(&mut member, format!("* welcome, member-{n}").as_bytes());
            reset(member);
        }
        let mut member = connect(address);
        expect(&mut member, b"* your name?\n");
    }
}

#[test]
fn servers_that_tell_of_every_client_still_serve_when_nobody_reads_that() {
    let address = own_address();
    let mut command = Command::new(path("echo_server"));
    command.args(["--listen", &address.to_string()]).env_remove("RUST_LOG");
    let _unread = Unread::spawn(command);
    for _ in 0..MANY {
        let mut client = connect_when_it_listens(address);
        client.write_all(b"ping").expect("it is taken");
        expect(&mut client, b"ping");
    }
    let address = own_address();
    let mut command = Command::new(path("slow_poetry"));
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    command.args(["--iface", &ip, "--port", &port, "--delay", "0ms"]).env_remove("RUST_LOG");
    let _unread = Unread::spawn(command);
    for _ in 0..MANY {
        expect(&mut connect_when_it_listens(address), b"1111222233334444");
    }
}

/// What becomes of a server's standard output.
#[derive(Clone, Copy, Debug)]
enum Output {
    NobodyReads,
    FullDisk,
    Closed,
}

impl Output {
    const ALL: [Output; 3] = [Output::NobodyReads, Output::FullDisk, Output::Closed];

    fn command(self, name: &str) -> Command {
        let mut command = Command::new(path(name));
        match self {
            Output::NobodyReads => drop(command.stdout(io::pipe().expect("a pipe").1)),
            Output::FullDisk => {
                let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
                command.stdout(full);
            }
            Output::Closed => {
                command = Command::new("sh");
                command.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(path(name));
            }
        }
        command
    }
}

/// An address that no other test has, for a server that cannot tell which port it has found.
fn own_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(10_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 100 + high % 100, middle, low), PORT.fetch_add(1, Ordering::Relaxed)).into()
}

/// Connects to a server that may not listen yet.
fn connect_when_it_listens(address: SocketAddr) -> TcpStream {
    let start = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout for the test");
                return stream;
            }
            Err(error) => assert!(start.elapsed() < PATIENCE, "{address}: {error}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a server with each output that cannot be written to, has `serves` look whether it serves, and ends it.
fn goes_on(name: &str, args: &[&str], signal: Signal, serves: impl Fn(SocketAddr)) {
    for output in Output::ALL {
        let address = own_address();
        let mut command = output.command(name);
        command.args(["--listen", &address.to_string()]).args(args);
        let program = Program::spawn(command);
        serves(address);
        program.signal(signal);
        let ended = program.end();
        assert_eq!(ended.status, Some(0), "{name}, {output:?}: {ended:#?}");
        let told = ended.err.iter().filter(|line| line.contains("cannot write to standard output")).count();
        let expected = usize::from(!matches!(output, Output::Closed)); // that one, std opens as /dev/null
        assert_eq!(told, expected, "{name}, {output:?}: {ended:#?}");
    }
}

/// Looks whether what is said comes back, on a connection that stays and on another.
fn answers(address: SocketAddr, question: &[u8], answer: &[u8]) {
    let mut staying = connect_when_it_listens(address);
    staying.write_all(question).expect("it is taken");
    expect(&mut staying, answer);
    let mut other = connect(address);
    other.write_all(question).expect("it is taken");
    expect(&mut other, answer);
    other.shutdown(Shutdown::Write).expect("half a close");
    other.read_to_end(&mut Vec::new()).expect("an end");
    staying.write_all(question).expect("it is taken");
    expect(&mut staying, answer);
}

#[test]
fn a_proxy_goes_on_without_its_standard_output() {
    let to = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = to.local_addr().expect("its address").to_string();
    thread::spawn(move || {
        for client in to.incoming() {
            thread::spawn(|| client.and_then(|client| io::copy(&mut client.try_clone()?, &mut { client })));
        }
    });
    goes_on("proxy", &["--to", &address], Signal::SIGTERM, |address| answers(address, b"ping", b"ping"));
}

#[test]
fn a_server_goes_on_without_its_standard_output() {
    let number = b"100\n";
    goes_on("worker", &[], Signal::SIGTERM, |address| answers(address, number, b"100: 25\n"));
    goes_on("echo", &[], Signal::SIGTERM, |address| answers(address, b"ping", b"ping"));
    goes_on("multicore", &[], Signal::SIGTERM, |address| answers(address, b"ping", b"ping"));
    goes_on("chat", &[], Signal::SIGTERM, |address| {
        let mut ann = connect_when_it_listens(address);
        let mut bob = connect(address);
        expect(&mut bob, b"* your name?\n");
        drop(bob);
        expect(&mut ann, b"* your name?\n");
        ann.write_all(b"ann\n").expect("it is taken");
        expect(&mut ann, b"* welcome, ann");
    });
    goes_on("embed", &["--frames-per-second", "1000"], Signal::SIGINT, |address| {
        let mut client = connect_when_it_listens(address);
        client.write_all(b"shown\n").expect("it is taken");
        client.read_exact(&mut [0; 100]).expect("the numbers of many frames");
    });
    goes_on("udp_echo", &[], Signal::SIGTERM, |address| {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        client.connect(address).expect("an address to send to");
        client.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout for the test");
        let (start, mut got) = (Instant::now(), [0; 4]);
        while client.send(b"ping").and_then(|_| client.recv(&mut got)).is_err() {
            assert!(start.elapsed() < PATIENCE, "it does not come back"); // it may not listen yet
        }
        assert_eq!(&got, b"ping");
    });
}

#[test]
#[cfg(feature = "tls")]
fn a_server_for_tls_goes_on_without_its_standard_output() {
    goes_on("tls_echo", &[], Signal::SIGTERM, |address| {
        let mut client = connect_when_it_listens(address);
        client.write_all(b"this is not TLS").expect("it is taken");
        let mut alert = Vec::new();
        client.read_to_end(&mut alert).ok(); // an end or a reset
        assert!(!alert.is_empty(), "it has answered");
    });
}

/// An output whose reader reads once for each permit, and freely when there are no more to come.
struct Slow {
    permits: Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.permits.recv().ok();
        self.written.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn slow() -> (Slow, Sender<()>, Arc<Mutex<Vec<u8>>>) {
    let (permit, permits) = channel();
    let written = Arc::default();
    (Slow { permits, written: Arc::clone(&written) }, permit, written)
}

#[test]
fn lines_that_find_no_room_are_counted_in_their_place() {
    const LINES: usize = 300_000; // several times the room that there is
    // Where a long line finds no room, a short one might: it would be before the gap, although it came later.
    let line = |n: usize| format!("{n} {}", "x".repeat(n % 10 * 10));
    let (slow, permit, written) = slow();
    let queue = LineQueue::new(slow, |_| ());
    (0..LINES).for_each(|n| queue.push(line(n) + "\n"));
    drop(permit);
    let start = Instant::now();
    while !written.lock().expect("no panic").ends_with(b"the reader was too slow\n") {
        assert!(start.elapsed() < PATIENCE, "it is not told");
        thread::yield_now();
    }
    queue.push("one more\n");
    drop(queue);
    let written = written.lock().expect("no panic");
    let lines: Vec<&str> = str::from_utf8(&written).expect("text").lines().collect();
    let kept = lines.len() - 2;
    assert!((1..LINES).contains(&kept));
    assert!(lines[..kept].iter().enumerate().all(|(n, kept)| *kept == line(n)));
    assert_eq!(lines[kept], format!("… {} lines were dropped: the reader was too slow", LINES - kept));
    assert_eq!(lines[kept + 1], "one more");
}

#[test]
fn a_line_longer_than_the_room_is_written_and_others_behind_it() {
    let (slow, permit, written) = slow();
    drop(permit);
    let queue = LineQueue::new(slow, |_| ());
    let long = "x".repeat(2 * 1024 * 1024) + "\n";
    queue.push(&long);
    queue.push("one more\n"); // taken, or counted as dropped
    drop(queue.clone()); // waits until it is written
    queue.push("the last\n");
    drop(queue);
    let written = String::from_utf8(written.lock().expect("no panic").clone()).expect("text");
    assert!(written.starts_with(&long) && written.ends_with("the last\n"), "{} bytes", written.len());
}

#[test]
fn the_end_waits_for_the_last_line_but_not_for_a_reader_that_has_stopped() {
    for stopped in [false, true] {
        let (slow, permit, written) = slow();
        let queue = LineQueue::new(slow, |_| ());
        queue.push("the last\n");
        let permit = stopped.then_some(permit);
        drop(queue);
        assert_eq!(written.lock().expect("no panic").is_empty(), stopped);
        drop(permit);
    }
}

#[test]
fn an_output_that_fails_is_told_of_once_and_used_again_when_it_works() {
    static TOLD: AtomicU16 = AtomicU16::new(0);

    /// Fails as often as there are permits.
    struct Failing(Slow);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.permits.recv().is_ok() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (slow, permit, written) = slow();
    let queue = LineQueue::new(Failing(slow), |_| _ = TOLD.fetch_add(1, Ordering::Relaxed));
    for _ in 0..3 {
        permit.send(()).expect("it waits");
        queue.push("lost\n");
        drop(queue.clone()); // waits until it is written
    }
    drop(permit);
    queue.push("found\n");
    drop(queue);
    assert_eq!(TOLD.load(Ordering::Relaxed), 1);
    assert_eq!(*written.lock().expect("no panic"), b"found\n");
}
