//! Deadlines and limits of time over an upgrade to TLS.

use std::time::Duration;

use super::tls_upgrade::{
    MANY, answer_and_secure, asks, reads_much_and_secures, upgrades, writes_much_and_secures,
};
use crate::common::certs;
use crate::common::machine::{Machine, Seen};
use crate::common::simulated::pair;
use enjamb::sim::{Link, Sim};
use enjamb::{Config, Conn, Input};

/// Runs a server that upgrades by `upgrade`, with the deadline that this sets, and a client that does the handshake
/// and then says nothing more. Returns how long the server lasted, and how it ended.
fn deadline_over(
    upgrade: fn(&mut Conn<'_, Seen>, &mut Input<'_>) -> std::io::Result<()>,
    client: Machine,
) -> (Duration, String) {
    deadline_over_with(Config::default(), upgrade, client)
}

fn deadline_over_with(
    config: Config,
    upgrade: fn(&mut Conn<'_, Seen>, &mut Input<'_>) -> std::io::Result<()>,
    client: Machine,
) -> (Duration, String) {
    let sim = Sim::new(1);
    let server = Machine {
        timed_out: Box::new(|conn| {
            let note = format!("timed out, with TLS: {}", conn.tls().is_some());
            conn.state().notes.push(note);
            conn.close();
            Ok(())
        }),
        ..upgrades(upgrade)
    };
    let (mut reactor, mut seen) = pair(&sim, config, client, server);
    reactor.cx(&mut seen).after(Duration::from_secs(3600), |cx| cx.stop());
    while seen.ends.is_empty() && seen.notes.is_empty() {
        assert!(reactor.turn(&mut seen, None).unwrap().alive, "the deadline is disarmed");
    }
    let ended = seen.ends.first().map(|end| end.to_string());
    (sim.now(), ended.or(seen.notes.pop()).unwrap())
}

fn asks_and_is_silent() -> Machine {
    Machine {
        received: Box::new(|conn, input| {
            if input.take_line().is_some() {
                conn.secure(&certs::client(), "localhost")?;
            }
            Ok(())
        }),
        ..asks(b"STARTTLS\n")
    }
}

#[test]
fn a_deadline_armed_before_an_upgrade_or_with_it_holds_after_it() {
    let (after, ended) = deadline_over(
        |conn, input| {
            conn.deadline(Duration::from_secs(60));
            answer_and_secure(conn, input)
        },
        asks_and_is_silent(),
    );
    assert_eq!(ended, "timed out, with TLS: true");
    assert!(after >= Duration::from_secs(60) && after < Duration::from_secs(61), "{after:?}");
    let (after, ended) = deadline_over(
        |conn, input| {
            answer_and_secure(conn, input)?;
            conn.deadline(Duration::from_secs(60));
            Ok(())
        },
        asks_and_is_silent(),
    );
    assert_eq!(ended, "timed out, with TLS: true");
    assert!(after >= Duration::from_secs(60) && after < Duration::from_secs(61), "{after:?}");
}

#[test]
fn a_deadline_holds_over_an_upgrade_whose_handshake_has_no_limit() {
    for limit in [Duration::MAX, Duration::from_secs(u64::MAX)] {
        let (after, ended) = deadline_over_with(
            Config { connect_timeout: limit, ..Config::default() },
            |conn, input| {
                conn.deadline(Duration::from_secs(60));
                answer_and_secure(conn, input)
            },
            asks_and_is_silent(),
        );
        assert_eq!(ended, "timed out, with TLS: true");
        assert!(after >= Duration::from_secs(60) && after < Duration::from_secs(61), "{after:?}");
    }
}

#[test]
fn plain_output_that_is_sent_at_an_upgrade_moves_the_limit_on_closing_on() {
    // The peer takes more than `close_timeout` for all of it, but never so long for a part.
    let (step, close_timeout) = (Duration::from_secs(1), Duration::from_secs(3));
    let config = Config { close_timeout, ..Config::default() };
    let sim = Sim::new(1);
    sim.links(Link { buffer: MANY / 10, ..Link::default() });
    let Machine { mut received, .. } = reads_much_and_secures();
    let slow = Machine {
        received: Box::new(move |conn, input| {
            if conn.tls().is_none() {
                conn.pause();
                conn.deadline(step);
            }
            received(conn, input)
        }),
        timed_out: Box::new(|conn| {
            conn.resume();
            Ok(())
        }),
        ..Machine::default()
    };
    let client = writes_much_and_secures(|conn| {
        conn.write(b"secret");
        conn.close();
    });
    let (mut reactor, mut seen) = pair(&sim, config, client, slow);
    reactor.run(&mut seen).unwrap();
    assert!(sim.now() > 2 * close_timeout, "it took only {:?}", sim.now());
    assert_eq!(seen.bytes.len(), MANY, "{:?}", seen.ends);
    assert_eq!(seen.notes, ["secret"]);
    for end in &seen.ends {
        assert!(end.result.is_ok() && end.unsent == 0, "{end:?}");
    }
}

#[test]
fn a_handshake_that_stalls_ends_at_its_limit_or_at_the_deadline_whichever_comes_first() {
    let silent = || Machine {
        received: Box::new(|_, input| {
            input.take_all();
            Ok(())
        }),
        ..asks(b"STARTTLS\n")
    };
    let limit = Config::default().connect_timeout;
    let (after, ended) = deadline_over(
        |conn, input| {
            conn.deadline(Duration::from_secs(60));
            answer_and_secure(conn, input)
        },
        silent(),
    );
    assert!(ended.starts_with("the TLS handshake with") && ended.contains("timed out"), "{ended}");
    assert!(after >= limit && after < limit + Duration::from_secs(1), "{after:?}");
    let (after, ended) = deadline_over(
        |conn, input| {
            conn.deadline(Duration::from_secs(2));
            answer_and_secure(conn, input)
        },
        silent(),
    );
    assert!(ended.starts_with("the TLS handshake with") && ended.contains("timed out"), "{ended}");
    assert!(after >= Duration::from_secs(2) && after < Duration::from_secs(3), "{after:?}");
}

#[test]
fn no_deadline_before_an_upgrade_is_none_after_it() {
    let sim = Sim::new(1);
    let (mut reactor, mut seen) =
        pair(&sim, Config::default(), asks_and_is_silent(), upgrades(answer_and_secure));
    reactor.cx(&mut seen).after(Duration::from_secs(3600), |cx| cx.shutdown(Duration::from_secs(1)));
    reactor.run(&mut seen).unwrap();
    assert!(sim.now() >= Duration::from_secs(3600));
    for end in &seen.ends {
        assert!(end.result.is_ok(), "{end:?}");
    }
}

#[test]
fn the_limit_of_a_handshake_counts_from_when_the_plain_bytes_before_it_are_sent() {
    // The server takes a minute to read them, which is longer than a handshake may take.
    let server = Machine {
        opened: Box::new(|conn| {
            conn.pause();
            conn.deadline(Duration::from_secs(60));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.resume();
            Ok(())
        }),
        ..reads_much_and_secures()
    };
    let client = writes_much_and_secures(|conn| {
        conn.write(b"secret");
    });
    let (mut reactor, mut seen) = pair(&Sim::new(1), Config::default(), client, server);
    reactor.cx(&mut seen).after(Duration::from_secs(120), |cx| cx.shutdown(Duration::from_secs(1)));
    reactor.run(&mut seen).unwrap();
    assert!(seen.notes.iter().any(|note| note == "secret"), "{:?} {:?}", seen.notes, seen.ends);
}
