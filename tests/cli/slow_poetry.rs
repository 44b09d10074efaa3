//! The slow server, as a client sees it and as its log tells.

use super::programs::{Program, run};
use super::servers::{SlowPoetry, expect};
use nix::sys::signal::Signal;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

fn read_to_end(mut from: impl Read) -> String {
    let mut poem = String::new();
    from.read_to_string(&mut poem).expect("the poem comes");
    poem
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).expect("a temporary file");
    path
}

#[test]
fn it_tells_what_it_does() {
    let mut server = SlowPoetry::start(&["--delay", "10ms"]);
    let client = server.connect();
    let peer = client.local_addr().expect("its address");
    server.program.err.wait_for(&format!("Somebody at {peer} wants poetry!"));
    for line in ["1111", "2222", "3333", "4444"] {
        let told = server.program.err.wait_for("send bytes");
        assert_eq!(told, format!("send bytes to client:{line}"));
    }
    assert_eq!(read_to_end(client), "1111222233334444");
}

#[test]
fn num_bytes_sends_the_poem_as_it_stands() {
    let mut server = SlowPoetry::start(&["--delay", "0ms", "--num-bytes", "3"]);
    assert_eq!(read_to_end(server.connect()), "1111\n2222\n3333\n4444\n");
    assert_eq!(server.program.err.wait_for("send"), "send bytes to client:111");
    assert_eq!(server.program.err.wait_for("send"), "send bytes to client:1\\n2");
}

#[test]
fn each_port_has_its_own_poem() {
    let one = file("one.txt", b"one\n\nline\r\n");
    let two = file("two.txt", "zwei Zeilen\nfür dich".as_bytes());
    let (one, two) = (one.to_string_lossy(), two.to_string_lossy());
    let mut program =
        Program::start("slow_poetry", &["--delay", "0ms", "--port", "0", "--port", "0", &one, &two]);
    let mut port = || {
        let line = program.err.wait_for("start listen at:");
        line.rsplit(':').next().map(str::to_string).unwrap_or_default()
    };
    let (first, second) = (port(), port());
    assert_eq!(run("get_poetry", &[&first, &second]).out, ["oneline", "zwei Zeilenfür dich"]);
}

#[test]
fn clients_of_a_port_wait_in_line() {
    let mut server = SlowPoetry::start(&["--delay", "10ms"]);
    let (first, second) = (server.connect(), server.connect());
    assert_eq!(read_to_end(second), "1111222233334444");
    assert_eq!(read_to_end(first), "1111222233334444");
    server.program.err.wait_for("has the whole poem");
    // Of the lines after that one: until then, the second client had not been accepted.
    server.program.err.wait_for("Somebody at");
}

#[test]
fn concurrent_clients_do_not_wait() {
    // Nobody sees a second line within the test: both first lines come only if each client has its own thread.
    let server = SlowPoetry::start(&["--delay", "1h", "--concurrent"]);
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        expect(client, b"1111");
    }
}

#[test]
fn a_client_that_hangs_up_is_told_of_and_the_next_one_served() {
    let mut server = SlowPoetry::start(&["--delay", "10ms"]);
    let mut client = server.connect();
    expect(&mut client, b"1111");
    drop(client);
    let told = server.program.err.wait_for("hung up");
    assert!(told.contains(" of 16 bytes"), "{told}");
    assert_eq!(read_to_end(server.connect()), "1111222233334444");
}

#[test]
fn ctrl_c_closes_the_connections_and_exits_with_130() {
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let server = SlowPoetry::start(&["--delay", "1h"]);
        let mut client = server.connect();
        expect(&mut client, b"1111");
        server.program.signal(signal);
        let ended = server.program.end();
        assert_eq!(ended.status, Some(status), "{ended:#?}");
        assert_eq!(read_to_end(client), "");
    }
}

#[test]
fn a_busy_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let ended = run("slow_poetry", &["--port", &port]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    let message = ended.message("already in use");
    assert!(message.contains(&port) && message.contains("--port 0"), "{message}");
}

#[test]
fn a_poem_that_cannot_be_read_is_named() {
    let latin1 = file("latin1.txt", b"f\xfcr dich");
    let empty = file("empty.txt", b"\n\n");
    for (path, why) in [
        (Path::new("/no/such/poem.txt"), "No such file"),
        (&latin1, "not UTF-8 (from byte 1 on)"),
        (&empty, "empty"),
    ] {
        let path = path.to_string_lossy();
        let ended = run("slow_poetry", &["--port", "0", &path]);
        assert_eq!(ended.status, Some(1), "{ended:#?}");
        assert!(ended.message(why).contains(&*path), "{ended:#?}");
    }
}
