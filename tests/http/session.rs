//! Calls of a session from their beginning to their end, in the simulation: cancelled, cut off, on a hostile network.

use super::bench::{Bench, OK, World, answering, ms, url};
use enjamb::http::{Request, Session};
use enjamb::sim::{Link, Script, check};
use enjamb::{Config, Conn, Cx, Input, Protocol, Reactor, http, pool};
use std::io::{self, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

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

/// Panics at the head, or at the body.
struct Panics {
    at_the_head: bool,
}

impl http::Receiver<World> for Panics {
    fn head(&mut self, _: &mut Cx<'_, World>, _: &http::Call<World>, _: http::Head) -> io::Result<()> {
        assert!(!self.at_the_head, "the head is not welcome");
        Ok(())
    }
    fn data(&mut self, _: &mut Cx<'_, World>, _: &http::Call<World>, _: &[u8]) -> io::Result<()> {
        panic!("the body is not welcome");
    }
    fn end(self: Box<Self>, _: &mut Cx<'_, World>, _: Result<http::Headers, http::Failure>) {}
}

#[test]
fn a_panic_in_a_callback_ends_its_call_and_keeps_no_session() {
    for at_the_head in [true, false] {
        let mut bench = Bench::new();
        bench.serve(1, |_| answering(&[OK]));
        let session = std::mem::replace(&mut bench.session, Session::new(http::Config::default()).unwrap());
        let call = session.stream(&mut bench.cx(), Request::get(url(1, "/")), Panics { at_the_head });
        drop(session);
        let passed = catch_unwind(AssertUnwindSafe(|| bench.pass(ms(1000))));
        assert!(passed.is_err() && call.is_over());
        bench.pass(ms(2000)); // the server's side closes
        let alive = bench.reactor.alive().to_string();
        assert!(alive.contains(" 0 timers"), "{alive}");
    }
}
