//! Cookies: which are kept, for which requests, for how long, and how many.

use std::time::{Duration, SystemTime};

use enjamb::http::{COOKIE_LIMIT, COOKIES_IN_ALL, COOKIES_PER_HOST, Cookies, Headers, Url};

/// 2021-06-09 10:18:14.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_623_233_894)
}

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn set(jar: &mut Cookies, from: &str, cookie: &str) {
    let mut answer = Headers::new();
    answer.append("Set-Cookie", cookie).unwrap();
    jar.store(&url(from), &answer, now());
}

/// What is sent to a URL after a cookie was set from another.
fn sent(from: &str, cookie: &str, to: &str) -> Option<String> {
    let mut jar = Cookies::new();
    set(&mut jar, from, cookie);
    jar.header(&url(to), now())
}

#[track_caller]
fn goes(from: &str, cookie: &str, to: &str) {
    assert_eq!(sent(from, cookie, to).as_deref(), Some("a=b"), "{cookie}: {from} to {to}");
}

#[track_caller]
fn stays(from: &str, cookie: &str, to: &str) {
    assert_eq!(sent(from, cookie, to), None, "{cookie}: {from} to {to}");
}

#[test]
fn a_cookie_goes_back_to_its_host_and_no_other() {
    goes("http://h.example/", "a=b", "http://h.example/");
    goes("http://h.example/", "a=b", "http://H.EXAMPLE:81/x");
    stays("http://h.example/", "a=b", "http://x.h.example/");
    stays("http://h.example/", "a=b", "http://example/");
    stays("http://h.example/", "a=b", "http://xh.example/");
}

#[test]
fn domain_is_honoured() {
    for domain in ["example.org", ".example.org", "EXAMPLE.org"] {
        let cookie = format!("a=b; Domain={domain}");
        goes("http://h.example.org/", &cookie, "http://h.example.org/");
        goes("http://h.example.org/", &cookie, "http://example.org/");
        goes("http://h.example.org/", &cookie, "http://x.y.example.org/");
        goes("http://example.org/", &cookie, "http://x.example.org/");
        stays("http://h.example.org/", &cookie, "http://xexample.org/");
        stays("http://xexample.org/", &cookie, "http://xexample.org/");
        stays("http://other.example/", &cookie, "http://example.org/");
    }
    goes("http://h.example.org/", "a=b; Domain=", "http://h.example.org/");
    stays("http://h.example.org/", "a=b; Domain=", "http://x.h.example.org/");
    stays("http://h.example.org/", "a=b; Domain=x.h.example.org", "http://x.h.example.org/");
}

#[test]
fn no_domain_of_one_label_is_set_from_below_it() {
    stays("http://h.example/", "a=b; Domain=example", "http://h.example/");
    stays("http://h.example/", "a=b; Domain=.example", "http://g.example/");
    goes("http://localhost/", "a=b; Domain=localhost", "http://localhost/");
    stays("http://localhost/", "a=b; Domain=localhost", "http://x.localhost/");
}

#[test]
fn a_dot_at_the_end_makes_no_second_label() {
    stays("http://evil.com./", "a=b; Domain=com.", "http://victim.com./");
    stays("http://com./", "a=b; Domain=com.", "http://victim.com./");
    goes("http://com./", "a=b; Domain=com.", "http://com./");
    goes("http://x.example.org./", "a=b; Domain=example.org.", "http://y.example.org./");
}

#[test]
fn a_host_with_a_dot_at_its_end_is_another() {
    goes("http://h.example./", "a=b", "http://h.example./");
    stays("http://h.example./", "a=b", "http://h.example/");
    stays("http://h.example/", "a=b", "http://h.example./");
    stays("http://x.example.org./", "a=b; Domain=example.org", "http://x.example.org./");
    stays("http://x.example.org/", "a=b; Domain=example.org", "http://x.example.org./");
}

#[test]
fn a_cookie_goes_to_every_port_of_its_host() {
    goes("http://h.example/", "a=b", "http://h.example:81/");
    goes("https://h.example/", "a=b", "http://h.example/");
}

#[test]
fn an_address_has_no_domains() {
    goes("http://127.0.0.1/", "a=b; Domain=127.0.0.1", "http://127.0.0.1/");
    stays("http://127.0.0.1/", "a=b; Domain=0.0.1", "http://127.0.0.1/");
    let mut jar = Cookies::new();
    set(&mut jar, "http://127.0.0.1/", "a=b; Domain=0.0.1");
    assert!(jar.is_empty());
    goes("http://[::1]/", "a=b", "http://[::1]/");
    stays("http://10.0.0.1/", "a=b; Domain=10.0.0.1", "http://x.10.0.0.1.example/");
}

#[test]
fn path_is_honoured() {
    for (from, cookie, to, goes) in [
        ("/a/b", "a=b", "/a/c", true),
        ("/a/b", "a=b", "/a", true),
        ("/a/b", "a=b", "/ab", false),
        ("/a/b", "a=b", "/", false),
        ("/a", "a=b", "/b", true),
        ("/", "a=b; Path=/x", "/x/y", true),
        ("/", "a=b; Path=/x", "/x?y", true),
        ("/", "a=b; Path=/x", "/xy", false),
        ("/", "a=b; Path=/x/", "/x", false),
        ("/", "a=b; Path=/x/", "/x/y", true),
        ("/a/b", "a=b; Path=", "/a/c", true),
        ("/a/b", "a=b; Path=x", "/b", false),
        ("/a/b", "a=b; Path=/x; Path=/", "/b", true),
    ] {
        let sent = sent(&format!("http://h{from}"), cookie, &format!("http://h{to}"));
        assert_eq!(sent.is_some(), goes, "{cookie}: {from} to {to}");
    }
}

#[test]
fn secure_is_honoured() {
    goes("https://h/", "a=b; Secure", "https://h/");
    stays("https://h/", "a=b; secure", "http://h/");
    stays("http://h/", "a=b; Secure", "https://h/");
}

#[test]
fn a_secure_cookie_is_not_hidden_by_one_from_http() {
    let mut jar = Cookies::new();
    set(&mut jar, "https://h.example.org/", "a=secret; Secure; Domain=example.org");
    set(&mut jar, "http://h.example.org/", "a=forged");
    set(&mut jar, "http://h.example.org/", "a=forged; Path=/x");
    set(&mut jar, "http://h.example.org/", "b=fine");
    assert_eq!(jar.header(&url("https://h.example.org/x"), now()).as_deref(), Some("a=secret; b=fine"));
    set(&mut jar, "https://h.example.org/", "a=new; Domain=example.org");
    assert_eq!(jar.header(&url("http://h.example.org/x"), now()).as_deref(), Some("a=new; b=fine"));
}

#[test]
fn http_only_is_noted() {
    let mut jar = Cookies::new();
    set(&mut jar, "http://h/", "a=b; HttpOnly");
    set(&mut jar, "http://h/", "c=d");
    assert_eq!(jar.iter().map(|cookie| cookie.http_only).collect::<Vec<_>>(), [true, false]);
}

/// Whether it is sent after so many seconds.
fn lives(cookie: &str, seconds: u64) -> bool {
    let mut jar = Cookies::new();
    set(&mut jar, "http://h/", cookie);
    jar.header(&url("http://h/"), now() + Duration::from_secs(seconds)).is_some()
}

#[test]
fn max_age_is_honoured() {
    assert!(lives("a=b; Max-Age=10", 9));
    assert!(!lives("a=b; Max-Age=10", 10));
    assert!(!lives("a=b; Max-Age=0", 0));
    assert!(!lives("a=b; Max-Age=-5", 0));
    assert!(lives("a=b; Max-Age=x", 1 << 33), "what is malformed is passed over");
    assert!(lives("a=b; Max-Age=+5", 1 << 33));
    assert!(lives("a=b; Max-Age=99999999999999999999999", 399 * 86_400));
    assert!(
        !lives("a=b; Max-Age=99999999999999999999999", 400 * 86_400),
        "no cookie lives longer than 400 days"
    );
}

#[test]
fn expires_is_honoured_and_max_age_goes_before_it() {
    assert!(lives("a=b; Expires=Wed, 09 Jun 2021 10:18:24 GMT", 9));
    assert!(!lives("a=b; Expires=Wed, 09 Jun 2021 10:18:24 GMT", 10));
    assert!(!lives("a=b; Expires=Thu, 01-Jan-1970 00:00:00 GMT", 0));
    assert!(lives("a=b; Expires=never", 1 << 33), "what is malformed is passed over");
    assert!(lives("a=b; Max-Age=10; Expires=Thu, 01-Jan-1970 00:00:00 GMT", 9));
    assert!(!lives("a=b; Max-Age=0; Expires=Fri, 31 Dec 2100 00:00:00 GMT", 0));
    assert!(!lives("a=b; Expires=Fri, 31 Dec 2100 00:00:00 GMT", 400 * 86_400));
}

#[test]
fn a_cookie_is_replaced_and_deleted_by_its_name_domain_and_path() {
    let mut jar = Cookies::new();
    set(&mut jar, "http://h/", "a=1");
    set(&mut jar, "http://h/", "b=2");
    set(&mut jar, "http://h/", "a=3");
    assert_eq!(jar.header(&url("http://h/"), now()).as_deref(), Some("a=3; b=2"), "it keeps its place");
    set(&mut jar, "http://h/", "a=; Path=/x; Max-Age=0");
    assert_eq!(jar.len(), 2);
    set(&mut jar, "http://h/", "a=; Max-Age=0");
    assert_eq!(jar.header(&url("http://h/"), now()).as_deref(), Some("b=2"));
    jar.clear();
    assert!(jar.is_empty() && jar.header(&url("http://h/"), now()).is_none());
}

#[test]
fn longer_paths_go_first_and_then_older_cookies() {
    let mut jar = Cookies::new();
    for cookie in ["a=1; Path=/", "b=2; Path=/x/y", "c=3; Path=/x", "d=4; Path=/x/y"] {
        set(&mut jar, "http://h/", cookie);
    }
    assert_eq!(jar.header(&url("http://h/x/y"), now()).as_deref(), Some("b=2; d=4; c=3; a=1"));
}

#[test]
fn names_and_values_are_taken_as_they_are() {
    for (cookie, sent_as) in [
        (" a = b ; Path=/", Some("a=b")),
        ("a=b=c", Some("a=b=c")),
        ("a=\"b c\"", Some("a=\"b c\"")),
        ("a=", Some("a=")),
        ("=b", Some("b")),
        ("b", Some("b")),
        ("", None),
        ("=", None),
        ("; Path=/", None),
    ] {
        assert_eq!(sent("http://h/", cookie, "http://h/").as_deref(), sent_as, "{cookie:?}");
    }
}

#[test]
fn the_prefixes_of_names_are_promises() {
    goes_prefixed("__Secure-a=b; Secure", true);
    goes_prefixed("__Secure-a=b", false);
    goes_prefixed("__secure-a=b", false);
    goes_prefixed("__Host-a=b; Secure; Path=/", true);
    goes_prefixed("__Host-a=b; Secure", false);
    goes_prefixed("__Host-a=b; Path=/", false);
    goes_prefixed("__Host-a=b; Secure; Path=/; Domain=h.example.org", false);
    goes_prefixed("=__Host-a=b; Secure; Path=/", false);
    goes_prefixed("__Secure-a", false);
}

#[track_caller]
fn goes_prefixed(cookie: &str, goes: bool) {
    assert_eq!(sent("https://h.example.org/", cookie, "https://h.example.org/").is_some(), goes, "{cookie}");
}

#[test]
fn a_cookie_has_4_kib() {
    let value = "v".repeat(COOKIE_LIMIT - 1);
    assert!(sent("http://h/", &format!("a={value}"), "http://h/").is_some());
    assert!(sent("http://h/", &format!("aa={value}"), "http://h/").is_none());
    let long = "x".repeat(1025);
    assert!(
        sent("http://h/", &format!("a=b; Path=/{long}"), "http://h/").is_some(),
        "the attribute is passed over"
    );
}

#[test]
fn a_host_has_50_cookies_and_the_least_used_goes() {
    let mut jar = Cookies::new();
    for n in 0..COOKIES_PER_HOST {
        set(&mut jar, "http://h/", &format!("c{n}=v; Path=/{n}"));
    }
    assert!(jar.header(&url("http://h/0"), now()).is_some(), "used: it stays");
    set(&mut jar, "http://h/", "new=v");
    assert_eq!(jar.len(), COOKIES_PER_HOST);
    let kept = |name: &str| jar.iter().any(|cookie| cookie.name == name);
    assert!(kept("c0") && !kept("c1") && kept("c2") && kept("new"));
}

#[test]
fn what_has_ended_and_what_is_not_secure_goes_first() {
    let mut jar = Cookies::new();
    for n in 0..COOKIES_PER_HOST {
        set(&mut jar, "https://h/", &format!("c{n}=v{}", if n < 49 { "; Secure" } else { "" }));
    }
    set(&mut jar, "https://h/", "new=v; Secure");
    let kept = |name: &str| jar.iter().any(|cookie| cookie.name == name);
    assert!(kept("c0") && !kept("c49") && kept("new"));
}

#[test]
fn a_jar_has_3000_cookies() {
    let mut jar = Cookies::new();
    for n in 0..COOKIES_IN_ALL {
        set(&mut jar, &format!("http://h{n}.example/"), "a=b");
    }
    assert_eq!(jar.len(), COOKIES_IN_ALL);
    assert!(jar.header(&url("http://h0.example/"), now()).is_some(), "used: it stays");
    set(&mut jar, "http://new.example/", "a=b");
    assert_eq!((jar.len(), jar.iter().count()), (COOKIES_IN_ALL, COOKIES_IN_ALL));
    for (host, kept) in [("h0", true), ("h1", false), ("h2", true), ("new", true)] {
        assert_eq!(jar.header(&url(&format!("http://{host}.example/")), now()).is_some(), kept, "{host}");
    }
}

#[test]
fn the_cookies_of_one_request_go_one_at_a_time() {
    let mut jar = Cookies::new();
    let hosts = COOKIES_IN_ALL / COOKIES_PER_HOST;
    for n in 0..COOKIES_IN_ALL {
        set(&mut jar, &format!("https://h{}.example/", n / COOKIES_PER_HOST), &format!("c{n}=v"));
    }
    for host in 0..hosts {
        jar.header(&url(&format!("https://h{host}.example/")), now());
    }
    set(&mut jar, "https://new.example/", "a=b");
    assert_eq!(jar.len(), COOKIES_IN_ALL);
    assert!(!jar.iter().any(|cookie| cookie.name == "c0"), "the one that was there first");
}

/// What is sent back after an answer with these bytes in its head.
fn sent_after(fields: &[u8]) -> Option<String> {
    let bytes = [b"HTTP/1.1 204 S\r\n", fields, b"\r\n"].concat();
    let request = enjamb::http::Request::get("http://h/").build().unwrap();
    let mut parser = enjamb::http::ResponseParser::new(&request);
    let Ok(enjamb::http::Event::Head(head)) = parser.next(&mut enjamb::Input::new(&bytes)) else {
        panic!("no head")
    };
    let mut jar = Cookies::new();
    jar.store(&url("http://h/"), &head.headers, now());
    jar.header(&url("http://h/"), now())
}

#[test]
fn control_characters_in_a_cookie_forget_it() {
    // A header of ours would reject them already, so this comes from a parser's.
    let sent = sent_after(b"Set-Cookie: a=b\r\nSet-Cookie: c=d\te\r\n");
    assert_eq!(sent.as_deref(), Some("a=b; c=d\te"), "all fields are read; a tab is none");
}

#[test]
fn a_cookie_goes_back_with_the_bytes_it_came_with_or_not_at_all() {
    assert_eq!(sent_after(b"Set-Cookie: a=caf\xc3\xa9\r\n").as_deref(), Some("a=caf\u{e9}"));
    assert_eq!(sent_after(b"Set-Cookie: a=caf\xe9\r\n"), None, "ISO 8859-1 would go back as UTF-8");
}

#[test]
fn a_value_is_not_shown() {
    let mut jar = Cookies::new();
    set(&mut jar, "http://h/", "name=secret");
    assert!(!format!("{jar:?}").contains("secret"));
}
