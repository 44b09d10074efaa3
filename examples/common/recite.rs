//! Sending a poem slowly: what makes every poetry server slow.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

/// Sends the pieces and rests for `delay` after each one, the last one too. `sent` is told of each piece.
///
/// Every rest ends at a moment counted from the start, so that what sending costs does not add up: n pieces take
/// n × `delay`, however long the poem.
pub fn recite(
    mut to: impl Write,
    pieces: &[Vec<u8>],
    delay: Duration,
    mut sent: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut rest_until = Instant::now();
    for piece in pieces {
        to.write_all(piece)?;
        sent(piece);
        rest_until += delay;
        thread::sleep(rest_until.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
