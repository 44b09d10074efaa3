//! Frames of a fixed size.

use std::io;

use super::cut_short;
use crate::Input;
use crate::base::error;

/// Frames of a fixed size: records, or the header of a message that contains the length of the rest.
///
/// ```
/// use enjamb::Input;
/// use enjamb::framing::Fixed;
///
/// let records = Fixed::new(4);
/// let mut input = Input::new(b"1111222233");
/// assert_eq!(records.next(&mut input)?, Some(&b"1111"[..]));
/// assert_eq!(records.next(&mut input)?, Some(&b"2222"[..]));
/// assert_eq!(records.next(&mut input)?, None);
///
/// let error = records.last(&mut input).unwrap_err(); // the stream ended here
/// assert_eq!(
///     error.to_string(),
///     "the peer ended in the middle of a frame: 2 of its 4 bytes are missing; was it stopped?"
/// );
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone)]
pub struct Fixed {
    size: usize,
}

impl Fixed {
    /// Creates a framing for frames of `size` bytes, at least 1.
    pub const fn new(size: usize) -> Self {
        Fixed { size }
    }

    /// Takes the next frame. `None`: the frame is not complete yet.
    ///
    /// # Errors [`InvalidInput`](io::ErrorKind::InvalidInput) for a size of 0, which would make infinitely many frames.
    pub fn next<'a>(&self, input: &mut Input<'a>) -> io::Result<Option<&'a [u8]>> {
        if self.size == 0 {
            let message = "frames of 0 bytes have no end; pass at least 1 to Fixed::new";
            return Err(error::new(io::ErrorKind::InvalidInput, message));
        }
        if input.len() >= self.size {
            return Ok(Some(input.take(self.size)));
        }
        input.expect(self.size);
        Ok(None)
    }

    /// Takes the next frame after the end of the stream.
    ///
    /// # Errors As for [`next`](Self::next). [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) for a truncated frame; the
    /// message has the number of missing bytes.
    pub fn last<'a>(&self, rest: &mut Input<'a>) -> io::Result<Option<&'a [u8]>> {
        match self.next(rest)? {
            None if !rest.is_empty() => Err(cut_short("a frame", rest.len(), self.size)),
            frame => Ok(frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::feed::{AnyFraming, feed_in_every_way};

    fn of(size: usize) -> Box<AnyFraming<'static>> {
        let fixed = Fixed::new(size);
        Box::new(move |input, at_end| {
            let frame = if at_end { fixed.last(input)? } else { fixed.next(input)? };
            Ok(frame.map(<[u8]>::to_vec))
        })
    }

    #[test]
    fn frames_are_the_same_wherever_the_stream_is_split() {
        for size in 1..7 {
            let (frames, ended) = feed_in_every_way(b"\0\n\r\xff--------", || of(size));
            assert_eq!(frames.concat(), b"\0\n\r\xff--------"[..12 - 12 % size]);
            assert!(frames.iter().all(|frame| frame.len() == size));
            assert_eq!(ended.is_ok(), 12 % size == 0);
        }
        let (frames, ended) = feed_in_every_way(b"", || of(3));
        ended.unwrap();
        assert!(frames.is_empty());
    }

    #[test]
    fn a_frame_cut_short_says_how_much_is_missing() {
        let (frames, ended) = feed_in_every_way(b"1234567", || of(5));
        assert_eq!(frames, [b"12345"]);
        let error = ended.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("a frame: 3 of its 5 bytes are missing"), "{error}");
    }

    #[test]
    fn a_size_of_nothing_is_refused() {
        let error = Fixed::new(0).next(&mut Input::new(b"x")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
