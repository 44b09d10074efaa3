//! Whole bodies: collected, decoded, bounded, and kept as far as they arrived.

#[cfg(feature = "gzip")]
use std::io::Write;

use enjamb::Input;
use enjamb::http::{BODY_LIMIT, Collector, Progress, Request, Response, ResponseError, Rule};
#[cfg(feature = "gzip")]
use enjamb::http::{ContentDecoder, Event, ResponseParser};

/// What is collected from these bytes and the end of the stream: the same whole, in two pieces at every byte, and one byte
/// at a time.
#[track_caller]
fn collect(bytes: impl AsRef<[u8]>, limit: u64) -> Result<Response, ResponseError> {
    let bytes = bytes.as_ref();
    let request = Request::get("http://h.example/x").build().unwrap();
    let read = |pieces: &[&[u8]]| {
        let mut collector = Collector::new(&request, limit);
        for piece in pieces {
            let mut input = Input::new(piece);
            loop {
                match collector.feed(&mut input)? {
                    Progress::More => break,
                    Progress::Continue => {}
                    Progress::Done(response) => return Ok(response),
                }
            }
        }
        collector.ended()
    };
    // How much of compressed bytes the decoder takes in one go depends on how they come; what it makes of them does not.
    let same = |a: &Result<Response, ResponseError>, b: &Result<Response, ResponseError>| match (a, b) {
        (Ok(a), Ok(b)) => a == b,
        (Err(a), Err(b)) => a.rule == b.rule && (a.partial.is_some() == b.partial.is_some()),
        _ => false,
    };
    let whole = read(&[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert!(same(&read(&single), &whole), "one byte at a time");
    for at in (0..bytes.len()).filter(|&at| bytes.len() < 2048 || at < 64 || at + 64 > bytes.len()) {
        let (first, second) = bytes.split_at(at);
        assert!(same(&read(&[first, second]), &whole), "split at byte {at}");
    }
    whole
}

fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[test]
fn an_answer_is_collected_with_all_its_parts() {
    let bytes = "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n\
                 3\r\nno \r\n4\r\nsuch\r\n0\r\nT: u\r\n\r\n";
    let response = collect(bytes, BODY_LIMIT).unwrap();
    assert_eq!((response.status, response.reason.as_str(), response.is_success()), (404, "Not Found", false));
    assert_eq!((response.text().as_ref(), response.headers.get("a")), ("no such", Some("b")));
    assert_eq!((response.trailers.get("t"), response.url.path()), (Some("u"), "/x"));
}

#[test]
fn a_100_is_told_and_the_answer_may_be_right_behind() {
    let request = Request::put("http://h/").body("b").expect_continue().build().unwrap();
    let mut collector = Collector::new(&request, BODY_LIMIT);
    let mut input = Input::new(b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 N\r\n\r\n");
    assert_eq!(collector.feed(&mut input), Ok(Progress::Continue));
    assert!(matches!(collector.feed(&mut input), Ok(Progress::Done(response)) if response.status == 204));
}

#[test]
fn a_truncated_body_is_an_error_that_keeps_what_arrived() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nso far",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nso far\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nso far\r\n0\r\n\r",
    ] {
        let error = collect(bytes, BODY_LIMIT).unwrap_err();
        assert_eq!((error.rule, error.at), (Rule::Truncated, bytes.len() as u64));
        let partial = error.partial.expect("what arrived");
        assert_eq!((partial.status, partial.text().as_ref()), (200, "so far"));
    }
}

#[test]
fn a_broken_chunk_keeps_what_arrived_too() {
    let bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nso far\r\nx";
    let error = collect(bytes, BODY_LIMIT).unwrap_err();
    assert_eq!((error.rule, error.partial.unwrap().text().as_ref()), (Rule::ChunkSize, "so far"));
}

#[test]
fn nothing_arrived_is_nothing_kept() {
    for bytes in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 C\r\n\r\n"] {
        let error = collect(bytes, BODY_LIMIT).unwrap_err();
        assert_eq!((error.rule, error.partial), (Rule::NoAnswer, None));
    }
}

#[test]
fn a_body_has_a_limit() {
    assert_eq!(BODY_LIMIT, 10 << 20);
    assert_eq!(collect(answer("", b"12345"), 5).unwrap().body, b"12345");
    let chunked = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
    };
    assert_eq!(collect(chunked("12345"), 5).unwrap().body, b"12345");
    let error = collect(chunked("123456"), 5).unwrap_err();
    assert_eq!((error.rule, error.partial.unwrap().body), (Rule::BodyTooLarge(5), b"12345".to_vec()));
    let endless = "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &"x".repeat(100_000);
    assert_eq!(collect(endless, 70_000).unwrap_err().rule, Rule::BodyTooLarge(70_000));
    assert_eq!(collect(answer("", b""), 0).unwrap().body, b"");
    assert_eq!(collect(answer("", b"x"), u64::MAX).unwrap().body, b"x");
}

#[test]
fn a_body_that_will_be_too_large_is_refused_at_its_head() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n";
    let error = collect(head.to_owned() + "12", 5).unwrap_err();
    assert_eq!((error.rule, error.at), (Rule::BodyTooLarge(5), head.len() as u64));
    assert_eq!(error.partial.as_ref().unwrap().headers.get("content-length"), Some("6"));
    assert!(error.to_string().contains("larger than 5 bytes, the limit (Config::body_limit)"), "{error}");
    let unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n";
    assert_eq!(collect(unchanged, 5).unwrap().body, b"", "it has no body");
}

#[cfg(feature = "gzip")]
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[cfg(feature = "gzip")]
#[test]
fn a_body_in_gzip_is_decoded() {
    let poem = "A line that runs on,\npast its end.\n".repeat(20);
    for name in ["gzip", "GZIP", "x-gzip"] {
        let response =
            collect(answer(&format!("Content-Encoding: {name}\r\n"), &gzip(poem.as_bytes())), BODY_LIMIT);
        assert_eq!(response.unwrap().text(), poem);
    }
    let large: Vec<u8> = (0..20_000u32).flat_map(|n| (n.wrapping_mul(n) >> 7).to_le_bytes()).collect();
    let response = collect(answer("Content-Encoding: gzip\r\n", &gzip(&large)), BODY_LIMIT).unwrap();
    assert!(response.body == large);
}

#[cfg(feature = "gzip")]
#[test]
fn gzip_of_several_members_and_with_all_fields_is_decoded() {
    let plain = gzip(b"two");
    // FHCRC, FEXTRA, FNAME, FCOMMENT (RFC 1952 section 2.3.1).
    let header = [
        &[0x1f, 0x8b, 8, 0b1_1110, 0, 0, 0, 0, 0, 3, 2, 0, b'e', b'x'][..],
        b"name\0",
        b"comment\0",
        &[1, 2],
    ];
    let body = [&gzip(b"one, ")[..], &header.concat(), &plain[10..], &gzip(b"")].concat();
    assert_eq!(collect(answer("Content-Encoding: gzip\r\n", &body), BODY_LIMIT).unwrap().text(), "one, two");
}

#[cfg(feature = "gzip")]
#[test]
fn truncated_gzip_is_an_error_that_keeps_what_arrived() {
    let whole = gzip(b"not to be cut off");
    for end in 1..whole.len() {
        let error = collect(answer("Content-Encoding: gzip\r\n", &whole[..end]), BODY_LIMIT).unwrap_err();
        assert_eq!(error.rule, Rule::GzipTruncated, "{end}");
        assert!(b"not to be cut off".starts_with(&error.partial.unwrap().body));
    }
}

#[cfg(feature = "gzip")]
#[test]
fn malformed_gzip_is_an_error() {
    let good = gzip(b"checked to the last byte");
    let changed = |at: usize, by: u8| {
        let mut bad = good.clone();
        bad[at] ^= by;
        bad
    };
    let end = good.len();
    let trailing = [&good[..], b"garbage"].concat();
    for bad in [
        changed(0, 1),
        changed(1, 1),
        changed(2, 1),
        changed(3, 0x80),
        changed(end - 1, 1),
        changed(end - 8, 1),
    ]
    .into_iter()
    .chain([trailing, b"no gzip at all".to_vec(), [&good[..10], &[0xff; 30]].concat()])
    {
        let error = collect(answer("Content-Encoding: gzip\r\n", &bad), BODY_LIMIT).unwrap_err();
        assert_eq!(error.rule, Rule::Gzip);
    }
    let endless_name = [&[0x1f, 0x8b, 8, 0b1000, 0, 0, 0, 0, 0, 3][..], &vec![b'n'; 70_000]].concat();
    let error = collect(answer("Content-Encoding: gzip\r\n", &endless_name), BODY_LIMIT).unwrap_err();
    assert_eq!(error.rule, Rule::Gzip);
}

#[cfg(feature = "gzip")]
#[test]
fn a_body_that_is_small_and_large_in_gzip_is_within_its_limit() {
    let packed = gzip(b"small");
    assert!(packed.len() > 5);
    assert_eq!(collect(answer("Content-Encoding: gzip\r\n", &packed), 5).unwrap().text(), "small");
}

#[cfg(feature = "gzip")]
#[test]
fn zeros_and_nothing_else_may_follow_gzip() {
    let padded = |behind: &[u8]| {
        let body = [&gzip(b"one, ")[..], &gzip(b"two"), behind].concat();
        collect(answer("Content-Encoding: gzip\r\n", &body), BODY_LIMIT)
    };
    assert_eq!(padded(&[0]).unwrap().text(), "one, two");
    assert_eq!(padded(&[0; 512]).unwrap().text(), "one, two");
    assert_eq!(padded(&[0; 70_000]).unwrap_err().rule, Rule::Gzip, "as long as a header, and no longer");
    assert_eq!(padded(&[0, 0, 1]).unwrap_err().rule, Rule::Gzip);
    assert_eq!(padded(&[&[0][..], &gzip(b"x")].concat()).unwrap_err().rule, Rule::Gzip);
    let zeros = collect(answer("Content-Encoding: gzip\r\n", &[0; 8]), BODY_LIMIT);
    assert_eq!(zeros.unwrap_err().rule, Rule::Gzip, "there is no member before them");
}

#[cfg(feature = "gzip")]
#[test]
fn gzip_has_at_most_1000_small_members() {
    let members = |count: usize, plain: &[u8]| {
        let request = Request::get("http://h/").build().unwrap();
        let bytes = answer("Content-Encoding: gzip\r\n", &gzip(plain).repeat(count));
        match Collector::new(&request, BODY_LIMIT).feed(&mut Input::new(&bytes)) {
            Ok(Progress::Done(response)) => Ok(response.body.len()),
            Ok(progress) => panic!("{progress:?}"),
            Err(error) => Err(error.rule),
        }
    };
    assert_eq!(members(1000, b"x"), Ok(1000));
    assert_eq!(members(1001, b"x"), Err(Rule::GzipMembers));
    assert_eq!(members(1001, b""), Err(Rule::GzipMembers));
    assert_eq!(members(1001, &[0; 1024]), Ok(1001 * 1024), "bgzip writes a member for every 64 KiB");
}

#[cfg(feature = "gzip")]
#[test]
fn what_can_be_decoded_is_not_held_back() {
    let request = Request::get("http://h/").build().unwrap();
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
    let Ok(Event::Head(head)) = ResponseParser::new(&request).next(&mut Input::new(bytes)) else {
        panic!("no head")
    };
    let mut decoder = ContentDecoder::of(&request, &head);
    let body = gzip(&[b'x'; 20_000]);
    let (deflated, trailer) = body.split_at(body.len() - 8);
    let mut out = Vec::new();
    assert_eq!(decoder.decode(&mut Input::new(deflated), &mut out, 15_000), Ok(15_000));
    assert_eq!(decoder.decode(&mut Input::new(b""), &mut out, 15_000), Ok(5_000));
    assert_eq!(decoder.finish(), Err(Rule::GzipTruncated));
    assert_eq!(decoder.decode(&mut Input::new(trailer), &mut out, 15_000), Ok(0));
    assert_eq!((decoder.finish(), out.len()), (Ok(()), 20_000));
}

#[cfg(feature = "gzip")]
#[test]
fn a_gzip_bomb_is_an_error_and_is_never_unpacked() {
    let bomb = gzip(&vec![0; 20 << 20]);
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let request = Request::get("http://h/").build().unwrap();
    let mut collector = Collector::new(&request, BODY_LIMIT);
    let error = collector.feed(&mut Input::new(&answer("Content-Encoding: gzip\r\n", &bomb))).unwrap_err();
    assert_eq!(error.rule, Rule::BodyTooLarge(BODY_LIMIT));
    let kept = error.partial.unwrap().body;
    assert_eq!(kept.len() as u64, BODY_LIMIT);
    assert!(kept.capacity() < 20 << 20, "{}", kept.capacity());
}

#[cfg(feature = "gzip")]
#[test]
fn a_body_that_unpacks_to_too_much_and_is_malformed_keeps_no_more_than_the_limit() {
    let mut bad = gzip(&[b'x'; 10_000]);
    let end = bad.len();
    bad[end - 12..].fill(0xff);
    for limit in [9_990, 5_000, 4_095] {
        let request = Request::get("http://h/").build().unwrap();
        let mut collector = Collector::new(&request, limit);
        let error = collector.feed(&mut Input::new(&answer("Content-Encoding: gzip\r\n", &bad))).unwrap_err();
        assert!(matches!(error.rule, Rule::BodyTooLarge(_) | Rule::Gzip), "{error}");
        assert!(error.partial.unwrap().body.len() as u64 <= limit);
    }
}

#[cfg(feature = "gzip")]
#[test]
fn an_empty_body_needs_no_gzip() {
    assert_eq!(collect(answer("Content-Encoding: gzip\r\n", b""), BODY_LIMIT).unwrap().body, b"");
    let unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n";
    assert_eq!(collect(unchanged, BODY_LIMIT).unwrap().body, b"");
}

#[test]
fn codings_that_were_not_asked_for_are_left_on() {
    for coding in ["br", "gzip, br", "gzip, gzip", "identity", "deflate"] {
        let response =
            collect(answer(&format!("Content-Encoding: {coding}\r\n"), b"as it is"), BODY_LIMIT).unwrap();
        assert_eq!(
            (response.text().as_ref(), response.headers.get("content-encoding")),
            ("as it is", Some(coding))
        );
    }
    let own = Request::get("http://h/").header("Accept-Encoding", "gzip").build().unwrap();
    let mut collector = Collector::new(&own, BODY_LIMIT);
    let bytes = answer("Content-Encoding: gzip\r\n", b"as it is");
    let Ok(Progress::Done(response)) = collector.feed(&mut Input::new(&bytes)) else {
        panic!("not complete")
    };
    assert_eq!(response.text(), "as it is");
}

#[test]
fn text_is_utf_8_or_marked_where_it_is_not() {
    assert_eq!(collect(answer("", "é".as_bytes()), BODY_LIMIT).unwrap().text(), "é");
    assert_eq!(collect(answer("", b"\xe9"), BODY_LIMIT).unwrap().text(), "\u{fffd}");
}
