//! The worker thread: its answers reach the connection that asked, and the loop answers others meanwhile.

use super::programs::Program;
use super::servers::{connect, expect};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;

#[test]
fn an_answer_comes_to_who_asked() {
    let mut program = Program::start("worker", &["--listen", "0"]);
    let address = program.address();
    let (mut one, mut other) = (connect(address), connect(address));
    one.write_all(b"10\n100\n").expect("it is taken");
    other.write_all(b"1000\n").expect("it is taken");
    expect(&mut one, b"10: 4\n100: 25\n");
    expect(&mut other, b"1000: 168\n");
    other.write_all(b"0\nall\n10000001\n").expect("it is taken");
    expect(&mut other, "expected `ping` or a number from 1 to 10000000\n".repeat(3).as_bytes());
}

#[test]
fn a_client_that_has_said_its_last_still_gets_its_answers_and_then_the_end() {
    let mut program = Program::start("worker", &["--listen", "0"]);
    let mut client = connect(program.address());
    client.write_all(b"1000\n10\n100").expect("it is taken");
    client.shutdown(Shutdown::Write).expect("half a close");
    let mut answers = String::new();
    client.read_to_string(&mut answers).expect("answers and an end");
    assert_eq!(answers, "1000: 168\n10: 4\n100: 25\n");
}

#[test]
fn while_the_worker_works_the_loop_answers_and_a_full_queue_is_told() {
    let mut program = Program::start("worker", &["--listen", "0"]);
    let mut client = connect(program.address());
    // The first keeps the worker for minutes in a debug build; sixteen wait, and those behind them find no place.
    client.write_all("10000000\n".repeat(20).as_bytes()).expect("it is taken");
    let mut answers = BufReader::new(client.try_clone().expect("a second handle"));
    let mut line = String::new();
    answers.read_line(&mut line).expect("an answer");
    assert_eq!(line, "busy: try again later\n");
    for _ in 0..10 {
        client.write_all(b"ping\n").expect("it is taken");
    }
    let mut pongs = 0;
    while pongs < 10 {
        line.clear();
        answers.read_line(&mut line).expect("an answer");
        pongs += usize::from(line == "pong\n");
        assert!(!line.starts_with("10000000"), "the worker was not to be done yet");
    }
    program.signal(Signal::SIGTERM);
    drop((client, answers));
    let ended = program.end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
}

#[test]
fn a_line_without_end_is_an_error_to_its_own_connection_only() {
    let mut program = Program::start("worker", &["--listen", "0"]);
    let address = program.address();
    let (mut endless, mut other) = (connect(address), connect(address));
    endless.write_all(&[b'1'; 1000]).expect("it is taken");
    let mut rest = Vec::new();
    endless.read_to_end(&mut rest).ok(); // an end or a reset
    assert!(rest.is_empty());
    other.write_all(b"ping\n").expect("it is taken");
    expect(&mut other, b"pong\n");
}

#[test]
fn a_signal_while_answers_are_on_their_way_leaves_no_warning() {
    for _ in 0..30 {
        let mut program = Program::start("worker", &["--listen", "0"]);
        let mut client = connect(program.address());
        client.write_all(b"1000\n".repeat(16).as_slice()).expect("it is taken");
        expect(&mut client, b"1000: 168\n");
        program.signal(Signal::SIGTERM);
        drop(client);
        let ended = program.end();
        assert_eq!((ended.status, ended.err.len()), (Some(0), 0), "{ended:#?}");
    }
}
