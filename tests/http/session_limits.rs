//! Timeouts and limits of a session, in the simulation.

use super::bench::{Bench, OK, World, answering, ms, timed_out, url};
use enjamb::http::{Phase, Request};
use enjamb::sim::{Link, Script};
use enjamb::{Cx, http, pool};
use std::io;
use std::time::Duration;

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

/// Pauses and resumes at every piece.
struct Hesitates;

impl http::Receiver<World> for Hesitates {
    fn head(&mut self, _: &mut Cx<'_, World>, _: &http::Call<World>, _: http::Head) -> io::Result<()> {
        Ok(())
    }
    fn data(&mut self, cx: &mut Cx<'_, World>, call: &http::Call<World>, _: &[u8]) -> io::Result<()> {
        call.pause(cx);
        call.resume(cx);
        Ok(())
    }
    fn end(self: Box<Self>, cx: &mut Cx<'_, World>, result: Result<http::Headers, http::Failure>) {
        cx.state.notes.push(result.unwrap_err().to_string());
    }
}

#[test]
fn pausing_and_resuming_at_once_gives_a_silent_server_no_more_time() {
    let mut bench = Bench::with(http::Config { between_bytes: Some(ms(1000)), ..http::Config::default() });
    bench.serve(1, |_| answering(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"]).wait(ms(100_000)));
    let session = bench.session.clone();
    session.stream(&mut bench.cx(), Request::get(url(1, "/")), Hesitates);
    bench.until(|world| world.notes.len() == 1);
    let now = bench.sim.now();
    assert!(now >= ms(1000) && now < ms(1500), "at {now:?}");
}

#[test]
fn a_call_waits_for_a_place_until_it_has_one_and_again_where_a_redirect_leads_it_elsewhere() {
    let pool = pool::Config { limit_per_host: Some(1), ..pool::Config::default() };
    let mut bench = Bench::with(http::Config { pool, ..http::Config::default() });
    bench.sim.links(Link { latency: ms(10)..=ms(10), ..Link::default() });
    let to_1 = "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n";
    bench.serve(1, |_| {
        Script::new().until("\r\n\r\n").wait(ms(300)).say(OK).until("\r\n\r\n").wait(ms(300)).say(OK)
    });
    bench.serve(2, move |_| answering(&[to_1]));
    let (first, redirected) = (bench.get(&url(1, "/")), bench.get(&url(2, "/")));
    bench.pass(ms(5));
    assert!(!first.is_waiting() && !redirected.is_waiting(), "they connect");
    bench.pass(ms(195));
    assert!(!first.is_waiting() && redirected.is_waiting(), "the first has the only place");
    bench.pass(ms(300));
    assert!(first.is_over() && !first.is_waiting() && !redirected.is_waiting());
    bench.until(|world| world.results.len() == 2);
    assert!(!redirected.is_waiting());
}
