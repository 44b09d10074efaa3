//! Redirects: which are followed, with which method and body, and which header fields are left behind.

use enjamb::Input;
use enjamb::http::{
    Body, Event, Head, Method, REDIRECT_LIMIT, RedirectError, Redirects, Request, RequestBuilder,
    ResponseParser,
};

fn head(status: u16, fields: &str) -> Head {
    let bytes = format!("HTTP/1.1 {status} S\r\n{fields}\r\n\r\n");
    let request = Request::get("http://h/").build().unwrap();
    match ResponseParser::new(&request).next(&mut Input::new(bytes.as_bytes())) {
        Ok(Event::Head(head)) => head,
        other => panic!("{other:?}"),
    }
}

fn to(status: u16, location: &str) -> Head {
    head(status, &format!("Location: {location}"))
}

/// What is sent after one redirect, or why nothing is.
fn after(request: RequestBuilder, answer: &Head) -> Result<Request, RedirectError> {
    let mut request = request.build().unwrap();
    let before = request.clone();
    match Redirects::default().follow(&mut request, answer) {
        Ok(true) => Ok(request),
        Ok(false) => panic!("not followed"),
        Err(error) => {
            assert_eq!(request, before, "an error changes nothing");
            Err(error)
        }
    }
}

fn post() -> RequestBuilder {
    Request::post("http://h/a/b").form([("x", "y")]).header("X-Kept", "k")
}

#[test]
fn a_303_becomes_a_get_without_a_body() {
    for method in [Method::Post, Method::Put, Method::Delete, Method::Patch, Method::Get] {
        let request =
            Request::to(method, "http://h/").body("b").header("Content-Type", "t").expect_continue();
        let request = after(request.header("X-Kept", "k"), &to(303, "/c")).unwrap();
        assert_eq!((request.method(), request.body()), (Method::Get, &Body::Empty));
        assert_eq!(request.headers().iter().collect::<Vec<_>>(), [("X-Kept", "k")]);
    }
    assert_eq!(after(Request::head("http://h/"), &to(303, "/c")).unwrap().method(), Method::Head);
}

#[test]
fn a_301_or_302_turns_a_post_into_a_get_and_leaves_the_rest() {
    for status in [301, 302] {
        let request = after(post(), &to(status, "/c")).unwrap();
        assert_eq!((request.method(), request.body()), (Method::Get, &Body::Empty));
        assert_eq!(request.headers().iter().collect::<Vec<_>>(), [("X-Kept", "k")]);
        let request = after(Request::put("http://h/").body("b"), &to(status, "/c")).unwrap();
        assert_eq!((request.method(), request.body()), (Method::Put, &Body::Bytes(b"b".to_vec())));
    }
}

#[test]
fn a_307_or_308_replays_method_and_body() {
    for status in [307, 308] {
        let request = after(post(), &to(status, "c?d")).unwrap();
        assert_eq!((request.method(), request.body()), (Method::Post, &Body::Bytes(b"x=y".to_vec())));
        assert!(request.headers().contains("content-type"));
        assert_eq!(request.url().to_string(), "http://h/a/c?d");
    }
}

#[test]
fn a_stream_cannot_be_replayed_but_may_be_left_behind() {
    let stream = || Request::post("http://h/").stream(None);
    assert_eq!(after(stream(), &to(307, "/c")), Err(RedirectError::NotReplayable("http://h/c".into())));
    assert_eq!(after(stream(), &to(303, "/c")).unwrap().body(), &Body::Empty);
}

#[test]
fn other_statuses_and_answers_without_a_location_are_not_followed() {
    for status in [200, 201, 300, 304, 305, 306, 400] {
        let mut request = post().build().unwrap();
        assert_eq!(Redirects::default().follow(&mut request, &to(status, "/c")), Ok(false), "{status}");
    }
    let mut request = post().build().unwrap();
    assert_eq!(Redirects::default().follow(&mut request, &head(302, "X: y")), Ok(false));
    assert_eq!(request, post().build().unwrap());
}

#[test]
fn ten_redirects_are_followed_and_no_more() {
    let mut request = Request::get("http://h/").build().unwrap();
    let mut redirects = Redirects::default();
    for n in 0..REDIRECT_LIMIT {
        assert_eq!(redirects.follow(&mut request, &to(302, &n.to_string())), Ok(true));
    }
    assert_eq!(REDIRECT_LIMIT, 10);
    assert_eq!(redirects.follow(&mut request, &to(302, "/x")), Err(RedirectError::TooMany(10)));
    assert_eq!(request.url().to_string(), "http://h/9");
}

fn secret(url: &str) -> RequestBuilder {
    ["Authorization", "Cookie", "Proxy-Authorization", "Host", "X-Kept"]
        .iter()
        .fold(Request::get(url), |request, name| request.header(name, "s"))
}

#[test]
fn credentials_are_dropped_across_origins_port_included() {
    for location in ["http://g/", "//g/", "http://h:81/", "https://h/", "https://h:80/", "http://h.h/"] {
        let request = after(secret("http://h/"), &to(302, location)).unwrap();
        let left: Vec<_> = request.headers().iter().collect();
        assert_eq!(left, [("X-Kept", "s")], "{location}");
    }
}

#[test]
fn credentials_stay_within_an_origin() {
    for location in ["/x", "http://h/", "http://H:80/x", "//h"] {
        let request = after(secret("http://h/"), &to(302, location)).unwrap();
        assert_eq!(request.headers().len(), 5, "{location}");
    }
}

#[test]
fn credentials_once_dropped_do_not_come_back() {
    let mut request = secret("http://h/").build().unwrap();
    let mut redirects = Redirects::default();
    assert_eq!(redirects.follow(&mut request, &to(302, "http://g/")), Ok(true));
    assert_eq!(redirects.follow(&mut request, &to(302, "http://h/")), Ok(true));
    assert!(!request.headers().contains("authorization"));
}

#[test]
fn a_user_of_the_url_is_a_credential_too_and_one_in_a_location_is_left_out() {
    let request = after(Request::get("http://me:pw@h/"), &to(302, "http://g/")).unwrap();
    assert!(request.headers().is_empty());
    for location in ["http://you:pw@g/", "http://you:pw@h/", "//you:pw@g/"] {
        let request = after(Request::get("http://h/"), &to(302, location)).unwrap();
        let mut out = Vec::new();
        request.write_head(None, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("Authorization") && !text.contains("you"), "{text}");
        let again = Request::get(request.url()).build().unwrap();
        assert!(again.headers().is_empty(), "nor does it come in by the URL");
    }
}

#[test]
fn https_to_http_is_refused_unless_asked_for() {
    let request = Request::get("https://h/");
    let refused = after(request.clone(), &to(301, "http://h/x"));
    assert_eq!(refused, Err(RedirectError::Downgrade("http://h/x".into())));
    let mut redirects = Redirects { allow_downgrade: true, ..Redirects::default() };
    assert_eq!(redirects.follow(&mut request.build().unwrap(), &to(301, "http://h/x")), Ok(true));
    assert!(after(Request::get("http://h/"), &to(301, "https://h/x")).is_ok());
}

#[test]
fn only_http_and_https_are_followed() {
    for location in
        ["ftp://h/", "file:///etc/passwd", "javascript:alert(1)", "mailto:a@b", "http://", "http://h:x/"]
    {
        let error = after(Request::get("http://h/"), &to(302, location)).unwrap_err();
        assert!(matches!(error, RedirectError::Location(_)), "{location}: {error}");
    }
}

#[test]
fn a_host_that_is_none_is_not_mended_into_another() {
    for (location, at) in [("http://10.0.0.1\\@evil/", 15), ("//good\\@evil/", 11), ("http://h h/", 8)] {
        match after(Request::get("http://h/"), &to(302, location)).unwrap_err() {
            RedirectError::Location(error) => assert_eq!(error.at, at, "{error}"),
            other => panic!("{location}: {other}"),
        }
    }
    let request = after(Request::get("http://h/"), &to(302, "http://h/a\\b@c")).unwrap();
    assert_eq!(request.url().to_string(), "http://h/a%5Cb@c");
}

#[test]
fn several_locations_must_agree() {
    let same = head(302, "Location: /x\r\nLocation: /x");
    assert_eq!(after(Request::get("http://h/"), &same).unwrap().url().path(), "/x");
    let differ = head(302, "Location: /x\r\nLocation: /y");
    assert_eq!(after(Request::get("http://h/"), &differ), Err(RedirectError::Ambiguous));
}

#[test]
fn a_location_that_is_no_strict_url_is_mended() {
    for (location, url) in [
        ("/a b?c=ü|d", "http://h/a%20b?c=%C3%BC%7Cd"),
        ("?x[]=100%", "http://h/a/b?x%5B%5D=100%25"),
        ("http://[::1]/[", "http://[::1]/%5B"),
    ] {
        let request = after(Request::get("http://h/a/b"), &to(302, location)).unwrap();
        assert_eq!(request.url().to_string(), url);
    }
}

#[test]
fn a_fragment_is_inherited() {
    let fragment = |location: &str| {
        let request = after(Request::get("http://h/#mine"), &to(302, location)).unwrap();
        request.url().fragment().map(str::to_owned)
    };
    assert_eq!(fragment("/x").as_deref(), Some("mine"));
    assert_eq!(fragment("/x#theirs").as_deref(), Some("theirs"));
}
