//! Lines: frames that end with a delimiter.

use std::io;

use crate::Input;
use crate::base::error;

/// Lines that end with LF or CRLF, up to a maximum. A CR elsewhere belongs to the line.
///
/// ```
/// use enjamb::Input;
/// use enjamb::framing::Lines;
///
/// let mut lines = Lines::new(80);
/// let mut input = Input::new(b"one\r\ntwo\nthr");
/// assert_eq!(lines.next(&mut input)?, Some(&b"one"[..]));
/// assert_eq!(lines.next(&mut input)?, Some(&b"two"[..]));
/// assert_eq!(lines.next(&mut input)?, None); // an incomplete line stays in the input
///
/// let mut input = Input::new(b"three\nfour"); // the loop offers it again with the next bytes
/// assert_eq!(lines.next(&mut input)?, Some(&b"three"[..]));
/// assert_eq!(lines.next(&mut input)?, None);
/// assert_eq!(lines.last(&mut input)?, Some(&b"four"[..])); // at the end of the stream
/// assert_eq!(lines.last(&mut input)?, None);
/// # std::io::Result::Ok(())
/// ```
///
/// The framing remembers how far it has searched, so a long line that arrives byte by byte is searched once, not once
/// for each byte. So only `next` or [`last`](Self::last) may take the bytes that [`next`](Self::next) left. A protocol
/// that changes its parsing after a line (a body after its headers) must do so between two lines.
#[derive(Debug, Clone)]
pub struct Lines {
    most: usize,
    /// The number of bytes at the start of the input that contain no LF.
    seen: usize,
}

impl Lines {
    /// Creates a framing for lines of at most `most` bytes, without the LF or CRLF.
    pub const fn new(most: usize) -> Self {
        Lines { most, seen: 0 }
    }

    /// Takes the next line and returns it without its LF or CRLF. `None`: no line is complete yet.
    ///
    /// # Errors [`InvalidData`](io::ErrorKind::InvalidData) for a line over the maximum, as soon as it exceeds it.
    pub fn next<'a>(&mut self, input: &mut Input<'a>) -> io::Result<Option<&'a [u8]>> {
        let bytes = input.peek();
        let from = self.seen.min(bytes.len());
        // The search stops after the longest allowed line and its CRLF: a longer line is an error anyway.
        let to = bytes.len().min(self.most.saturating_add(2)).max(from);
        let Some(found) = bytes[from..to].iter().position(|&byte| byte == b'\n') else {
            self.seen = to;
            self.check(bytes)?;
            input.expect(self.most.saturating_add(2));
            return Ok(None);
        };
        self.check(&bytes[..from + found])?;
        self.seen = 0;
        Ok(Some(without_cr(&input.take(from + found + 1)[..from + found])))
    }

    /// Takes the next line after the end of the stream. The rest without an LF counts as the last line; an empty rest
    /// does not.
    ///
    /// # Errors As for [`next`](Self::next).
    pub fn last<'a>(&mut self, rest: &mut Input<'a>) -> io::Result<Option<&'a [u8]>> {
        if let Some(line) = self.next(rest)? {
            return Ok(Some(line));
        }
        self.seen = 0;
        // A CR at the very end was meant to precede an LF.
        Ok(if rest.is_empty() { None } else { Some(without_cr(rest.take_all())) })
    }

    fn check(&self, line: &[u8]) -> io::Result<()> {
        if without_cr(line).len() <= self.most {
            return Ok(());
        }
        let message = format!(
            "a line is longer than the maximum of {} bytes; is it the right protocol? Lines::new sets the maximum",
            self.most
        );
        Err(error::new(io::ErrorKind::InvalidData, message))
    }
}

/// Removes a CR at the end, which may be half of the line's CRLF.
fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::feed::{AnyFraming, feed, feed_in_every_way};

    fn of(most: usize) -> Box<AnyFraming<'static>> {
        let mut lines = Lines::new(most);
        Box::new(move |input, at_end| {
            let line = if at_end { lines.last(input)? } else { lines.next(input)? };
            Ok(line.map(<[u8]>::to_vec))
        })
    }

    fn too_long(result: io::Result<()>, most: usize) {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(
            error.to_string(),
            format!(
                "a line is longer than the maximum of {most} bytes; is it the right protocol? Lines::new sets the \
                 maximum"
            )
        );
    }

    #[test]
    fn lines_are_the_same_wherever_the_stream_is_split() {
        let stream = b"one\ntwo\r\n\n\r\n\rthree\r\rfour\r\r\n\0\n\xff\xfe\r\nlast";
        let (lines, ended) = feed_in_every_way(stream, || of(100));
        ended.unwrap();
        let expected: [&[u8]; 8] =
            [b"one", b"two", b"", b"", b"\rthree\r\rfour\r", b"\0", b"\xff\xfe", b"last"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_last_line_needs_no_newline_and_nothing_is_no_line() {
        for (stream, lines) in [
            (&b""[..], &[][..]),
            (b"a\n", &[&b"a"[..]]),
            (b"a\n\n", &[b"a", b""]),
            (b"a\nb", &[b"a", b"b"]),
            (b"a\r", &[b"a"]),
            (b"\r", &[b""]),
        ] {
            let (got, ended) = feed_in_every_way(stream, || of(10));
            ended.unwrap();
            assert_eq!(got, lines, "{stream:?}");
        }
    }

    #[test]
    fn a_line_of_the_maximum_passes_and_one_byte_more_is_an_error() {
        for stream in [&b"12345\n12345\r\n12345"[..], b"12345\r", b"1234\r\r\n", b"\n"] {
            let (lines, ended) = feed_in_every_way(stream, || of(5));
            ended.unwrap();
            assert!(lines.iter().all(|line| line.len() == 5 || stream == b"\n"), "{lines:?}");
        }
        for stream in
            [&b"ok\n123456"[..], b"ok\n123456\n", b"ok\n123456\r\n", b"ok\n12345\r\r\n", b"ok\n12345\rx"]
        {
            let (lines, ended) = feed_in_every_way(stream, || of(5));
            assert_eq!(lines, [b"ok"], "{stream:?}");
            too_long(ended, 5);
        }
    }

    #[test]
    fn with_a_maximum_of_nothing_only_empty_lines_pass() {
        let (lines, ended) = feed_in_every_way(b"\n\r\nx", || of(0));
        assert_eq!(lines, [b"", b""]);
        too_long(ended, 0);
    }

    #[test]
    fn the_largest_maximum_is_none() {
        let (lines, ended) = feed_in_every_way(b"any\nline", || of(usize::MAX));
        ended.unwrap();
        assert_eq!(lines, [&b"any"[..], b"line"]);
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_first_byte_too_many() {
        let mut lines = Lines::new(1000);
        let endless = [b'x'; 1001];
        assert_eq!(lines.next(&mut Input::new(&endless[..1000])).unwrap(), None);
        too_long(lines.next(&mut Input::new(&endless)).map(drop), 1000);
    }

    #[test]
    fn no_byte_is_looked_at_twice() {
        let mut lines = Lines::new(1 << 20);
        let mut bytes = Vec::new();
        for n in 0..100_000 {
            assert_eq!(lines.seen, n);
            bytes.push(b'x');
            assert_eq!(lines.next(&mut Input::new(&bytes)).unwrap(), None);
        }
        // An LF in the part that is already searched is not found.
        bytes[5] = b'\n';
        assert_eq!(lines.next(&mut Input::new(&bytes)).unwrap(), None);
        bytes.push(b'\n');
        assert_eq!(lines.next(&mut Input::new(&bytes)).unwrap().map(<[u8]>::len), Some(100_000));
        assert_eq!(lines.seen, 0);
    }

    #[test]
    fn of_many_lines_at_once_each_is_looked_at_once() {
        // If each line searched the whole rest, this would take 10¹¹ bytes.
        let (lines, ended) = feed([&b"ab\n".repeat(300_000)[..]], &mut *of(10));
        ended.unwrap();
        assert_eq!(lines.len(), 300_000);
    }

    #[test]
    fn an_input_that_somebody_else_has_shortened_does_not_bring_it_down() {
        let mut lines = Lines::new(10);
        assert_eq!(lines.next(&mut Input::new(b"12345")).unwrap(), None);
        assert_eq!(lines.next(&mut Input::new(b"1")).unwrap(), None);
        assert_eq!(lines.next(&mut Input::new(b"")).unwrap(), None);
    }
}
