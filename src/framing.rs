//! Framing: messages in a stream of bytes.
//!
//! TCP carries bytes, not messages. The bytes of one write may arrive in two pieces, or together with those of the
//! next. A framing defines the end of a message. This module has the three framings that most protocols use: [`Lines`],
//! [`LengthPrefixed`] and frames of a [`Fixed`] size.
//!
//! Each framing is a small value among a protocol's fields, and all are used in the same way. Call `next` in
//! [`received`](crate::Protocol::received), and `last` in [`ended`](crate::Protocol::ended), where an incomplete frame
//! can no longer be completed. The frames are slices of the [`Input`](crate::Input): nothing is copied.
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
//!             writeln!(conn, "{}", line.len())?; // the last line has no LF
//!         }
//!         conn.close();
//!         Ok(())
//!     }
//! }
//!
//! let machine = Count { lines: Lines::new(1000) };
//! ```
//!
//! The framings know nothing of sockets, so a protocol's parsing can be tested on bytes alone: see [`Lines`].
//!
//! # The maximum
//!
//! Each framing has a maximum, so a peer cannot fill the memory with a line that never ends. It refuses a frame as soon
//! as the frame is known to be longer; with a length prefix, that is at once. Memory grows with the bytes received,
//! never with the announced length.
//!
//! The maximum replaces the [input limit](crate::Conn::input_limit), which is for protocols that do not announce how
//! much they wait for. While a frame is incomplete, the connection buffers as much of it as the maximum allows, whether
//! the input limit is lower or higher.
//!
//! # Errors
//!
//! [`InvalidData`](io::ErrorKind::InvalidData) for a frame over the maximum, and
//! [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) for a truncated frame. After the first, parsing cannot continue,
//! since the start of the next frame is not known. A callback that returns the error ends its own connection only.

mod fixed;
mod length_prefixed;
mod lines;

use std::io;

use crate::base::error;

pub use fixed::Fixed;
pub use length_prefixed::{LengthPrefixed, Prefix};
pub use lines::Lines;

/// The stream ended after `come` of the `bytes` bytes of a frame or of its length.
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

    /// Any framing, as a closure. The flag is set at the end of the stream.
    pub(super) type AnyFraming<'f> = dyn FnMut(&mut Input<'_>, bool) -> io::Result<Option<Vec<u8>>> + 'f;

    /// Feeds the pieces as the loop does, each after the rest of the earlier ones, and then the end of the stream.
    pub(super) fn feed<'p>(
        pieces: impl IntoIterator<Item = &'p [u8]>,
        framing: &mut AnyFraming<'_>,
    ) -> (Vec<Vec<u8>>, io::Result<()>) {
        let (mut frames, mut left) = (Vec::new(), Vec::new());
        let mut all = |bytes: &[u8], at_end| -> io::Result<usize> {
            let mut input = Input::new(bytes);
            while let Some(frame) = framing(&mut input, at_end)? {
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

    /// Checks that the frames are the same for every split of the stream: two pieces with any border, or one byte each.
    pub(super) fn feed_in_every_way(
        stream: &[u8],
        make: impl Fn() -> Box<AnyFraming<'static>>,
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
