//! The TLS handshake: fragments, certificates, resumption, protocols, failures, its timeout.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use super::tls::{Asker, Echo, Seen, echoed, failure, here, some_bytes};
use crate::common::certs::{AUTHORITY, CERTIFICATE, KEY, client, server};
use enjamb::sim::{Link, Script, Sim, check};
use enjamb::{Config, Conn, Input, Protocol, tls};

#[test]
fn every_byte_alone_makes_no_difference() {
    let sim = Sim::new(1);
    sim.links(Link { segment: 1..=1, latency: Duration::ZERO..=Duration::from_millis(1), ..Link::default() });
    assert!(echoed(&sim, &client(), "localhost", 2_000).bytes == some_bytes(2_000));
}

/// A network with little room, so that nearly every record has to wait to be sent.
fn cramped(sim: &Sim) {
    let buffer = sim.random(1..=64) as usize;
    let most = sim.random(1..=20) as usize;
    let latency = Duration::ZERO..=Duration::from_micros(sim.random(0..=500));
    let partial_write = sim.random(0..=2) as f64 / 10.0;
    sim.links(Link { buffer, segment: 1..=most, latency, partial_write, ..Link::default() });
}

#[test]
fn with_little_room_the_handshake_comes_through_and_both_sides_end() {
    check(0..100, |sim| {
        let sim = sim.clone().rough();
        cramped(&sim);
        let n = sim.random(0..=2_000) as usize;
        let seen = echoed(&sim, &client(), "localhost", n);
        let ends = (seen.client.unwrap(), seen.servers);
        assert!(seen.bytes == some_bytes(n), "{} of {n}, {ends:?}", seen.bytes.len());
        assert!(ends.0.result.is_ok() && ends.1[0].result.is_ok(), "{ends:?}");
    });
}

#[test]
fn the_end_of_the_handshake_is_sent_though_the_client_neither_writes_nor_reads() {
    /// Reads nothing for a second.
    struct Waits;
    impl Protocol<Seen> for Waits {
        fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
            conn.pause();
            conn.deadline(Duration::from_secs(1));
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, Seen>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
        fn timed_out(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
            assert_eq!(conn.state().opened, 1);
            conn.close();
            Ok(())
        }
    }
    /// Counts itself as opened.
    struct Counts;
    impl Protocol<Seen> for Counts {
        fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
            conn.state().opened += 1;
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, Seen>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
    }
    check(0..20, |sim| {
        cramped(sim);
        let mut reactor = sim.reactor().unwrap();
        let mut seen = Seen::default();
        let mut cx = reactor.cx(&mut seen);
        cx.listen(here(), |_, _| Counts).unwrap().secure(&server());
        cx.connect(here(), Waits).secure(&client(), "localhost").unwrap();
        reactor.run(&mut seen).unwrap();
        assert_eq!(seen.opened, 1);
    });
}

#[test]
fn a_certificate_for_another_name_is_refused_and_both_sides_are_told() {
    let seen = echoed(&Sim::new(1), &client(), "wrong.example", 10);
    assert_eq!((seen.opened, seen.bytes.len()), (0, 0));
    let error = failure(&seen.client);
    assert!(error.contains("connecting to 10.0.0.1:443: TLS:") && error.contains("right host"), "{error}");
    let error = seen.servers[0].result.as_ref().unwrap_err().to_string();
    assert!(error.contains("alert") || error.contains("Alert"), "{error}");
}

#[test]
fn an_authority_that_is_not_trusted_is_refused_and_taken_if_anybody_is() {
    let seen = echoed(&Sim::new(1), &tls::Client::new(), "localhost", 10);
    assert!(failure(&seen.client).contains("authority among those trusted"), "{:?}", seen.client);
    let seen = echoed(&Sim::new(1), &tls::Client::insecure(), "wrong.example", 10);
    assert_eq!(seen.bytes, some_bytes(10));
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    let sim = Sim::new(1);
    let (client, server) = (client(), server());
    let mut resumed = Vec::new();
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(here(), |_, _| Echo).unwrap().secure(&server);
    for _ in 0..2 {
        reactor.cx(&mut seen).connect(here(), Asker(some_bytes(1))).secure(&client, "localhost").unwrap();
        reactor.run(&mut seen).unwrap();
        let info = seen.info.take().unwrap();
        assert_eq!(info.version, "TLSv1_3");
        resumed.push(info.resumed);
    }
    assert_eq!(resumed, [false, true]);
}

#[test]
fn a_protocol_is_agreed_on() {
    let mut reactor = Sim::new(1).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(here(), |_, _| Echo).unwrap().secure(&server().offering(&["h2", "http/1.1"]));
    cx.connect(here(), Asker(Vec::new())).secure(&client().offering(&["http/1.1"]), "localhost").unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.info.unwrap().protocol.as_deref(), Some("http/1.1"));
}

#[test]
fn a_peer_that_speaks_no_tls_is_an_error_with_advice_and_the_others_go_on() {
    let mut reactor = Sim::new(1).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(here(), |_, _| Echo).unwrap().secure(&server());
    cx.connect(here(), Script::new().say("GET / HTTP/1.1\r\n\r\n"));
    cx.connect(here(), Asker(some_bytes(100))).secure(&client(), "localhost").unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, some_bytes(100));
    let errors: Vec<_> = seen.servers.iter().filter_map(|end| end.result.as_ref().err()).collect();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("does the other side speak TLS on this port?"), "{}", errors[0]);
}

#[test]
fn a_peer_that_ends_in_the_midst_of_the_handshake_is_an_error() {
    let mut reactor = Sim::new(1).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(here(), |_, _| Script::new().wait(Duration::from_secs(1)).close()).unwrap();
    cx.connect(here(), Asker(some_bytes(100))).secure(&client(), "localhost").unwrap();
    reactor.run(&mut seen).unwrap();
    assert!(failure(&seen.client).contains("in the midst of the TLS handshake"), "{:?}", seen.client);
}

#[test]
fn a_handshake_that_does_not_go_on_has_a_timeout_on_both_sides() {
    let sim = Sim::new(1);
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(here(), |_, _| Echo).unwrap().secure(&server());
    cx.connect(here(), Script::new()); // says nothing
    let silent = SocketAddr::from(([10, 0, 0, 2], 443));
    cx.listen(silent, |_, _| Script::new()).unwrap();
    cx.connect(silent, Asker(Vec::new())).secure(&client(), "localhost").unwrap();
    reactor.run(&mut seen).unwrap();
    for error in [seen.client.unwrap().result.unwrap_err(), seen.servers.remove(0).result.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let message = error.to_string();
        assert!(message.starts_with("the TLS handshake with "), "{message}");
        assert!(message.ends_with("timed out; does it speak TLS on this port?"), "{message}");
    }
    assert!(sim.now() >= Config::default().connect_timeout);
}

#[test]
fn what_is_no_certificate_key_or_name_is_refused_with_advice() {
    let message = |result: io::Error| result.to_string();
    assert!(message(tls::Client::with_roots("").unwrap_err()).contains("-----BEGIN CERTIFICATE-----"));
    assert!(message(tls::Server::new(CERTIFICATE, "").unwrap_err()).contains("no private key"));
    assert!(message(tls::Server::new(AUTHORITY, KEY).unwrap_err()).contains("cannot be used"));
    let mut reactor = Sim::new(1).reactor::<Seen>().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let error = cx.connect(here(), Asker(Vec::new())).secure(&client(), "no name").unwrap_err();
    assert!(error.to_string().contains("\"no name\" is no host name"), "{error}");
}
