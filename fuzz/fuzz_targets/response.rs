//! The parser of answers, or what collects them: never a panic, the same result however the bytes are split, all bytes
//! accounted for, and an end that stays one.
//!
//! The first byte chooses the method and which of the two, the second how the bytes are split; the rest is the answer.
#![no_main]

use enjamb::Input;
use enjamb::http::{
    Collector, Event, Head, Headers, NotReusable, Progress, Request, ResponseError, ResponseParser, Rule,
};
use libfuzzer_sys::fuzz_target;

/// All that can be told from outside.
#[derive(Debug, PartialEq, Default)]
struct Seen {
    heads: Vec<Head>,
    trailers: Option<Headers>,
    body: Vec<u8>,
    end: Option<Result<(), ResponseError>>,
    reusable: Option<NotReusable>,
    received: u64,
}

fn parse(request: &Request, bytes: &[u8], size: usize) -> Seen {
    let mut parser = ResponseParser::new(request);
    parser.request_written();
    let mut seen = Seen::default();
    let mut left_over = 0;
    for piece in bytes.chunks(size) {
        let mut input = Input::new(piece);
        while seen.end.is_none() {
            match parser.next(&mut input) {
                Ok(Event::More) => {
                    assert!(input.is_empty());
                    break;
                }
                Ok(Event::Data(data)) => {
                    assert!(!data.is_empty());
                    seen.body.extend_from_slice(data);
                }
                Ok(Event::Interim(head) | Event::Head(head)) => seen.heads.push(head),
                Ok(Event::Trailers(trailers)) => seen.trailers = Some(trailers),
                Ok(Event::End) => seen.end = Some(Ok(())),
                Ok(event) => panic!("unknown: {event:?}"),
                Err(error) => seen.end = Some(Err(error)),
            }
        }
        left_over += input.len();
    }
    seen.received = parser.received();
    assert_eq!(seen.received as usize + left_over, bytes.len());
    if seen.end.is_none() {
        seen.end = Some(parser.ended().map(drop));
    }
    assert_eq!(Some(parser.ended().map(drop)), seen.end);
    seen.reusable = parser.reusable(left_over).err();
    seen
}

fn collect(request: &Request, bytes: &[u8], size: usize) -> Result<(u16, Vec<u8>), Rule> {
    const LIMIT: u64 = 5_000;
    let mut collector = Collector::new(request, LIMIT);
    let mut collected = None;
    'all: for piece in bytes.chunks(size) {
        let mut input = Input::new(piece);
        loop {
            match collector.feed(&mut input) {
                Ok(Progress::More) => break,
                Ok(Progress::Continue) => {}
                Ok(Progress::Done(response)) => {
                    collected = Some(Ok(response));
                    break 'all;
                }
                Err(error) => {
                    collected = Some(Err(error));
                    break 'all;
                }
            }
        }
    }
    match collected.unwrap_or_else(|| collector.ended()) {
        Ok(response) => {
            assert!(response.body.len() as u64 <= LIMIT);
            Ok((response.status, response.body))
        }
        Err(error) => {
            if let Some(partial) = &error.partial {
                assert!(partial.body.len() as u64 <= LIMIT);
            }
            // How much of malformed gzip is decoded before that is found depends on how it comes.
            Err(if error.rule == Rule::Gzip { Rule::BodyTooLarge(LIMIT) } else { error.rule })
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [how, size, bytes @ ..] = data else { return };
    let request = if how & 1 == 0 { Request::get("http://h/") } else { Request::head("http://h/") };
    let request = request.build().expect("a good request");
    let size = usize::from(*size) + 1;
    let whole = bytes.len().max(1);
    if how & 2 == 0 {
        assert_eq!(parse(&request, bytes, whole), parse(&request, bytes, size));
    } else {
        assert_eq!(collect(&request, bytes, whole), collect(&request, bytes, size));
    }
});
