//! The head of a response: what is accepted, what is rejected, limits.

use super::answers::{Answer, answer, answer_to, get};
use enjamb::http::{HEAD_LIMIT, Rule, Version};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";

/// The rule that the answer in these bytes breaks.
#[track_caller]
fn rule(bytes: impl AsRef<[u8]>) -> Rule {
    answer(bytes).end.expect_err("a broken rule").0
}

#[track_caller]
fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.head.as_ref().expect("a head").headers.get(name).expect("this field")
}

#[test]
fn a_head_has_64_kib() {
    let filled = |to: usize| {
        let start = format!("{OK}X: ");
        format!("{start}{}\r\n\r\n", "y".repeat(to - start.len() - 4))
    };
    assert_eq!(answer(filled(HEAD_LIMIT)).complete().left_over, 0);
    assert_eq!(answer(filled(HEAD_LIMIT + 1)).end, Err((Rule::HeadTooLarge, HEAD_LIMIT as u64)));
}

#[test]
fn a_head_that_never_ends_is_given_up_at_64_kib() {
    let endless = format!("{OK}{}", "X: y\r\n".repeat(20_000));
    assert_eq!(answer(endless).end, Err((Rule::HeadTooLarge, HEAD_LIMIT as u64)));
    let one_line = format!("HTTP/1.1 200 {}", "O".repeat(2 * HEAD_LIMIT));
    assert_eq!(answer(one_line).end, Err((Rule::HeadTooLarge, HEAD_LIMIT as u64)));
}

#[test]
fn all_interim_answers_count_towards_the_64_kib() {
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(200_000);
    let answer = answer(&hints[..1 << 20]);
    assert_eq!(answer.end, Err((Rule::HeadTooLarge, HEAD_LIMIT as u64)));
    assert_eq!(answer.interim.len(), HEAD_LIMIT / 28);
}

#[test]
fn a_head_has_100_fields() {
    let fields = |n: usize| format!("{OK}{}\r\n", "X: y\r\n".repeat(n - 1));
    assert_eq!(answer(fields(100)).complete().head.unwrap().headers.len(), 100);
    assert_eq!(rule(fields(101)), Rule::TooManyFields);
}

#[test]
fn a_bare_lf_is_accepted() {
    let answer = answer("HTTP/1.1 200 OK\nA: b\nContent-Length: 2\n\nok").complete();
    assert_eq!((header(&answer, "a"), answer.body.as_slice()), ("b", &b"ok"[..]));
}

#[test]
fn a_bare_cr_is_rejected() {
    for bad in ["A: b\rC: d\r\n", "A: b\r\r\n", "A\r: b\r\n", "\rA: b\r\n", "A: b\r\r\n c\r\n"] {
        assert_eq!(rule(format!("{OK}{bad}\r\n")), Rule::Head, "{bad:?}");
    }
    assert_eq!(rule("HTTP/1.1 200 O\rK\r\n\r\n"), Rule::Head);
}

#[test]
fn a_nul_is_rejected() {
    for bad in ["A: b\0\r\n", "A\0: b\r\n", "A: b\r\n \0\r\n"] {
        assert_eq!(rule(format!("{OK}{bad}\r\n")), Rule::Head, "{bad:?}");
    }
    assert_eq!(rule("HTTP/1.1 200 O\0K\r\n\r\n"), Rule::Head);
}

#[test]
fn a_blank_before_the_colon_is_rejected() {
    for bad in ["A : b\r\n", "A\t: b\r\n", "Transfer-Encoding : chunked\r\n", "A b: c\r\n"] {
        assert_eq!(rule(format!("{OK}{bad}\r\n")), Rule::Head, "{bad:?}");
    }
}

#[test]
fn folded_lines_are_joined_with_a_blank() {
    let folded = answer(format!("{OK}A: one\r\n two\r\n\t  three\r\nB: \n c\r\n\r\n")).complete();
    assert_eq!((header(&folded, "a"), header(&folded, "b")), ("one two three", "c"));
    let length = answer("HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok").complete();
    assert_eq!(length.body, b"ok");
    assert_eq!(rule("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n 2\r\n\r\nok"), Rule::ContentLength);
}

#[test]
fn a_fold_before_the_first_field_is_rejected() {
    assert_eq!(rule("HTTP/1.1 200 OK\r\n A: b\r\n\r\n"), Rule::Head);
}

#[test]
fn http_0_9_is_rejected() {
    assert_eq!(answer("<html>hello</html>").end, Err((Rule::NotHttp, 1)));
    assert_eq!(answer_to(&get(), "hello", true).end, Err((Rule::NotHttp, 1)));
}

#[test]
fn unknown_versions_are_rejected() {
    for line in [
        "HTTP/2 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/1.10 200",
        "HTTP/1. 200",
    ] {
        let rule = rule(format!("{line}\r\nContent-Length: 0\r\n\r\n"));
        assert!(matches!(rule, Rule::NotHttp | Rule::Head), "{line}: {rule:?}");
    }
    for line in ["http/1.1 200 OK", "ICY 200 OK", "SSH-2.0-server", "220 smtp.example"] {
        assert_eq!(rule(format!("{line}\r\n\r\n")), Rule::NotHttp, "{line}");
    }
}

#[test]
fn both_versions_are_told_apart() {
    let version =
        |line: &str| answer(format!("{line}\r\nContent-Length: 0\r\n\r\n")).complete().head.unwrap().version;
    assert_eq!(version("HTTP/1.0 200 OK"), Version::Http10);
    assert_eq!(version("HTTP/1.1 200"), Version::Http11);
}

#[test]
fn a_broken_answer_names_the_rule_the_server_and_the_bytes_that_had_come() {
    let mut parser = enjamb::http::ResponseParser::new(&get());
    let mut input = enjamb::Input::new(b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n");
    let error = parser.next(&mut input).unwrap_err().from_server("http://h.example:80");
    assert_eq!(
        error.to_string(),
        "the response of http://h.example:80: its status line or a header field is malformed; 26 bytes had come"
    );
}
