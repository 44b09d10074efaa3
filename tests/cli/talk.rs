//! The client for standard input: by name, by path, to the end of both sides.

use super::programs::{self, Ended, Program, run};
use super::servers::expect;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

/// Runs `talk` with something to say.
fn talk(server: &str, stdin: impl Into<Stdio>) -> Ended {
    let child = Command::new(programs::path("talk"))
        .arg(server)
        .env_remove("RUST_LOG")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("talk starts");
    let output = child.wait_with_output().expect("talk ends");
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_string).collect();
    Ended { status: output.status.code(), out: lines(&output.stdout), err: lines(&output.stderr) }
}

/// A file that talk reads as its standard input.
fn said(bytes: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!("enjamb-talk-{}-{}", std::process::id(), bytes.len()));
    std::fs::write(&path, bytes).expect("a file for the test");
    let file = File::open(&path).expect("a file for the test");
    std::fs::remove_file(path).expect("a file for the test");
    file
}

/// Reads to the client's end, and then answers with what came.
fn answer(mut stream: impl Read + Write) -> io::Result<()> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    stream.write_all(&all)
}

#[test]
fn what_comes_after_our_own_end_is_still_printed() {
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = server.local_addr().expect("an address").port();
    let serving = thread::spawn(move || answer(server.accept()?.0));
    let ended = talk(&format!("localhost:{port}"), said(b"one\ntwo\n"));
    serving.join().expect("no panic").expect("the server answers");
    assert_eq!((ended.status, ended.out), (Some(0), vec!["one".to_string(), "two".to_string()]));
    assert!(ended.err.is_empty(), "{:?}", ended.err);
}

#[test]
fn a_path_is_talked_to_like_an_address() {
    let path = std::env::temp_dir().join(format!("enjamb-talk-{}.sock", std::process::id()));
    let server = UnixListener::bind(&path).expect("a path");
    let serving = thread::spawn(move || answer(server.accept()?.0));
    let ended = talk(path.to_str().expect("a path in UTF-8"), said(b"by path"));
    serving.join().expect("no panic").expect("the server answers");
    std::fs::remove_file(path).expect("its file");
    assert_eq!((ended.status, ended.out), (Some(0), vec!["by path".to_string()]));
}

#[test]
fn a_lot_goes_there_and_back_past_a_server_that_reads_slowly() {
    const LINES: usize = 200_000;
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = server.local_addr().expect("an address").to_string();
    let serving = thread::spawn(move || answer(server.accept()?.0));
    let all: String = (0..LINES).map(|n| format!("line {n}\n")).collect();
    let ended = talk(&address, said(all.as_bytes()));
    serving.join().expect("no panic").expect("the server answers");
    assert_eq!(ended.status, Some(0), "{:?}", ended.err);
    assert!(ended.out.iter().eq(all.lines().map(str::to_string).collect::<Vec<_>>().iter()));
}

#[test]
fn it_ends_with_the_server_although_standard_input_is_open() {
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = server.local_addr().expect("an address").to_string();
    let serving = thread::spawn(move || {
        let (mut stream, _) = server.accept()?;
        stream.write_all(b"goodbye\n")?;
        stream.shutdown(Shutdown::Both)
    });
    let (theirs, ours) = io::pipe().expect("a pipe");
    let ended = talk(&address, theirs);
    drop(ours);
    serving.join().expect("no panic").expect("the server speaks");
    assert_eq!((ended.status, ended.out), (Some(0), vec!["goodbye".to_string()]));
}

#[test]
fn every_address_that_was_tried_is_in_the_message() {
    let nobody = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = nobody.local_addr().expect("an address").port();
    drop(nobody);
    let ended = run("talk", &[&format!("localhost:{port}")]);
    assert_eq!(ended.status, Some(1));
    let message = ended.message(&format!("connecting to localhost:{port}: "));
    assert!(message.contains(&format!("127.0.0.1:{port}: ")), "{message}");
    assert!(message.ends_with("is a server listening there?"), "{message}");
}

#[test]
fn a_server_that_cannot_be_parsed_is_wrong_usage() {
    let ended = run("talk", &["example.org"]);
    assert_eq!(ended.status, Some(2));
    ended.message("has no port: write it as example.org:80");
}

#[test]
#[cfg(target_os = "linux")]
fn input_that_comes_while_the_server_closes_leaves_no_warning() {
    let strace = Command::new("strace").args(["-e", "trace=none", "true"]).stderr(Stdio::null()).status();
    if !strace.is_ok_and(|status| status.success()) {
        println!("not run: strace is not installed, or not permitted to trace");
        return;
    }
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let mut command = Command::new("strace");
    // The loop takes its time to close its socket; the thread that reads standard input does not wait for it.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=close:delay_enter=100000"]);
    command.arg(programs::path("talk")).arg(server.local_addr().expect("an address").to_string());
    let (mut talk, mut keyboard) = Program::spawn_typing(command);
    let (mut stream, _) = server.accept().expect("it connects");
    keyboard.write_all(b"one\n").expect("it is read");
    expect(&mut stream, b"one\n");
    stream.write_all(b"goodbye\n").expect("it is read");
    talk.out.wait_for("goodbye");
    drop(stream);
    // More than one, as the first may be read before the server's end is.
    for _ in 0..100 {
        keyboard.write_all(b"two\n").ok();
    }
    let ended = talk.end();
    assert!(!ended.err.iter().any(|line| line.contains("dropped")), "{ended:#?}");
}
