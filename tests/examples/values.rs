//! The parsers that the examples share.

#[path = "../../examples/common/address.rs"]
mod address;
#[path = "../../examples/common/duration.rs"]
mod duration;
#[path = "../../examples/common/poem.rs"]
mod poem;
#[path = "../../examples/common/recite.rs"]
mod recite;

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn durations() {
    let parse = duration::at_least_ms(0);
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
    let parse = address::with_port(0..=65535);
    for (text, address) in [
        ("10000", "127.0.0.1:10000"),
        ("10.1.2.3:4", "10.1.2.3:4"),
        ("[::1]:10000", "[::1]:10000"),
        ("localhost:0", "127.0.0.1:0"),
    ] {
        assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), Ok(address), "{text}");
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
    recite::recite(io::sink(), &pieces, delay, |piece| told += piece.len()).expect("a sink takes all");
    assert!(start.elapsed() >= 2 * delay);
    assert_eq!(told, 8);
}
