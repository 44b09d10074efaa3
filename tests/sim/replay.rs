//! A simulation repeats itself, tells why it failed, and lets time pass at no cost.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::common::child;
use crate::common::logged;
use crate::common::machine::{Machine, Seen};
use crate::common::simulated::{listens, pair, run_pair, says, server};
use enjamb::sim::{Link, Sim, check};
use enjamb::{Config, Reactor};

fn log_of(seed: u64) -> (String, (u64, u64)) {
    let sim = Sim::new(seed).hostile();
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), |_, _| listens()).unwrap();
    for n in 1..20 {
        reactor.cx(&mut seen).connect(server(), says(vec![n; 1 << (n % 12)]));
    }
    reactor.cx(&mut seen).after(Duration::from_secs(5000), |cx| cx.shutdown(Duration::ZERO));
    reactor.run(&mut seen).unwrap();
    (sim.log(), sim.fingerprint())
}

#[test]
fn the_same_seed_gives_the_same_log_byte_for_byte_and_another_seed_another() {
    let logs: Vec<_> = (0..30).map(log_of).collect();
    for (seed, (log, fingerprint)) in logs.iter().enumerate() {
        let again = log_of(seed as u64);
        assert_eq!((log, fingerprint), (&again.0, &again.1));
        assert_eq!(log.lines().count() as u64, fingerprint.0);
    }
    for (n, one) in logs.iter().enumerate() {
        assert!(logs[..n].iter().all(|other| other != one), "seed {n} is like another");
    }
}

/// What a run with names, and with many connections under way, tells of itself.
fn told(seed: u64) -> String {
    let sim = Sim::new(seed).hostile();
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(server(), |_, _| listens()).unwrap();
    for n in 0..10 {
        let (name, ms) = (format!("n{n}.example"), Duration::from_millis(10 * n));
        sim.name(&name, ms, [[10, 0, 0, 2], [10, 0, 0, 1], [10, 0, 0, 3]]);
        cx.connect((name.as_str(), 80), says(vec![1; 100]));
        cx.resolve(&name, 80, |_, _| ());
    }
    cx.after(Duration::from_millis(15), |cx| {
        let alive = cx.alive().to_string();
        cx.state.notes.push(alive);
    });
    cx.after(Duration::from_secs(5000), |cx| cx.shutdown(Duration::ZERO));
    reactor.run(&mut seen).unwrap();
    format!("{:?} {}\n{}", sim.fingerprint(), sim.log(), seen.notes.join("\n"))
}

/// Prints what it is told, when it is asked to.
#[test]
fn tells_in_a_child() {
    if std::env::var_os("ENJAMB_TEST_TELLS").is_some() {
        (0..5).for_each(|seed| println!("{}", told(seed)));
    }
}

#[test]
fn another_process_tells_the_same_byte_for_byte() {
    let output = child::only(tells_in_a_child).env("ENJAMB_TEST_TELLS", "1").output().unwrap();
    let theirs = String::from_utf8(output.stdout).unwrap();
    for seed in 0..5 {
        let ours = told(seed);
        assert!(ours.contains("looking up n") && ours.lines().count() > 100, "{ours}");
        assert!(theirs.contains(&ours), "seed {seed} tells this here: {ours}\nand this elsewhere: {theirs}");
    }
}

#[test]
fn a_calm_network_is_the_same_whatever_the_seed() {
    let log = |seed| {
        let sim = Sim::new(seed);
        run_pair(&sim, says(vec![1; 5000]), listens());
        sim.log()
    };
    assert_eq!(log(1), log(2));
}

#[test]
fn the_log_tells_what_happened_to_whom_and_when() {
    let sim = Sim::new(0);
    run_pair(&sim, says(vec![1; 10]), listens());
    let log = sim.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "   0.000000 s  #1 listens on 10.0.0.1:80");
    assert_eq!(lines[1], "   0.000000 s  #2 connects to 10.0.0.1:80");
    for line in ["#2 is connected with #3", "#2 writes 10 bytes", "#3 is accepted", "#3 has 10 bytes arrive"]
    {
        assert!(log.contains(line), "{log}");
    }
}

/// Fails with one of its seeds, when it is asked to.
#[test]
fn fails_with_seed_7_in_a_child() {
    if std::env::var_os("ENJAMB_TEST_FAILS").is_none() {
        return;
    }
    check(0..20, |sim| {
        let seen = run_pair(sim, says(vec![1; 10]), listens());
        println!("a run with {sim:?}");
        assert!(format!("{sim:?}") != "Sim { seed: 7, .. }" || seen.bytes.is_empty(), "planted");
    });
}

fn failing_with(seed: Option<&str>) -> (bool, String) {
    let mut command = child::only(fails_with_seed_7_in_a_child);
    command.env("ENJAMB_TEST_FAILS", "1");
    match seed {
        Some(seed) => command.env("ENJAMB_SEED", seed),
        None => command.env_remove("ENJAMB_SEED"),
    };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

#[test]
fn a_failing_run_prints_its_seed_and_the_last_events_and_the_seed_replays_it() {
    let (success, said) = failing_with(None);
    assert!(!success && said.matches("a run with").count() == 8, "{said}");
    assert!(said.contains("seed 7") && said.contains("ENJAMB_SEED=7 runs it again"), "{said}");
    assert!(said.contains("#2 connects to 10.0.0.1:80") && said.contains("#3 reads 10 bytes"), "{said}");
    let (success, again) = failing_with(Some("7"));
    assert!(!success && again.matches("a run with").count() == 1, "{again}");
    let events = |said: &str| said.lines().filter(|line| line.contains(" s  #")).map(String::from).collect();
    let (first, second): (Vec<_>, Vec<_>) = (events(&said), events(&again));
    assert!(first == second && first.len() > 10, "{again}");
    let (success, other) = failing_with(Some("8"));
    assert!(success && other.matches("a run with").count() == 1, "{other}");
    let (success, none) = failing_with(Some("seven"));
    assert!(!success && none.contains("ENJAMB_SEED=seven is not a seed: give a number"), "{none}");
}

#[test]
fn that_nothing_will_ever_happen_is_an_error_with_the_seed_and_who_waits() {
    let sim = Sim::new(77);
    let (mut reactor, mut seen) = pair(&sim, Config::default(), Machine::default(), Machine::default());
    let error = reactor.run(&mut seen).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    let message = error.to_string();
    for part in ["seed 77", "without a deadline", "2 connections", "10.0.0.1:80"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(seen.ends.is_empty());
}

#[test]
fn a_listener_alone_ends_the_run_because_nobody_will_come() {
    let mut reactor: Reactor<Seen> = Sim::new(0).reactor().unwrap();
    let _handle = reactor.handle();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), |_, _| listens()).unwrap();
    reactor.run(&mut seen).unwrap();
}

#[test]
fn a_loop_that_spins_is_an_error_with_advice() {
    let sim = Sim::new(5);
    let (mut reactor, mut seen) = pair(&sim, Config::default(), Machine::default(), Machine::default());
    fn again(handle: enjamb::Handle<Seen>) {
        let next = handle.clone();
        handle.post(move |_| again(next)).unwrap();
    }
    again(reactor.handle());
    let error = reactor.run(&mut seen).unwrap_err().to_string();
    assert!(error.contains("spins") && error.contains("seed 5") && error.contains("posts itself"), "{error}");
}

#[test]
fn a_machine_that_resumes_with_input_left_for_ever_is_a_spin_too() {
    let never_enough = Machine {
        received: Box::new(|conn, _| {
            conn.pause();
            conn.resume();
            Ok(())
        }),
        ..Machine::default()
    };
    let (mut reactor, mut seen) = pair(&Sim::new(0), Config::default(), says(vec![1]), never_enough);
    let error = reactor.run(&mut seen).unwrap_err().to_string();
    assert!(error.contains("spins") && error.contains("input left"), "{error}");
}

#[test]
fn what_other_threads_and_callbacks_post_is_run() {
    let sim = Sim::new(0);
    let mut reactor: Reactor<Vec<u8>> = sim.reactor().unwrap();
    let mut state = Vec::new();
    let handle = reactor.handle();
    std::thread::spawn(move || {
        let again = handle.clone();
        handle
            .post(move |cx| {
                cx.state.push(1);
                again.post(|cx| cx.state.push(2)).unwrap();
                cx.after(Duration::from_secs(1), move |cx| {
                    cx.state.push(3);
                    drop(again);
                });
            })
            .unwrap();
    })
    .join()
    .unwrap();
    reactor.run(&mut state).unwrap();
    assert_eq!(state, [1, 2, 3]);
    assert!(sim.now() >= Duration::from_secs(1));
}

#[test]
fn an_hour_of_timers_takes_no_time_and_none_is_early() {
    let sim = Sim::new(0);
    let mut reactor: Reactor<u64> = sim.reactor().unwrap();
    let mut fired = 0;
    for second in 1..=3600 {
        let sim = sim.clone();
        reactor.cx(&mut fired).after(Duration::from_secs(second), move |cx| {
            assert!(sim.now() >= Duration::from_secs(second));
            *cx.state += 1;
            assert_eq!(*cx.state, second);
        });
    }
    reactor.run(&mut fired).unwrap();
    assert_eq!(fired, 3600);
    let late = sim.now() - Duration::from_secs(3600);
    assert!(late < Duration::from_millis(10), "{late:?}: time passed for nothing");
}

#[test]
fn what_is_due_after_the_end_of_time_never_happens() {
    let mut reactor: Reactor<Seen> = Sim::new(0).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.after(Duration::MAX, |_| panic!("it is not that late"));
    cx.every(Duration::MAX, |_| panic!("it is not that late"));
    cx.after(Duration::from_secs(u64::MAX / 1000), |_| panic!("it is not that late"));
    reactor.run(&mut seen).unwrap();
}

#[test]
fn the_longest_latency_and_the_longest_callback_do_not_overflow() {
    let sim = Sim::new(0);
    sim.links(Link { latency: Duration::MAX..=Duration::MAX, coalesce: Duration::MAX, ..Link::default() });
    let seen = run_pair(&sim, says(vec![1]), listens());
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
    sim.take_time(Duration::MAX);
    sim.take_time(Duration::MAX);
}

#[test]
fn a_real_reactor_waits_for_its_timers() {
    let mut reactor: Reactor<bool> = Reactor::new().unwrap();
    let start = Instant::now();
    let mut fired = false;
    reactor.cx(&mut fired).after(Duration::from_millis(20), |cx| *cx.state = true);
    reactor.run(&mut fired).unwrap();
    assert!(fired && start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_callback_that_takes_long_by_the_simulated_clock_is_warned_about() {
    logged::capture();
    let sim = Sim::new(0);
    let mut reactor: Reactor<()> = sim.reactor().unwrap();
    reactor.cx(&mut ()).after(Duration::ZERO, move |_| sim.take_time(Duration::from_secs(2)));
    reactor.run(&mut ()).unwrap();
    let warnings = logged::captured(log::Level::Warn);
    assert!(warnings.len() == 1 && warnings[0].contains("2.0s"), "{warnings:?}");
}
