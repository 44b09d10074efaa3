//! The session's rules, each against servers that follow a script, in the simulation.
#![cfg(all(feature = "http", feature = "sim"))]

#[path = "common/http_bench.rs"]
mod http_bench;
#[path = "common/log.rs"]
mod log_capture;

use enjamb::http::{Failure, Phase, Request, Rule, Session, Url};
use enjamb::sim::{Link, Script, check};
use enjamb::{Config, Conn, Input, Protocol, Reactor, http, pool};
use http_bench::{Bench, World, answering, ms, ok, url};
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[track_caller]
fn rule(failure: &Failure) -> Rule {
    match failure.http() {
        Some(enjamb::http::Error::Response(error)) => error.rule,
        _ => panic!("{failure:?}"),
    }
}

/// What remains open after one answer like this: idle connections.
#[track_caller]
fn idle_after(answer: &'static str) -> usize {
    let mut bench = Bench::new();
    bench.answers(1, answer);
    bench.fetch(&url(1, "/")).unwrap();
    bench.pass(ms(20));
    bench.idle()
}

// Reuse.

#[test]
fn ten_requests_to_one_server_take_one_connection() {
    let mut bench = Bench::new();
    bench.answers(1, OK);
    for _ in 0..10 {
        assert_eq!(bench.fetch(&url(1, "/")).unwrap().text(), "ok");
    }
    assert_eq!(bench.world.accepted, 1);
    assert_eq!(bench.session.pool().snapshot().stats.reused, 9);
}

#[test]
fn a_connection_is_kept_or_not_as_the_rules_say() {
    for (answer, idle) in [
        (OK, 1),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 0),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", 0),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 0),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", 0),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokand more that nobody asked for", 0),
        ("HTTP/1.1 204 No Content\r\n\r\n", 1),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", 1),
        ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", 0),
    ] {
        assert_eq!(idle_after(answer), idle, "{answer}");
    }
}

#[test]
fn a_request_that_says_close_gets_its_connection_closed() {
    let mut bench = Bench::new();
    bench.answers(1, OK);
    bench.call(Request::get(url(1, "/")).header("Connection", "close")).unwrap();
    assert_eq!(bench.idle(), 0);
}

#[test]
fn an_answer_ends_where_the_connection_does_if_nothing_else_says_so() {
    let mut bench = Bench::new();
    bench.serve(1, |_| answering(&["HTTP/1.1 200 OK\r\n\r\nto the end"]).close());
    assert_eq!(bench.fetch(&url(1, "/")).unwrap().text(), "to the end");
    assert_eq!(bench.idle(), 0);
}

#[test]
fn chunks_and_trailers_are_read() {
    let mut bench = Bench::new();
    bench.answers(
        1,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
    );
    let response = bench.fetch(&url(1, "/")).unwrap();
    assert_eq!((response.text().as_ref(), response.trailers.get("x-sum")), ("abcde", Some("5")));
}

#[test]
fn a_connection_is_given_up_before_its_server_does() {
    let mut bench = Bench::new();
    bench.answers(1, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok");
    bench.fetch(&url(1, "/")).unwrap();
    bench.pass(ms(3_900));
    assert_eq!(bench.idle(), 1);
    bench.pass(ms(200));
    assert_eq!(bench.idle(), 0);
}

#[test]
fn noise_on_an_idle_connection_is_never_an_answer() {
    for delay in [0, 100, 1500] {
        for pause in [5, 50, 99, 103, 1400, 1499, 1503, 3000] {
            let mut bench = Bench::new();
            bench.serve(1, move |_| {
                let script = answering(&[OK]).wait(ms(delay));
                script.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").until("\r\n\r\n").say(OK)
            });
            assert_eq!(bench.fetch(&url(1, "/a")).unwrap().text(), "ok");
            if pause < delay {
                continue; // its request is on the way when the noise comes: nobody could tell
            }
            bench.pass(ms(pause));
            assert_eq!(bench.fetch(&url(1, "/b")).unwrap().text(), "ok", "{delay} ms, {pause} ms");
        }
    }
}

#[test]
fn a_408_on_an_idle_connection_is_quiet_and_other_noise_is_not() {
    let timeout = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n";
    for (noise, warnings) in [(timeout, 0), (OK, 1)] {
        log_capture::capture();
        let mut bench = Bench::new();
        bench.serve(1, move |_| answering(&[OK]).wait(ms(100)).say(noise));
        bench.fetch(&url(1, "/")).unwrap();
        bench.pass(ms(200));
        assert_eq!((bench.idle(), log_capture::captured(log::Level::Warn).len()), (0, warnings));
    }
}

#[test]
fn noise_behind_an_answer_does_not_reach_who_was_waiting_for_the_connection() {
    let mut bench = Bench::with(http::Config {
        pool: pool::Config { limit: Some(1), ..pool::Config::default() },
        ..http::Config::default()
    });
    bench.serve(1, |n| match n {
        0 => answering(&[OK]).say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        _ => answering(&[ok("good")]),
    });
    bench.get(&url(1, "/a"));
    bench.get(&url(1, "/b"));
    bench.until(|world| world.results.len() == 2);
    let texts: Vec<String> = bench.world.results.iter().flatten().map(|r| r.text().into_owned()).collect();
    assert_eq!(texts, ["ok", "good"]);
}

// The stale retry.

/// One answer on the first connection, which is cut at the second request; the others answer.
fn cuts_the_second(n: usize) -> Script {
    match n {
        0 => answering(&[OK]).until("\r\n\r\n").close(),
        _ => answering(&[ok("again"), ok("again")]),
    }
}

#[test]
fn a_request_lost_on_a_used_connection_is_sent_once_more_on_a_fresh_one() {
    let mut bench = Bench::new();
    bench.serve(1, cuts_the_second);
    bench.fetch(&url(1, "/")).unwrap();
    assert_eq!(bench.fetch(&url(1, "/")).unwrap().text(), "again");
    assert_eq!((bench.session.retried(), bench.world.accepted), (1, 2));
}

#[test]
fn a_request_is_sent_no_third_time() {
    let mut bench = Bench::new();
    bench.serve(1, |n| match n {
        0 => answering(&[OK]).until("\r\n\r\n").reset(),
        _ => Script::new().until("\r\n\r\n").reset(),
    });
    bench.fetch(&url(1, "/")).unwrap();
    let failure = bench.fetch(&url(1, "/")).unwrap_err();
    assert_eq!((failure.kind(), failure.phase), (ErrorKind::ConnectionReset, Phase::FirstByte));
    assert_eq!((bench.session.retried(), bench.world.accepted), (1, 2));
}

#[test]
fn the_retry_can_be_turned_off() {
    let mut bench = Bench::with(http::Config { retry: false, ..http::Config::default() });
    bench.serve(1, cuts_the_second);
    bench.fetch(&url(1, "/")).unwrap();
    assert_eq!(rule(&bench.fetch(&url(1, "/")).unwrap_err()), Rule::NoAnswer);
    assert_eq!(bench.world.accepted, 1);
}

#[test]
fn what_is_not_idempotent_is_not_sent_again() {
    let mut bench = Bench::new();
    bench.serve(1, cuts_the_second);
    bench.fetch(&url(1, "/")).unwrap();
    let failure = bench.call(Request::post(url(1, "/")).body("x")).unwrap_err();
    assert_eq!(rule(&failure), Rule::NoAnswer);
    assert_eq!(bench.world.accepted, 1);
}

#[test]
fn a_request_lost_on_a_new_connection_or_in_an_answer_is_not_sent_again() {
    let mut bench = Bench::new();
    bench.serve(1, |_| Script::new().until("\r\n\r\n").close());
    assert_eq!(rule(&bench.fetch(&url(1, "/")).unwrap_err()), Rule::NoAnswer);
    assert_eq!(bench.world.accepted, 1);
    bench.serve(2, |_| answering(&[OK, "HTTP/1.1 2"]).close());
    bench.fetch(&url(2, "/")).unwrap();
    assert_eq!(rule(&bench.fetch(&url(2, "/")).unwrap_err()), Rule::NoAnswer);
    assert_eq!(bench.session.retried(), 0);
}

#[test]
fn a_request_that_was_given_up_is_not_sent_again() {
    let mut bench = Bench::with(http::Config { first_byte: Some(ms(500)), ..http::Config::default() });
    bench.serve(1, |_| answering(&[OK]));
    bench.fetch(&url(1, "/")).unwrap();
    timed_out(&bench.fetch(&url(1, "/")).unwrap_err(), Phase::FirstByte);
    assert_eq!((bench.session.retried(), bench.world.accepted), (0, 1));
}

#[test]
fn a_retry_does_not_meet_the_next_dead_connection() {
    let mut bench = Bench::new();
    bench.serve(1, |n| match n {
        0 | 1 => answering(&[OK]).until("\r\n\r\n").close(),
        _ => answering(&[ok("fresh")]),
    });
    bench.get(&url(1, "/"));
    bench.get(&url(1, "/"));
    bench.until(|world| world.results.len() == 2);
    assert_eq!(bench.idle(), 2);
    assert_eq!(bench.fetch(&url(1, "/")).unwrap().text(), "fresh");
}

// Redirects and cookies.

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
    assert!(failure.to_string().contains("redirected more than 10 times"), "{failure}");
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
    assert_eq!(bench.session.cookies().len(), 1);
    let elsewhere: Url = url(2, "/in/").parse().unwrap();
    assert_eq!(bench.session.cookies().header(&elsewhere, std::time::SystemTime::now()), None);
}

// Limits in time.

#[track_caller]
fn timed_out(failure: &Failure, phase: Phase) {
    assert_eq!((failure.kind(), failure.phase), (ErrorKind::TimedOut, phase), "{failure}");
    assert!(failure.to_string().starts_with("http://"), "{failure}");
}

#[test]
fn waiting_for_a_connection_has_its_limit_which_is_not_taken_from_connecting() {
    let pool = pool::Config {
        limit: Some(1),
        wait_timeout: Some(ms(500)),
        connect_timeout: Some(ms(300)),
        ..pool::Config::default()
    };
    let mut bench = Bench::with(http::Config { pool, ..http::Config::default() });
    bench.serve(1, |_| Script::new().until("\r\n\r\n").wait(ms(400)).say(OK));
    bench.serve(2, |_| answering(&[OK]));
    bench.sim.link(([10, 0, 0, 2], 80), Link { latency: ms(120)..=ms(120), ..Link::default() });
    bench.get(&url(1, "/"));
    assert_eq!(bench.fetch(&url(2, "/")).map(|_| ()).map_err(|failure| failure.to_string()), Ok(()));
    bench.world.results.clear();
    bench.serve(3, |_| Script::new());
    bench.get(&url(3, "/"));
    timed_out(&bench.fetch(&url(1, "/")).unwrap_err(), Phase::Pool);
}

#[test]
fn looking_up_and_connecting_have_their_limit() {
    let pool = pool::Config {
        resolve_timeout: Some(ms(300)),
        connect_timeout: Some(ms(300)),
        ..pool::Config::default()
    };
    let mut bench = Bench::with(http::Config { pool, ..http::Config::default() });
    bench.sim.name("slow.example", ms(500), [[10, 0, 0, 1]]);
    bench.sim.name("silent.example", ms(100), [[10, 0, 0, 2]]);
    bench.sim.link(([10, 0, 0, 2], 80), Link { silent: 1.0, ..Link::default() });
    bench.sim.name("both.example", ms(250), [[10, 0, 0, 3]]);
    bench.sim.link(([10, 0, 0, 3], 80), Link { latency: ms(120)..=ms(120), ..Link::default() });
    bench.answers(3, OK);
    let response = bench.fetch("http://both.example/");
    assert!(response.is_ok_and(|response| response.text() == "ok"), "each has its own");
    timed_out(&bench.fetch("http://slow.example/").unwrap_err(), Phase::Resolve);
    timed_out(&bench.fetch("http://silent.example/").unwrap_err(), Phase::Connect);
}

#[test]
fn each_part_of_an_answer_has_its_limit() {
    let config =
        http::Config { first_byte: Some(ms(500)), between_bytes: Some(ms(200)), ..http::Config::default() };
    let mut bench = Bench::with(config);
    bench.serve(1, |_| Script::new());
    bench.serve(2, |_| answering(&["HTTP/1.1 200 OK\r\nX: "]));
    bench.serve(3, |_| answering(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"]));
    timed_out(&bench.fetch(&url(1, "/")).unwrap_err(), Phase::FirstByte);
    timed_out(&bench.fetch(&url(2, "/")).unwrap_err(), Phase::Head);
    let failure = bench.fetch(&url(3, "/")).unwrap_err();
    timed_out(&failure, Phase::Body);
    assert_eq!(failure.partial.unwrap().text(), "part");
    assert_eq!(failure.received, 42);
}

#[test]
fn a_server_that_takes_nothing_of_a_body_is_given_up() {
    let mut bench = Bench::with(http::Config { between_bytes: Some(ms(200)), ..http::Config::default() });
    bench.serve(1, |_| Script::new().pause());
    let failure = bench.call(Request::put(url(1, "/")).body(vec![0; 4 << 20])).unwrap_err();
    timed_out(&failure, Phase::Send);
}

#[test]
fn the_addresses_of_a_name_are_raced_and_the_name_is_asked_for() {
    let mut bench = Bench::new();
    bench.sim.name("two.example", ms(1), [[10, 0, 0, 2], [10, 0, 0, 1]]);
    bench.sim.link(([10, 0, 0, 2], 80), Link { silent: 1.0, ..Link::default() });
    bench.serve(1, |_| Script::new().until("\r\nHost: two.example\r\n").until("\r\n\r\n").say(OK));
    assert_eq!(bench.fetch("http://two.example/").unwrap().text(), "ok");
}

#[test]
fn the_limit_for_all_tells_what_was_waited_for() {
    let pool = pool::Config { limit_per_host: Some(1), ..pool::Config::default() };
    let total = Some(Duration::from_secs(1));
    let mut bench = Bench::with(http::Config { pool, total, ..http::Config::default() });
    bench.sim.link(([10, 0, 0, 1], 80), Link { silent: 1.0, ..Link::default() });
    bench.serve(2, |_| Script::new());
    timed_out(&bench.fetch(&url(1, "/")).unwrap_err(), Phase::Connect);
    bench.get(&url(2, "/"));
    bench.pass(ms(500));
    let waits = bench.get(&url(2, "/"));
    bench.until(|world| world.results.len() == 1);
    timed_out(&bench.world.results.pop().unwrap().unwrap_err(), Phase::FirstByte);
    waits.cancel(&mut bench.cx());
    bench.until(|world| world.results.len() == 1);
    let failure = bench.world.results.pop().unwrap().unwrap_err();
    assert_eq!(failure.phase, Phase::Connect, "its turn had come");
    assert!(failure.to_string().contains("10.0.0.2:80: it was cancelled"), "{failure}");
}

#[test]
fn a_server_that_is_slow_for_ever_is_given_up() {
    let mut bench =
        Bench::with(http::Config { total: Some(Duration::from_secs(30)), ..http::Config::default() });
    bench.serve(1, |_| {
        (0..1000).fold(answering(&["HTTP/1.1 200 OK\r\nX: "]), |s, _| s.wait(ms(1000)).say("x"))
    });
    let failure = bench.fetch(&url(1, "/")).unwrap_err();
    timed_out(&failure, Phase::Head);
    assert!(bench.sim.now() >= Duration::from_secs(30));
    assert!(failure.to_string().contains("30.0s in all"), "{failure}");
}

// Servers that misbehave.

#[test]
fn an_answer_that_breaks_a_rule_names_the_rule_the_server_and_how_much_had_come() {
    let mut bench = Bench::new();
    bench.serve(1, |_| answering(&["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"]).close());
    let failure = bench.fetch(&url(1, "/x")).unwrap_err();
    assert_eq!(rule(&failure), Rule::Truncated);
    let text =
        "http://10.0.0.1/x: the answer of 10.0.0.1:80: the stream ended within the body; 44 bytes had come";
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
    bench.answers(1, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde");
    let failure = bench.fetch(&url(1, "/")).unwrap_err();
    assert_eq!(rule(&failure), Rule::BodyTooLarge);
    assert_eq!(failure.partial.unwrap().text(), "abcd");
    bench.pass(ms(20));
    assert_eq!(bench.session.pool().snapshot().total.open(), 0);
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

#[test]
fn a_call_is_cancelled_in_whatever_phase_it_is() {
    for after in [0, 1, 150, 300, 600] {
        let mut bench = Bench::new();
        bench.sim.links(Link { latency: ms(100)..=ms(100), ..Link::default() });
        bench.serve(1, |_| answering(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"]));
        let call = bench.get(&url(1, "/"));
        bench.pass(ms(after));
        assert!(call.cancel(&mut bench.cx()));
        assert!(!call.cancel(&mut bench.cx()), "once");
        assert!(bench.world.results.is_empty(), "not within the call");
        bench.until(|world| world.results.len() == 1);
        let failure = bench.world.results.pop().unwrap().unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::ConnectionAborted);
        assert!(call.is_over());
        bench.pass(ms(2000));
        assert_eq!(bench.session.pool().snapshot().total.open(), 0);
    }
}

#[cfg(feature = "gzip")]
#[test]
fn gzip_is_asked_for_and_unpacked_within_the_limit() {
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
    assert_eq!(rule(&bench.fetch(&url(1, "/")).unwrap_err()), Rule::BodyTooLarge);
}

#[test]
fn a_reactor_that_is_dropped_leaves_no_session_behind() {
    let mut bench = Bench::with(http::Config {
        pool: pool::Config { limit: Some(1), ..pool::Config::default() },
        ..http::Config::default()
    });
    bench.serve(1, |_| Script::new());
    let alive = std::rc::Rc::new(());
    for _ in 0..3 {
        let (session, alive) = (bench.session.clone(), alive.clone());
        session.get(&mut bench.cx(), url(1, "/"), move |_, _| drop(alive));
    }
    bench.pass(ms(20));
    let Bench { reactor, session, .. } = bench;
    drop::<Reactor<_>>(reactor);
    drop(session);
    assert_eq!(std::rc::Rc::strong_count(&alive), 1, "whoever waited is gone too");
}

#[test]
fn a_call_goes_on_when_its_session_is_dropped() {
    let mut bench = Bench::new();
    bench.serve(1, |_| answering(&["HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", OK]));
    bench.get(&url(1, "/"));
    let Bench { mut reactor, mut world, session, .. } = bench;
    drop(session);
    for _ in 0..100 {
        reactor.turn(&mut world, Some(ms(1))).unwrap();
    }
    assert!(world.results.pop().unwrap().unwrap().is_success());
}

#[test]
fn whatever_the_network_does_each_call_ends_once_and_with_its_own_answer() {
    check(0..100, |sim| {
        let long = Duration::from_secs(3600);
        let config = Config { connect_timeout: long, close_timeout: long, ..Config::default() };
        let mut reactor = sim.clone().rough().reactor_with(config).unwrap();
        let mut world = World::default();
        let session = Session::new(http::Config {
            pool: pool::Config { limit: Some(3), ..pool::Config::default() },
            first_byte: None,
            between_bytes: None,
            total: None,
            ..http::Config::default()
        });
        let session = session.unwrap();
        let mut cx = reactor.cx(&mut world);
        cx.listen(([10, 0, 0, 1], 80), |_, _| Echo).unwrap();
        for n in 0..10 {
            let request =
                Request::put(url(1, &format!("/{n}"))).body(vec![b'0' + n; 1 + usize::from(n) * 500]);
            session.send(&mut cx, request, move |cx, result| {
                cx.state.notes.push(n.to_string());
                cx.state.results.push(result);
                let response = cx.state.results.last().unwrap().as_ref().unwrap();
                assert_eq!(response.body, vec![b'0' + n; 1 + usize::from(n) * 500]);
            });
        }
        while world.results.len() < 10 {
            reactor.turn(&mut world, None).unwrap();
        }
        world.notes.sort();
        world.notes.dedup();
        assert_eq!(world.notes.len(), 10);
        assert_eq!(session.retried(), 0);
        assert!(session.pool().snapshot().total.open() <= 3);
    });
}

/// Gives each body back, once with its length, once in chunks.
struct Echo;

impl Protocol<World> for Echo {
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        let bytes = input.peek();
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(());
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let length: usize = length.parse().unwrap();
        if bytes.len() < end + length {
            return Ok(());
        }
        input.take(end);
        let body = input.take(length);
        if length % 1000 == 1 {
            write!(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n")?;
            conn.write(body);
            conn.write(b"\r\n0\r\n\r\n");
        } else {
            write!(conn, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
            conn.write(body);
        }
        Ok(())
    }
}
