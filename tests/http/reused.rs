//! A connection that dies, or receives bytes, after a request was given to it and before the request is written.

use super::bench::{Bench, answering, ms, ok, url};
use enjamb::http::{Method, Request};
use enjamb::pool::Reason;
use enjamb::sim::{Link, Script};

/// Gets one answer; then the server does as the script says, which arrives while a callback that has made a request for the
/// same connection goes on for 30 ms.
fn meanwhile(then: impl Fn(Script) -> Script + 'static, method: Method) -> Bench {
    let mut bench = Bench::new();
    bench.sim.link(([10, 0, 0, 1], 80), Link { latency: ms(5)..=ms(5), ..Link::default() });
    bench.serve(1, move |n| match n {
        0 => then(answering(&[ok("first")]).wait(ms(10))),
        _ => answering(&[ok("second")]),
    });
    bench.fetch(&url(1, "/")).unwrap();
    let (session, sim) = (bench.session.clone(), bench.sim.clone());
    bench.cx().after(ms(7), move |cx| {
        let request = Request::to(method, url(1, "/")).body("x");
        session.send(cx, request, |cx, result| cx.state.results.push(result));
        sim.take_time(ms(30));
    });
    bench.until(|world| world.results.len() == 1);
    bench
}

#[test]
fn what_came_before_the_request_is_written_is_not_its_answer() {
    for noise in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ] {
        for method in [Method::Get, Method::Post] {
            let bench = meanwhile(move |script| script.say(noise).until("\r\n\r\n").say(ok("late")), method);
            assert_eq!(bench.world.results[0].as_ref().unwrap().text(), "second");
            assert_eq!((bench.world.accepted, bench.session.retried()), (2, 0));
        }
    }
}

#[test]
fn a_connection_that_was_closed_before_the_request_is_written_is_replaced_whatever_the_method() {
    for method in [Method::Get, Method::Post] {
        let bench = meanwhile(Script::close, method);
        assert_eq!(bench.world.results[0].as_ref().unwrap().text(), "second");
        let stats = bench.session.pool().snapshot().stats;
        assert_eq!((stats.closed(Reason::Ended), stats.reused, bench.session.retried()), (1, 0, 0));
    }
}
