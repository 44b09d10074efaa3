//! The pool with TLS under its connections.

use super::bench::{Ask, Bench, Server, World, ms};
use crate::common::certs::{AUTHORITY, CERTIFICATE, KEY};
use enjamb::pool::{Config, Error, Key, Phase, Pool, Reason, Reuse};
use enjamb::sim::{Link, Script};
use enjamb::{Conn, Cx, End, Input, Protocol, tls};
use std::io;
use std::net::SocketAddr;

fn here() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 443))
}

fn bench() -> Bench {
    let mut bench = Bench::new(Config { limit: Some(4), ..Config::default() });
    let server = tls::Server::new(CERTIFICATE, KEY).unwrap();
    bench.cx().listen(here(), |_, _| Server).unwrap().secure(&server);
    bench
}

#[test]
fn a_connection_through_tls_is_used_again() {
    let mut bench = bench();
    let client = tls::Client::with_roots(AUTHORITY).unwrap();
    for name in ["a", "b", "c"] {
        // What the server says after the handshake (RFC 8446, section 4.6.1) is nothing that the pool minds.
        bench.acquire(&Key::new(here()).secure(&client, "localhost"), Ask::new(name, "ok"));
        bench.settle();
    }
    assert_eq!((bench.world.results(), bench.opened()), (vec!["a ok", "b ok", "c ok"], 1));
}

#[test]
fn who_trusts_others_does_not_get_the_same_connection() {
    let mut bench = bench();
    let (careful, careless) = (tls::Client::with_roots(AUTHORITY).unwrap(), tls::Client::insecure());
    for (client, name) in [(&careless, "a"), (&careful, "b"), (&careless.clone(), "c")] {
        bench.acquire(&Key::new(here()).secure(client, "localhost"), Ask::new(name, "ok"));
        bench.settle();
    }
    assert_eq!((bench.world.results(), bench.opened()), (vec!["a ok", "b ok", "c ok"], 2));
}

#[test]
fn an_idle_connection_through_tls_is_closed_with_a_farewell() {
    struct Ends;
    impl Protocol<World> for Ends {
        fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
            conn.write(input.take_all());
            Ok(())
        }
        fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
            cx.state.notes.push(format!("the server's end: {:?}", end.result));
        }
    }
    let config = Config { limit: Some(1), idle_timeout: Some(ms(500)), ..Config::default() };
    let mut bench = Bench::new(config);
    let server = tls::Server::new(CERTIFICATE, KEY).unwrap();
    bench.cx().listen(here(), |_, _| Ends).unwrap().secure(&server);
    let client = tls::Client::with_roots(AUTHORITY).unwrap();
    let key = Key::new(here()).secure(&client, "localhost");
    bench.acquire(&key, Ask::new("a", "ok"));
    bench.pass(ms(1000));
    assert_eq!(bench.closed(Reason::Idle), 1);
    bench.acquire(&key, Ask::new("b", "ok"));
    bench.settle();
    bench.ask(2, "c", "ok");
    bench.settle();
    assert_eq!(bench.closed(Reason::Evicted), 1);
    // Without close_notify that would be an error.
    assert_eq!(bench.world.notes.iter().filter(|note| *note == "the server's end: Ok(())").count(), 2);
}

#[test]
fn a_key_through_tls_is_told_from_one_in_plain() {
    let mut bench = bench();
    let client = tls::Client::with_roots(AUTHORITY).unwrap();
    bench.acquire(&Key::new(here()).secure(&client, "localhost"), Ask::new("a", "ok"));
    bench.acquire(&Key::new(here()), Ask::new("b", "ok"));
    let snapshot = bench.pool.snapshot();
    let names: Vec<String> = snapshot.hosts.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(names, ["10.0.0.1:443", "10.0.0.1:443 (TLS, localhost)"]);
}

#[test]
fn a_server_that_is_not_trusted_fails_its_ticket_and_gives_the_place_back() {
    let mut bench = bench();
    for (client, name) in [(tls::Client::new(), "localhost"), (tls::Client::insecure(), "not a name")] {
        bench.acquire(&Key::new(here()).secure(&client, name), Ask::new("a", "ok"));
        bench.pass(ms(2000));
        assert!(
            matches!(bench.world.last_error(), Error::Connect { phase: Phase::Tls, .. }),
            "{:?}",
            bench.world.errors
        );
    }
    assert_eq!((bench.world.results(), bench.pool.snapshot().total.open()), (vec!["a failed"; 2], 0));
}

#[test]
fn connecting_and_the_handshake_have_a_limit_each() {
    let config = Config { connect_timeout: Some(ms(300)), tls_timeout: Some(ms(500)), ..Config::default() };
    let mut bench = Bench::new(config);
    let client = tls::Client::with_roots(AUTHORITY).unwrap();
    let (silent, mute) = (([10, 0, 0, 1], 443), ([10, 0, 0, 1], 444));
    bench.cx().listen(silent, |_, _| Script::new()).unwrap(); // accepts, and does not shake hands
    bench.sim.link(SocketAddr::from(silent), Link { latency: ms(100)..=ms(100), ..Link::default() });
    bench.cx().listen(mute, |_, _| Script::new()).unwrap();
    bench.sim.link(SocketAddr::from(mute), Link { silent: 1.0, ..Link::default() });
    for (to, phase, within) in [(silent, Phase::Tls, 700..900), (mute, Phase::Connect, 300..310)] {
        let began = bench.sim.now();
        bench.acquire(&Key::new(to).secure(&client, "localhost"), Ask::new("a", "ok"));
        while bench.world.errors.is_empty() {
            bench.pass(ms(1));
        }
        let error = bench.world.errors.pop().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let Some(Error::Connect { phase: at, tried, .. }) = Error::of(&error) else { panic!("{error:?}") };
        assert_eq!((*at, tried.as_slice()), (phase, &[SocketAddr::from(to)][..]));
        let took = (bench.sim.now() - began).as_millis();
        assert!(within.contains(&took), "{took} ms at {phase}");
    }
}

#[test]
fn a_cancelled_handshake_goes_to_the_next() {
    let mut bench = bench();
    let client = tls::Client::with_roots(AUTHORITY).unwrap();
    bench.sim.link(here(), Link { latency: ms(100)..=ms(100), ..Link::default() });
    let key = Key::new(here()).secure(&client, "localhost");
    bench.pool = Pool::new(Config { limit: Some(1), ..Config::default() }).unwrap();
    let first = bench.acquire(&key, Ask::new("a", "ok"));
    bench.acquire(&key, Ask::new("b", "ok"));
    bench.pass(ms(250)); // the connection stands, and the handshake does not
    assert!(bench.cancel(first));
    bench.pass(ms(1000));
    assert_eq!((bench.world.results(), bench.opened()), (vec!["a failed", "b ok"], 1));
}

#[test]
fn a_connection_that_began_in_plain_and_was_secured_is_not_used_again() {
    struct Secures(tls::Client);
    impl Protocol<World> for Secures {
        fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
            conn.secure(&self.0, "localhost")?;
            conn.write(b"ok\n");
            Ok(())
        }
        fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
            assert_eq!(input.take_line(), Some(&b"ok"[..]));
            conn.release(Reuse::Reusable);
            Ok(())
        }
    }
    let mut bench = bench();
    let client = tls::Client::with_roots(AUTHORITY).unwrap();
    bench.acquire(&Key::new(here()), Secures(client));
    bench.settle();
    assert_eq!((bench.usage(), bench.closed(Reason::Dirty)), ((0, 0, 0), 1));
}
