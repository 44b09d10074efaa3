//! The poetry clients when something fails: a server, the terminal, or the reader of their output.

use super::programs::{CLIENTS, Ended, Program, path, run};
use super::servers::{Refusing, SlowPoetry, quick, resetting, stalling};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

/// One of three servers has failed: the other two poems are there, and the failure is said.
fn assert_two_of_three(ended: &Ended, what: &str) {
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert_eq!(ended.out, ["first", "third"], "{ended:#?}");
    assert!(ended.message("Task 2 failed: ").contains(what), "{ended:#?}");
    ended.message("Got 2 of 3 poems in ");
}

#[test]
fn a_server_that_refuses_does_not_hurt_the_others() {
    let refusing = Refusing::new();
    for client in CLIENTS {
        let ended = run(client, &[&quick(b"first"), &refusing.address(), &quick(b"third")]);
        let refused = format!("connection refused by {}: is a server listening there?", refusing.address());
        assert_two_of_three(&ended, &refused);
        ended.message("start one with `cargo run --example slow_poetry`");
        let failures = ended.err.iter().filter(|line| line.contains("refused")).count();
        assert_eq!(failures, 1, "a refusal is reported once: {ended:#?}");
    }
}

#[test]
fn a_server_that_resets_does_not_hurt_the_others() {
    let resetting = resetting();
    for client in CLIENTS {
        let ended = run(client, &[&quick(b"first"), &resetting, &quick(b"third")]);
        assert_two_of_three(&ended, &format!("connection reset by {resetting}"));
    }
}

#[test]
fn a_server_that_stalls_does_not_hurt_the_others() {
    for (part, told) in [(&b"1111"[..], "after 4 bytes of poetry"), (b"", "after 0 bytes of poetry")] {
        let stalling = stalling(part);
        let ended = run("get_poetry", &["--timeout", "2s", &quick(b"first"), &stalling, &quick(b"third")]);
        assert_two_of_three(&ended, &format!("{stalling}: nothing came for 2s, {told}"));
        ended.message("try a longer --timeout");
    }
}

#[test]
fn a_server_that_stalls_holds_up_only_the_blocking_client() {
    let stalling = stalling(b"1111");
    for client in &CLIENTS[1..] {
        let later = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = later.local_addr().expect("its address").to_string();
        let mut program = Program::start(client, &[&stalling, &address]);
        program.err.wait_for("Task 1: got 4 bytes");
        later.accept().and_then(|(mut client, _)| client.write_all(b"later")).expect("the client reads");
        program.err.wait_for("Task 2 finished");
    }
}

#[test]
fn a_server_that_never_answers_a_connect_does_not_hurt_the_others() {
    // A listener that is never accepted from: once its backlog is full, the kernel drops what asks to connect.
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    deaf.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    deaf.listen(0).expect("a listener");
    let address = deaf.local_addr().ok().and_then(|address| address.as_socket()).expect("its address");
    let _backlog = TcpStream::connect(address).expect("the one place in the backlog");
    let ended =
        run("get_poetry", &["--timeout", "2s", &quick(b"first"), &address.to_string(), &quick(b"third")]);
    assert_two_of_three(&ended, &format!("connecting to {address}: timed out"));
}

#[test]
fn a_poem_known_to_be_cut_short_is_not_shown() {
    let ended =
        run("get_poetry", &["--expect-bytes", "5", &quick(b"first"), &quick(b"sec"), &quick(b"third")]);
    assert_two_of_three(&ended, "the poem ended after 3 bytes instead of 5");
}

#[test]
fn a_poem_known_to_be_too_long_is_not_shown() {
    let ended =
        run("get_poetry", &["--expect-bytes", "5", &quick(b"first"), &quick(b"second"), &quick(b"third")]);
    assert_two_of_three(&ended, "the poem ended after 6 bytes instead of 5");
}

#[test]
fn a_failed_poem_leaves_no_summary_of_success() {
    let refusing = Refusing::new();
    for client in CLIENTS {
        let ended = run(client, &[&refusing.address()]);
        assert_eq!(ended.status, Some(1), "{ended:#?}");
        assert!(ended.out.is_empty(), "{ended:#?}");
        ended.message("Got 0 of 1 poem in ");
    }
}

#[test]
fn ctrl_c_exits_with_130() {
    let stalling = stalling(b"1111");
    for client in CLIENTS {
        let mut program = Program::start(client, &[&stalling]);
        program.err.wait_for("Task 1: got 4 bytes");
        program.signal(Signal::SIGINT);
        let ended = program.end();
        assert_eq!(ended.status, Some(130), "{ended:#?}");
        assert!(ended.out.is_empty(), "a poem that is not whole is not shown: {ended:#?}");
    }
}

#[test]
fn a_closed_pipe_ends_the_program_quietly() {
    let refusing = Refusing::new();
    for client in CLIENTS {
        for (other, status) in [(quick(b"third"), 0), (refusing.address(), 1)] {
            let (reader, writer) = io::pipe().expect("a pipe");
            drop(reader);
            let mut command = Command::new(path(client));
            command.args([&quick(b"first"), &other]).stdout(writer);
            let ended = Program::spawn(command).end();
            assert_eq!(ended.status, Some(status), "{ended:#?}");
            let quiet = |line: &String| line.starts_with("Task ");
            assert!(ended.err.iter().all(quiet), "{ended:#?}");
        }
    }
}

#[test]
fn a_closed_pipe_ends_a_small_tool_quietly() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(path("countdown"));
    command.stdout(writer);
    let ended = Program::spawn(command).end();
    assert_eq!((ended.status, ended.err.len()), (Some(0), 0), "{ended:#?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_failure() {
    for client in CLIENTS {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let mut command = Command::new(path(client));
        command.arg(quick(b"first")).stdout(full);
        let ended = Program::spawn(command).end();
        assert_eq!(ended.status, Some(1), "{ended:#?}");
        ended.message("cannot write to standard output");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn select_says_so_past_fd_setsize() {
    const SERVERS: usize = 1030;
    let server = quick(b"1111");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 1100 || exit 77; exec \"$0\" \"$@\""]);
    command.arg(path("get_poetry_select")).args(vec![&server; SERVERS]).stdout(std::process::Stdio::piped());
    let ended = Program::spawn(command).end();
    if ended.status == Some(77) {
        eprintln!("too few descriptors are allowed here: not tested");
        return;
    }
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    let past = ended.err.iter().filter(|line| line.contains("FD_SETSIZE, 1024: ask fewer servers")).count();
    assert!(past > 0, "{ended:#?}");
    assert_eq!(ended.out.len(), SERVERS - past, "the others are there");
    assert!(ended.out.iter().all(|poem| poem == "1111"));
}

#[test]
fn the_server_goes_on_when_one_client_of_two_is_killed() {
    let server = SlowPoetry::start(&["--delay", "20ms"]);
    let mut killed = Program::start("get_poetry", &[&server.address()]);
    killed.err.wait_for("Task 1: got");
    drop(killed);
    let ended = run("get_poetry", &[&server.address()]);
    assert_eq!(ended.out, ["1111222233334444"], "{ended:#?}");
}
