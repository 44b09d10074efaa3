//! Which connections a session uses again, and what it does when one is lost, with servers that follow a script.

use super::bench::{Bench, OK, answering, ms, ok, rule, timed_out, url};
use crate::common::logged;
use enjamb::http::{Phase, Request, Rule};
use enjamb::sim::Script;
use enjamb::{http, pool};
use std::io::ErrorKind;

/// What remains open after one answer like this: idle connections.
#[track_caller]
fn idle_after(answer: &'static str) -> usize {
    let mut bench = Bench::new();
    bench.answers(1, answer);
    bench.fetch(&url(1, "/")).unwrap();
    bench.pass(ms(20));
    bench.idle()
}

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
        logged::capture();
        let mut bench = Bench::new();
        bench.serve(1, move |_| answering(&[OK]).wait(ms(100)).say(noise));
        bench.fetch(&url(1, "/")).unwrap();
        bench.pass(ms(200));
        let lines = logged::captured(log::Level::Debug);
        let told = lines.iter().filter(|line| line.contains("unexpected bytes")).count();
        assert_eq!((bench.idle(), told), (0, warnings), "{lines:?}");
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
