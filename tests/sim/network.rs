//! The links of the simulated network: segments, latency, buffers, refusals, resets, the order of readiness.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::common::machine::{Machine, Seen};
use crate::common::simulated::{listens, pair, run_pair, says, server};
use crate::common::times::ms;
use enjamb::Config;
use enjamb::sim::{Link, Polling, Sim};

pub fn on(link: Link) -> Sim {
    let sim = Sim::new(3);
    sim.links(link);
    sim
}

pub fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 % 251) as u8).collect()
}

/// Opens and waits for ever.
pub fn waits() -> Machine {
    Machine {
        opened: Box::new(|conn| {
            conn.deadline(None);
            Ok(())
        }),
        ..Machine::default()
    }
}

pub fn kinds(seen: &Seen) -> Vec<Option<ErrorKind>> {
    seen.ends.iter().map(|end| end.result.as_ref().err().map(|error| error.kind())).collect()
}

/// How often a line of the log ends like this.
pub fn count(sim: &Sim, what: &str) -> usize {
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
