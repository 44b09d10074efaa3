//! Frames with a length prefix.

use std::io;

use super::cut_short;
use crate::Input;
use crate::base::error;

/// The encoding of a length: its width and byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// One byte.
    U8,
    /// Two bytes, big-endian: network byte order (RFC 1700, data notation), as in DNS over TCP (RFC 1035, 4.2.2).
    U16Be,
    /// Two bytes, little-endian.
    U16Le,
    /// Four bytes, big-endian.
    U32Be,
    /// Four bytes, little-endian.
    U32Le,
    /// Eight bytes, big-endian.
    U64Be,
    /// Eight bytes, little-endian.
    U64Le,
}

impl Prefix {
    const fn width(self) -> usize {
        match self {
            Prefix::U8 => 1,
            Prefix::U16Be | Prefix::U16Le => 2,
            Prefix::U32Be | Prefix::U32Le => 4,
            Prefix::U64Be | Prefix::U64Le => 8,
        }
    }

    const fn is_big_endian(self) -> bool {
        matches!(self, Prefix::U8 | Prefix::U16Be | Prefix::U32Be | Prefix::U64Be)
    }

    /// The largest length that fits.
    const fn longest(self) -> u64 {
        u64::MAX >> (64 - 8 * self.width())
    }

    /// Decodes a length. `bytes` has the width of the prefix.
    fn decode(self, bytes: &[u8]) -> u64 {
        let shift = |length: u64, &byte: &u8| length << 8 | u64::from(byte);
        if self.is_big_endian() { bytes.iter().fold(0, shift) } else { bytes.iter().rev().fold(0, shift) }
    }

    fn write(self, length: u64, to: &mut impl io::Write) -> io::Result<()> {
        let width = self.width();
        if self.is_big_endian() {
            to.write_all(&length.to_be_bytes()[8 - width..])
        } else {
            to.write_all(&length.to_le_bytes()[..width])
        }
    }
}

/// Frames after their length in bytes, up to a maximum. The length does not count the prefix.
///
/// ```
/// use enjamb::Input;
/// use enjamb::framing::{LengthPrefixed, Prefix};
///
/// let frames = LengthPrefixed::new(Prefix::U16Be, 1000);
/// let mut wire = Vec::new(); // or a Conn
/// frames.write(b"run on", &mut wire)?;
/// frames.write(b"", &mut wire)?;
/// assert_eq!(wire, b"\x00\x06run on\x00\x00");
///
/// let mut input = Input::new(&wire);
/// assert_eq!(frames.next(&mut input)?, Some(&b"run on"[..]));
/// assert_eq!(frames.next(&mut input)?, Some(&b""[..]));
/// assert_eq!(frames.next(&mut input)?, None);
///
/// let error = frames.next(&mut Input::new(b"\xff\xff")).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "a frame of 65535 bytes is announced, and the maximum is 1000; is it the right protocol? \
///      LengthPrefixed::new sets the maximum"
/// );
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone)]
pub struct LengthPrefixed {
    prefix: Prefix,
    most: usize,
}

impl LengthPrefixed {
    /// Creates a framing for frames of at most `most` bytes, without the prefix.
    pub const fn new(prefix: Prefix, most: usize) -> Self {
        LengthPrefixed { prefix, most }
    }

    /// Takes the next frame and returns it without its prefix. `None`: the frame is not complete yet.
    ///
    /// # Errors [`InvalidData`](io::ErrorKind::InvalidData) for a frame over the maximum, as soon as its length has
    /// arrived.
    pub fn next<'a>(&self, input: &mut Input<'a>) -> io::Result<Option<&'a [u8]>> {
        let width = self.prefix.width();
        let size = match input.peek().get(..width) {
            None => width, // more than there is
            Some(length) => width.saturating_add(self.accept(self.prefix.decode(length))?),
        };
        if input.peek().len() < size {
            input.expect(size);
            return Ok(None);
        }
        Ok(Some(&input.take(size)[width..]))
    }

    /// Takes the next frame after the end of the stream.
    ///
    /// # Errors As for [`next`](Self::next). [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) for a truncated frame; the
    /// message has the number of missing bytes.
    pub fn last<'a>(&self, rest: &mut Input<'a>) -> io::Result<Option<&'a [u8]>> {
        if let Some(frame) = self.next(rest)? {
            return Ok(Some(frame));
        }
        let width = self.prefix.width();
        match rest.peek().split_at_checked(width) {
            _ if rest.is_empty() => Ok(None),
            None => Err(cut_short("a frame's length", rest.len(), width)),
            Some((length, frame)) => {
                let length = self.accept(self.prefix.decode(length))?;
                Err(cut_short("a frame", frame.len(), length))
            }
        }
    }

    /// Writes `frame` with its length before it.
    ///
    /// # Errors [`InvalidInput`](io::ErrorKind::InvalidInput) for a frame over the maximum or too long for the prefix;
    /// nothing is written then. An error of `to` is passed on.
    pub fn write(&self, frame: &[u8], to: &mut impl io::Write) -> io::Result<()> {
        let length = frame.len() as u64;
        let longest = self.prefix.longest();
        if frame.len() > self.most || length > longest {
            let (what, try_this) = if length > longest {
                (longest, "a wider Prefix takes more")
            } else {
                (self.most as u64, "LengthPrefixed::new sets the maximum")
            };
            let message =
                format!("a frame of {length} bytes is not written: the maximum is {what}; {try_this}");
            return Err(error::new(io::ErrorKind::InvalidInput, message));
        }
        self.prefix.write(length, to)?;
        to.write_all(frame)
    }

    /// Checks an announced length against the maximum.
    fn accept(&self, announced: u64) -> io::Result<usize> {
        match usize::try_from(announced) {
            Ok(length) if length <= self.most => Ok(length),
            _ => {
                let message = format!(
                    "a frame of {announced} bytes is announced, and the maximum is {}; is it the right protocol? \
                     LengthPrefixed::new sets the maximum",
                    self.most
                );
                Err(error::new(io::ErrorKind::InvalidData, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::feed::{AnyFraming, feed_in_every_way};

    const ALL: [Prefix; 7] = [
        Prefix::U8,
        Prefix::U16Be,
        Prefix::U16Le,
        Prefix::U32Be,
        Prefix::U32Le,
        Prefix::U64Be,
        Prefix::U64Le,
    ];

    fn of(prefix: Prefix, most: usize) -> Box<AnyFraming<'static>> {
        let frames = LengthPrefixed::new(prefix, most);
        Box::new(move |input, at_end| {
            let frame = if at_end { frames.last(input)? } else { frames.next(input)? };
            Ok(frame.map(<[u8]>::to_vec))
        })
    }

    fn wire(prefix: Prefix, frames: &[&[u8]]) -> Vec<u8> {
        let mut wire = Vec::new();
        for frame in frames {
            LengthPrefixed::new(prefix, usize::MAX).write(frame, &mut wire).unwrap();
        }
        wire
    }

    #[test]
    fn what_is_written_is_read_wherever_the_stream_is_split() {
        let frames: [&[u8]; 5] = [b"one", b"", b"\0\0\0\0\0\0\0\0", b"", &[b'x'; 200]];
        for prefix in ALL {
            let (got, ended) = feed_in_every_way(&wire(prefix, &frames), || of(prefix, 200));
            ended.unwrap();
            assert_eq!(got, frames, "{prefix:?}");
        }
    }

    #[test]
    fn each_prefix_has_its_width_and_order() {
        let expected: [&[u8]; 7] = [
            b"\x01",
            b"\0\x01",
            b"\x01\0",
            b"\0\0\0\x01",
            b"\x01\0\0\0",
            b"\0\0\0\0\0\0\0\x01",
            b"\x01\0\0\0\0\0\0\0",
        ];
        for (prefix, length) in ALL.into_iter().zip(expected) {
            assert_eq!(wire(prefix, &[b"!"]), [length, b"!"].concat(), "{prefix:?}");
        }
        assert_eq!(wire(Prefix::U16Be, &[&[0; 0x1234]])[..2], [0x12, 0x34]);
        assert_eq!(wire(Prefix::U16Le, &[&[0; 0x1234]])[..2], [0x34, 0x12]);
    }

    #[test]
    fn a_frame_of_the_maximum_passes_and_one_byte_more_is_an_error() {
        for prefix in ALL {
            let (got, ended) = feed_in_every_way(&wire(prefix, &[b"12345", b"123456"]), || of(prefix, 5));
            assert_eq!(got, [b"12345"], "{prefix:?}");
            let error = ended.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(
                error.to_string(),
                "a frame of 6 bytes is announced, and the maximum is 5; is it the right protocol? \
                 LengthPrefixed::new sets the maximum"
            );
        }
    }

    #[test]
    fn four_gigabytes_and_more_are_refused_when_they_are_announced() {
        for (prefix, most, announced) in [
            (Prefix::U32Be, 1 << 20, u64::from(u32::MAX)),
            (Prefix::U64Be, 1 << 20, 1 << 32),
            (Prefix::U64Le, usize::MAX >> 1, u64::MAX),
        ] {
            let width = prefix.width();
            let length =
                if prefix == Prefix::U64Le { announced.to_le_bytes() } else { announced.to_be_bytes() };
            let mut input = Input::new(&length[8 - width..]);
            let error = LengthPrefixed::new(prefix, most).next(&mut input).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let said = error.to_string();
            assert!(said.contains(&announced.to_string()) && said.contains(&most.to_string()), "{said}");
        }
    }

    #[test]
    fn without_a_maximum_the_longest_length_is_waited_for_and_nothing_overflows() {
        let frames = LengthPrefixed::new(Prefix::U64Be, usize::MAX);
        let mut input = Input::new(b"\xff\xff\xff\xff\xff\xff\xff\xff and so on");
        assert_eq!(frames.next(&mut input).unwrap(), None);
        assert_eq!(frames.last(&mut input).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_frame_cut_short_says_how_much_is_missing() {
        for (stream, said) in [
            (&b"\0\0\0\x05abc"[..], "a frame: 2 of its 5 bytes are missing"),
            (b"\0\0\0\x05", "a frame: 5 of its 5 bytes are missing"),
            (b"\0\0\0", "a frame's length: 1 of its 4 bytes are missing"),
        ] {
            let (frames, ended) = feed_in_every_way(stream, || of(Prefix::U32Be, 10));
            assert!(frames.is_empty());
            let error = ended.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(error.to_string().contains(said), "{error}");
        }
        let (_, ended) = feed_in_every_way(b"", || of(Prefix::U32Be, 10));
        ended.unwrap();
    }

    #[test]
    fn a_frame_that_cannot_be_sent_is_refused_before_anything_is_written() {
        let mut wire = Vec::new();
        for (prefix, most, said) in [
            (
                Prefix::U8,
                1000,
                "a frame of 256 bytes is not written: the maximum is 255; a wider Prefix takes more",
            ),
            (
                Prefix::U32Be,
                255,
                "a frame of 256 bytes is not written: the maximum is 255; LengthPrefixed::new sets the maximum",
            ),
        ] {
            let error = LengthPrefixed::new(prefix, most).write(&[0; 256], &mut wire).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), said);
        }
        assert!(wire.is_empty());
    }
}
