//! Framing: messages out of a stream of bytes.
//!
//! TCP carries bytes, not messages: what was written with one call may arrive in two pieces, or together with what was
//! written next. A framing says where a message ends. Here are the three that most protocols have: [`Lines`],
//! [`LengthPrefixed`] and frames of a [`Fixed`] size.
//!
//! Each is a small value that a machine keeps among its fields, and each is used in the same way: `next` in
//! [`received`](crate::Protocol::received), and `last` in [`ended`](crate::Protocol::ended), where half a frame is no
//! longer one that may become whole. The frames are slices of the [`Input`](crate::Input): nothing is copied.
//!
//! ```
//! use enjamb::framing::Lines;
//! use enjamb::{Conn, Input, Protocol};
//! use std::io::{self, Write};
//!
//! /// Answers every line with its length.
//! struct Count {
//!     lines: Lines,
//! }
//!
//! impl Protocol for Count {
//!     fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> io::Result<()> {
//!         while let Some(line) = self.lines.next(input)? {
//!             writeln!(conn, "{}", line.len())?;
//!         }
//!         Ok(())
//!     }
//!
//!     fn ended(&mut self, conn: &mut Conn<'_>, rest: &mut Input<'_>) -> io::Result<()> {
//!         while let Some(line) = self.lines.last(rest)? {
//!             writeln!(conn, "{}", line.len())?; // the last one, which has no newline
//!         }
//!         conn.close();
//!         Ok(())
//!     }
//! }
//!
//! let machine = Count { lines: Lines::new(1000) };
//! ```
//!
//! They know nothing of sockets, so a protocol's parsing can be tested on bytes alone: see [`Lines`].
//!
//! # The maximum
//!
//! Each has a maximum, so that no peer can fill the memory with a line that never ends; and a frame is refused as soon
//! as it is known to be longer, which for one with a length before it is at once. The memory grows with the bytes that
//! have come, never with the length that was announced.
//!
//! The maximum also stands in for the [input limit](crate::Conn::input_limit), which is for machines that do not say
//! how much they wait for: while a frame is on its way, the connection keeps as much of it as the maximum allows,
//! whether that is below the input limit or above.
//!
//! # Errors
//!
//! [`InvalidData`](io::ErrorKind::InvalidData) for a frame over the maximum, and
//! [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) for one that was cut short. There is no going on after the first:
//! where the next frame begins is not known. A callback that returns the error ends its connection and no other.

mod fixed;
mod length_prefixed;
mod lines;

use std::io;

use crate::base::error;

pub use fixed::Fixed;
pub use length_prefixed::{LengthPrefixed, Prefix};
pub use lines::Lines;

/// The end has come when only `come` of a frame's (or its length's) bytes had.
fn cut_short(what: &str, come: usize, bytes: usize) -> io::Error {
    let missing = bytes - come;
    let message = format!(
        "the peer ended in the middle of {what}: {missing} of its {bytes} bytes are missing; was it stopped?"
    );
    error::new(io::ErrorKind::UnexpectedEof, message)
}

#[cfg(test)]
mod feed {
    use std::io;

    use crate::Input;

    /// A framing of any kind, and whether it is the end.
    pub(super) type Step<'f> = dyn FnMut(&mut Input<'_>, bool) -> io::Result<Option<Vec<u8>>> + 'f;

    /// Offers the pieces as the loop does: each behind what was left of those before; then the end.
    pub(super) fn feed<'p>(
        pieces: impl IntoIterator<Item = &'p [u8]>,
        step: &mut Step<'_>,
    ) -> (Vec<Vec<u8>>, io::Result<()>) {
        let (mut frames, mut left) = (Vec::new(), Vec::new());
        let mut all = |bytes: &[u8], at_end| -> io::Result<usize> {
            let mut input = Input::new(bytes);
            while let Some(frame) = step(&mut input, at_end)? {
                frames.push(frame);
            }
            Ok(input.len())
        };
        for piece in pieces {
            left.extend_from_slice(piece);
            match all(&left, false) {
                Ok(unread) => drop(left.drain(..left.len() - unread)),
                Err(error) => return (frames, Err(error)),
            }
        }
        let ended = all(&left, true).map(|unread| assert_eq!(unread, 0, "all is taken at the end"));
        (frames, ended)
    }

    /// Whatever pieces a stream arrives in (two, wherever they meet, or one byte each), the frames are the same.
    pub(super) fn feed_in_every_way(
        stream: &[u8],
        make: impl Fn() -> Box<Step<'static>>,
    ) -> (Vec<Vec<u8>>, io::Result<()>) {
        let whole = feed([stream], &mut *make());
        let said = |result: &io::Result<()>| result.as_ref().err().map(|error| error.to_string());
        for at in 0..=stream.len() {
            let (one, other) = stream.split_at(at);
            let split = feed([one, other], &mut *make());
            assert_eq!((&split.0, said(&split.1)), (&whole.0, said(&whole.1)), "split at {at}");
        }
        let single = feed(stream.chunks(1), &mut *make());
        assert_eq!((&single.0, said(&single.1)), (&whole.0, said(&whole.1)), "one byte at a time");
        whole
    }
}
