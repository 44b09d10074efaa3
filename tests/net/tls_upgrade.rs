//! STARTTLS: a connection begins in plain text and goes on in TLS. Which bytes belong to which, and what stays.

use std::io::ErrorKind;
use std::time::Duration;

use crate::common::certs;
use crate::common::machine::{Machine, Seen};
use crate::common::simulated;
use crate::common::simulated::{pair, run_pair};
use enjamb::framing::Lines;
use enjamb::sim::{Link, Script, Sim, check};
use enjamb::{Config, Conn, Input, Reactor};

/// Asks for TLS with `ask`, and when told to go on does so and says something secret.
pub fn asks(ask: &'static [u8]) -> Machine {
    Machine {
        opened: Box::new(move |conn| {
            conn.write(ask);
            Ok(())
        }),
        received: Box::new(|conn, input| {
            if conn.tls().is_none() {
                assert_eq!(input.take_line(), Some(&b"go on"[..]));
                conn.secure(&certs::client(), "localhost")?;
                conn.write(b"secret\n");
            }
            input.take_all();
            Ok(())
        }),
        ..Machine::default()
    }
}

/// Keeps what comes after the upgrade, closes when it has a line of it, and leaves the upgrade itself to `upgrade`,
/// which is called with every input that comes before.
pub fn upgrades(upgrade: fn(&mut Conn<'_, Seen>, &mut Input<'_>) -> std::io::Result<()>) -> Machine {
    let mut secured = false;
    Machine {
        received: Box::new(move |conn, input| {
            if secured {
                conn.state().bytes.extend(input.take_all());
                conn.close();
                return Ok(());
            }
            secured = input.peek().contains(&b'\n');
            if secured { upgrade(conn, input) } else { Ok(()) }
        }),
        ..Machine::default()
    }
}

pub fn answer_and_secure(conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> std::io::Result<()> {
    assert_eq!(input.take_line(), Some(&b"STARTTLS"[..]));
    conn.write(b"go on\n");
    conn.secure_as_server(&certs::server())
}

/// How the server ended, which is the one whose end says that the input was not consumed.
fn refusal(seen: &Seen) -> Option<(ErrorKind, usize)> {
    let errors = seen.ends.iter().filter_map(|end| Some((end.result.as_ref().err()?, end.unread)));
    let mut refused = errors.filter(|(error, _)| error.to_string().contains("has not been consumed"));
    refused.next().map(|(error, unread)| (error.kind(), unread))
}

#[test]
fn input_left_at_an_upgrade_ends_the_connection_and_never_reaches_the_machine() {
    let switching = |conn: &mut Conn<'_, Seen>, input: &mut Input<'_>| {
        conn.switch(Machine::default());
        answer_and_secure(conn, input)
    };
    let pausing = |conn: &mut Conn<'_, Seen>, input: &mut Input<'_>| {
        conn.pause();
        conn.resume();
        conn.pause();
        let id = conn.id();
        conn.cx().after(Duration::from_secs(1), move |cx| {
            cx.conn(id).into_iter().for_each(|mut conn| conn.resume());
        });
        answer_and_secure(conn, input)
    };
    for upgrade in [answer_and_secure, switching, pausing] {
        for segment in [100, 6] {
            // In one piece, and with the first line kept from before.
            let sim = Sim::new(1);
            sim.links(Link { segment: segment..=segment, ..Link::default() });
            let seen = run_pair(&sim, asks(b"STARTTLS\nDELETE everything\n"), upgrades(upgrade));
            assert_eq!(String::from_utf8_lossy(&seen.bytes), "");
            let (kind, unread) = refusal(&seen).expect("it was not refused");
            assert_eq!(kind, ErrorKind::InvalidInput);
            assert!(unread > 0);
        }
    }
}

#[test]
fn an_answer_with_more_behind_it_is_refused_by_the_client() {
    let client = Machine {
        opened: Box::new(|conn| {
            conn.write(b"STARTTLS\n");
            Ok(())
        }),
        received: Box::new(|conn, input| {
            if conn.tls().is_none() {
                input.take_line();
                return conn.secure(&certs::client(), "localhost");
            }
            conn.state().bytes.extend(input.take_all());
            Ok(())
        }),
        ..Machine::default()
    };
    let server = Machine {
        received: Box::new(|conn, input| {
            if input.take_line().is_some() {
                conn.write(b"go on\ninjected\n");
                conn.secure_as_server(&certs::server())?;
                conn.write(b"secret\n");
            }
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&Sim::new(1), client, server);
    assert_eq!(String::from_utf8_lossy(&seen.bytes), "");
    assert_eq!(refusal(&seen), Some((ErrorKind::InvalidInput, b"injected\n".len())));
}

/// Takes every line of its input in one callback, notes it, and upgrades by `upgrade` at this one.
fn takes_lines(at: &'static [u8], upgrade: fn(&mut Conn<'_, Seen>) -> std::io::Result<()>) -> Machine {
    let mut lines = Lines::new(100);
    Machine {
        received: Box::new(move |conn, input| {
            while let Some(line) = lines.next(input)? {
                if line == at {
                    upgrade(conn)?;
                } else {
                    conn.state().bytes.extend(line);
                }
            }
            Ok(())
        }),
        ..Machine::default()
    }
}

fn says_and_ignores(bytes: &str) -> Machine {
    Machine {
        received: Box::new(|_, input| {
            input.take_all();
            Ok(())
        }),
        ..simulated::says(bytes.into())
    }
}

fn secure_as_client(conn: &mut Conn<'_, Seen>) -> std::io::Result<()> {
    conn.secure(&certs::client(), "localhost")
}

fn secure_as_server(conn: &mut Conn<'_, Seen>) -> std::io::Result<()> {
    conn.write(b"go on\n");
    conn.secure_as_server(&certs::server())
}

#[test]
fn a_machine_that_takes_line_after_line_cannot_upgrade_before_it_has_taken_all() {
    for secure in [secure_as_client, secure_as_server] {
        for says in ["EHLO\nSTARTTLS\nDELETE everything\n", "EHLO\nSTARTTLS\nDELETE every"] {
            for segment in [100, 6] {
                // In one piece, and with a part of the line kept from before.
                let sim = Sim::new(1);
                sim.links(Link { segment: segment..=segment, ..Link::default() });
                let seen = run_pair(&sim, says_and_ignores(says), takes_lines(b"STARTTLS", secure));
                assert_eq!(String::from_utf8_lossy(&seen.bytes), "EHLO");
                let (kind, unread) = refusal(&seen).expect("it was not refused");
                assert_eq!(kind, ErrorKind::InvalidInput);
                assert!(unread > 0);
            }
        }
    }
}

#[test]
fn a_refused_upgrade_sends_nothing_of_tls_and_leaves_the_input_as_it_is() {
    let lines = takes_lines(b"STARTTLS", |conn| {
        let error = conn.secure_as_server(&certs::server()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert_eq!(conn.tls(), None);
        Ok(())
    });
    let seen = run_pair(&Sim::new(1), says_and_ignores("STARTTLS\nin plain\n"), lines);
    assert_eq!(String::from_utf8_lossy(&seen.bytes), "in plain");
    for end in &seen.ends {
        assert!(end.result.is_ok(), "{end:?}");
    }
}

#[test]
fn what_is_lent_to_one_connection_does_not_keep_another_from_an_upgrade() {
    // The server has another connection of its own upgraded, while a line of the first is still to be taken.
    let mut first = None;
    let lines = move |conn: &mut Conn<'_, Seen>, input: &mut Input<'_>| {
        let ours = conn.id();
        let other = *first.get_or_insert(ours);
        if other != ours {
            assert_eq!(input.take_line(), Some(&b"other"[..]));
            let mut other = conn.cx().conn(other).unwrap();
            other.write(b"go on\n");
            other.secure_as_server(&certs::server())?;
            conn.state().notes.push(input.take_line().map_or("none".into(), |line| format!("{line:?}")));
            conn.close();
        } else {
            conn.state().bytes.extend(input.take_all());
        }
        Ok(())
    };
    let lines = std::rc::Rc::new(std::cell::RefCell::new(lines));
    let mut reactor = Sim::new(1).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(simulated::server(), move |_, _| {
        let lines = std::rc::Rc::clone(&lines);
        Machine {
            received: Box::new(move |conn, input| (lines.borrow_mut())(conn, input)),
            ..Machine::default()
        }
    })
    .unwrap();
    cx.connect(simulated::server(), asks(b"x"));
    cx.after(Duration::from_secs(1), |cx| {
        cx.connect(simulated::server(), simulated::says(b"other\nthan that\n".into()));
    });
    cx.after(Duration::from_secs(2), |cx| cx.shutdown(Duration::from_secs(1)));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, b"xsecret\n");
    assert_eq!(seen.notes.len(), 1);
}

/// Has its connection secured a second after it was opened, having read nothing meanwhile.
fn secures_unread(secure: fn(&mut Conn<'_, Seen>) -> std::io::Result<()>) -> Machine {
    Machine {
        opened: Box::new(|conn| {
            conn.pause();
            conn.deadline(Duration::from_secs(1));
            Ok(())
        }),
        timed_out: Box::new(move |conn| {
            conn.resume();
            secure(conn)
        }),
        ..Machine::default()
    }
}

#[test]
fn plain_bytes_before_the_handshake_that_the_kernel_still_has_fail_it() {
    let says = Script::new().say("DELETE everything\n");
    for as_client in [false, true] {
        let mut reactor = Sim::new(1).reactor().unwrap();
        let mut seen = Seen::default();
        let mut cx = reactor.cx(&mut seen);
        let machine = move || {
            secures_unread(if as_client {
                |conn| conn.secure(&certs::client(), "localhost")
            } else {
                |conn| conn.secure_as_server(&certs::server())
            })
        };
        let says = says.clone();
        if as_client {
            cx.listen(simulated::server(), move |_, _| says.clone()).unwrap();
            cx.connect(simulated::server(), machine());
        } else {
            cx.listen(simulated::server(), move |_, _| machine()).unwrap();
            cx.connect(simulated::server(), says);
        }
        reactor.run(&mut seen).unwrap();
        assert_eq!(seen.bytes, b"");
        let error = seen.ends[0].result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("does the other side speak TLS"), "{error}");
    }
}

#[test]
fn a_connection_is_not_said_to_speak_tls_before_the_handshake_is_done() {
    let server = upgrades(|conn, input| {
        answer_and_secure(conn, input)?;
        assert_eq!(conn.tls(), None);
        let again = conn.secure_as_server(&certs::server()).unwrap_err();
        assert!(again.to_string().contains("it is secure already"), "{again}");
        Ok(())
    });
    let seen = run_pair(&Sim::new(1), asks(b"STARTTLS\n"), server);
    assert_eq!(seen.bytes, b"secret\n");
}

/// More than the simulation's kernel takes at once.
pub const MANY: usize = 400_000;

/// Writes many plain bytes and has TLS follow, all at once: as the server of it, for which a client's hello comes only
/// when those are read.
pub fn writes_much_and_secures(then: fn(&mut Conn<'_, Seen>)) -> Machine {
    Machine {
        opened: Box::new(move |conn| {
            conn.write(&[b'p'; MANY]);
            let waiting = conn.unsent();
            conn.secure_as_server(&certs::server())?;
            assert!(waiting > 0);
            assert_eq!(conn.unsent(), waiting);
            assert!(conn.is_full());
            then(conn);
            Ok(())
        }),
        drained: Box::new(|conn| {
            conn.state().notes.push("drained".into());
            Ok(())
        }),
        ..Machine::default()
    }
}

/// Keeps what comes in plain, and has TLS follow when that is as much as was written.
pub fn reads_much_and_secures() -> Machine {
    Machine {
        received: Box::new(|conn, input| {
            if conn.tls().is_some() {
                let line = input.take_all().to_vec();
                conn.state().notes.push(String::from_utf8(line).unwrap());
                return Ok(());
            }
            let left = MANY - conn.state().bytes.len();
            conn.state().bytes.extend(input.take(left));
            if conn.state().bytes.len() == MANY { conn.secure(&certs::client(), "localhost") } else { Ok(()) }
        }),
        ..Machine::default()
    }
}

#[test]
fn plain_output_that_waits_at_an_upgrade_is_sent_before_a_close() {
    let client = writes_much_and_secures(|conn| conn.close());
    let seen = run_pair(&Sim::new(1), client, Machine::default());
    assert_eq!(seen.bytes.len(), MANY);
    for end in &seen.ends {
        assert!(end.result.is_ok() && end.unsent == 0, "{end:?}");
    }
}

#[test]
fn plain_output_that_waits_at_an_upgrade_makes_an_abort_a_reset() {
    let client = writes_much_and_secures(|conn| conn.abort(ErrorKind::Other.into()));
    let seen = run_pair(&Sim::new(1), client, Machine::default());
    assert!(seen.bytes.len() < MANY);
    assert!(seen.ends[0].unsent > 0, "{:?}", seen.ends);
    let error = seen.ends[1].result.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

#[test]
fn plain_output_that_waits_at_an_upgrade_counts_against_the_output_limit() {
    let client = writes_much_and_secures(|conn| assert!(conn.write(&[b's'; 100])));
    let config = Config { output_limit: MANY, ..Config::default() };
    let sim = Sim::new(1);
    sim.links(Link { buffer: 50, ..Link::default() });
    let (mut reactor, mut seen) = pair(&sim, config, client, Machine::default());
    reactor.run(&mut seen).unwrap();
    let error = seen.ends[0].result.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    assert_eq!(seen.ends[0].unsent, MANY + 100 - 50);
}

#[test]
fn what_waits_in_plain_comes_first_and_what_is_written_after_it_comes_in_tls() {
    let long = Duration::from_secs(24 * 60 * 60);
    check(0..20, |sim| {
        let config = Config { connect_timeout: long, close_timeout: long, ..Config::default() };
        let client = writes_much_and_secures(|conn| {
            conn.write(b"secret");
            conn.close();
        });
        let (mut reactor, mut seen) = pair(&sim.clone().rough(), config, client, reads_much_and_secures());
        reactor.run(&mut seen).unwrap();
        assert!(seen.bytes == [b'p'; MANY]);
        assert_eq!(seen.notes.concat(), "secret", "{:?}", seen.ends);
        for end in &seen.ends {
            assert!(end.result.is_ok() && end.unsent == 0, "{end:?}");
        }
    });
}

#[test]
fn drained_comes_when_what_waited_in_plain_is_sent() {
    let client = writes_much_and_secures(|_| ());
    let server = reads_much_and_secures();
    let (mut reactor, mut seen) = pair(&Sim::new(1), Config::default(), client, server);
    reactor.cx(&mut seen).after(Duration::from_secs(60), |cx| cx.shutdown(Duration::from_secs(1)));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.notes, ["drained"]);
}

#[test]
fn plain_output_that_waits_at_an_upgrade_arrives_over_real_sockets() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let to = cx.listen(([127, 0, 0, 1], 0), |_, _| Machine::default()).unwrap().local_addr().unwrap();
    const WRITTEN: usize = 15_000_000;
    cx.connect(
        to,
        Machine {
            opened: Box::new(|conn| {
                conn.write(&[b'p'; WRITTEN]);
                conn.secure(&certs::client(), "localhost")?;
                conn.close();
                Ok(())
            }),
            ..Machine::default()
        },
    );
    while seen.ends.len() < 2 {
        reactor.turn(&mut seen, None).unwrap();
    }
    assert_eq!(seen.bytes.len(), WRITTEN);
    for end in &seen.ends {
        assert!(end.result.is_ok() && end.unsent == 0, "{end:?}");
    }
}

#[test]
fn a_close_that_gives_up_the_handshake_does_not_destroy_the_last_plain_words() {
    // The client has said something more, which nobody reads: closing at once would answer it with a reset.
    let client = Machine {
        opened: Box::new(|conn| {
            conn.write(b"STARTTLS\n");
            let id = conn.id();
            conn.cx().after(Duration::from_secs(1), move |cx| {
                cx.conn(id).unwrap().write(b"a word that crosses the answer");
            });
            Ok(())
        }),
        ..Machine::default()
    };
    let server = Machine {
        received: Box::new(|conn, input| {
            input.take_all();
            conn.pause();
            conn.deadline(Duration::from_secs(2));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.write(b"go on\n");
            conn.secure_as_server(&certs::server())?;
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&Sim::new(1), client, server);
    assert_eq!(String::from_utf8_lossy(&seen.bytes), "go on\n");
    for end in &seen.ends {
        assert!(end.result.is_ok(), "{end:?}");
    }
}
