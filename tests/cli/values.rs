//! The parsers that the examples share.

use crate::examples::{poem, values};
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn durations() {
    let parse = values::duration_from_ms(0);
    for (text, milliseconds) in [
        ("0ms", 0),
        ("500ms", 500),
        ("1s", 1000),
        ("1.5s", 1500),
        ("2m", 120_000),
        (".5s", 500),
        ("24h", 86_400_000),
    ] {
        assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
}

#[test]
fn addresses() {
    for (text, address) in [
        ("10000", "127.0.0.1:10000"),
        ("10.1.2.3:4", "10.1.2.3:4"),
        ("[::1]:10000", "[::1]:10000"),
        ("localhost:0", "127.0.0.1:0"),
    ] {
        assert_eq!(
            values::listen_address(text).map(|address| address.to_string()).as_deref(),
            Ok(address),
            "{text}"
        );
    }
}

#[test]
fn pieces_of_a_poem() {
    let lines = poem::pieces(poem::DEFAULT, None);
    assert_eq!(lines, [b"1111", b"2222", b"3333", b"4444"]);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pieces.txt");
    fs::write(&path, "é!").expect("a temporary file");
    let poem = poem::read(&path).expect("a poem");
    let bytes = poem::pieces(&poem, 2.try_into().ok());
    assert_eq!(bytes, [&b"\xc3\xa9"[..], b"!"]);
}

#[test]
fn reciting_rests_after_every_piece_the_last_one_too() {
    let delay = Duration::from_millis(20);
    let mut told = 0;
    let start = Instant::now();
    let pieces = [b"1111".to_vec(), b"2222".to_vec()];
    poem::recite(io::sink(), &pieces, delay, |piece| told += piece.len()).expect("a sink takes all");
    assert!(start.elapsed() >= 2 * delay);
    assert_eq!(told, 8);
}

#[test]
fn byte_strings_are_as_python_prints_them() {
    let all: Vec<u8> = (0..=255).collect();
    for (bytes, shown) in [
        (&b""[..], "b''"),
        (b"plain", "b'plain'"),
        (b"\t\n\r\\", r"b'\t\n\r\\'"),
        (b"\0\x7f\xff", r"b'\x00\x7f\xff'"),
        (b"it's", "b\"it's\""),
        (b"\"so\"", "b'\"so\"'"),
        (b"\"it's\"", r#"b'"it\'s"'"#),
    ] {
        assert_eq!(values::ByteString(bytes).to_string(), shown);
    }
    assert!(values::ByteString(&all).to_string().is_ascii());
}

#[test]
fn places_are_named() {
    for (address, named) in [
        ("127.0.0.1:10000", "localhost port 10000"),
        ("[::1]:1", "localhost port 1"),
        ("0.0.0.0:10000", "0.0.0.0 port 10000"),
        ("127.0.0.2:3", "127.0.0.2 port 3"),
    ] {
        assert_eq!(values::Place(address.parse().expect("an address")).to_string(), named);
    }
}
