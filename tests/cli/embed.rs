//! The reactor inside another loop: data passes between the outer loop and the clients in both directions.

use super::programs::Program;
use super::servers::{connect, expect};
use std::io::{BufRead, BufReader, Read, Write};

#[test]
fn what_is_typed_goes_to_all_and_what_they_send_is_shown() {
    let (mut embed, mut keyboard) = Program::start_typing("embed", &["--listen", "0"]);
    let address = embed.address();
    let mut clients = [connect(address), connect(address)];
    for (n, client) in clients.iter_mut().enumerate() {
        writeln!(client, "here-is-{n}").expect("it is taken");
        embed.out.wait_for(&format!(": here-is-{n}")); // so it is one of them now
    }
    for line in ["one\n", "two\n"] {
        keyboard.write_all(line.as_bytes()).expect("it is read");
        clients.iter_mut().for_each(|client| expect(client, line.as_bytes()));
    }
    keyboard.write_all(b"the last").expect("it is read");
    drop(keyboard);
    for mut client in clients {
        let mut rest = String::new();
        client.read_to_string(&mut rest).expect("a clean end");
        assert_eq!(rest, "the last");
    }
    let ended = embed.end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
}

#[test]
fn a_client_that_leaves_is_told_no_more_and_the_others_are() {
    let (mut embed, mut keyboard) = Program::start_typing("embed", &["--listen", "0"]);
    let address = embed.address();
    let (mut stays, mut leaves) = (connect(address), connect(address));
    for client in [&mut stays, &mut leaves] {
        client.write_all(b"here\n").expect("it is taken");
        embed.out.wait_for(": here");
    }
    leaves.write_all(b"good-bye").expect("it is taken");
    drop(leaves);
    embed.out.wait_for(": good-bye"); // though it has no newline
    for _ in 0..20 {
        keyboard.write_all(b"still here?\n").expect("it is read");
        expect(&mut stays, b"still here?\n");
    }
}

#[test]
fn the_frames_come_in_order_to_whoever_is_there() {
    let mut embed = Program::start("embed", &["--listen", "0", "--frames-per-second", "200"]);
    let address = embed.address();
    let frames = |n: usize| -> Vec<u64> {
        let lines = BufReader::new(connect(address)).lines().take(n);
        lines.map(|line| line.expect("a line").parse().expect("a number")).collect()
    };
    let first = frames(20);
    assert!(first.windows(2).all(|two| two[1] == two[0] + 1), "{first:?}");
    let later = frames(1);
    assert!(later[0] > first[0], "{later:?} after {first:?}");
}
