//! Where a body ends: the rules of framing in their order, chunks, and truncated responses.

use super::answers::{Answer, answer, answer_to, get};
use enjamb::http::{Method, NotReusable, Request, Rule};

fn with(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}")
}

/// The rule that the answer in these bytes breaks.
#[track_caller]
fn rule(bytes: impl AsRef<[u8]>) -> Rule {
    answer(bytes).end.expect_err("a broken rule").0
}

#[track_caller]
fn is_empty_and_complete(answer: &Answer, left_over: usize) {
    assert_eq!((answer.end, answer.body.len(), answer.left_over), (Ok(true), 0, left_over));
}

#[test]
fn the_answer_to_head_has_no_body_whatever_it_says() {
    let head = Request::to(Method::Head, "http://h.example/").build().unwrap();
    for fields in ["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: x", "X: y"] {
        let answer = answer_to(&head, with(fields, ""), false);
        is_empty_and_complete(&answer, 0);
        assert_eq!(answer.reusable, Ok(()), "{fields}");
    }
    is_empty_and_complete(&answer_to(&head, with("Content-Length: 5", "hello"), false), 5);
}

#[test]
fn statuses_204_and_304_have_no_body_whatever_they_say() {
    for status in [204, 304] {
        for fields in ["Content-Length: 5", "Transfer-Encoding: chunked", "X: y"] {
            let answer = answer(format!("HTTP/1.1 {status} S\r\n{fields}\r\n\r\n"));
            is_empty_and_complete(&answer, 0);
            assert_eq!(answer.reusable, Ok(()), "{status} {fields}");
        }
    }
}

#[test]
fn interim_answers_have_no_body_and_the_next_answer_follows() {
    let bytes =
        "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let answer = answer(format!("{bytes}{}", with("Content-Length: 2", "ok"))).complete();
    assert_eq!((answer.interim, answer.body), (vec![100, 103], b"ok".to_vec()));
    assert_eq!(answer.reusable, Ok(()));
}

#[test]
fn status_101_is_an_upgrade_never_pooled_and_what_follows_is_left() {
    let answer =
        answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\n\x00\x01other");
    is_empty_and_complete(&answer, 7);
    assert_eq!(answer.reusable, Err(NotReusable::Upgraded));
}

#[test]
fn a_single_chunked_is_the_only_transfer_coding() {
    for fields in [
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:",
        "Transfer-Encoding: gzip\r\nContent-Length: 2",
    ] {
        assert_eq!(rule(with(fields, "2\r\nok\r\n0\r\n\r\n")), Rule::TransferEncoding, "{fields}");
    }
    let answer = answer(with("transfer-encoding:\t ChunkeD ", "2\r\nok\r\n0\r\n\r\n")).complete();
    assert_eq!((answer.body, answer.reusable), (b"ok".to_vec(), Ok(())));
}

#[test]
fn http_1_0_has_no_transfer_coding() {
    let bytes = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(rule(bytes), Rule::TransferEncoding);
}

#[test]
fn both_framings_mean_chunks_and_the_connection_is_not_reused() {
    for length in ["2", "3", "x"] {
        let fields = format!("Content-Length: {length}\r\nTransfer-Encoding: chunked");
        let answer = answer(with(&fields, "2\r\nok\r\n0\r\n\r\n")).complete();
        assert_eq!((answer.body, answer.reusable), (b"ok".to_vec(), Err(NotReusable::TwoFramings)));
    }
}

#[test]
fn a_length_is_digits_only_below_2_to_the_63() {
    for length in ["+2", "-2", "2 2", "0x2", "", "2;", "9223372036854775808", "99999999999999999999999", "٢"]
    {
        assert_eq!(rule(with(&format!("Content-Length: {length}"), "ok")), Rule::ContentLength, "{length}");
    }
    let largest = answer(with("Content-Length: 9223372036854775807", "ok"));
    assert_eq!((largest.end, largest.body), (Ok(false), b"ok".to_vec()));
}

#[test]
fn all_copies_of_a_length_are_equal() {
    for fields in [
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2, 3",
        "Content-Length: 2,",
        "Content-Length: 2\r\nContent-Length:",
    ] {
        assert_eq!(rule(with(fields, "ok")), Rule::ContentLength, "{fields}");
    }
    for fields in ["Content-Length: 2\r\nContent-Length: 2", "Content-Length: 2, 2", "Content-Length: 02"] {
        assert_eq!(answer(with(fields, "ok")).complete().body, b"ok", "{fields}");
    }
}

#[test]
fn a_length_said_again_in_other_digits_is_no_copy() {
    // RFC 9110, section 8.6: a list is taken as one value since "a duplicate was generated or combined by an upstream
    // message processor". A duplicate has the same digits; other digits have another author, and the next reader may take
    // 010 for 8.
    for fields in [
        "Content-Length: 2\r\nContent-Length: 02",
        "Content-Length: 02\r\nContent-Length: 2",
        "Content-Length: 2, 02",
        "Content-Length: 2, 2, 002",
    ] {
        assert_eq!(rule(with(fields, "ok")), Rule::ContentLength, "{fields}");
    }
    let copies = answer(with("Content-Length: 02\r\nContent-Length: 02", "ok")).complete();
    assert_eq!((copies.body, copies.reusable), (b"ok".to_vec(), Ok(())));
}

#[test]
fn without_any_framing_a_body_goes_up_to_the_close_and_the_connection_with_it() {
    let open = answer(with("X: y", "so far"));
    assert_eq!((open.end, open.body.as_slice()), (Ok(false), &b"so far"[..]));
    let closed = answer_to(&get(), with("X: y", "and no further"), true).complete();
    assert_eq!((closed.body, closed.reusable), (b"and no further".to_vec(), Err(NotReusable::ByClose)));
}

#[test]
fn an_empty_body_is_complete_with_its_head() {
    is_empty_and_complete(&answer(with("Content-Length: 0", "")), 0);
    is_empty_and_complete(&answer_to(&get(), with("Content-Length: 0", ""), true), 0);
}

#[test]
fn a_stream_that_ends_right_behind_a_head_without_a_body_ends_the_answer() {
    let mut parser = enjamb::http::ResponseParser::new(&get());
    let bytes = with("Content-Length: 0", "");
    assert!(matches!(
        parser.next(&mut enjamb::Input::new(bytes.as_bytes())),
        Ok(enjamb::http::Event::Head(_))
    ));
    assert_eq!(parser.ended(), Ok(enjamb::http::Event::End), "nobody asked for the end yet");
}

#[test]
fn chunks_are_put_together() {
    let body = "5\r\nhello\r\n1;ext=\"a b\"\r\n,\r\n00A \t\r\n enjambed!\r\n0;last\r\nX-Sum: 17\r\n\r\n";
    let answer = answer(with("Transfer-Encoding: chunked", body)).complete();
    assert_eq!(answer.body, b"hello, enjambed!");
    assert_eq!(answer.trailers.unwrap().get("x-sum"), Some("17"));
    assert!(!answer.head.unwrap().headers.contains("x-sum"), "trailers are kept apart");
}

#[test]
fn framing_names_are_dropped_from_trailers() {
    let body = "0\r\nContent-Length: 9\r\nTRANSFER-ENCODING: gzip\r\nConnection: close\r\n\r\n";
    let answer = answer(with("Transfer-Encoding: chunked", body)).complete();
    assert_eq!((answer.trailers, answer.reusable), (None, Ok(())));
}

#[test]
fn malformed_chunks_are_errors_at_their_byte() {
    for (body, rule, at) in [
        ("x\r\n", Rule::ChunkSize, 1),
        ("\r\n", Rule::ChunkSize, 1),
        ("+1\r\na\r\n", Rule::ChunkSize, 1),
        ("00000000000000001\r\na\r\n", Rule::ChunkSize, 17),
        ("1\na\r\n", Rule::ChunkEnd, 2),
        ("1\r\nab\r\n", Rule::ChunkEnd, 5),
        ("1\r\na\n", Rule::ChunkEnd, 5),
        ("1;\n\r\na\r\n", Rule::ChunkExtension, 3),
        ("0\r\nA: b\n\r\n", Rule::Trailers, 8),
        ("0\r\n\n", Rule::Trailers, 4),
    ] {
        let bytes = with("Transfer-Encoding: chunked", body);
        let head = bytes.len() - body.len();
        let answer = answer(&bytes);
        assert_eq!(answer.end, Err((rule, (head + at) as u64)), "{body:?}");
        assert_eq!(answer.reusable, Err(NotReusable::Incomplete));
    }
}

#[test]
fn chunk_extensions_have_16_kib_a_body_however_they_are_spread() {
    let chunks = "1;xyz\r\na\r\n".repeat(4096);
    let fine = format!("{chunks}1\r\na\r\n0\r\n\r\n");
    assert_eq!(answer(with("Transfer-Encoding: chunked", &fine)).complete().body.len(), 4097);
    let more = format!("{chunks}1;\r\na\r\n0\r\n\r\n");
    assert_eq!(rule(with("Transfer-Encoding: chunked", &more)), Rule::ExtensionsTooLarge);
    let endless = format!("1{}", " ".repeat(17_000));
    assert_eq!(rule(with("Transfer-Encoding: chunked", &endless)), Rule::ExtensionsTooLarge);
}

#[test]
fn trailers_have_16_kib_and_100_fields() {
    let fields = |n: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(n));
    assert_eq!(
        answer(with("Transfer-Encoding: chunked", &fields(100))).complete().trailers.unwrap().len(),
        100
    );
    assert_eq!(rule(with("Transfer-Encoding: chunked", &fields(101))), Rule::TooManyFields);
    let long = format!("0\r\nA: {}", "b".repeat(17_000));
    assert_eq!(rule(with("Transfer-Encoding: chunked", &long)), Rule::TrailersTooLarge);
}

#[test]
fn the_stream_may_not_end_before_the_body_and_what_arrived_is_kept() {
    let chunked = with("Transfer-Encoding: chunked", "2\r\nok\r\n0\r\nA: b\r\n\r\n");
    let length = with("Content-Length: 4", "okay");
    for (bytes, body) in [(chunked.as_str(), "ok"), (length.as_str(), "okay")] {
        let head = bytes.find("\r\n\r\n").unwrap() + 4;
        for end in head..bytes.len() {
            let cut = answer_to(&get(), &bytes[..end], true);
            assert_eq!(cut.end, Err((Rule::Truncated, end as u64)));
            assert!(body.as_bytes().starts_with(&cut.body));
            assert_eq!(cut.reusable, Err(NotReusable::Incomplete));
        }
        assert_eq!(answer_to(&get(), bytes, true).complete().body, body.as_bytes());
    }
}

#[test]
fn the_stream_may_not_end_before_the_head() {
    let bytes = with("Content-Length: 0", "");
    for end in 0..bytes.len() {
        assert_eq!(answer_to(&get(), &bytes[..end], true).end, Err((Rule::NoAnswer, end as u64)));
    }
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(answer_to(&get(), interim, true).end, Err((Rule::NoAnswer, interim.len() as u64)));
}

#[test]
fn a_broken_answer_stays_broken() {
    let mut parser = enjamb::http::ResponseParser::new(&get());
    let first = parser.next(&mut enjamb::Input::new(b"SSH-2.0")).unwrap_err();
    let mut good = enjamb::Input::new(b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(parser.next(&mut good).unwrap_err(), first);
    assert_eq!(parser.ended().unwrap_err(), first);
    assert_eq!(good.len(), 19, "and takes nothing more");
}
