//! The gzip format (RFC 1952), around flate2's inflate, decoded piece by piece.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::Input;
use crate::http::Rule;

/// The maximum size of a member's header: 64 KiB, which its extra field alone may have. Name and comment have no length
/// of their own and could go on for ever.
const HEADER_LIMIT: usize = 64 * 1024;

/// A member that unpacks to fewer bytes than this is small. The number of small members is limited: each one resets the
/// inflater, so a body of empty members would cost much work and yield nothing.
const SMALL: u32 = 1024;
const SMALL_MEMBERS: u32 = 1000;

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Decodes a gzip stream, one member after the other (RFC 1952 section 2.2).
#[derive(Debug)]
pub(crate) struct Gunzip {
    state: State,
    inflate: Decompress,
    crc: Crc,
    /// Inflated data goes here first. Inflating directly into the output vector would zero its spare room for each
    /// piece of input, which may be one byte long.
    scratch: [u8; 4096],
    /// The number of bytes outside deflated data: of this member's header, or after the last member.
    header: usize,
    flags: u8,
    /// The number of small members so far.
    small: u32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the first ten bytes of a member.
    Fixed(usize),
    /// After a member. Another member may follow, or zeros that fill a block, which gzip(1) accepts too.
    Between,
    /// In the zeros after the last member.
    Padding,
    /// In the two bytes with the length of the extra field.
    ExtraLength(usize, u16),
    Extra(u16),
    Name,
    Comment,
    HeaderCrc(usize),
    Deflate,
    /// In the checksum and the length at the end, with the bytes so far.
    Trailer(usize, [u8; 8]),
    Failed(Rule),
}

impl Default for Gunzip {
    fn default() -> Self {
        Gunzip {
            state: State::Fixed(0),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            scratch: [0; 4096],
            header: 0,
            flags: 0,
            small: 0,
        }
    }
}

impl Gunzip {
    /// See [`ContentDecoder::decode`](crate::http::ContentDecoder::decode).
    pub(crate) fn decode(
        &mut self,
        input: &mut Input<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<usize, Rule> {
        let start = out.len();
        let result = self.go_on(input, out, start + most);
        if let Err(rule) = result {
            self.state = State::Failed(rule);
        }
        result.map(|()| out.len() - start)
    }

    fn go_on(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>, end: usize) -> Result<(), Rule> {
        loop {
            if let State::Failed(rule) = self.state {
                return Err(rule);
            }
            if matches!(self.state, State::Deflate) {
                if !self.inflate(input, out, end)? {
                    return Ok(());
                }
            } else {
                let Some(&byte) = input.peek().first() else { return Ok(()) };
                input.take(1);
                self.state = self.step(byte)?;
            }
        }
    }

    /// Inflates as much as there is room for. Returns whether the deflated data ended.
    fn inflate(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>, end: usize) -> Result<bool, Rule> {
        loop {
            let room = self.scratch.len().min(end - out.len());
            let (total_in, total_out) = (self.inflate.total_in(), self.inflate.total_out());
            let result =
                self.inflate.decompress(input.peek(), &mut self.scratch[..room], FlushDecompress::None);
            let taken = (self.inflate.total_in() - total_in) as usize;
            let made = (self.inflate.total_out() - total_out) as usize;
            input.take(taken);
            out.extend_from_slice(&self.scratch[..made]);
            self.crc.update(&self.scratch[..made]);
            match result {
                Ok(Status::StreamEnd) => {
                    self.state = State::Trailer(0, [0; 8]);
                    return Ok(true);
                }
                // There is input and room, but no progress: there never will be.
                Ok(_) if made == 0 && taken == 0 && !input.is_empty() && out.len() < end => {
                    return Err(Rule::Gzip);
                }
                Ok(_) if out.len() == end => return Ok(false),
                // If the output is full, the inflater may hold back more data.
                Ok(_) if input.is_empty() && made < room => return Ok(false),
                Ok(_) => {}
                Err(_) => return Err(Rule::Gzip),
            }
        }
    }

    /// Handles one byte outside the deflated data, and returns the next state.
    fn step(&mut self, byte: u8) -> Result<State, Rule> {
        self.header += 1;
        if self.header > HEADER_LIMIT {
            return Err(Rule::Gzip);
        }
        Ok(match self.state {
            State::Between if byte == 0 => State::Padding,
            State::Padding if byte == 0 => State::Padding,
            State::Padding => return Err(Rule::Gzip),
            State::Between | State::Fixed(_) => {
                let at = if let State::Fixed(at) = self.state { at } else { 0 };
                let good = match at {
                    0 => byte == 0x1f,
                    1 => byte == 0x8b,
                    2 => byte == 8, // deflate, the only method in use
                    3 => byte & RESERVED == 0,
                    _ => true,
                };
                if !good {
                    return Err(Rule::Gzip);
                }
                match at {
                    3 => {
                        self.flags = byte;
                        State::Fixed(4)
                    }
                    9 => self.after_fixed(),
                    _ => State::Fixed(at + 1),
                }
            }
            State::ExtraLength(0, _) => State::ExtraLength(1, u16::from(byte)),
            State::ExtraLength(_, low) => match low | u16::from(byte) << 8 {
                0 => self.after_extra(),
                length => State::Extra(length),
            },
            State::Extra(1) => self.after_extra(),
            State::Extra(left) => State::Extra(left - 1),
            State::Name if byte == 0 => self.after_name(),
            State::Comment if byte == 0 => self.after_comment(),
            State::HeaderCrc(0) => State::HeaderCrc(1),
            State::HeaderCrc(_) => self.begin_deflate(),
            State::Trailer(at, mut bytes) => {
                bytes[at] = byte;
                if at < 7 { State::Trailer(at + 1, bytes) } else { self.end_member(bytes)? }
            }
            State::Name | State::Comment | State::Deflate | State::Failed(_) => self.state,
        })
    }

    fn after_fixed(&mut self) -> State {
        if self.flags & EXTRA != 0 { State::ExtraLength(0, 0) } else { self.after_extra() }
    }

    fn after_extra(&mut self) -> State {
        if self.flags & NAME != 0 { State::Name } else { self.after_name() }
    }

    fn after_name(&mut self) -> State {
        if self.flags & COMMENT != 0 { State::Comment } else { self.after_comment() }
    }

    fn after_comment(&mut self) -> State {
        if self.flags & HEADER_CRC != 0 { State::HeaderCrc(0) } else { self.begin_deflate() }
    }

    fn begin_deflate(&mut self) -> State {
        self.inflate.reset(false);
        self.crc.reset();
        self.header = 0;
        State::Deflate
    }

    /// Checks the CRC-32 and the length. Both are little-endian (RFC 1952 section 2.3.1).
    fn end_member(&mut self, bytes: [u8; 8]) -> Result<State, Rule> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let good = u32::from_le_bytes([a, b, c, d]) == self.crc.sum()
            && u32::from_le_bytes([e, f, g, h]) == self.crc.amount();
        self.header = 0;
        self.small += u32::from(self.crc.amount() < SMALL);
        if self.small > SMALL_MEMBERS {
            return Err(Rule::GzipMembers);
        }
        if good { Ok(State::Between) } else { Err(Rule::Gzip) }
    }

    /// Checks that the body may end here: after a member, or before the first.
    pub(crate) fn finish(&self) -> Result<(), Rule> {
        match self.state {
            State::Fixed(0) | State::Between | State::Padding => Ok(()),
            State::Failed(rule) => Err(rule),
            _ => Err(Rule::GzipTruncated),
        }
    }
}
