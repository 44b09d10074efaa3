//! The examples of the connection pool: the table, the demonstration, and whois.

use super::programs::{PATIENCE, Program, run};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

fn column(rows: &[String], from_the_right: usize) -> Vec<usize> {
    let number = |row: &String| row.split_whitespace().rev().nth(from_the_right)?.parse().ok();
    rows.iter().map_while(number).collect()
}

#[test]
fn the_table_is_that_of_the_model() {
    let ended = run("pool_table", &[]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert_eq!(column(&ended.out[1..], 1), [4, 4, 4, 3, 2], "{ended:#?}");
    assert_eq!(column(&ended.out[1..], 0), [1, 1, 2, 3, 4], "{ended:#?}");
}

#[test]
fn the_table_takes_no_options() {
    let ended = run("pool_table", &["--limit", "3"]);
    assert_eq!((ended.status, ended.out.len()), (Some(2), 0), "{ended:#?}");
}

#[test]
fn many_queries_at_a_limit_open_no_more_sockets_than_that() {
    let options = ["--queries", "1000", "--servers", "1", "--limit", "10", "--delay", "0ms"];
    let ended = run("pool_demo", &options);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert!(ended.out.iter().any(|row| row.contains("2000 of 2000 answered")), "{ended:#?}");
    let opened = column(&ended.out[1..], 0);
    assert_eq!(opened.last(), Some(&10), "{ended:#?}");
}

#[test]
fn each_step_of_the_demonstration_is_within_the_limit() {
    let ended = run("pool_demo", &["--limit", "4", "--limit-per-host", "2"]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let rows = &ended.out[1..];
    let columns = [7, 6, 5, 4, 3].map(|nth| column(rows, nth));
    assert!(rows.len() > 5 && columns[0].len() == rows.len(), "{ended:#?}");
    let [limit, open @ ..] = columns; // connecting, leased, idle, closing
    let within = |row: usize| open.iter().map(|column| column[row]).sum::<usize>() <= limit[row];
    assert!((0..rows.len()).all(within), "{ended:#?}");
    assert!(rows.last().is_some_and(|row| row.starts_with("drained")), "{ended:#?}");
}

#[test]
fn limits_that_cannot_be_are_refused_with_the_values() {
    for (options, part) in
        [(&["--limit", "0"][..], "Config::limit is 0"), (&["--limit", "3", "--limit-per-host", "4"], "(4)")]
    {
        let ended = run("pool_demo", options);
        assert_eq!(ended.status, Some(2), "{ended:#?}");
        ended.message(part);
    }
}

#[test]
fn whois_prints_what_the_bundled_server_says() {
    let ended = run("whois", &["example.org", "--fake"]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert!(ended.out.iter().any(|line| line.contains("Café Enjambement")), "{ended:#?}");
    let ended = run("whois", &["caf\u{e9}.example", "--fake"]);
    assert_eq!(ended.out, ["No match for \"café.example\"."], "{ended:#?}");
}

/// A server of one connection that says these bytes when it has been asked, and closes. Returns what it was asked.
fn server(says: &'static [u8]) -> (SocketAddr, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout for the test");
        let mut line = Vec::new();
        BufReader::new(&stream).read_until(b'\n', &mut line).expect("a question");
        stream.write_all(says).expect("it reads");
        line
    });
    (address, asked)
}

#[test]
fn whois_asks_in_latin_1_and_one_line() {
    let (address, asked) = server(b"any\xfcthing\r\n");
    let ended = run("whois", &["b\u{fc}cher.example", "--server", &address.to_string()]);
    assert_eq!(asked.join().expect("it answers"), b"b\xfccher.example\r\n");
    assert_eq!((ended.status, &ended.out[..]), (Some(0), &["any\u{fc}thing".to_string()][..]), "{ended:#?}");
}

#[test]
fn whois_says_what_failed() {
    let (address, _asked) = server(b"");
    let ended = run("whois", &["x", "--server", &address.to_string()]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    ended.message("closed without an answer");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let ended = run("whois", &["x", "--server", &taken.to_string()]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(ended.message("is a server listening there?").contains(&taken.to_string()), "{ended:#?}");
}

#[test]
fn whois_wants_a_server_that_can_be_one() {
    for (server, part) in [("::1:x", "port"), ("localhost:x", "port"), ("two words", "character")] {
        let ended = run("whois", &["x", "--server", server]);
        assert_eq!(ended.status, Some(2), "{ended:#?}");
        ended.message(part);
    }
    let ended = run("whois", &["x", "--server", "no-host.invalid"]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    ended.message("no-host.invalid:43");
}

#[test]
fn whois_does_not_wait_longer_than_it_may() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("its address").to_string();
    let whois = Program::start("whois", &["x", "--server", &address, "--timeout", "100ms"]);
    let ended = whois.end();
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    ended.message("try a longer --timeout");
}

#[test]
fn whois_refuses_what_it_could_not_ask() {
    for query in ["", "one\ntwo", "\u{65e5}\u{672c}.example"] {
        let ended = run("whois", &[query, "--fake"]);
        assert_eq!(ended.status, Some(2), "{ended:#?}");
    }
}
