//! The four poetry clients when all goes well.

use super::programs::{CLIENTS, Ended, run};
use super::servers::{SlowPoetry, quick, together};
use std::fs;
use std::path::PathBuf;

const POEM: &str = "1111222233334444";

fn assert_got(ended: &Ended, poems: &[&str]) {
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert_eq!(ended.out, poems, "{ended:#?}");
}

/// A poem of the test's own in a file.
fn poem_file(name: &str, poem: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, poem).expect("a temporary file");
    path
}

#[test]
fn every_client_gets_the_poems_of_three_slow_servers() {
    for client in CLIENTS {
        let servers: Vec<SlowPoetry> = (0..3).map(|_| SlowPoetry::start(&["--delay", "20ms"])).collect();
        let ports: Vec<String> = servers.iter().map(|server| server.port.to_string()).collect();
        let ended = run(client, &ports.iter().map(String::as_str).collect::<Vec<_>>());
        assert_got(&ended, &[POEM; 3]);
        for (task, server) in servers.iter().enumerate() {
            let got = format!("Task {}: got ", task + 1);
            assert!(ended.message(&got).ends_with(&format!(" bytes of poetry from {}", server.address())));
            let finished = format!("Task {} finished", task + 1);
            assert_eq!(ended.err.iter().filter(|line| **line == finished).count(), 1, "{ended:#?}");
        }
        let last = ended.err.last().expect("a summary");
        assert!(last.starts_with("Got 3 poems in ") && last.ends_with('s'), "{last}");
    }
}

#[test]
fn the_bytes_of_a_poem_are_counted_piece_by_piece() {
    for client in CLIENTS {
        let server = SlowPoetry::start(&["--delay", "20ms"]);
        let ended = run(client, &[&server.address()]);
        // Under load two lines may arrive as one piece, but together they are always the poem.
        let pieces = ended.err.iter().filter_map(|line| line.strip_prefix("Task 1: got "));
        let bytes = pieces.filter_map(|piece| piece.split(' ').next()?.parse::<usize>().ok());
        assert_eq!(bytes.sum::<usize>(), POEM.len(), "{ended:#?}");
    }
}

#[test]
fn the_blocking_client_finishes_one_server_before_it_asks_the_next() {
    let servers = [quick(b"first"), quick(b"second")];
    let ended = run("get_poetry_blocking", &servers.each_ref().map(String::as_str));
    assert_got(&ended, &["first", "second"]);
    let place = |part: &str| ended.err.iter().position(|line| line.contains(part));
    assert!(place("Task 1 finished") < place("Task 2: got"), "{ended:#?}");
}

#[test]
fn the_other_clients_are_connected_to_all_servers_at_once() {
    for client in &CLIENTS[1..] {
        let servers = together(&[b"first", b"second", b"third"]);
        let ended = run(client, &servers.iter().map(String::as_str).collect::<Vec<_>>());
        assert_got(&ended, &["first", "second", "third"]);
    }
}

#[test]
fn utf8_split_across_reads_is_decoded_at_the_end() {
    let verse = "春眠不觉晓\n处处闻啼鸟";
    let path = poem_file("split.txt", verse);
    for client in CLIENTS {
        let server = SlowPoetry::start(&["--delay", "10ms", "--num-bytes", "1", &path.to_string_lossy()]);
        let ended = run(client, &[&server.address()]);
        assert_got(&ended, &verse.lines().collect::<Vec<_>>());
        assert!(!ended.err.iter().any(|line| line.contains("UTF-8")), "{ended:#?}");
    }
}

#[test]
fn a_poem_that_is_not_utf8_is_shown_with_a_warning() {
    for client in CLIENTS {
        let ended = run(client, &[&quick(b"11\xff11")]);
        assert_got(&ended, &["11\u{fffd}11"]);
        ended.message("not UTF-8");
    }
}

#[test]
fn a_long_poem_comes_whole() {
    let poem: String = (0..20_000).map(|line| format!("line {line} of a long poem\n")).collect();
    let bytes: &'static [u8] = poem.clone().leak().as_bytes();
    for client in CLIENTS {
        assert_got(&run(client, &[&quick(bytes)]), &poem.lines().collect::<Vec<_>>());
    }
}

#[test]
fn the_length_that_was_expected_is_no_error() {
    let ended = run("get_poetry", &["--expect-bytes", "5", &quick(b"12345")]);
    assert_got(&ended, &["12345"]);
    ended.message("Got 1 poem in ");
}

#[test]
fn addresses_may_be_names_and_ipv6() {
    let server = SlowPoetry::start(&["--delay", "0ms"]);
    let by_name = format!("localhost:{}", server.port);
    for client in CLIENTS {
        assert_got(&run(client, &[&by_name]), &[POEM]);
    }
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 here: not tested");
        return;
    }
    let server = SlowPoetry::start(&["--delay", "0ms", "--iface", "::1"]);
    for client in CLIENTS {
        let ended = run(client, &[&format!("[::1]:{}", server.port)]);
        assert_got(&ended, &[POEM]);
        ended.message(&format!("from [::1]:{}", server.port));
    }
}
