//! When a connection can carry another request, when a lost request may be sent again, and what bytes on an idle
//! connection mean.

use super::answers::{answer, answer_to, get};
use enjamb::Input;
use enjamb::http::{Attempt, DRAIN_LIMIT, Event, IdleBytes, Method, NotReusable, Request, ResponseParser};

fn with(version: &str, fields: &str) -> String {
    format!("HTTP/{version} 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok")
}

#[test]
fn http_1_1_is_reused_unless_any_connection_line_says_close() {
    for (fields, reusable) in [
        ("", Ok(())),
        ("Connection: keep-alive\r\n", Ok(())),
        ("Connection: closed\r\n", Ok(())),
        ("Connection: close\r\n", Err(NotReusable::Close)),
        ("connection: CLOSE\r\n", Err(NotReusable::Close)),
        ("Connection: keep-alive, close\r\n", Err(NotReusable::Close)),
        ("Connection: keep-alive\r\nConnection: x ,\tClose\r\n", Err(NotReusable::Close)),
    ] {
        assert_eq!(answer(with("1.1", fields)).complete().reusable, reusable, "{fields:?}");
    }
}

#[test]
fn http_1_0_is_reused_only_with_keep_alive() {
    for (fields, reusable) in [
        ("", Err(NotReusable::Http10)),
        ("Connection: x\r\n", Err(NotReusable::Http10)),
        ("Connection: Keep-Alive\r\n", Ok(())),
        ("Connection: keep-alive\r\nConnection: close\r\n", Err(NotReusable::Close)),
    ] {
        assert_eq!(answer(with("1.0", fields)).complete().reusable, reusable, "{fields:?}");
    }
}

#[test]
fn a_request_that_asks_to_close_is_the_last_one() {
    let request = Request::get("http://h.example/").header("Connection", "close").build().unwrap();
    assert_eq!(answer_to(&request, with("1.1", ""), false).reusable, Err(NotReusable::Asked));
}

#[test]
fn a_request_not_written_whole_spoils_the_connection() {
    let mut parser = ResponseParser::new(&get());
    let bytes = with("1.1", "");
    let mut input = Input::new(bytes.as_bytes());
    while parser.next(&mut input).unwrap() != Event::End {}
    assert_eq!(parser.reusable(0), Err(NotReusable::RequestUnfinished));
    parser.request_written();
    assert_eq!(parser.reusable(0), Ok(()));
}

#[test]
fn an_incomplete_body_spoils_the_connection() {
    assert_eq!(answer(with("1.1", "").trim_end_matches('k')).reusable, Err(NotReusable::Incomplete));
}

#[test]
fn a_byte_that_is_left_over_spoils_the_connection() {
    for rest in ["\r\n", "x", "HTTP/1.1 200 OK\r\n\r\n"] {
        let answer = answer(with("1.1", "") + rest).complete();
        assert_eq!((answer.left_over, answer.reusable), (rest.len(), Err(NotReusable::LeftOver)));
    }
}

fn drained(left: usize, arrived: usize) -> bool {
    let mut parser = ResponseParser::new(&get());
    parser.request_written();
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n{}", "x".repeat(arrived));
    let mut input = Input::new(bytes.as_bytes());
    assert!(matches!(parser.next(&mut input), Ok(Event::Head(_))));
    let drained = parser.drain(&mut input);
    assert_eq!(drained, parser.reusable(input.len()).is_ok());
    drained
}

#[test]
fn an_unread_rest_is_drained_up_to_16_kib_if_it_has_arrived() {
    assert!(drained(0, 0));
    assert!(drained(DRAIN_LIMIT, DRAIN_LIMIT));
    assert!(!drained(DRAIN_LIMIT, DRAIN_LIMIT - 1), "the last byte has not arrived");
    assert!(!drained(DRAIN_LIMIT + 1, DRAIN_LIMIT + 1), "too much");
}

#[test]
fn draining_leaves_what_is_not_the_answers() {
    let mut parser = ResponseParser::new(&get());
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nrest";
    let mut input = Input::new(bytes);
    parser.next(&mut input).unwrap();
    assert!(parser.drain(&mut input));
    assert_eq!(input.peek(), b"rest");
}

#[test]
fn bytes_on_an_idle_connection_are_never_an_answer() {
    for bytes in [&b"HTTP/1.1 200 OK\r\n"[..], b"HTTP/1.1 4080", b"HTTP/2 408", b"x", b"\r\n", b"HTTP/1.1 40"]
    {
        assert_eq!(IdleBytes::of(bytes), IdleBytes::Unasked, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_408_on_an_idle_connection_is_quiet() {
    for bytes in [
        &b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"[..],
        b"HTTP/1.0 408\r\n",
        b"HTTP/1.1 408",
    ] {
        assert_eq!(IdleBytes::of(bytes), IdleBytes::Timeout, "{}", bytes.escape_ascii());
    }
}

const LOST: Attempt = Attempt { reused: true, answered: 0, repeated: false };

#[test]
fn a_lost_request_is_sent_again_once_on_a_reused_connection_that_said_nothing() {
    assert!(LOST.may_be_repeated(&get()));
    assert!(!Attempt { reused: false, ..LOST }.may_be_repeated(&get()));
    assert!(!Attempt { answered: 1, ..LOST }.may_be_repeated(&get()));
    assert!(!Attempt { repeated: true, ..LOST }.may_be_repeated(&get()));
}

#[test]
fn a_lost_request_is_sent_again_only_if_it_is_idempotent_and_its_body_replayable() {
    for (method, again) in [
        (Method::Get, true),
        (Method::Head, true),
        (Method::Options, true),
        (Method::Put, true),
        (Method::Delete, true),
        (Method::Post, false),
        (Method::Patch, false),
    ] {
        let request = || Request::to(method, "http://h.example/");
        assert_eq!(LOST.may_be_repeated(&request().build().unwrap()), again, "{method}");
        assert_eq!(LOST.may_be_repeated(&request().body("b").build().unwrap()), again, "{method}");
        assert!(!LOST.may_be_repeated(&request().stream(3).build().unwrap()), "{method}");
    }
}
