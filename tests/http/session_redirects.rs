//! Redirects and cookies of a session, with servers that follow a script.

use super::bench::{Bench, OK, answering, url};
use enjamb::http;
use enjamb::http::{Request, Url};
use enjamb::sim::Script;

#[test]
fn redirects_are_followed_and_the_last_place_is_told() {
    let mut bench = Bench::new();
    bench.serve(1, |_| {
        answering(&["HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 4\r\n\r\ngone", OK])
    });
    let response = bench.fetch(&url(1, "/a")).unwrap();
    assert_eq!((response.url.path(), response.status), ("/b", 200));
    assert_eq!(bench.world.accepted, 1, "its body is read, so that the connection can be used again");
}

#[test]
fn a_post_becomes_a_get_or_is_replayed() {
    for (status, expected) in [(302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let mut bench = Bench::new();
        bench.serve(1, move |_| {
            let redirect = format!("HTTP/1.1 {status} X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n");
            let script = Script::new().until("\r\n\r\nbody").say(redirect).expect(format!("{expected} /b "));
            if expected == "POST" {
                script.until("\r\n\r\nbody").say(OK)
            } else {
                script.until("\r\n\r\n").say(OK)
            }
        });
        assert!(bench.call(Request::post(url(1, "/a")).body("body")).unwrap().is_success());
    }
}

#[test]
fn credentials_do_not_cross_origins() {
    let mut bench = Bench::new();
    bench.answers(1, "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.2/b\r\nContent-Length: 0\r\n\r\n");
    bench.serve(2, |_| {
        let head = concat!(
            "GET /b HTTP/1.1\r\nHost: 10.0.0.2\r\nAccept: */*\r\nUser-Agent: test\r\nAccept-Encoding: identity\r\n",
            "X-Own: stays\r\n\r\n"
        );
        Script::new().expect(head).say(OK)
    });
    let request = Request::get(url(1, "/a"))
        .basic_auth("ann", "secret")
        .header("Cookie", "id=7")
        .header("Proxy-Authorization", "x")
        .header("User-Agent", "test")
        .header("Accept-Encoding", "identity")
        .header("X-Own", "stays");
    assert!(bench.call(request).unwrap().is_success());
}

#[test]
fn too_many_redirects_are_an_error_and_none_can_be_wanted() {
    let mut bench = Bench::new();
    bench.answers(1, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    let failure = bench.fetch(&url(1, "/")).unwrap_err();
    assert!(
        failure.to_string().contains("redirected more than 10 times, the limit (Config::redirects)"),
        "{failure}"
    );
    let mut bench = Bench::with(http::Config { redirects: None, ..http::Config::default() });
    bench.answers(1, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.fetch(&url(1, "/")).unwrap().status, 302);
}

#[test]
fn cookies_are_kept_and_sent_where_they_belong() {
    let mut bench = Bench::new();
    bench.serve(1, |_| {
        let set = "HTTP/1.1 200 OK\r\nSet-Cookie: id=7; Path=/in\r\nContent-Length: 0\r\n\r\n";
        Script::new()
            .until("\r\n\r\n")
            .say(set)
            .until("Cookie: id=7\r\n\r\n")
            .say(OK)
            .until("Accept-Encoding")
            .say(OK)
    });
    bench.fetch(&url(1, "/login")).unwrap();
    bench.fetch(&url(1, "/in/side")).unwrap();
    assert_eq!(bench.session.with_cookies(|jar| jar.len()), 1);
    let elsewhere: Url = url(2, "/in/").parse().unwrap();
    assert_eq!(bench.session.with_cookies(|jar| jar.header(&elsewhere, std::time::SystemTime::now())), None);
}
