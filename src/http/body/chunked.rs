//! The chunked transfer coding (RFC 9112 section 7.1).

use crate::Input;
use crate::http::message::head::{FIELD_LIMIT, received};
use crate::http::{Headers, Rule};

/// The maximum total size of a body's chunk extensions, with the whitespace around them: 16 KiB. Servers do not use
/// extensions; without a limit, a server could send extensions for ever and never any data.
pub const EXTENSION_LIMIT: usize = 16 * 1024;
/// The maximum size of a body's trailers: 16 KiB.
pub const TRAILER_LIMIT: usize = 16 * 1024;

/// The number of hexadecimal digits in a u64.
const MOST_DIGITS: u8 = 16;

/// These fields describe framing that is already decided. Trailers with these names are dropped (RFC 9110 section
/// 6.5.1).
const NOT_IN_TRAILERS: [&str; 7] =
    ["transfer-encoding", "content-length", "connection", "keep-alive", "te", "trailer", "upgrade"];

/// The next piece that the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// The input is used up. The body needs more.
    More,
    /// Bytes of the body: a chunk's data, or the part of it that the input holds.
    Data(&'a [u8]),
    /// The end of the body, with its trailers. The input is left right after it.
    End(Headers),
}

/// Decodes the chunked transfer coding.
///
/// The decoder copies no data: each piece is borrowed from the input. Lines must end with CRLF. A decoder that also
/// accepts a bare LF can disagree with an intermediary about where a chunk ends.
///
/// ```
/// use enjamb::Input;
/// use enjamb::http::{Chunk, ChunkDecoder};
///
/// let mut decoder = ChunkDecoder::new();
/// let mut input = Input::new(b"6\r\nenjamb\r\n0\r\n\r\nleft over");
/// assert_eq!(decoder.next(&mut input)?, Chunk::Data(b"enjamb"));
/// assert!(matches!(decoder.next(&mut input)?, Chunk::End(trailers) if trailers.is_empty()));
/// assert_eq!(input.peek(), b"left over");
/// # Ok::<(), enjamb::http::Rule>(())
/// ```
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    state: State,
    /// The bytes of all extensions so far.
    extensions: usize,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In a chunk's size, with the number of digits so far and their value.
    Size {
        digits: u8,
        size: u64,
    },
    /// In whitespace after the size, before an extension or the line's end.
    Blanks {
        size: u64,
    },
    /// In an extension.
    Extension {
        size: u64,
    },
    /// Before the LF of the line with the size.
    SizeEnd {
        size: u64,
    },
    /// In a chunk's data, with `left` bytes missing.
    Data {
        left: u64,
    },
    /// Before the CR after the data.
    DataEnd,
    /// Before the LF after the data.
    DataEndLf,
    /// At the start of a trailer line. An empty line ends the body.
    TrailerStart,
    /// In a trailer line.
    Trailer,
    /// Before the LF of a trailer line.
    TrailerLf,
    /// Before the LF of the empty line that ends the body.
    Last,
    Done,
    Failed(Rule),
}

impl Default for State {
    fn default() -> Self {
        State::Size { digits: 0, size: 0 }
    }
}

impl ChunkDecoder {
    /// Creates a decoder at the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the next piece of data, or the end. After the end it takes no more input.
    ///
    /// # Errors
    ///
    /// The broken rule. The input is left right after the offending byte. Every later call returns the same error.
    pub fn next<'a>(&mut self, input: &mut Input<'a>) -> Result<Chunk<'a>, Rule> {
        loop {
            if let State::Data { left } = self.state {
                let data = input.take(usize::try_from(left).unwrap_or(usize::MAX));
                if data.is_empty() {
                    return Ok(Chunk::More);
                }
                let left = left - data.len() as u64;
                self.state = if left > 0 { State::Data { left } } else { State::DataEnd };
                return Ok(Chunk::Data(data));
            }
            let &[byte] = input.peek().first_chunk().unwrap_or(&[0]);
            match self.state {
                State::Done => return Ok(Chunk::End(Headers::new())),
                State::Failed(rule) => return Err(rule),
                _ if input.is_empty() => return Ok(Chunk::More),
                _ => input.take(1),
            };
            match self.step(byte) {
                Ok(State::Done) => {
                    self.state = State::Done;
                    return self
                        .parse_trailers()
                        .map(Chunk::End)
                        .inspect_err(|&rule| self.state = State::Failed(rule));
                }
                Ok(state) => self.state = state,
                Err(rule) => {
                    self.state = State::Failed(rule);
                    return Err(rule);
                }
            }
        }
    }

    /// Handles one byte that is not data, and returns the next state.
    fn step(&mut self, byte: u8) -> Result<State, Rule> {
        Ok(match (self.state, byte) {
            (State::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                if digits == MOST_DIGITS {
                    return Err(Rule::ChunkSize);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Rule::ChunkSize),
            (State::Size { size, .. } | State::Blanks { size } | State::Extension { size }, b'\r') => {
                State::SizeEnd { size }
            }
            (State::Size { size, .. } | State::Blanks { size }, b' ' | b'\t') => {
                self.count_extension()?;
                State::Blanks { size }
            }
            (State::Size { size, .. } | State::Blanks { size }, b';') => {
                self.count_extension()?;
                State::Extension { size }
            }
            (State::Size { .. } | State::Blanks { .. }, b'\n') => return Err(Rule::ChunkEnd),
            (State::Size { .. } | State::Blanks { .. }, _) => return Err(Rule::ChunkSize),
            (State::Extension { .. }, _) if byte.is_ascii_control() && byte != b'\t' => {
                return Err(Rule::ChunkExtension);
            }
            (State::Extension { size }, _) => {
                self.count_extension()?;
                State::Extension { size }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (State::DataEnd, b'\r') => State::DataEndLf,
            (State::DataEndLf, b'\n') => State::default(),
            (State::SizeEnd { .. } | State::DataEnd | State::DataEndLf, _) => return Err(Rule::ChunkEnd),
            (State::TrailerStart, b'\r') => State::Last,
            (State::Last, b'\n') => State::Done,
            (State::TrailerStart | State::Trailer, _) => {
                self.keep_trailer(byte)?;
                match byte {
                    b'\r' => State::TrailerLf,
                    b'\n' => return Err(Rule::Trailers),
                    _ => State::Trailer,
                }
            }
            (State::TrailerLf, b'\n') => {
                self.keep_trailer(byte)?;
                State::TrailerStart
            }
            (State::TrailerLf | State::Last, _) => return Err(Rule::Trailers),
            (State::Data { .. } | State::Done | State::Failed(_), _) => self.state,
        })
    }

    fn count_extension(&mut self) -> Result<(), Rule> {
        self.extensions += 1;
        if self.extensions > EXTENSION_LIMIT { Err(Rule::ExtensionsTooLarge) } else { Ok(()) }
    }

    fn keep_trailer(&mut self, byte: u8) -> Result<(), Rule> {
        self.trailers.push(byte);
        if self.trailers.len() > TRAILER_LIMIT { Err(Rule::TrailersTooLarge) } else { Ok(()) }
    }

    fn parse_trailers(&mut self) -> Result<Headers, Rule> {
        let mut bytes = std::mem::take(&mut self.trailers);
        if bytes.is_empty() {
            return Ok(Headers::new());
        }
        bytes.extend_from_slice(b"\r\n");
        let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
        match httparse::parse_headers(&bytes, &mut fields) {
            Ok(httparse::Status::Complete((end, fields))) if end == bytes.len() => {
                let mut headers = received(fields, bytes.len()).ok_or(Rule::Trailers)?;
                for name in NOT_IN_TRAILERS {
                    headers.remove(name);
                }
                Ok(headers)
            }
            Err(httparse::Error::TooManyHeaders) => Err(Rule::TooManyFields),
            Ok(_) | Err(_) => Err(Rule::Trailers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes the bytes at once and byte by byte, which must agree. Returns the data, the trailers, and the number of
    /// bytes taken.
    fn decode(bytes: &[u8]) -> (Vec<u8>, Result<Option<Headers>, Rule>, usize) {
        let decode_in = |size: usize| {
            let (mut decoder, mut data, mut taken) = (ChunkDecoder::new(), Vec::new(), 0);
            for piece in bytes.chunks(size) {
                let mut input = Input::new(piece);
                loop {
                    let next = decoder.next(&mut input);
                    match next {
                        Ok(Chunk::Data(piece)) => data.extend_from_slice(piece),
                        Ok(Chunk::More) => break,
                        Ok(Chunk::End(trailers)) => {
                            return (data, Ok(Some(trailers)), taken + piece.len() - input.len());
                        }
                        Err(rule) => {
                            assert_eq!(decoder.next(&mut input), Err(rule), "an error stays");
                            return (data, Err(rule), taken + piece.len() - input.len());
                        }
                    }
                }
                taken += piece.len();
            }
            (data, Ok(None), taken)
        };
        let whole = decode_in(bytes.len().max(1));
        assert_eq!(whole, decode_in(1), "{:?}", bytes.escape_ascii().to_string());
        whole
    }

    #[track_caller]
    fn breaks(rule: Rule, at: usize, bytes: &[u8]) {
        let (_, result, taken) = decode(bytes);
        assert_eq!((result, taken), (Err(rule), at));
    }

    #[test]
    fn a_size_has_1_to_16_hexadecimal_digits() {
        assert_eq!(decode(b"aA\r\n0123456789").0, b"0123456789");
        assert_eq!(decode(b"0000000000000002\r\nab\r\n").0, b"ab");
        assert_eq!(decode(b"ffffffffffffffff\r\nab").0, b"ab");
        breaks(Rule::ChunkSize, 17, b"00000000000000002\r\nab\r\n");
        breaks(Rule::ChunkSize, 1, b"\r\n");
        breaks(Rule::ChunkSize, 1, b" 2\r\n");
        breaks(Rule::ChunkSize, 1, b"+2\r\n");
        breaks(Rule::ChunkSize, 2, b"0x2\r\n");
        breaks(Rule::ChunkSize, 3, b"2 2\r\n");
    }

    #[test]
    fn blanks_behind_a_size_are_tolerated() {
        assert_eq!(decode(b"2 \t \r\nab\r\n").0, b"ab");
    }

    #[test]
    fn lines_end_with_crlf_only() {
        breaks(Rule::ChunkEnd, 2, b"2\nab\r\n");
        breaks(Rule::ChunkEnd, 3, b"2 \nab\r\n");
        breaks(Rule::ChunkEnd, 3, b"2\rab\r\n");
        breaks(Rule::ChunkEnd, 6, b"2\r\nab\n");
        breaks(Rule::ChunkEnd, 7, b"2\r\nab\r\r");
        breaks(Rule::ChunkEnd, 6, b"2\r\nabc\r\n");
        breaks(Rule::ChunkExtension, 4, b"2;x\nab\r\n");
        breaks(Rule::ChunkEnd, 5, b"2;x\ry\r\nab\r\n");
        breaks(Rule::Trailers, 4, b"0\r\n\n");
        breaks(Rule::Trailers, 5, b"0\r\n\rX");
        breaks(Rule::Trailers, 8, b"0\r\nA: b\n\r\n");
    }

    #[test]
    fn extensions_are_skipped_up_to_a_limit_for_the_whole_body() {
        assert_eq!(decode(b"2;name=\"value\";other\r\nab\r\n").0, b"ab");
        breaks(Rule::ChunkExtension, 3, b"2;\0\r\n");
        let mut bytes = Vec::new();
        for _ in 0..EXTENSION_LIMIT / 4 {
            bytes.extend_from_slice(b"1;xyz\r\na\r\n");
        }
        assert_eq!(decode(&bytes).0.len(), EXTENSION_LIMIT / 4);
        let fine = bytes.len();
        bytes.extend_from_slice(b"1 \r\na\r\n");
        breaks(Rule::ExtensionsTooLarge, fine + 2, &bytes);
    }

    #[test]
    fn trailers_are_kept_apart_and_framing_names_dropped() {
        let (_, end, taken) =
            decode(b"0\r\nX-Sum: 1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\n\r\nrest");
        let trailers = end.unwrap().unwrap();
        assert_eq!(trailers.iter().collect::<Vec<_>>(), [("X-Sum", "1")]);
        assert_eq!(taken, 59);
    }

    #[test]
    fn malformed_trailers_are_an_error() {
        for bytes in [
            &b"0\r\nno colon\r\n\r\n"[..],
            b"0\r\nA : b\r\n\r\n",
            b"0\r\nA: b\r\n folded\r\n\r\n",
            b"0\r\n: b\r\n\r\n",
        ] {
            breaks(Rule::Trailers, bytes.len(), bytes);
        }
    }

    #[test]
    fn trailers_have_limits() {
        let line = b"A: b\r\n";
        let many = |n: usize| [b"0\r\n", &line.repeat(n)[..], b"\r\n"].concat();
        assert_eq!(decode(&many(FIELD_LIMIT)).1.unwrap().unwrap().len(), FIELD_LIMIT);
        breaks(Rule::TooManyFields, many(FIELD_LIMIT + 1).len(), &many(FIELD_LIMIT + 1));
        let long = [b"0\r\nA: ", &b"b".repeat(TRAILER_LIMIT)[..]].concat();
        breaks(Rule::TrailersTooLarge, 3 + TRAILER_LIMIT + 1, &long);
    }

    #[test]
    fn a_body_may_end_anywhere_but_is_then_not_at_its_end() {
        let whole = b"2\r\nab\r\n0\r\nA: b\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end]).1, Ok(None), "{end}");
        }
        assert!(decode(whole).1.unwrap().is_some());
    }
}
