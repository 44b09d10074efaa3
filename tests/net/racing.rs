//! Racing the addresses of a name (RFC 8305), in a simulation: the order of attempts, the winner, the errors.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::common::machine::{Machine, Seen};
use enjamb::sim::{Link, Sim};
use enjamb::{Config, Reactor};

const V4: [[u8; 4]; 3] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]];
const NOW: Duration = Duration::ZERO;

fn v4(n: usize) -> IpAddr {
    V4[n].into()
}

fn v6(n: u16) -> IpAddr {
    [0xfd00, 0, 0, 0, 0, 0, 0, n].into()
}

fn at(ip: IpAddr) -> SocketAddr {
    (ip, 80).into()
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A network in which every way takes 1 ms.
fn network() -> Sim {
    let sim = Sim::new(1);
    sim.links(Link { latency: millis(1)..=millis(1), ..Link::default() });
    sim
}

/// Nothing that is sent to this address is answered.
fn silence(sim: &Sim, ip: IpAddr) {
    sim.link(at(ip), Link { silent: 1.0, ..Link::default() });
}

/// There is no way to this address, and connect(2) says so.
fn unreachable(sim: &Sim, ip: IpAddr) {
    sim.link(at(ip), Link { unreachable: 1.0, ..Link::default() });
}

fn listen(reactor: &mut Reactor<Seen>, seen: &mut Seen, ip: IpAddr) {
    reactor
        .cx(seen)
        .listen(at(ip), |cx, _| {
            cx.state.notes.push("accepted".into());
            Machine::default()
        })
        .unwrap();
}

/// Connects to the name, notes to which address that was and when, and then ends everything.
fn connect(sim: &Sim, reactor: &mut Reactor<Seen>, seen: &mut Seen) {
    let (then, now) = (sim.clone(), sim.clone());
    let client = Machine {
        opened: Box::new(move |conn| {
            let peer = conn.peer_addr()?;
            conn.state().notes.push(format!("opened to {} at {}", peer.ip(), then.now().as_millis()));
            conn.close();
            conn.cx().shutdown(Duration::from_secs(1));
            Ok(())
        }),
        closed: Box::new(move |cx, _| {
            cx.state.notes.push(format!("closed at {}", now.now().as_millis()));
            cx.shutdown(Duration::from_secs(1));
        }),
        ..Machine::default()
    };
    reactor.cx(seen).connect("some.example:80", client);
}

/// Checks times in milliseconds: never early, and at most as late as a few timers make it, which are due at the next
/// whole millisecond each.
#[track_caller]
fn assert_on_time(times: &[u64], expected: &[u64]) {
    let on_time = |(time, expected): (&u64, &u64)| (*expected..=*expected + 5).contains(time);
    assert!(
        times.len() == expected.len() && times.iter().zip(expected).all(on_time),
        "{times:?}, not {expected:?}"
    );
}

/// When connects began, in milliseconds.
fn attempts(sim: &Sim) -> Vec<u64> {
    let log = sim.log();
    let begun = log.lines().filter(|line| line.contains(" connects to "));
    let seconds = begun.map(|line| line.split_whitespace().next().unwrap().parse::<f64>().unwrap());
    seconds.map(|seconds| (seconds * 1000.0) as u64).collect()
}

/// One run against a name with these addresses; those in `open` are listened at.
fn run(sim: &Sim, found: &[IpAddr], open: &[IpAddr]) -> Seen {
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    sim.name("some.example", NOW, found.to_vec());
    for ip in open {
        listen(&mut reactor, &mut seen, *ip);
    }
    connect(sim, &mut reactor, &mut seen);
    reactor.run(&mut seen).unwrap();
    seen
}

/// Checks to which address it connected, and when.
#[track_caller]
fn assert_opened(seen: &Seen, to: IpAddr, at: u64) {
    let opened = seen.notes.iter().filter_map(|note| note.strip_prefix(&format!("opened to {to} at ")));
    let times: Vec<u64> = opened.map(|time| time.parse().unwrap()).collect();
    assert_on_time(&times, &[at]);
}

/// Checks that it failed, and when.
#[track_caller]
fn assert_closed(seen: &Seen, at: u64) {
    let [note] = &seen.notes[..] else { panic!("{:?}", seen.notes) };
    assert_on_time(&[note.strip_prefix("closed at ").unwrap().parse().unwrap()], &[at]);
}

fn failure(seen: &Seen) -> String {
    let [end] = &seen.ends[..] else { panic!("{:?}", seen.ends) };
    end.result.as_ref().unwrap_err().to_string()
}

#[test]
fn an_address_that_answers_is_the_only_one_tried() {
    let sim = network();
    let seen = run(&sim, &[v6(1), v4(0), v6(2)], &[v6(1), v4(0), v6(2)]);
    assert_on_time(&attempts(&sim), &[0]);
    assert_opened(&seen, v6(1), 2);
}

#[test]
fn a_refusal_moves_on_at_once() {
    let sim = network();
    let seen = run(&sim, &[v4(0), v4(1), v4(2)], &[v4(2)]);
    assert_on_time(&attempts(&sim), &[0, 2, 4]);
    assert_opened(&seen, v4(2), 6);
}

#[test]
fn an_address_that_cannot_be_reached_costs_no_time_at_all() {
    let sim = network();
    unreachable(&sim, v6(1));
    unreachable(&sim, v6(2));
    let seen = run(&sim, &[v6(1), v6(2), v4(0)], &[v4(0)]);
    assert_opened(&seen, v4(0), 2);
}

#[test]
fn one_that_does_not_answer_has_the_next_tried_beside_it_after_250_ms() {
    let sim = network();
    silence(&sim, v4(0));
    silence(&sim, v4(1));
    let seen = run(&sim, &[v4(0), v4(1), v4(2)], &[v4(2)]);
    assert_on_time(&attempts(&sim), &[0, 250, 500]);
    assert_opened(&seen, v4(2), 502);
}

#[test]
fn a_refusal_begins_the_250_ms_anew() {
    let sim = network();
    silence(&sim, v4(0));
    sim.link(at(v4(1)), Link { latency: millis(50)..=millis(50), ..Link::default() }); // refuses after 100 ms
    silence(&sim, v4(2));
    let seen = run(&sim, &[v4(0), v4(1), v4(2), v6(1)], &[v6(1)]);
    // v6 comes second, as the families take turns.
    assert_opened(&seen, v6(1), 252);

    let sim = network();
    silence(&sim, v4(0));
    sim.link(at(v4(1)), Link { latency: millis(50)..=millis(50), ..Link::default() });
    silence(&sim, v4(2));
    let last = IpAddr::from([10, 0, 0, 4]);
    let seen = run(&sim, &[v4(0), v4(1), v4(2), last], &[last]);
    assert_on_time(&attempts(&sim), &[0, 250, 350, 600]);
    assert_opened(&seen, last, 602);
}

#[test]
fn the_families_take_turns_beginning_with_the_one_that_is_preferred() {
    for (found, expected) in [
        ([v6(1), v6(2), v4(0), v4(1)], "[fd00::1]:80, 10.0.0.1:80, [fd00::2]:80, 10.0.0.2:80"),
        ([v4(0), v4(1), v6(1), v6(2)], "10.0.0.1:80, [fd00::1]:80, 10.0.0.2:80, [fd00::2]:80"),
    ] {
        let message = failure(&run(&network(), &found, &[]));
        let addrs = message.strip_prefix("connecting to some.example:80: ").unwrap();
        assert_eq!(
            addrs.replace(": connection refused", "").split(';').next().unwrap(),
            expected,
            "{message}"
        );
    }
}

#[test]
fn an_earlier_attempt_may_still_win() {
    let sim = network();
    sim.link(at(v4(0)), Link { latency: millis(130)..=millis(130), ..Link::default() }); // answers after 260 ms
    sim.link(at(v4(1)), Link { latency: millis(130)..=millis(130), ..Link::default() });
    let seen = run(&sim, &[v4(0), v4(1)], &[v4(0), v4(1)]);
    assert_on_time(&attempts(&sim), &[0, 250]);
    assert_opened(&seen, v4(0), 260);
}

#[test]
fn one_deadline_holds_for_the_look_up_and_all_attempts() {
    let sim = network();
    let config = Config { connect_timeout: millis(700), ..Config::default() };
    let mut reactor = sim.reactor_with(config).unwrap();
    let mut seen = Seen::default();
    sim.name("some.example", millis(100), [v4(0), v4(1), v4(2), [10, 0, 0, 4].into(), v6(1)]);
    for ip in [v4(0), v6(1), v4(2)] {
        silence(&sim, ip);
    }
    connect(&sim, &mut reactor, &mut seen);
    reactor.run(&mut seen).unwrap();
    assert_on_time(&attempts(&sim), &[100, 350, 600, 602]);
    assert_closed(&seen, 700);
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(
        failure(&seen),
        "connecting to some.example:80: timed out, 10.0.0.2:80: connection refused, 10.0.0.1:80: no answer yet, \
         [fd00::1]:80: no answer yet, 10.0.0.3:80: no answer yet, 10.0.0.4:80: not tried yet; is the address right, \
         and does a firewall let it through?"
    );
}

#[test]
fn what_came_in_time_counts_although_the_time_is_up_when_it_is_noticed() {
    let sim = network();
    let mut reactor = sim.reactor_with(Config { connect_timeout: millis(10), ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    sim.name("some.example", NOW, [v4(0)]);
    listen(&mut reactor, &mut seen, v4(0));
    let slow = sim.clone();
    reactor.cx(&mut seen).after(millis(1), move |_| slow.take_time(millis(30)));
    connect(&sim, &mut reactor, &mut seen);
    reactor.run(&mut seen).unwrap();
    assert_opened(&seen, v4(0), 31);
}

#[test]
fn the_last_failure_ends_it_without_waiting_for_the_deadline() {
    let sim = network();
    sim.link(at(v4(0)), Link { latency: millis(200)..=millis(200), ..Link::default() }); // refuses after 400 ms
    let seen = run(&sim, &[v4(0), v4(1)], &[]);
    assert_on_time(&attempts(&sim), &[0, 250]);
    assert_closed(&seen, 400);
}

#[test]
fn the_kind_of_the_failure_is_that_of_a_host_that_has_answered() {
    let sim = network();
    unreachable(&sim, v6(1));
    let seen = run(&sim, &[v6(1), v4(0)], &[]);
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let sim = network();
    unreachable(&sim, v6(1));
    let seen = run(&sim, &[v6(1)], &[]);
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), ErrorKind::NetworkUnreachable);
}

#[test]
fn what_is_alive_shows_how_far_it_has_come() {
    let sim = network();
    silence(&sim, v4(0));
    sim.name("some.example", millis(50), [v4(0), v4(1)]);
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let id = cx.connect("some.example:80", Machine::default()).id();
    cx.resolve("some.example", 80, |_, _| ());
    for at in [20, 100] {
        cx.after(millis(at), |cx| {
            let alive = cx.alive().to_string();
            cx.state.notes.push(alive);
        });
    }
    cx.after(millis(200), |cx| cx.shutdown(NOW));
    reactor.run(&mut seen).unwrap();
    let connection = format!("  connection {id} some.example:80, connecting, deadline in 10.0s, ");
    for (alive, end) in [
        (&seen.notes[0], "resolving\n  looking up some.example"),
        (&seen.notes[1], "10.0.0.1:80: no answer yet, 10.0.0.2:80: not tried yet"),
    ] {
        assert!(alive.contains("0 listeners, 1 connections, 0 watched, "), "{alive}");
        assert!(alive.replace("9.9s", "10.0s").ends_with(&format!("{connection}{end}")), "{alive}");
    }
}

#[test]
fn a_name_in_a_simulation_comes_from_its_own_table() {
    let sim = network();
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.set_resolver(|host, _| panic!("{host} is looked up"));
    sim.name("some.example", millis(3), [v6(1), v4(0)]);
    let later = sim.clone();
    reactor.cx(&mut seen).resolve("some.example", 7, move |cx, found| {
        cx.state.notes.push(format!("{:?} at {}", found.unwrap(), later.now().as_millis()));
    });
    reactor.cx(&mut seen).resolve("other.example", 7, |cx, found| {
        cx.state.notes.push(found.unwrap_err().to_string());
    });
    reactor.run(&mut seen).unwrap();
    assert!(seen.notes[0].starts_with("resolving other.example: the simulation has no such name"));
    assert_eq!(seen.notes[1], "[[fd00::1]:7, 10.0.0.1:7] at 3");
}

#[test]
fn whatever_happens_on_the_network_closed_is_called_once_and_nothing_is_left() {
    for seed in 0..300 {
        let sim = Sim::new(seed).hostile();
        let found: Vec<IpAddr> = (0..sim.random(1..=6))
            .map(|n| if n % 2 == 0 { v6(n as u16) } else { v4(n as usize / 2) })
            .collect();
        sim.name("some.example", millis(sim.random(0..=300)), found.clone());
        let mut reactor = sim.reactor().unwrap();
        let mut seen = Seen::default();
        for ip in &found {
            if sim.random(0..=1) == 1 {
                reactor.cx(&mut seen).listen(at(*ip), |_, _| Machine::default()).unwrap();
            }
        }
        let counted = Machine {
            opened: Box::new(|conn| {
                conn.close();
                Ok(())
            }),
            closed: Box::new(|cx, _| cx.state.notes.push("closed".into())),
            ..Machine::default()
        };
        let id = reactor.cx(&mut seen).connect("some.example:80", counted).id();
        let at = millis(sim.random(0..=1500));
        match sim.random(0..=3) {
            0 => drop(reactor.cx(&mut seen).after(at, move |cx| {
                cx.conn(id).into_iter().for_each(|mut conn| conn.close());
            })),
            1 => drop(reactor.cx(&mut seen).after(at, move |cx| cx.shutdown(NOW))),
            2 => reactor.cx(&mut seen).conn(id).unwrap().deadline(at),
            _ => {}
        }
        reactor.cx(&mut seen).after(Duration::from_secs(60), |cx| cx.shutdown(Duration::from_secs(60)));
        reactor.run(&mut seen).unwrap();
        assert_eq!(seen.notes, ["closed"], "seed {seed}");
        let alive = reactor.alive().to_string();
        assert!(alive.starts_with("alive: 0 listeners, 0 connections, 0 watched"), "seed {seed}: {alive}");
    }
}
