//! Several reactors on one port: each serves a share, and all end together.

use super::programs::{Ended, Program, run};
use super::servers::{connect, expect};
use nix::sys::signal::Signal;
use std::io::Write;
use std::net::TcpListener;

/// How many connections each reactor has served.
fn served(ended: &Ended) -> Vec<u64> {
    let count = |line: &String| line.strip_prefix("reactor ")?.split(' ').nth(2)?.parse().ok();
    ended.out.iter().filter_map(count).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn every_reactor_serves_some_and_it_ends_by_itself_after_the_last() {
    let mut program = Program::start("multicore", &["--listen", "0", "--reactors", "2", "--serve", "100"]);
    let address = program.address();
    // All at once, each from a port of its own: that one reactor gets them all happens once in 2^99 times.
    let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
    for client in &mut clients {
        client.write_all(b"ping").expect("it is taken");
        expect(client, b"ping");
    }
    let mut last = clients.pop().expect("there are a hundred");
    drop(clients);
    for _ in 0..200 {
        last.write_all(b"ping").expect("it is taken");
        expect(&mut last, b"ping");
    }
    drop(last);
    let ended = program.end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let served = served(&ended);
    assert_eq!((served.len(), served.iter().sum()), (2, 100), "{ended:#?}");
    assert!(served.iter().all(|&n| n > 0), "{ended:#?}");
}

#[test]
fn a_signal_ends_all_reactors_and_says_what_they_served() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut program = Program::start("multicore", &["--listen", "0", "--reactors", "3"]);
        let mut client = connect(program.address());
        client.write_all(b"ping").expect("it is taken");
        expect(&mut client, b"ping");
        program.signal(signal);
        let end = std::io::Read::read(&mut client, &mut [0]).expect("a clean end");
        assert_eq!(end, 0);
        drop(client);
        let ended = program.end();
        assert_eq!(ended.status, Some(0), "{ended:#?}");
        let served = served(&ended);
        assert_eq!((served.len(), served.iter().sum()), (3, 1), "{ended:#?}");
    }
}

#[test]
fn a_signal_while_many_are_connected_leaves_no_warning() {
    for options in [&["--reactors", "3"][..], &["--reactors", "3", "--serve", "100"]] {
        let mut program = Program::start("multicore", &[&["--listen", "0"], options].concat());
        let address = program.address();
        let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
        for client in &mut clients {
            client.write_all(b"ping").expect("it is taken");
            expect(client, b"ping");
        }
        program.signal(Signal::SIGTERM);
        for client in &mut clients {
            assert_eq!(std::io::Read::read(client, &mut [0]).expect("a clean end"), 0);
        }
        drop(clients);
        let ended = program.end();
        assert_eq!(ended.status, Some(0), "{ended:#?}");
        assert!(ended.err.is_empty(), "{ended:#?}");
        assert_eq!(served(&ended).iter().sum::<u64>(), 100, "{ended:#?}");
    }
}

#[test]
fn a_busy_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let ended = run("multicore", &["--listen", &port]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(ended.message("already in use").contains(&port), "{ended:#?}");
}
