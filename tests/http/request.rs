//! Requests: what is sent, byte for byte, and what is refused.

use enjamb::http::{Body, BodyWriter, Error, HeaderByte, Method, Request, RequestBuilder, Url, UrlPart};

fn head(request: RequestBuilder) -> String {
    let mut out = Vec::new();
    request.build().unwrap().write_head(None, &mut out);
    String::from_utf8(out).unwrap()
}

/// The fields, without those that are the same for all.
fn fields(request: RequestBuilder) -> Vec<String> {
    let text = head(request.header("User-Agent", "").header("Accept", "").header("Accept-Encoding", ""));
    let empty = ["User-Agent: ", "Accept: ", "Accept-Encoding: "];
    let lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").skip(1);
    lines.filter(|line| !empty.contains(line)).map(str::to_owned).collect()
}

fn error(request: RequestBuilder) -> Error {
    request.build().unwrap_err()
}

#[test]
fn a_get_is_written_byte_for_byte() {
    let text = head(Request::get("http://h.example:8080/a?b#c"));
    let gzip = if cfg!(feature = "gzip") { "Accept-Encoding: gzip\r\n" } else { "" };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        text,
        format!(
            "GET /a?b HTTP/1.1\r\nHost: h.example:8080\r\nUser-Agent: enjamb/{version}\r\nAccept: */*\r\n{gzip}\r\n"
        )
    );
}

#[test]
fn all_methods_are_sent() {
    for (request, line) in [
        (Request::get("http://h/x"), "GET /x HTTP/1.1"),
        (Request::head("http://h/x"), "HEAD /x HTTP/1.1"),
        (Request::post("http://h/x"), "POST /x HTTP/1.1"),
        (Request::put("http://h/x"), "PUT /x HTTP/1.1"),
        (Request::delete("http://h/x"), "DELETE /x HTTP/1.1"),
        (Request::patch("http://h/x"), "PATCH /x HTTP/1.1"),
        (Request::options("http://h/x"), "OPTIONS /x HTTP/1.1"),
        (Request::to("PUT".parse::<Method>().unwrap(), "http://h/x"), "PUT /x HTTP/1.1"),
    ] {
        assert_eq!(head(request).split("\r\n").next(), Some(line));
    }
}

#[test]
fn a_request_takes_a_url_in_any_form() {
    let url: Url = "http://h/x".parse().unwrap();
    let text = String::from("http://h/x");
    for request in
        [Request::get(&url), Request::get(url.clone()), Request::get(&text), Request::get(text.clone())]
    {
        assert_eq!(request.build().unwrap().url(), &url);
    }
}

#[test]
fn an_empty_post_says_that_its_length_is_0() {
    for method in [Method::Post, Method::Put, Method::Patch] {
        assert_eq!(fields(Request::to(method, "http://h/")), ["Host: h", "Content-Length: 0"]);
    }
    for method in [Method::Get, Method::Head, Method::Delete, Method::Options] {
        assert_eq!(fields(Request::to(method, "http://h/")), ["Host: h"]);
    }
}

#[test]
fn a_body_of_bytes_says_its_length() {
    assert_eq!(fields(Request::post("http://h/").body("four")), ["Host: h", "Content-Length: 4"]);
    assert_eq!(fields(Request::get("http://h/").body("")), ["Host: h", "Content-Length: 0"]);
}

#[test]
fn a_form_is_encoded() {
    let request = Request::post("http://h/").form([("a b", "1&2"), ("c", "ü")]);
    let built = request.clone().build().unwrap();
    assert_eq!(built.body(), &Body::Bytes(b"a+b=1%262&c=%C3%BC".to_vec()));
    let expected = ["Host: h", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 18"];
    assert_eq!(fields(request), expected);
}

#[test]
fn a_query_is_added_to_what_there_is() {
    let request =
        Request::get("http://h/x?a=1#f").query([("b", "2 3")]).query([("c", "/&")]).build().unwrap();
    assert_eq!(request.url().to_string(), "http://h/x?a=1&b=2+3&c=%2F%26#f");
    let nothing = Request::get("http://h/x").query::<&str, &str>([]).build().unwrap();
    assert_eq!(nothing.url().to_string(), "http://h/x");
}

#[test]
fn cr_lf_and_nul_are_rejected_everywhere_in_a_request() {
    for bad in ["\r", "\n", "\0", "\r\nX: y"] {
        for (url, part) in [
            (format!("http://h{bad}/"), UrlPart::Host),
            (format!("http://u{bad}@h/"), UrlPart::Userinfo),
            (format!("http://h:8{bad}/"), UrlPart::Port),
            (format!("http://h/x{bad}"), UrlPart::Path),
            (format!("http://h/?x{bad}"), UrlPart::Query),
            (format!("http://h/#x{bad}"), UrlPart::Fragment),
        ] {
            let Error::Url(error) = error(Request::get(&url)) else { panic!("{url:?}") };
            assert_eq!(url.as_bytes()[error.at], bad.as_bytes()[0], "{error}");
            assert_eq!(error.part, part, "{url:?}");
        }
        for (name, value, at) in [
            ("X".to_owned() + bad, "v".to_owned(), HeaderByte::Name(1)),
            ("X".to_owned(), "v".to_owned() + bad, HeaderByte::Value(1)),
            ("Host".to_owned(), "h".to_owned() + bad, HeaderByte::Value(1)),
            ("Cookie".to_owned(), "a=b".to_owned() + bad, HeaderByte::Value(3)),
        ] {
            let Error::Header(error) = error(Request::get("http://h/").header(&name, &value)) else {
                panic!("{name:?}")
            };
            assert_eq!((error.name, error.at), (name, at));
        }
        assert!(matches!(error(Request::get("http://h/").basic_auth("u", bad)), Error::Request(_)));
        let escaped = Request::get("http://h/").query([(bad, bad)]).build().unwrap();
        assert!(!escaped.url().to_string().contains(bad));
    }
}

#[test]
fn the_first_thing_that_is_wrong_is_told() {
    let request = Request::get("http://h h/").header("X\n", "").basic_auth(":", "");
    assert!(matches!(error(request), Error::Url(_)));
    let request = Request::get("http://h/").header("X\n", "").basic_auth(":", "");
    assert!(matches!(error(request), Error::Header(_)));
}

#[test]
fn the_framing_follows_from_the_body_and_cannot_be_given() {
    for name in ["Content-Length", "transfer-encoding", "CONTENT-LENGTH"] {
        assert!(matches!(error(Request::post("http://h/").header(name, "4")), Error::Request(_)));
    }
}

#[test]
fn fields_of_the_callers_own_replace_those_by_default() {
    let text = head(
        Request::get("http://h/").header("accept", "a/b").header("user-agent", "me").header("HOST", "i"),
    );
    assert_eq!(text.to_ascii_lowercase().matches("accept: ").count(), 1, "{text}");
    assert!(text.starts_with("GET / HTTP/1.1\r\nHost: i\r\n") && !text.contains("enjamb"), "{text}");
    let two = Request::get("http://h/").header("Host", "i").header("Host", "j");
    assert!(matches!(error(two), Error::Request(_)));
}

#[test]
fn there_is_one_content_type_and_it_can_be_replaced() {
    let two = Request::post("http://h/").form([("a", "b")]).header("content-type", "text/plain");
    let message = error(two).to_string();
    assert!(message.contains("one Content-Type") && message.contains("set_header"), "{message}");
    let text = head(Request::post("http://h/").form([("a", "b")]).set_header("content-type", "text/plain"));
    assert_eq!(text.to_ascii_lowercase().matches("content-type: ").count(), 1, "{text}");
    assert!(text.contains("content-type: text/plain\r\n"), "{text}");
    for name in ["Content-Length", "transfer-encoding"] {
        assert!(matches!(error(Request::post("http://h/").set_header(name, "4")), Error::Request(_)));
    }
}

#[test]
fn a_piece_or_an_encoding_of_the_callers_own_is_not_asked_for_in_gzip() {
    assert!(!head(Request::get("http://h/").header("Range", "bytes=0-9")).contains("gzip"));
    let own = head(Request::get("http://h/").header("Accept-Encoding", "br"));
    assert!(own.contains("Accept-Encoding: br\r\n") && !own.contains("gzip"));
}

#[test]
fn a_user_of_the_url_is_sent_as_basic_authentication_and_nowhere_else() {
    for request in [
        Request::get("http://Aladdin:open%20sesame@h/"),
        Request::get("http://h/").basic_auth("Aladdin", "open sesame"),
        Request::get("http://other:one@h/").basic_auth("Aladdin", "open sesame"),
    ] {
        let text = head(request.clone());
        assert!(text.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "{text}");
        assert!(text.starts_with("GET / HTTP/1.1\r\nHost: h\r\n"), "{text}");
        let built = request.build().unwrap();
        let shown = format!("{built:?}");
        assert!(!shown.contains("sesame") && !shown.contains("QWx"), "{shown}");
        assert!(!head(Request::get(built.url())).contains("Authorization"), "the URL no longer has it");
    }
}

#[test]
fn cookies_are_one_field() {
    let request = Request::get("http://h/").header("Cookie", "a=1").header("Cookie", "b=2").build().unwrap();
    let mut out = Vec::new();
    request.write_head(Some("c=3; d=4"), &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\r\nCookie: a=1; b=2; c=3; d=4\r\n"), "{text}");
    assert_eq!(text.matches("Cookie").count(), 1);
}

#[test]
fn a_stream_of_a_known_length_is_as_long_as_was_said() {
    let request = Request::put("http://h/").stream(4);
    assert_eq!(fields(request.clone()), ["Host: h", "Content-Length: 4"]);
    let request = request.build().unwrap();
    let (mut writer, mut out) = (BodyWriter::new(&request), Vec::new());
    writer.write(b"fo", &mut out).unwrap();
    assert_eq!(writer.write(b"ur.", &mut out), Err(Error::Length { announced: 4, given: 5 }));
    writer.write(b"", &mut out).unwrap();
    writer.write(b"ur", &mut out).unwrap();
    writer.finish(&mut out).unwrap();
    assert_eq!(out, b"four");
    let mut writer = BodyWriter::new(&request);
    writer.write(b"fou", &mut out).unwrap();
    assert_eq!(writer.finish(&mut out), Err(Error::Length { announced: 4, given: 3 }));
}

#[test]
fn a_stream_of_unknown_length_goes_in_chunks() {
    let request = Request::put("http://h/").stream(None);
    assert_eq!(fields(request.clone()), ["Host: h", "Transfer-Encoding: chunked"]);
    let (mut writer, mut out) = (BodyWriter::new(&request.build().unwrap()), Vec::new());
    for piece in ["seventeen bytes..", "", "x"] {
        writer.write(piece.as_bytes(), &mut out).unwrap();
    }
    writer.finish(&mut out).unwrap();
    assert_eq!(out, b"11\r\nseventeen bytes..\r\n1\r\nx\r\n0\r\n\r\n");
}

#[test]
fn only_a_body_can_wait_for_a_100() {
    let request = Request::put("http://h/").body("b").expect_continue();
    assert!(head(request.clone()).contains("\r\nExpect: 100-continue\r\n"));
    assert!(request.build().unwrap().expects_continue());
    assert!(matches!(error(Request::put("http://h/").expect_continue()), Error::Request(_)));
    assert!(matches!(
        error(Request::put("http://h/").body("b").header("Expect", "200-ok")),
        Error::Request(_)
    ));
}
