//! The simulated network: each way in which it can be bad, and that it answers as a kernel does.
#![cfg(feature = "sim")]

#[path = "common/machine.rs"]
mod machine;
#[path = "common/sim.rs"]
mod sim;

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use enjamb::sim::{Link, Polling, Sim};
use enjamb::{Config, Reactor};
use machine::{Machine, Seen};
use sim::{listens, pair, run_pair, says, server};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn on(link: Link) -> Sim {
    let sim = Sim::new(3);
    sim.links(link);
    sim
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 % 251) as u8).collect()
}

/// Opens and waits for ever.
fn waits() -> Machine {
    Machine {
        opened: Box::new(|conn| {
            conn.deadline(None);
            Ok(())
        }),
        ..Machine::default()
    }
}

fn kinds(seen: &Seen) -> Vec<Option<ErrorKind>> {
    seen.ends.iter().map(|end| end.result.as_ref().err().map(|error| error.kind())).collect()
}

/// How often a line of the log ends like this.
fn count(sim: &Sim, what: &str) -> usize {
    sim.log().lines().filter(|line| line.ends_with(what)).count()
}

#[test]
fn a_calm_link_cuts_at_the_size_of_a_frame_and_gives_the_end_by_itself() {
    let sim = Sim::new(0);
    let seen = run_pair(&sim, says(pattern(3000)), listens());
    assert_eq!(seen.bytes, pattern(3000));
    assert_eq!(seen.notes, ["1460", "1460", "80", "end"]);
    assert_eq!(kinds(&seen), [None, None]);
    assert_eq!(count(&sim, "is reported ready to read, read to the end"), 0, "{}", sim.log());
}

#[test]
fn fragmentation_goes_down_to_one_byte_and_every_byte_comes_alone() {
    let seen = run_pair(&on(Link { segment: 1..=1, ..Link::default() }), says(pattern(300)), listens());
    assert_eq!(seen.bytes, pattern(300));
    assert_eq!(seen.notes.len(), 301);
    assert!(seen.notes[..300].iter().all(|n| n == "1"));
}

#[test]
fn segments_are_of_any_size_of_the_range() {
    let seen = run_pair(&on(Link { segment: 2..=5, ..Link::default() }), says(pattern(1000)), listens());
    let sizes: Vec<usize> = seen.notes[..seen.notes.len() - 2].iter().map(|n| n.parse().unwrap()).collect();
    assert!((2..=5).all(|size| sizes.contains(&size)) && sizes.iter().all(|size| (2..=5).contains(size)));
    assert_eq!(seen.bytes, pattern(1000));
}

#[test]
fn what_arrives_within_the_coalescing_window_is_delivered_together() {
    let link = Link { segment: 10..=10, coalesce: ms(50), ..Link::default() };
    let seen = run_pair(&on(link), says(pattern(1000)), listens());
    assert_eq!(seen.notes, ["1000", "end"]);
}

#[test]
fn latency_is_drawn_for_each_segment_and_none_overtakes_another() {
    let link = Link { latency: ms(5)..=ms(50), segment: 10..=10, ..Link::default() };
    let sim = on(link);
    let seen = run_pair(&sim, says(pattern(1000)), listens());
    assert_eq!(seen.bytes, pattern(1000));
    assert!(seen.notes.len() > 3, "all of them took as long: {:?}", seen.notes);
    // A request to connect, its answer, the bytes, and the other's end at last.
    assert!(sim.now() >= 4 * ms(5), "{:?}", sim.now());
}

#[test]
fn a_small_buffer_holds_so_many_bytes_and_no_more() {
    let reads_late = Machine {
        opened: Box::new(|conn| {
            conn.pause();
            conn.deadline(ms(100));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.resume();
            Ok(())
        }),
        ..listens()
    };
    let writes = Machine {
        opened: Box::new(|conn| {
            conn.write(&pattern(1000));
            conn.deadline(ms(50));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            let unsent = conn.unsent();
            conn.state().notes.push(format!("{unsent} unsent"));
            conn.finish();
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&on(Link { buffer: 16, ..Link::default() }), writes, reads_late);
    assert_eq!(seen.notes[..2], ["984 unsent", "16"]);
    assert_eq!(seen.bytes, pattern(1000));
}

#[test]
fn a_buffer_of_one_byte_and_one_of_none_let_everything_through() {
    for buffer in [1, 0] {
        let seen = run_pair(&on(Link { buffer, ..Link::default() }), says(pattern(50)), listens());
        assert_eq!(seen.bytes, pattern(50));
    }
}

#[test]
fn a_partial_write_takes_less_than_there_is_room_for_and_an_event_tells_when_it_goes_on() {
    let sim = on(Link { partial_write: 0.7, ..Link::default() });
    let seen = run_pair(&sim, says(pattern(1000)), listens());
    assert_eq!(seen.bytes, pattern(1000));
    assert!(sim.log().matches(" writes ").count() > 2, "{}", sim.log());
    assert_eq!(kinds(&seen), [None, None]);
}

#[test]
fn a_connect_is_refused_although_somebody_listens_or_because_nobody_does() {
    let sim = on(Link { refused: 1.0, ..Link::default() });
    let seen = run_pair(&sim, Machine::default(), Machine::default());
    assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionRefused)]);
    let mut reactor = Sim::new(0).reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).connect(server(), Machine::default());
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionRefused)]);
    let message = seen.ends[0].to_string();
    assert!(message.contains("10.0.0.1:80") && message.contains("is a server listening there?"), "{message}");
}

#[test]
fn a_connect_that_nobody_answers_ends_by_its_deadline_or_after_the_time_of_the_kernel() {
    for (deadline, takes) in [(Some(ms(2_000)), ms(2_000)), (None, ms(127_000))] {
        let sim = on(Link { silent: 1.0, ..Link::default() });
        let mut reactor = sim.reactor().unwrap();
        let mut seen = Seen::default();
        reactor.cx(&mut seen).listen(server(), |_, _| Machine::default()).unwrap();
        reactor.cx(&mut seen).connect(server(), Machine::default()).deadline(deadline);
        reactor.run(&mut seen).unwrap();
        assert_eq!(kinds(&seen), [Some(ErrorKind::TimedOut)]);
        assert!(sim.now() >= takes && sim.now() < takes + ms(10), "{:?}", sim.now());
    }
}

#[test]
fn a_connect_fails_within_the_call_when_there_is_no_route() {
    let sim = on(Link { unreachable: 1.0, ..Link::default() });
    let seen = run_pair(&sim, Machine::default(), Machine::default());
    assert_eq!(kinds(&seen), [Some(ErrorKind::NetworkUnreachable)]);
}

#[test]
fn connections_given_up_before_they_are_accepted_do_not_keep_others_from_being_so() {
    let sim = on(Link { aborted: 0.5, ..Link::default() });
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), |_, _| listens()).unwrap();
    for _ in 0..40 {
        reactor.cx(&mut seen).connect(server(), says(vec![1]));
    }
    reactor.run(&mut seen).unwrap();
    let well = kinds(&seen).iter().filter(|kind| kind.is_none()).count();
    assert!((20..60).contains(&well) && well % 2 == 0, "{well}");
    let accepted = count(&sim, "is accepted");
    assert!(kinds(&seen).iter().all(|kind| matches!(kind, None | Some(ErrorKind::ConnectionReset))));
    assert!(accepted * 2 == well, "{accepted} and {well}");
}

#[test]
fn a_connection_is_reset_at_the_very_byte() {
    for n in [0, 1, 700, 1460, 2000] {
        let sim = on(Link { reset_after: Some(n..=n), ..Link::default() });
        let seen = run_pair(&sim, says(pattern(3000)), listens());
        assert_eq!(seen.bytes, pattern(3000)[..n as usize]);
        assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionReset); 2], "{}", sim.log());
        assert!(!seen.notes.contains(&"end".to_string()), "what was cut looked complete");
    }
}

#[test]
fn behind_the_byte_at_which_it_goes_silent_nothing_arrives_and_only_who_sends_is_told_at_last() {
    let sim = on(Link { stall_after: Some(700..=700), ..Link::default() });
    let (mut reactor, mut seen) = pair(&sim, Config::default(), says(pattern(3000)), listens());
    let error = reactor.run(&mut seen).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock, "the other half of the connection waits for ever");
    assert_eq!(seen.bytes, pattern(700));
    assert_eq!(kinds(&seen), [Some(ErrorKind::TimedOut)]);
    assert!(sim.now() > Duration::from_secs(900), "{:?}", sim.now());
}

#[test]
fn a_link_that_is_silent_from_the_first_byte_does_not_even_connect() {
    let sim = on(Link { stall_after: Some(0..=0), ..Link::default() });
    let seen = run_pair(&sim, says(vec![1]), listens());
    assert_eq!(kinds(&seen), [Some(ErrorKind::TimedOut)]);
}

#[test]
fn the_end_comes_with_the_last_bytes_or_after_them() {
    for (chance, together) in [(1.0, true), (0.0, false)] {
        let sim = on(Link { fin_with_data: chance, ..Link::default() });
        let seen = run_pair(&sim, says(vec![1; 10]), listens());
        assert_eq!(seen.notes, ["10", "end"]);
        let log = sim.log();
        let arrives = log.find("has 10 bytes arrive").unwrap();
        let end = arrives + log[arrives..].find("has the peer's end arrive").unwrap();
        assert_eq!(!log[arrives..end].contains("is reported ready"), together, "{log}");
    }
}

#[test]
fn spurious_readiness_calls_nobody_back() {
    let sim = Sim::new(1);
    sim.polling(Polling { spurious: 0.5, ..Polling::default() });
    let (mut reactor, mut seen) = pair(&sim, Config::default(), waits(), listens());
    for _ in 0..1000 {
        reactor.turn(&mut seen, Some(ms(1))).unwrap();
    }
    assert!(count(&sim, "for no reason") > 100);
    assert!(seen.notes.is_empty() && seen.bytes.is_empty() && seen.ends.is_empty());
}

#[test]
fn what_can_be_read_and_written_is_told_in_one_event_or_in_two() {
    for (split, in_one) in [(0.0, true), (1.0, false)] {
        let sim = Sim::new(0);
        sim.polling(Polling { split, ..Polling::default() });
        let seen = run_pair(&sim, says(pattern(5000)), listens());
        assert_eq!((kinds(&seen), seen.bytes), (vec![None, None], pattern(5000)));
        assert_eq!(count(&sim, "is reported ready to read, write") > 0, in_one, "{}", sim.log());
    }
}

#[test]
fn what_is_still_under_way_when_a_connection_is_reset_comes_too_late() {
    let link = Link { spacing: ms(10), reset_after: Some(3002..=3002), ..Link::default() };
    let answers = Machine {
        received: Box::new(|conn, input| {
            conn.state().bytes.extend(input.take_all());
            conn.write(b"xx"); // the last bytes that it stands
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&on(link), answers, says(pattern(3000)));
    assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionReset); 2]);
    assert_eq!(
        seen.bytes,
        [&pattern(1460)[..], b"xx"].concat(),
        "the first of three segments, and the answer"
    );
}

/// The order in which three connections, ready in the same batch, are called back.
fn order(seed: u64, shuffled: bool) -> Vec<String> {
    let sim = Sim::new(seed);
    sim.polling(Polling { shuffled, ..Polling::default() });
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), |_, _| Machine::default()).unwrap();
    for n in 0..3 {
        let opened = Box::new(move |conn: &mut enjamb::Conn<'_, Seen>| {
            conn.state().notes.push(n.to_string());
            conn.close();
            Ok(())
        });
        reactor.cx(&mut seen).connect(server(), Machine { opened, ..Machine::default() });
    }
    reactor.run(&mut seen).unwrap();
    seen.notes
}

#[test]
fn the_order_of_readiness_is_that_in_which_it_came_or_any() {
    assert!((0..20).all(|seed| order(seed, false) == ["0", "1", "2"]));
    let orders: std::collections::BTreeSet<_> = (0..100).map(|seed| order(seed, true)).collect();
    assert_eq!(orders.len(), 6, "all there are: {orders:?}");
}

#[test]
fn more_sources_than_one_wait_reports_are_all_heard_in_the_end() {
    let sim = Sim::new(0);
    sim.polling(Polling { split: 0.5, shuffled: true, spurious: 0.2 });
    let mut reactor = sim.reactor_with(Config { events: 1, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), |_, _| listens()).unwrap();
    for _ in 0..100 {
        reactor.cx(&mut seen).connect(server(), says(vec![7; 10]));
    }
    reactor.run(&mut seen).unwrap();
    assert_eq!((seen.bytes.len(), kinds(&seen).len()), (1000, 200));
    assert!(kinds(&seen).iter().all(Option::is_none));
}

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
fn links_are_for_all_servers_or_for_one() {
    let sim = on(Link { refused: 1.0, ..Link::default() });
    sim.link(server(), Link::default());
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    for port in [80, 81] {
        reactor.cx(&mut seen).listen(([10, 0, 0, 1], port), |_, _| listens()).unwrap();
        reactor.cx(&mut seen).connect(([10, 0, 0, 1], port), says(vec![port as u8]));
    }
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, [80]);
}

#[test]
fn a_server_has_one_link_however_its_address_is_written() {
    let written: [IpAddr; 3] =
        [[127, 0, 0, 1].into(), [0, 0, 0, 0].into(), Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()];
    for told in written {
        for asked in written {
            let sim = Sim::new(0);
            sim.link((told, 80), Link { refused: 1.0, ..Link::default() });
            let mut reactor = sim.reactor().unwrap();
            let mut seen = Seen::default();
            reactor.cx(&mut seen).listen((told, 80), |_, _| listens()).unwrap();
            reactor.cx(&mut seen).connect((asked, 80), says(vec![1]));
            reactor.run(&mut seen).unwrap();
            assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionRefused)], "{told} and {asked}");
        }
    }
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

#[test]
fn without_a_free_descriptor_accepting_waits_and_goes_on_unprompted() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(server(), |_, _| listens()).unwrap();
    for _ in 0..4 {
        cx.connect(server(), says(vec![1; 10]));
    }
    sim.descriptors(5); // just those
    assert!(cx.listen(([10, 0, 0, 1], 81), |_, _| listens()).is_err());
    sim.descriptors(6); // one to accept with, again and again
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen).iter().filter(|kind| kind.is_none()).count(), 8);
    assert_eq!(seen.bytes.len(), 40);
    assert!(sim.now() >= ms(10), "it did not have to wait: {:?}", sim.now());
}

#[test]
fn a_backlog_that_is_full_costs_the_others_a_second() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor_with(Config { backlog: 2, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), |_, _| listens()).unwrap();
    for _ in 0..5 {
        reactor.cx(&mut seen).connect(server(), says(vec![1]));
    }
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes.len(), 5);
    assert_eq!(count(&sim, "is not answered"), 2, "there is room for one more than the backlog says");
}

#[test]
fn who_gives_up_connecting_is_never_accepted() {
    let sim = on(Link { latency: ms(100)..=ms(100), ..Link::default() });
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), |_, _| -> Machine { panic!("it has left") }).unwrap();
    reactor.cx(&mut seen).connect(server(), Machine::default()).deadline(ms(150));
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::TimedOut)]);
}

#[test]
fn a_listener_that_closes_resets_those_who_wait_in_its_backlog() {
    let sim = on(Link { latency: ms(1)..=ms(1), ..Link::default() });
    let mut reactor = sim.reactor::<Seen>().unwrap();
    let mut seen = Seen::default();
    let mut listener = reactor.cx(&mut seen);
    let id = listener.listen(server(), |_, _| Machine::default()).unwrap().id();
    reactor.cx(&mut seen).listener(id).unwrap().limit(0);
    reactor.cx(&mut seen).connect(server(), waits());
    reactor.cx(&mut seen).after(ms(50), move |cx| cx.listener(id).unwrap().close());
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionReset)]);
}

#[test]
fn writing_to_a_peer_that_has_closed_is_taken_once_and_answered_with_a_reset() {
    let slams = Machine {
        opened: Box::new(|conn| {
            conn.abort(ErrorKind::Other.into()); // with nothing unsent: an end, not a reset
            Ok(())
        }),
        ..Machine::default()
    };
    let writes_on = Machine {
        ended: Box::new(|conn, _| {
            conn.write(b"are you there?");
            conn.deadline(ms(500));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.state().notes.push("nothing was heard".into());
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&Sim::new(0), writes_on, slams);
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), Some(ErrorKind::BrokenPipe)]);
    assert_eq!(seen.ends[1].unsent, 0, "the network took it");
    assert!(seen.notes.is_empty());
}

#[test]
fn closing_with_input_unread_destroys_what_still_waits_for_the_line() {
    let link = Link { latency: ms(20)..=ms(20), spacing: ms(10), ..Link::default() };
    let aborts = Machine {
        opened: Box::new(|conn| {
            conn.pause(); // its input stays with the network
            conn.deadline(ms(100));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.write(&pattern(3 * 1460));
            let id = conn.id();
            conn.cx().after(ms(2), move |cx| cx.conn(id).unwrap().abort(ErrorKind::Other.into()));
            Ok(())
        }),
        ..Machine::default()
    };
    let asks = Machine {
        opened: Box::new(|conn| {
            conn.write(b"never read");
            Ok(())
        }),
        ..listens()
    };
    let seen = run_pair(&on(link), asks, aborts);
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), Some(ErrorKind::ConnectionReset)]);
    assert_eq!(seen.bytes, pattern(1460), "the first of three segments had left, and the others had not");
}

#[test]
fn a_reset_after_both_have_finished_destroys_what_still_waits_for_the_line() {
    let link = Link { latency: ms(20)..=ms(20), spacing: ms(10), ..Link::default() };
    let answers = Machine {
        opened: Box::new(|conn| {
            conn.pause(); // the peer's end stays with the network
            conn.deadline(ms(100));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.write(&pattern(3 * 1460));
            conn.finish();
            let id = conn.id();
            conn.cx().after(ms(2), move |cx| cx.conn(id).unwrap().reset(ErrorKind::Other.into()));
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&on(link), says(vec![]), answers);
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), Some(ErrorKind::ConnectionReset)]);
    assert_eq!(seen.bytes, pattern(1460));
}

#[test]
fn a_host_that_crashes_loses_what_still_waits_for_the_line() {
    let sim = on(Link { latency: ms(20)..=ms(20), spacing: ms(10), ..Link::default() });
    let crashes = sim.clone();
    let says_and_crashes = Machine {
        opened: Box::new(move |conn| {
            conn.write(&pattern(3 * 1460));
            let crashes = crashes.clone();
            conn.cx().after(ms(2), move |_| crashes.crash(server()));
            Ok(())
        }),
        ..Machine::default()
    };
    let (mut reactor, mut seen) = pair(&sim, Config::default(), listens(), says_and_crashes);
    assert_eq!(reactor.run(&mut seen).unwrap_err().kind(), ErrorKind::Deadlock, "its peer waits for ever");
    assert_eq!(seen.bytes, pattern(1460), "{}", sim.log());
}

#[test]
fn finishing_towards_a_peer_that_has_closed_destroys_nothing_that_is_under_way() {
    let says_and_goes = Machine {
        opened: Box::new(|conn| {
            conn.write(&pattern(3000));
            let id = conn.id();
            conn.cx().after(ms(2), move |cx| cx.conn(id).unwrap().abort(ErrorKind::Other.into()));
            Ok(())
        }),
        ..Machine::default()
    };
    let finishes = Machine {
        received: Box::new(|conn, input| {
            conn.state().bytes.extend(input.take_all());
            if conn.state().bytes.len() > 1460 {
                conn.finish(); // with the second segment of three
            }
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&on(Link { spacing: ms(10), ..Link::default() }), finishes, says_and_goes);
    assert_eq!(seen.bytes, pattern(3000));
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), None]);
}

#[test]
fn what_was_received_before_a_reset_can_still_be_read() {
    let link = Link { reset_after: Some(500..=500), ..Link::default() };
    let late = Machine {
        opened: Box::new(|conn| {
            conn.pause();
            conn.deadline(ms(100));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.resume();
            Ok(())
        }),
        ..listens()
    };
    let seen = run_pair(&on(link), says(pattern(600)), late);
    assert_eq!(seen.bytes, pattern(500));
    assert_eq!(seen.ends[1].result.as_ref().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_connection_whose_accepted_panics_is_closed_and_its_client_sees_that() {
    let sim = Sim::new(0);
    let mut reactor: Reactor<Seen> = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor
        .cx(&mut seen)
        .listen(server(), |_, _| -> Machine {
            panic!("the machine cannot be made, which is what this test wants")
        })
        .unwrap();
    reactor.cx(&mut seen).connect(server(), waits());
    assert!(catch_unwind(AssertUnwindSafe(|| reactor.run(&mut seen))).is_err());
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [None], "it saw the end");
}

#[test]
fn what_comes_while_a_callback_takes_its_time_is_there_when_it_returns() {
    let sim = Sim::new(0);
    let slow = sim.clone();
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&sizes);
    let takes_time = Machine {
        received: Box::new(move |_, input| {
            noted.borrow_mut().push(input.take_all().len());
            slow.take_time(ms(10));
            Ok(())
        }),
        ..Machine::default()
    };
    run_pair(&sim, says(pattern(5 * 1460)), takes_time);
    assert_eq!(*sizes.borrow(), [1460, 4 * 1460]);
}

#[test]
fn two_listeners_cannot_have_one_address_and_port_0_is_any_free_one() {
    let mut reactor: Reactor<Seen> = Sim::new(0).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut listen = |ip: [u8; 4], port: u16| {
        cx.listen((ip, port), |_, _| listens()).map(|mut listener| listener.local_addr().unwrap())
    };
    let any = listen([10, 0, 0, 1], 0).unwrap();
    assert_ne!(any.port(), 0);
    for ip in [[10, 0, 0, 1], [0, 0, 0, 0]] {
        assert_eq!(listen(ip, any.port()).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
    assert!(listen([10, 0, 0, 2], any.port()).is_ok());
    let everywhere = listen([0, 0, 0, 0], 0).unwrap();
    reactor.cx(&mut seen).connect(([10, 7, 7, 7], everywhere.port()), says(vec![9]));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, [9]);
}

#[test]
fn a_clients_port_is_free_as_soon_as_both_ends_are_closed() {
    let sim = Sim::new(0);
    let (mut reactor, mut seen) = pair(&sim, Config::default(), says(vec![1]), listens());
    let port = {
        let mut cx = reactor.cx(&mut seen);
        cx.connect(server(), says(vec![2])).local_addr().unwrap().port()
    };
    let error = reactor.cx(&mut seen).listen(([127, 0, 0, 1], port), |_, _| listens()).map(|_| ());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::AddrInUse);
    reactor.run(&mut seen).unwrap();
    reactor.cx(&mut seen).listen(([127, 0, 0, 1], port), |_, _| listens()).unwrap();
}

#[test]
fn a_client_is_not_connected_to_itself() {
    let mut reactor = Sim::new(0).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let first = cx.connect(server(), Machine::default()).local_addr().unwrap().port();
    let local = cx.connect(([127, 0, 0, 1], first + 1), Machine::default()).local_addr().unwrap();
    assert_eq!(local.port(), first + 1);
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionRefused); 2]);
}

#[test]
fn a_simulation_has_one_reactor_and_nothing_of_the_kernels() {
    let sim = Sim::new(0);
    let mut reactor: Reactor<Seen> = sim.reactor().unwrap();
    let error = sim.reactor::<Seen>().unwrap_err();
    assert!(error.kind() == ErrorKind::AlreadyExists && error.to_string().contains("another Sim"), "{error}");
    let (ours, _theirs) = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| Ok((std::net::TcpStream::connect(listener.local_addr()?)?, listener)))
        .unwrap();
    let mut seen = Seen::default();
    let error = reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("real reactor"), "{error}");
}
