//! The messages of a session's failures: where, what to try, and each thing once.

use super::bench::{Bench, OK, answering, ms, url};
use crate::common::logged;
use enjamb::http::{Config, Request};
use enjamb::pool;
use enjamb::sim::Script;
use std::error::Error;

/// One connection at most, which is not waited for for long.
fn narrow() -> Bench {
    let pool = pool::Config { limit: Some(1), wait_timeout: Some(ms(100)), ..pool::Config::default() };
    Bench::with(Config { pool, ..Config::default() })
}

#[test]
fn a_connection_is_known_by_where_the_call_was_made_also_after_a_redirect_and_a_repetition() {
    let redirect = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let mut redirected = narrow();
    redirected.serve(1, move |_| answering(&[redirect]));
    let mut repeated = narrow();
    repeated.serve(1, |n| match n {
        0 => answering(&[OK]).until("\r\n\r\n").reset(),
        _ => Script::new(),
    });
    repeated.fetch(&url(1, "/")).unwrap();
    for bench in [&mut redirected, &mut repeated] {
        let session = bench.session.clone();
        let line = line!() + 1;
        session.get(&mut bench.cx(), url(1, "/a"), |_, _| {});
        bench.pass(ms(50));
        let failure = bench.fetch(&url(1, "/c")).unwrap_err().to_string();
        assert!(failure.contains(&format!("acquired at {}:{line}", file!())), "{failure}");
    }
    assert_eq!(repeated.session.retried(), 1);
}

#[test]
fn a_long_download_is_no_reason_to_warn() {
    logged::capture();
    let mut bench = Bench::new();
    bench.serve(1, |_| {
        let head = answering(&["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"]);
        (0..100).fold(head, |script, _| script.wait(ms(1000)).say("x"))
    });
    bench.fetch(&url(1, "/")).unwrap();
    assert!(bench.sim.now() >= ms(100_000));
    let warnings = logged::captured(log::Level::Warn);
    assert!(!warnings.iter().any(|line| line.contains("has been held")), "{warnings:?}");
}

#[test]
fn a_limit_in_time_that_has_passed_is_named() {
    let all = Config {
        first_byte: Some(ms(500)),
        between_bytes: Some(ms(500)),
        total: Some(ms(3000)),
        ..Config::default()
    };
    let mut bench = Bench::with(all);
    bench.serve(1, |_| Script::new());
    bench.serve(2, |_| answering(&["HTTP/1.1 200"]));
    bench.serve(3, |_| Script::new().pause());
    bench.serve(4, |_| (0..100).fold(answering(&[&OK[..9]]), |script, _| script.wait(ms(400)).say("x")));
    for (host, name) in [(1, "first_byte"), (2, "between_bytes"), (3, "between_bytes"), (4, "total")] {
        let body = if host == 3 { vec![0; 4 << 20] } else { Vec::new() };
        let failure = bench.call(Request::put(url(host, "/")).body(body)).unwrap_err().to_string();
        assert!(failure.contains(&format!("Config::{name} ")), "{failure}");
    }
}

#[test]
fn a_call_that_a_shutdown_cuts_short_says_so() {
    let mut bench = Bench::new();
    bench.serve(1, |_| Script::new());
    bench.get(&url(1, "/"));
    bench.pass(ms(20));
    bench.cx().shutdown(ms(100));
    bench.until(|world| world.results.len() == 1);
    let failure = bench.world.results.pop().unwrap().unwrap_err().to_string();
    assert!(failure.contains("the loop is shutting down"), "{failure}");
}

#[test]
fn a_chain_of_errors_says_everything_once() {
    let mut bench = Bench::new();
    let failure = bench.fetch(&url(9, "/")).unwrap_err(); // nobody is there
    let text = failure.to_string();
    assert!(text.contains("refused"), "{text}");
    let mut chain: Vec<String> = Vec::new();
    let mut source: Option<&dyn Error> = Some(&failure);
    while let Some(error) = source {
        chain.push(error.to_string());
        source = error.source();
    }
    assert_eq!(chain.join(": ").matches("refused").count(), 1, "{chain:?}");
}
