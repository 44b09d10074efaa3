//! Poems, and sending them slowly.

use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The poem of a server that was given none.
pub const DEFAULT: &str = "1111\n2222\n3333\n4444\n";

/// Reads a poem from a file. The error is a sentence that names the file.
pub fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|error| format!("cannot read the poem {name}: {error}"))?;
    let poem = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        format!(
            "the poem {name} is not UTF-8 (from byte {valid} on): convert it first, for example with iconv"
        )
    })?;
    if poem.trim().is_empty() {
        return Err(format!("the poem {name} is empty: it needs at least one line"));
    }
    Ok(poem)
}

/// The pieces to send. They are the lines without their newlines, or `num_bytes` bytes each. Such a cut may fall inside
/// a character.
pub fn pieces(poem: &str, num_bytes: Option<NonZeroUsize>) -> Vec<Vec<u8>> {
    match num_bytes {
        Some(size) => poem.as_bytes().chunks(size.get()).map(<[u8]>::to_vec).collect(),
        // An empty piece would be a pause without a byte.
        None => poem.lines().filter(|line| !line.is_empty()).map(|line| line.as_bytes().to_vec()).collect(),
    }
}

/// Sends the pieces and sleeps for `delay` after each one, also after the last one. Calls `sent` with each piece.
///
/// Each sleep ends at a time that is counted from the start. So the cost of sending does not add up: n pieces take
/// n × `delay`.
pub fn recite(
    mut to: impl Write,
    pieces: &[Vec<u8>],
    delay: Duration,
    mut sent: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut sleep_until = Instant::now();
    for piece in pieces {
        to.write_all(piece)?;
        sent(piece);
        sleep_until += delay;
        thread::sleep(sleep_until.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
