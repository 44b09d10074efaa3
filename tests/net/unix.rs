//! Unix sockets: the same protocols over a path, and what is different about paths.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::machine::{Machine, Seen, echo};
use crate::common::times::NOW;
use crate::common::until::until;
use enjamb::{Config, Cx, Reactor};

/// A directory of the test's own.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("enjamb-{}-{test}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }
    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Writes `text`, finishes, and keeps what comes back.
fn client(text: &'static [u8]) -> Machine {
    Machine {
        opened: Box::new(move |conn| {
            conn.state().notes.push("opened".into());
            conn.write(text);
            conn.finish();
            Ok(())
        }),
        ..Machine::default()
    }
}

fn failure(seen: &Seen) -> &io::Error {
    assert_eq!(seen.ends.len(), 1, "{:?}", seen.ends);
    seen.ends[0].result.as_ref().unwrap_err()
}

/// Turns until the only connection is closed, and nothing else is left.
#[track_caller]
fn closed(reactor: &mut Reactor<Seen>, seen: &mut Seen) {
    until(reactor, seen, |cx| !cx.state.ends.is_empty());
    for _ in 0..5 {
        reactor.turn(seen, NOW).unwrap();
    }
    assert_eq!(seen.ends.len(), 1, "closed is called once");
    let alive = reactor.turn(seen, NOW).unwrap().alive;
    assert!(!alive, "{}", reactor.alive());
}

/// A listener without room for one more.
fn full_listener(path: &Path) -> (UnixListener, Vec<UnixStream>) {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let fill = || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&socket2::SockAddr::unix(path).unwrap()).ok().map(|()| OwnedFd::from(socket).into())
    };
    let waiting = std::iter::from_fn(fill).collect();
    (OwnedFd::from(socket).into(), waiting)
}

#[test]
fn the_same_protocol_runs_over_a_path_with_half_close() {
    let directory = Directory::new("echo");
    let path = directory.join("echo.sock");
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let listener = cx.listen_unix(&path, |_| echo()).unwrap().id();
    cx.connect(&path, client(b"there and back"));
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 2);
    assert_eq!(seen.bytes, b"there and back");
    assert!(seen.ends.iter().all(|end| end.result.is_ok()), "{:?}", seen.ends);
    reactor.cx(&mut seen).listener(listener).unwrap().close();
    reactor.run(&mut seen).unwrap();
}

#[test]
fn a_megabyte_goes_through_and_comes_back_under_backpressure() {
    const SIZE: usize = 1 << 20;
    let directory = Directory::new("megabyte");
    let path = directory.join("echo.sock");
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen_unix(&path, |_| echo()).unwrap();
    let there: Vec<u8> = (0..SIZE).map(|i| (i % 251) as u8).collect();
    let mut writer = UnixStream::connect(&path).unwrap();
    let mut reader = writer.try_clone().unwrap();
    let sent = there.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent)?;
        writer.shutdown(std::net::Shutdown::Write)
    });
    let reading = std::thread::spawn(move || {
        let mut back = Vec::new();
        reader.read_to_end(&mut back).map(|_| back)
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    writing.join().unwrap().unwrap();
    assert!(reading.join().unwrap().unwrap() == there);
}

#[test]
fn a_rush_of_clients_is_accepted_within_the_limit_of_the_listener() {
    const CLIENTS: usize = 200;
    let directory = Directory::new("rush");
    let path = directory.join("echo.sock");
    let mut reactor = Reactor::with_config(Config { accept_budget: 7, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut listener = cx.listen_unix(&path, |_| echo()).unwrap();
    listener.limit(50);
    let id = listener.id();
    let mut clients: Vec<UnixStream> = (0..CLIENTS).map(|_| UnixStream::connect(&path).unwrap()).collect();
    until(&mut reactor, &mut seen, |cx| cx.listener(id).unwrap().open() == 50);
    for _ in 0..10 {
        reactor.turn(&mut seen, NOW).unwrap();
        assert_eq!(reactor.cx(&mut seen).listener(id).unwrap().open(), 50);
    }
    while !clients.is_empty() {
        let rest = clients.split_off(clients.len().min(50));
        for client in &mut clients {
            client.write_all(b"x").unwrap();
            client.set_nonblocking(true).unwrap();
            until(&mut reactor, &mut seen, |_| matches!(client.read(&mut [0]), Ok(1)));
        }
        clients = rest; // the first are closed, and make room
    }
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == CLIENTS);
    assert_eq!(reactor.cx(&mut seen).listener(id).unwrap().open(), 0);
}

#[test]
fn a_path_that_is_too_long_is_told_with_its_length_and_the_limit() {
    let directory = Directory::new("long");
    let limit = if cfg!(target_os = "linux") { 107 } else { 103 };
    let fill = limit - directory.0.as_os_str().as_bytes().len() - 1;
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let longest = directory.join(&"x".repeat(fill));
    reactor.cx(&mut seen).listen_unix(&longest, |_| echo()).unwrap();
    reactor.cx(&mut seen).connect(&longest, client(b"fits"));
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 2);
    assert_eq!(seen.bytes, b"fits");

    seen = Seen::default();
    let too_long = directory.join(&"x".repeat(fill + 1));
    let expected = format!("has {} bytes, and the address of a Unix socket has room for {limit}", limit + 1);
    let error = reactor.cx(&mut seen).listen_unix(&too_long, |_| echo()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().starts_with("listening on ") && error.to_string().contains(&expected),
        "{error}"
    );
    reactor.cx(&mut seen).connect(&too_long, client(b""));
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    let error = failure(&seen);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().starts_with("connecting to ") && error.to_string().contains(&expected),
        "{error}"
    );
}

#[test]
fn what_is_no_path_is_refused() {
    for (path, expected) in [("", "the path is empty"), ("a\0b", "the path has a null byte in it")] {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let error = reactor.cx(&mut seen).listen_unix(path, |_| echo()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        reactor.cx(&mut seen).connect(Path::new(path), client(b""));
        closed(&mut reactor, &mut seen);
        assert!(failure(&seen).to_string().contains(expected), "{}", failure(&seen));
    }
}

#[test]
fn a_file_left_behind_is_not_removed_but_told_of() {
    let directory = Directory::new("stale");
    let path = directory.join("echo.sock");
    drop(UnixListener::bind(&path).unwrap()); // as a program that was killed
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let error = reactor.cx(&mut seen).listen_unix(&path, |_| echo()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let message = error.to_string();
    assert!(message.starts_with(&format!("listening on {}: ", path.display())), "{message}");
    assert!(
        message.ends_with("if nobody listens there, an earlier program has left the file: remove it"),
        "{message}"
    );
    assert!(path.exists());

    reactor.cx(&mut seen).connect(&path, client(b""));
    closed(&mut reactor, &mut seen);
    let message = failure(&seen).to_string();
    assert_eq!(failure(&seen).kind(), ErrorKind::ConnectionRefused);
    assert!(message.starts_with(&format!("connecting to {}: ", path.display())), "{message}");
    assert!(message.ends_with("nobody listens there; is the server running?"), "{message}");
}

#[test]
fn a_path_that_is_not_there_is_told_on_the_same_path() {
    let directory = Directory::new("nothing");
    let path = directory.join("missing.sock");
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).connect(&path, client(b""));
    assert!(seen.ends.is_empty(), "nobody is called back before the loop runs");
    closed(&mut reactor, &mut seen);
    assert_eq!(failure(&seen).kind(), ErrorKind::NotFound);
    assert!(failure(&seen).to_string().ends_with("is a server running, and is that its path?"));
    let error = reactor.cx(&mut seen).listen_unix(path.join("below"), |_| echo()).unwrap_err();
    assert!(error.to_string().ends_with("; does the directory exist?"), "{error}");
}

#[test]
fn the_file_goes_with_the_listener_however_that_ends() {
    let directory = Directory::new("gone");
    let path = directory.join("echo.sock");
    type Ending = fn(&mut Cx<'_, Seen>);
    let endings: [Ending; 3] = [
        |_| (), // with the reactor
        |cx| cx.shutdown(Duration::ZERO),
        |cx| {
            let id = cx.listen_unix(cx.state.notes[0].clone() + "2", |_| echo()).unwrap().id();
            cx.listener(id).unwrap().close();
        },
    ];
    for (n, ending) in endings.iter().enumerate() {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        seen.notes.push(path.to_str().unwrap().to_string());
        let mut cx = reactor.cx(&mut seen);
        cx.listen_unix(&path, |_| echo()).unwrap();
        assert!(path.exists());
        ending(&mut cx);
        assert_eq!(path.exists(), n != 1);
        drop(reactor);
        assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0);
    }
}

#[test]
fn a_file_that_somebody_else_has_put_there_stays() {
    let directory = Directory::new("replaced");
    let path = directory.join("echo.sock");
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let listener = cx.listen_unix(&path, |_| echo()).unwrap();
    // Both files exist at once, or the second could get the first one's number.
    std::fs::rename(&path, directory.join("old.sock")).unwrap();
    let theirs = UnixListener::bind(&path).unwrap();
    listener.close();
    assert!(path.exists());
    UnixStream::connect(&path).unwrap();
    drop(theirs);
}

#[test]
fn a_full_backlog_is_waited_for_and_what_was_written_is_kept() {
    let directory = Directory::new("full");
    let path = directory.join("full.sock");
    let (server, waiting) = full_listener(&path);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut conn = cx.connect(&path, client(b" second"));
    conn.write(b"first");
    let id = conn.id();
    let alive = cx.alive().to_string();
    let row = format!("connection {id} {}, connecting, 5 bytes unsent, deadline in ", path.display());
    assert!(alive.contains(&row) && alive.ends_with("waiting for room in the listener's backlog"), "{alive}");
    for _ in 0..20 {
        reactor.turn(&mut seen, Some(Duration::from_millis(1))).unwrap();
        assert!(seen.notes.is_empty() && seen.ends.is_empty());
    }
    let serving = std::thread::spawn(move || {
        let mut received = Vec::new();
        for _ in 0..waiting.len() {
            server.accept()?;
        }
        server.accept()?.0.read_to_end(&mut received).map(|_| received)
    });
    closed(&mut reactor, &mut seen);
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);
    assert_eq!(serving.join().unwrap().unwrap(), b"first second");
}

#[test]
fn a_backlog_that_stays_full_is_given_up_in_time_and_not_early() {
    const LIMIT: Duration = Duration::from_millis(100);
    let directory = Directory::new("stuck");
    let path = directory.join("stuck.sock");
    let (_server, _waiting) = full_listener(&path);
    let mut reactor = Reactor::with_config(Config { connect_timeout: LIMIT, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    let start = Instant::now();
    reactor.cx(&mut seen).connect(&path, client(b""));
    closed(&mut reactor, &mut seen);
    assert!(start.elapsed() >= LIMIT);
    assert_eq!(failure(&seen).kind(), ErrorKind::TimedOut);
    let expected = format!(
        "connecting to {}: timed out, waiting for room in the listener's backlog; the server does not accept: is it \
         stuck?",
        path.display()
    );
    assert_eq!(failure(&seen).to_string(), expected);
}

#[test]
fn a_connect_that_waits_for_room_can_be_closed_and_shut_down() {
    let directory = Directory::new("unstuck");
    let path = directory.join("full.sock");
    let (_server, _waiting) = full_listener(&path);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.connect(&path, client(b"")).close();
    closed(&mut reactor, &mut seen);
    assert!(seen.ends[0].result.is_ok(), "{:?}", seen.ends);

    seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.connect(&path, client(b"")).write(b"owed");
    cx.shutdown(Duration::from_millis(20));
    closed(&mut reactor, &mut seen);
    assert_eq!(failure(&seen).kind(), ErrorKind::TimedOut);
    assert_eq!(seen.ends[0].unsent, 4);
}

#[test]
fn a_listener_that_goes_while_somebody_waits_for_room_is_told_as_a_refusal() {
    let directory = Directory::new("left");
    let path = directory.join("full.sock");
    let (server, _waiting) = full_listener(&path);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.connect(&path, client(b""));
    cx.after(Duration::from_millis(5), move |_| drop(server));
    closed(&mut reactor, &mut seen);
    assert_eq!(failure(&seen).kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn messages_name_the_path_and_an_address_is_said_not_to_be_there() {
    let directory = Directory::new("named");
    let path = directory.join("echo.sock");
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut listener = cx.listen_unix(&path, |_| Machine {
        received: Box::new(|conn, input| {
            input.take_all();
            conn.deadline(Duration::ZERO);
            Ok(())
        }),
        timed_out: Box::new(|conn| conn.peer_addr().map(drop)),
        ..Machine::default()
    });
    let listener = listener.as_mut().unwrap();
    let name = path.display();
    let error = listener.local_addr().unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Unsupported, format!("{name} has no internet address"))
    );
    let listener = listener.id();
    let mut conn = cx.connect(&path, Machine::default());
    assert_eq!(conn.peer_addr().unwrap_err().kind(), ErrorKind::Unsupported);
    let id = conn.id();
    let mut adopted = UnixStream::connect(&path).unwrap();
    let adopting = cx.adopt(adopted.try_clone().unwrap(), Machine::default()).unwrap().id();
    until(&mut reactor, &mut seen, |cx| cx.listener(listener).unwrap().open() == 2);
    let alive = reactor.alive().to_string();
    for row in [
        format!("listener {listener} on {name}, 2 open"),
        format!("connection {id} {name}"),
        format!("connection {adopting} {name}"),
        format!(" a client of {name}"),
    ] {
        assert!(alive.lines().any(|line| line.ends_with(&row)), "{row:?} in {alive}");
    }
    adopted.write_all(b"?").unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    let errors: Vec<_> = seen.ends.iter().filter_map(|end| end.result.as_ref().err()).collect();
    assert_eq!(errors[0].to_string(), format!("a client of {name} has no internet address"));
}

#[test]
fn a_simulation_leaves_the_real_files_alone() {
    let directory = Directory::new("simulated");
    let path = directory.join("echo.sock");
    let mut reactor = enjamb::sim::Sim::new(1).reactor().unwrap();
    let mut seen = Seen::default();
    let error = reactor.cx(&mut seen).listen_unix(&path, |_| echo()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!path.exists());
    let server = UnixListener::bind(&path).unwrap();
    server.set_nonblocking(true).unwrap();
    reactor.cx(&mut seen).connect(&path, client(b""));
    closed(&mut reactor, &mut seen);
    assert_eq!(failure(&seen).kind(), ErrorKind::Unsupported);
    assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}
