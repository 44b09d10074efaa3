//! The parser of responses with random bytes: it never panics, and receives what was sent, wherever the bytes are split.

use enjamb::Input;
use enjamb::http::{
    BODY_LIMIT, BodyWriter, Chunk, ChunkDecoder, Collector, Event, Progress, Request, ResponseParser, Url,
    form_encode,
};
use proptest::prelude::*;

fn request(head: bool) -> Request {
    if head { Request::head("http://h/") } else { Request::get("http://h/") }.build().unwrap()
}

/// The bytes in pieces of these sizes, again and again.
fn pieces<'a>(bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, behind) = rest.split_at((*sizes.next().unwrap_or(&1)).min(rest.len()));
        rest = behind;
        Some(piece)
    })
}

/// Everything that the parser says, in a form that can be compared: with the pieces of the body put together.
fn told(request: &Request, bytes: &[u8], sizes: &[usize]) -> (Vec<String>, Vec<u8>, u64, String) {
    let mut parser = ResponseParser::new(request);
    parser.request_written();
    let (mut events, mut body, mut left_over, mut over) = (Vec::new(), Vec::new(), 0, false);
    for piece in pieces(bytes, sizes) {
        let mut input = Input::new(piece);
        while !over {
            match parser.next(&mut input) {
                Ok(Event::More) => break,
                Ok(Event::Data(data)) => body.extend_from_slice(data),
                Ok(event) => {
                    over = event == Event::End;
                    events.push(format!("{event:?}"));
                }
                Err(error) => {
                    over = true;
                    events.push(error.to_string());
                }
            }
        }
        left_over += input.len();
    }
    events.push(format!("{:?}", parser.ended()));
    (events, body, parser.received(), format!("{:?}", parser.reusable(left_over)))
}

/// Text that is much like an answer, so that more than its first byte is looked at.
fn nearly_an_answer() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("HTTP/1.1 200 OK\r\n".to_owned()),
        Just("HTTP/1.0 404\n".to_owned()),
        Just("HTTP/1.1 103 E\r\n\r\n".to_owned()),
        Just("HTTP/1.1 204 N\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("Connection: close\r\n".to_owned()),
        Just("Content-Encoding: gzip\r\n".to_owned()),
        (0..40u64).prop_map(|length| format!("Content-Length: {length}\r\n")),
        (0..20usize).prop_map(|length| format!("{length:x}\r\n{}\r\n", "d".repeat(length))),
        Just("\r\n".to_owned()),
        Just("0\r\n\r\n".to_owned()),
        "[ -~\r\n\t\\x00]{0,12}",
    ];
    (any::<bool>(), prop::collection::vec(part, 0..12)).prop_map(|(begun, parts)| {
        let start = if begun { "HTTP/1.1 200 OK\r\n" } else { "" };
        (start.to_owned() + &parts.concat()).into_bytes()
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), nearly_an_answer()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_parser_never_panics_and_splits_make_no_difference(
        bytes in any_bytes(),
        sizes in prop::collection::vec(1..20usize, 1..6),
        head in any::<bool>(),
    ) {
        let request = request(head);
        prop_assert_eq!(told(&request, &bytes, &[bytes.len()]), told(&request, &bytes, &sizes));
    }

    #[test]
    fn the_collector_never_panics(bytes in any_bytes(), sizes in prop::collection::vec(1..20usize, 1..6)) {
        let mut collector = Collector::new(&request(false), 50);
        for piece in pieces(&bytes, &sizes) {
            let mut input = Input::new(piece);
            match collector.feed(&mut input) {
                Ok(Progress::Done(response)) => {
                    prop_assert!(response.body.len() <= 50);
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => {
                    prop_assert!(error.at <= bytes.len() as u64);
                    return Ok(());
                }
            }
        }
        let _ = collector.ended();
    }

    #[test]
    fn what_is_written_in_chunks_is_what_is_read(
        body in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10),
        sizes in prop::collection::vec(1..50usize, 1..6),
        rest in "[a-z]{0,5}",
    ) {
        let mut writer = BodyWriter::new(&Request::put("http://h/").stream(None).build().unwrap());
        let mut bytes = Vec::new();
        for piece in &body {
            writer.write(piece, &mut bytes).unwrap();
        }
        writer.finish(&mut bytes).unwrap();
        let coded = bytes.len();
        bytes.extend_from_slice(rest.as_bytes());

        let (mut decoder, mut read, mut taken) = (ChunkDecoder::new(), Vec::new(), 0);
        'all: for piece in pieces(&bytes, &sizes) {
            let mut input = Input::new(piece);
            loop {
                match decoder.next(&mut input).unwrap() {
                    Chunk::Data(data) => read.extend_from_slice(data),
                    Chunk::More => break,
                    Chunk::End(trailers) => {
                        prop_assert!(trailers.is_empty());
                        taken += piece.len() - input.len();
                        break 'all;
                    }
                }
            }
            taken += piece.len();
        }
        prop_assert_eq!((read, taken), (body.concat(), coded));
    }

    #[test]
    fn an_answer_comes_out_as_it_was_put_in(
        status in (200..1000u16).prop_filter("has a body", |status| ![204, 304].contains(status)),
        fields in prop::collection::vec(("X-[A-Za-z0-9-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..10),
        body in prop::collection::vec(any::<u8>(), 0..500),
        sizes in prop::collection::vec(1..50usize, 1..6),
    ) {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {status} S\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
        let bytes = [head.as_bytes(), &body].concat();
        let mut collector = Collector::new(&request(false), BODY_LIMIT);
        for piece in pieces(&bytes, &sizes) {
            if let Progress::Done(response) = collector.feed(&mut Input::new(piece)).unwrap() {
                prop_assert_eq!(response.status, status);
                prop_assert_eq!(response.body, body);
                let got: Vec<_> = response.headers.iter().take(fields.len()).collect();
                let put: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                prop_assert_eq!(got, put);
                return Ok(());
            }
        }
        prop_assert!(false, "it does not end");
    }

    #[test]
    fn a_url_never_panics_and_is_itself_when_read_again(text in "(https?://)?[ -~é]{0,40}", reference in "[ -~é]{0,20}") {
        if let Ok(url) = text.parse::<Url>() {
            let shown = url.to_string();
            prop_assert_eq!(shown.parse::<Url>().unwrap().to_string(), shown);
            prop_assert!(url.target().starts_with('/') && url.target().is_ascii());
            if let Ok(joined) = url.join(&reference) {
                prop_assert_eq!(joined.to_string().parse::<Url>().unwrap().to_string(), joined.to_string());
            }
        }
    }

    #[test]
    fn a_query_of_anything_is_a_good_url(pairs in prop::collection::vec((any::<String>(), any::<String>()), 0..5)) {
        let request = Request::get("http://h/").query(pairs.clone()).build().unwrap();
        let again: Url = request.url().to_string().parse().unwrap();
        prop_assert_eq!(again.query().unwrap_or_default(), form_encode(pairs));
    }
}
