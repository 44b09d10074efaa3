//! Faults of the simulated network: partitions, peers that stop reading or hang, hosts that crash.

use std::io::ErrorKind;
use std::time::Duration;

use super::network::{count, kinds, on, pattern, waits};
use crate::common::machine::{Machine, Seen};
use crate::common::simulated::{listens, pair, run_pair, says, server};
use crate::common::times::ms;
use enjamb::Config;
use enjamb::sim::{Link, Sim};

#[test]
fn a_partition_holds_everything_up_and_nothing_is_lost_when_it_is_healed() {
    let sim = Sim::new(0);
    let (cut, heals) = (sim.clone(), sim.clone());
    let writes = Machine {
        opened: Box::new(move |conn| {
            cut.partition(server());
            conn.write(&pattern(5000));
            conn.finish();
            Ok(())
        }),
        ..Machine::default()
    };
    let (mut reactor, mut seen) = pair(&sim, Config::default(), writes, listens());
    reactor.cx(&mut seen).after(Duration::from_secs(60), move |cx| {
        assert!(cx.state.bytes.is_empty() && cx.state.ends.is_empty());
        heals.heal(server());
    });
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, pattern(5000));
    assert_eq!(kinds(&seen), [None, None]);
    assert!(sim.now() < Duration::from_secs(61), "{:?}", sim.now());
}

#[test]
fn a_reset_during_a_partition_is_told_when_it_is_healed() {
    let sim = Sim::new(0);
    let (cut, heals) = (sim.clone(), sim.clone());
    let breaks = Machine {
        opened: Box::new(move |conn| {
            conn.write(&pattern(500_000)); // more than the network takes: what is left unsent makes it a reset
            cut.partition(server());
            conn.abort(ErrorKind::Other.into());
            Ok(())
        }),
        ..Machine::default()
    };
    let (mut reactor, mut seen) = pair(&sim, Config::default(), breaks, listens());
    reactor.cx(&mut seen).after(ms(60_000), move |cx| {
        assert_eq!(cx.state.ends.len(), 1);
        heals.heal(server());
    });
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), Some(ErrorKind::ConnectionReset)]);
}

#[test]
fn a_connect_across_a_partition_asks_again_until_it_is_healed() {
    let sim = Sim::new(0);
    sim.partition(server());
    let heals = sim.clone();
    let (mut reactor, mut seen) = pair(&sim, Config::default(), says(vec![5]), listens());
    reactor.cx(&mut seen).after(ms(2_500), move |_| heals.heal(server()));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, [5]);
    assert_eq!(count(&sim, "is not answered"), 2, "after 0 and 1 s; after 3 it comes through");
}

#[test]
fn only_the_server_that_is_cut_off_is() {
    let sim = Sim::new(0);
    sim.partition(([10, 0, 0, 9], 80));
    let seen = run_pair(&sim, says(vec![5]), listens());
    assert_eq!(seen.bytes, [5]);
}

#[test]
fn a_peer_that_stops_reading_lets_the_senders_output_pile_up_until_it_is_given_up() {
    let deaf = Machine {
        opened: Box::new(|conn| {
            conn.pause();
            Ok(())
        }),
        ..Machine::default()
    };
    let floods = Machine {
        opened: Box::new(|conn| {
            let id = conn.id();
            conn.cx().every(ms(10), move |cx| match cx.conn(id) {
                Some(mut conn) => _ = conn.write(&pattern(10_000)),
                None => cx.stop(),
            });
            Ok(())
        }),
        ..Machine::default()
    };
    let config = Config { output_limit: 100_000, ..Config::default() };
    let (mut reactor, mut seen) = pair(&on(Link { buffer: 1000, ..Link::default() }), config, floods, deaf);
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::OutOfMemory)]);
    assert!((100_000..110_000).contains(&seen.ends[0].unsent), "{}", seen.ends[0].unsent);
}

/// Writes a lot, and after a minute notes how much of it could not be sent.
fn floods_for_a_minute() -> Machine {
    Machine {
        opened: Box::new(|conn| {
            conn.write(&pattern(3000));
            conn.deadline(ms(60_000));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            let unsent = conn.unsent();
            conn.state().notes.push(format!("{unsent} unsent"));
            conn.abort(ErrorKind::Other.into());
            Ok(())
        }),
        ..Machine::default()
    }
}

#[test]
fn a_peer_that_hangs_behind_a_byte_takes_what_fits_into_its_buffer_and_nobody_is_told() {
    let sim = on(Link { stops_reading_after: Some(700..=700), buffer: 1000, ..Link::default() });
    let seen = run_pair(&sim, floods_for_a_minute(), listens());
    assert_eq!(
        (&seen.bytes[..], &seen.notes[..]),
        (&pattern(700)[..], &["700", "1300 unsent"].map(String::from)[..])
    );
    assert!(sim.now() >= ms(60_000), "{:?}", sim.now());
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), Some(ErrorKind::ConnectionReset)]);
}

#[test]
fn a_peer_that_hangs_does_not_see_the_end_either() {
    for n in [0, 10] {
        let sim = on(Link { stops_reading_after: Some(n..=n), ..Link::default() });
        let (mut reactor, mut seen) = pair(&sim, Config::default(), says(pattern(10)), listens());
        let error = reactor.run(&mut seen).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadlock, "both wait for ever");
        assert!(seen.ends.is_empty() && seen.bytes == pattern(n as usize), "{}", sim.log());
    }
}

/// What a client does after 100 ms on a connection whose server crashed before, and how both saw the end.
fn after_a_crash(what: fn(&mut enjamb::Conn<'_, Seen>)) -> (Sim, Seen) {
    let sim = Sim::new(0);
    let crashes = sim.clone();
    let client = Machine {
        opened: Box::new(|conn| {
            conn.deadline(ms(100));
            Ok(())
        }),
        timed_out: Box::new(move |conn| {
            assert_eq!(conn.state().ends.len(), 1, "only the server's machine knows");
            what(conn);
            Ok(())
        }),
        ..listens()
    };
    let (mut reactor, mut seen) = pair(&sim, Config::default(), client, waits());
    reactor.cx(&mut seen).after(ms(50), move |_| crashes.crash(server()));
    let deadlock = reactor.run(&mut seen).err().map(|error| error.kind());
    assert!(deadlock.is_none() || seen.ends.len() == 1, "{deadlock:?}");
    (sim, seen)
}

#[test]
fn a_half_open_connection_is_reset_when_its_peer_speaks_or_ends_and_not_before() {
    let reset = Some(ErrorKind::ConnectionReset);
    let speaks = after_a_crash(|conn| _ = conn.write(b"are you there?"));
    let ends = after_a_crash(|conn| conn.finish());
    for (sim, seen) in [speaks, ends] {
        assert_eq!(kinds(&seen), [reset; 2], "{}", sim.log());
        assert!(!seen.notes.contains(&"end".to_string()), "what was cut looked complete");
    }
    let (sim, seen) = after_a_crash(|_| ());
    assert_eq!(kinds(&seen), [reset], "who only waits is never told: {}", sim.log());
    assert_eq!(count(&sim, "is lost: its host crashes"), 1);
}

#[test]
fn what_is_under_way_to_a_host_that_crashes_is_answered_with_a_reset() {
    let sim = on(Link { latency: ms(10)..=ms(10), ..Link::default() });
    let crashes = sim.clone();
    let speaks = Machine {
        opened: Box::new(move |conn| {
            conn.write(b"hello");
            let crashes = crashes.clone();
            conn.cx().after(ms(5), move |_| crashes.crash(server()));
            Ok(())
        }),
        ..listens()
    };
    let seen = run_pair(&sim, speaks, waits());
    assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionReset); 2]);
    assert!(seen.bytes.is_empty() && count(&sim, "has 5 bytes arrive") == 0, "{}", sim.log());
}

#[test]
fn a_host_that_has_crashed_is_connected_to_again_and_others_have_not() {
    let sim = Sim::new(0);
    let other = ([10, 0, 0, 2], 80);
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(other, |_, _| listens()).unwrap();
    cx.listen(server(), |_, _| listens()).unwrap();
    cx.connect(other, says(vec![1]));
    let crashes = sim.clone();
    cx.after(ms(50), move |cx| {
        crashes.crash(server());
        cx.connect(server(), says(vec![2]));
    });
    reactor.run(&mut seen).unwrap();
    assert_eq!((&seen.bytes[..], kinds(&seen)), (&[1, 2][..], vec![None; 4]));
}

#[test]
fn a_crash_during_the_handshake_is_told_to_the_client_when_it_speaks() {
    let sim = on(Link { latency: ms(10)..=ms(10), ..Link::default() });
    let crashes = sim.clone();
    let (mut reactor, mut seen) = pair(&sim, Config::default(), says(vec![1]), waits());
    reactor.cx(&mut seen).after(ms(15), move |_| crashes.crash(server()));
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionReset); 2], "{}", sim.log());
    assert!(seen.bytes.is_empty());
}
