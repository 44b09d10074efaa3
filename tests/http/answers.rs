//! Feeds the parser the same response whole, split at every byte, and byte by byte: the result must be the same.

use enjamb::Input;
use enjamb::http::{Event, Head, Headers, NotReusable, Request, ResponseParser, Rule};

/// What a parser made of some bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub interim: Vec<u16>,
    pub head: Option<Head>,
    pub body: Vec<u8>,
    pub trailers: Option<Headers>,
    /// `Ok(true)`: complete. `Ok(false)`: more would have to come. Or the rule that is broken, and the bytes that had come.
    pub end: Result<bool, (Rule, u64)>,
    pub left_over: usize,
    pub reusable: Result<(), NotReusable>,
}

impl Answer {
    #[track_caller]
    pub fn complete(self) -> Self {
        assert_eq!(self.end, Ok(true), "{self:?}");
        self
    }
}

pub fn get() -> Request {
    Request::get("http://h.example/").build().unwrap()
}

/// The answer in these bytes to a GET; the stream stays open.
#[track_caller]
pub fn answer(bytes: impl AsRef<[u8]>) -> Answer {
    answer_to(&get(), bytes, false)
}

/// The answer in these bytes, which is the same whole, in two pieces at every byte, and one byte at a time.
#[track_caller]
pub fn answer_to(request: &Request, bytes: impl AsRef<[u8]>, ends: bool) -> Answer {
    let bytes = bytes.as_ref();
    let whole = read(request, &[bytes], ends);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(request, &single, ends), whole, "one byte at a time");
    // A long sample is split in two where something happens: near its start and its end.
    let splits = (0..=bytes.len()).filter(|&at| bytes.len() < 2048 || at < 64 || at + 64 > bytes.len());
    for at in splits {
        let (first, second) = bytes.split_at(at);
        assert_eq!(read(request, &[first, second], ends), whole, "split at byte {at}");
    }
    whole
}

fn read(request: &Request, pieces: &[&[u8]], ends: bool) -> Answer {
    let mut parser = ResponseParser::new(request);
    parser.request_written();
    let mut answer = Answer {
        interim: Vec::new(),
        head: None,
        body: Vec::new(),
        trailers: None,
        end: Ok(false),
        left_over: 0,
        reusable: Ok(()),
    };
    for piece in pieces {
        let mut input = Input::new(piece);
        while answer.end == Ok(false) {
            match parser.next(&mut input) {
                Ok(Event::More) => break,
                Ok(Event::Interim(head)) => answer.interim.push(head.status),
                Ok(Event::Head(head)) => answer.head = Some(head),
                Ok(Event::Data(data)) => answer.body.extend_from_slice(data),
                Ok(Event::Trailers(trailers)) => answer.trailers = Some(trailers),
                Ok(Event::End) => answer.end = Ok(true),
                Ok(other) => panic!("unknown: {other:?}"),
                Err(error) => answer.end = Err((error.rule, error.at)),
            }
        }
        answer.left_over += input.len();
    }
    if ends && answer.end == Ok(false) {
        answer.end = parser.ended().map(|_| true).map_err(|error| (error.rule, error.at));
    }
    let all: usize = pieces.iter().map(|piece| piece.len()).sum();
    assert_eq!(parser.received(), (all - answer.left_over) as u64, "all bytes are accounted for");
    answer.reusable = parser.reusable(answer.left_over);
    answer
}
