//! The head of a response: its status line and fields, received in pieces of any size.

use std::mem::MaybeUninit;

use crate::Input;
use crate::http::{Headers, Rule};

/// The maximum size of a head together with the interim responses before it: 64 KiB. Servers limit their own heads to 8
/// to 32 KiB.
pub const HEAD_LIMIT: usize = 64 * 1024;
/// The maximum number of fields in a head: 100, as in most clients.
pub const FIELD_LIMIT: usize = 100;

/// The start of every response. A stream that begins otherwise is rejected before its first line is complete.
const BEGINNING: &[u8] = b"HTTP/1.";

/// The version of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0. The connection closes after the response, unless both sides ask to keep it.
    Http10,
    /// HTTP/1.1. The connection stays open, unless one side asks to close it.
    Http11,
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The server's version of HTTP.
    pub version: Version,
    /// The status code, 100 to 999 (RFC 9110 section 15).
    pub status: u16,
    /// The text after the status code. It has no meaning, and may be empty.
    pub reason: String,
    /// The header fields.
    pub headers: Headers,
    /// The length of the body as sent, in bytes. `None` if it is not known in advance: the body is chunked, or ends
    /// with the stream.
    pub body_length: Option<u64>,
}

impl Head {
    /// Whether this is an interim response, so that another one follows (RFC 9110 section 15.2). A 101 is not: it is
    /// the last HTTP response on its connection.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Checks the announced length against the limit on the decoded body. The length of a compressed body tells nothing
    /// about it.
    pub(crate) fn check_length(&self, limit: u64) -> Result<(), Rule> {
        match self.body_length {
            Some(length) if length > limit && !self.headers.contains("content-encoding") => {
                Err(Rule::BodyTooLarge(limit))
            }
            _ => Ok(()),
        }
    }
}

/// The position of the reader within a line.
#[derive(Debug, Clone, Copy, Default)]
enum Line {
    /// After an LF.
    Start,
    /// After an LF and a CR.
    Cr,
    #[default]
    Within,
}

/// Collects the bytes of a head. A head that arrives whole is parsed in place; only pieces are copied.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    pieces: Vec<u8>,
    line: Line,
    /// The number of bytes of all heads so far, interim ones included.
    taken: usize,
}

impl HeadReader {
    /// Takes bytes up to the end of a head. `None`: the head needs more.
    ///
    /// The reader first finds the end, line by line, and then parses the head once. So neither the cost nor the result
    /// depends on how the head is split.
    pub(crate) fn read(&mut self, input: &mut Input<'_>) -> Result<Option<Head>, Rule> {
        let room = HEAD_LIMIT - self.taken;
        let window = &input.peek()[..input.len().min(room)];
        if let Some(bad) = self.strays(window) {
            input.take(bad + 1);
            return Err(Rule::NotHttp);
        }
        let Some(end) = self.end(window) else {
            if input.len() > room {
                input.take(room);
                return Err(Rule::HeadTooLarge);
            }
            self.taken += window.len();
            self.pieces.extend_from_slice(input.take_all());
            return Ok(None);
        };
        self.taken += end;
        let last = input.take(end);
        if self.pieces.is_empty() {
            return parse(last).map(Some);
        }
        self.pieces.extend_from_slice(last);
        parse(&std::mem::take(&mut self.pieces)).map(Some)
    }

    /// The offset of the first byte that does not match the start of a response.
    fn strays(&self, window: &[u8]) -> Option<usize> {
        let expected = BEGINNING.get(self.pieces.len()..)?;
        window.iter().zip(expected).position(|(byte, expected)| byte != expected)
    }

    /// The number of bytes in the window up to the end of the head, which is an empty line. `None` if the head goes on.
    fn end(&mut self, window: &[u8]) -> Option<usize> {
        let mut start = 0;
        for (at, &byte) in window.iter().enumerate() {
            if byte != b'\n' {
                continue;
            }
            if matches!((self.line, &window[start..at]), (Line::Start, b"" | b"\r") | (Line::Cr, b"")) {
                self.line = Line::Within;
                return Some(at + 1);
            }
            (self.line, start) = (Line::Start, at + 1);
        }
        self.line = match (self.line, &window[start..]) {
            (line, b"") => line,
            (Line::Start, b"\r") => Line::Cr,
            _ => Line::Within,
        };
        None
    }
}

fn parse(bytes: &[u8]) -> Result<Head, Rule> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELD_LIMIT];
    let mut parsed = httparse::Response::new(&mut []);
    let result = httparse::ParserConfig::default()
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields);
    match result {
        Ok(httparse::Status::Complete(end)) if end == bytes.len() => {}
        Ok(_) => return Err(Rule::Head),
        Err(httparse::Error::TooManyHeaders) => return Err(Rule::TooManyFields),
        Err(httparse::Error::Version) => return Err(Rule::NotHttp),
        Err(_) => return Err(Rule::Head),
    }
    let version = match parsed.version {
        Some(0) => Version::Http10,
        Some(1) => Version::Http11,
        _ => return Err(Rule::NotHttp),
    };
    let status = parsed.code.filter(|&status| status >= 100).ok_or(Rule::Head)?;
    Ok(Head {
        version,
        status,
        reason: parsed.reason.unwrap_or_default().to_owned(),
        headers: received(parsed.headers, bytes.len()).ok_or(Rule::Head)?,
        body_length: Some(0), // the parser sets it when it knows the framing
    })
}

/// Copies parsed fields. `bytes` is an upper bound of their total size.
pub(crate) fn received(fields: &[httparse::Header<'_>], bytes: usize) -> Option<Headers> {
    let mut headers = Headers::with_capacity(fields.len(), bytes);
    for field in fields {
        if field.name.is_empty() {
            return None;
        }
        headers.push_received(field.name, field.value)?;
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Head>, Rule> {
        HeadReader::default().read(&mut Input::new(bytes))
    }

    #[test]
    fn a_head_ends_with_an_empty_line_and_what_follows_is_left() {
        for end in ["\r\n\r\n", "\n\n", "\r\n\n", "\n\r\n"] {
            let text = format!("HTTP/1.1 200 OK\r\nA: b{end}rest");
            let mut input = Input::new(text.as_bytes());
            let head = HeadReader::default().read(&mut input).unwrap().unwrap();
            assert_eq!((head.status, head.reason.as_str()), (200, "OK"));
            assert_eq!(head.headers.get("a"), Some("b"));
            assert_eq!(input.peek(), b"rest");
        }
    }

    #[test]
    fn a_status_line_needs_no_reason() {
        assert_eq!(read(b"HTTP/1.0 404\r\n\r\n").unwrap().unwrap().version, Version::Http10);
        assert_eq!(read(b"HTTP/1.1 999 \r\n\r\n").unwrap().unwrap().status, 999);
    }

    #[test]
    fn a_status_has_three_digits_from_100() {
        for line in
            ["HTTP/1.1 99 OK", "HTTP/1.1 099 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 2xx OK", "HTTP/1.1  200 OK"]
        {
            assert_eq!(read(format!("{line}\r\n\r\n").as_bytes()), Err(Rule::Head), "{line}");
        }
    }

    #[test]
    fn what_is_not_http_is_told_at_its_first_wrong_byte() {
        for (text, at) in
            [("SSH-2.0-x", 1), ("HTTP/2 200", 6), ("\r\nHTTP/1.1", 1), ("<html>", 1), ("HTTP/1x", 7)]
        {
            let mut input = Input::new(text.as_bytes());
            assert_eq!(HeadReader::default().read(&mut input), Err(Rule::NotHttp), "{text}");
            assert_eq!(text.len() - input.len(), at, "{text}");
        }
        assert_eq!(read(b"HTTP/1.2 200 OK\r\n\r\n"), Err(Rule::NotHttp));
    }

    #[test]
    fn an_empty_field_name_is_malformed() {
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n: x\r\n\r\n"), Err(Rule::Head));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), Err(Rule::Head));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n folded: first\r\n\r\n"), Err(Rule::Head));
    }
}
