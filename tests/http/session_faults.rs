//! A session with servers that misbehave, and with requests that cannot be sent, in the simulation.

use super::bench::{Bench, OK, answering, ms, rule, url};
use enjamb::http;
use enjamb::http::{Phase, Request, Rule};
use enjamb::sim::Link;
use std::io::ErrorKind;

#[test]
fn an_answer_that_breaks_a_rule_names_the_rule_the_server_and_how_much_had_come() {
    let mut bench = Bench::new();
    bench.serve(1, |_| answering(&["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"]).close());
    let failure = bench.fetch(&url(1, "/x")).unwrap_err();
    assert_eq!(rule(&failure), Rule::Truncated);
    let text =
        "http://10.0.0.1/x: the response of 10.0.0.1:80: the stream ended within the body; 44 bytes had come";
    assert_eq!(failure.to_string(), text);
    assert_eq!(failure.partial.unwrap().text(), "short");
}

#[test]
fn a_reset_within_the_body_keeps_what_had_come() {
    let mut bench = Bench::new();
    bench.serve(1, |_| {
        answering(&["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"]).wait(ms(10)).reset()
    });
    let failure = bench.fetch(&url(1, "/")).unwrap_err();
    assert_eq!((failure.kind(), failure.phase), (ErrorKind::ConnectionReset, Phase::Body));
    assert_eq!(failure.partial.as_ref().unwrap().text(), "short");
    assert!(failure.to_string().ends_with("44 bytes had come"), "{failure}");
}

#[test]
fn endless_interim_answers_are_an_error() {
    let mut bench = Bench::new();
    bench.serve(1, |_| answering(&["HTTP/1.1 103 Early Hints\r\n\r\n".repeat(200_000)]));
    assert_eq!(rule(&bench.fetch(&url(1, "/")).unwrap_err()), Rule::HeadTooLarge);
}

#[test]
fn liars_are_errors() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", Rule::ContentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", Rule::TransferEncoding),
        ("220 mail.example ESMTP\r\n", Rule::NotHttp),
    ] {
        let mut bench = Bench::new();
        bench.answers(1, answer);
        assert_eq!(rule(&bench.fetch(&url(1, "/")).unwrap_err()), expected);
        assert_eq!(bench.idle(), 0);
    }
}

#[test]
fn whatever_the_pieces_the_answers_are_the_same() {
    let mut bench = Bench::new();
    bench.sim.links(Link { segment: 1..=1, ..Link::default() });
    bench.answers(1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    for _ in 0..3 {
        assert_eq!(bench.fetch(&url(1, "/")).unwrap().text(), "abcde");
    }
    assert_eq!(bench.world.accepted, 1);
}

#[test]
fn a_body_above_the_limit_is_an_error_that_keeps_the_rest() {
    let mut bench = Bench::with(http::Config { body_limit: 4, ..http::Config::default() });
    bench.answers(1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n");
    let failure = bench.fetch(&url(1, "/")).unwrap_err();
    assert_eq!(rule(&failure), Rule::BodyTooLarge(4));
    assert_eq!(failure.partial.unwrap().text(), "abcd");
    bench.pass(ms(20));
    assert_eq!(bench.session.pool().snapshot().total.open(), 0);
}

#[test]
fn a_body_that_will_be_above_the_limit_is_not_waited_for() {
    let mut bench = Bench::with(http::Config { body_limit: 4, ..http::Config::default() });
    bench.answers(1, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    let failure = bench.fetch(&url(1, "/")).unwrap_err();
    let text = "http://10.0.0.1/: the response of 10.0.0.1:80: its body, decoded, is larger than 4 bytes, the limit \
                (Config::body_limit); 38 bytes had come";
    assert_eq!(failure.to_string(), text);
    assert_eq!(failure.partial.unwrap().status, 200);
    assert!(bench.call(Request::head(url(1, "/"))).is_ok(), "no body comes");
}

#[test]
fn an_answer_to_head_has_no_body() {
    let mut bench = Bench::new();
    bench.serve(1, |_| answering(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", OK]));
    assert_eq!(bench.call(Request::head(url(1, "/"))).unwrap().body, b"");
    assert_eq!(bench.fetch(&url(1, "/")).unwrap().text(), "ok");
    assert_eq!(bench.world.accepted, 1);
}

#[test]
fn what_cannot_be_asked_for_is_told_by_the_loop() {
    let mut bench = Bench::new();
    bench.get("http://exa mple/");
    assert!(bench.world.results.is_empty(), "not within the call");
    bench.until(|world| world.results.len() == 1);
    let failure = bench.world.results.pop().unwrap().unwrap_err();
    assert_eq!((failure.phase, failure.kind()), (Phase::Request, ErrorKind::InvalidInput));
    assert!(failure.to_string().contains("byte 10"), "{failure}");
    let failure = bench.call(Request::put(url(1, "/")).stream(None)).unwrap_err();
    assert!(failure.to_string().contains("Session::stream"), "{failure}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let mut bench = Bench::new();
    let failure = bench.fetch(&url(9, "/")).unwrap_err();
    assert_eq!((failure.kind(), failure.phase), (ErrorKind::ConnectionRefused, Phase::Connect));
    let text = failure.to_string();
    assert!(text.starts_with("http://10.0.0.9/: connecting to 10.0.0.9:80: "), "{text}");
    let failure = bench.fetch("http://nowhere.example/").unwrap_err();
    assert_eq!(failure.phase, Phase::Resolve);
}

#[cfg(feature = "gzip")]
#[test]
fn gzip_is_asked_for_and_unpacked_within_the_limit() {
    use enjamb::sim::Script;
    use std::io::Write;
    let packed = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        let body = encoder.finish().unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.into_bytes(), body].concat()
    };
    let (small, bomb) = (packed(b"unpacked"), packed(&vec![0; 20 << 20]));
    let mut bench = Bench::new();
    bench.serve(1, move |_| {
        Script::new().until("Accept-Encoding: gzip\r\n\r\n").say(&small).until("\r\n\r\n").say(&bomb)
    });
    assert_eq!(bench.fetch(&url(1, "/")).unwrap().text(), "unpacked");
    assert_eq!(rule(&bench.fetch(&url(1, "/")).unwrap_err()), Rule::BodyTooLarge(http::BODY_LIMIT));
}
