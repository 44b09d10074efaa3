//! Random machines on a random network. For every seed, the loop keeps its promises:
//!
//! - `closed` comes exactly once, and no callback after it.
//! - Every byte written arrives, in order, or `End` tells the loss.
//! - A machine that is told of the peer's end has had all bytes.
//! - Memory is bounded by the water marks and limits.
//! - Timers and deadlines are never early, and equal ones fire in order.
//! - No turn is without progress.
//!
//! `tests/README.md` has the commands for events in a second, for a long run, and for one seed again.

mod action;
mod grid;
mod machine;
mod steady;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, UNIX_EPOCH};

use self::action::{Action, Source, Verb};
use self::world::World;
use enjamb::Config;
use enjamb::sim::{Sim, check};
use proptest::prelude::*;

/// Whether somebody else panicked than those who were to.
fn is_planted(panic: &(dyn std::any::Any + Send)) -> bool {
    panic.downcast_ref::<&str>() == Some(&"planted")
}

/// Runs a simulation to its end, checks what must hold, and returns how many events there were.
fn run(sim: &Sim, source: Source, size: u32) -> u64 {
    let config = Config {
        low_water: machine::HIGH_WATER / 4,
        high_water: machine::HIGH_WATER,
        output_limit: machine::OUTPUT_LIMIT,
        input_limit: machine::INPUT_LIMIT,
        read_buffer: machine::READ_BUFFER,
        read_budget: 1 << sim.random(8..=16),
        accept_budget: sim.random(1..=3) as usize,
        call_budget: sim.random(1..=3) as usize,
        timer_budget: sim.random(1..=3) as usize,
        events: sim.random(1..=20) as usize,
        slow_callback: Duration::MAX,
        ..Config::default()
    };
    if sim.random(0..=3) == 0 {
        // Too few for all, and more than there are listeners: who waits comes to its turn.
        sim.descriptors(sim.random(12..=24) as usize);
    }
    let mut reactor = sim.reactor_with(config).unwrap();
    let mut world = World::new(sim.clone(), source, reactor.handle(), size);
    let mut cx = reactor.cx(&mut world);
    machine::listen(&mut cx, 1000);
    for _ in 0..sim.random(1..=5) {
        machine::connect(&mut cx, 0);
    }
    let mut turns = 0u64;
    loop {
        turns += 1;
        match catch_unwind(AssertUnwindSafe(|| reactor.turn(&mut world, None))) {
            Ok(Ok(turn)) if turn.alive || std::mem::take(&mut world.stopped) => {}
            Ok(result) => break assert!(result.is_ok(), "{result:?}"),
            Err(panic) if is_planted(&*panic) => {}
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let (events, _) = sim.fingerprint();
        let progress = events + world.callbacks + u64::from(size);
        assert!(
            turns <= 2 * progress + 100,
            "{turns} turns for {events} events and {} callbacks",
            world.callbacks
        );
    }
    world.check();
    let alive = reactor.alive().to_string();
    assert!(alive.contains(" 0 connections, 0 watched, 0 timers"), "{alive}");
    sim.fingerprint().0
}

/// A network as bad as the seed makes it.
fn troubled(sim: &Sim) -> Sim {
    match sim.random(0..=3) {
        0 => sim.clone(),
        1 => sim.clone().hostile(),
        _ => sim.clone().rough(),
    }
}

#[test]
fn whatever_happens_what_the_loop_promises_holds() {
    check(0..400, |sim| {
        let sim = troubled(sim);
        run(&sim, Source::Seed(sim.clone()), 60);
    });
}

#[test]
fn no_event_is_lost_where_nothing_else_would_set_a_machine_going_again() {
    check(0..300, steady::run);
}

#[test]
fn a_million_events() {
    if cfg!(debug_assertions) {
        return println!("this one is for release builds");
    }
    println!("{}", run_for(|events, _| events >= 1_000_000));
}

#[test]
#[ignore = "takes as long as it is told: ENJAMB_SOAK=seconds"]
fn soak() {
    let seconds = std::env::var("ENJAMB_SOAK").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    println!("{}", run_for(|_, passed| passed >= Duration::from_secs(seconds)));
}

/// Runs one seed after another, of which it has never seen most, until it is `enough`; says how many events there were.
fn run_for(enough: impl Fn(u64, Duration) -> bool) -> String {
    let (start, seeds, events) = (Instant::now(), Cell::new(0u64), Cell::new(0u64));
    let first = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() << 20);
    check((first..).take_while(|_| !enough(events.get(), start.elapsed())), |sim| {
        let sim = troubled(sim);
        seeds.set(seeds.get() + 1);
        events.set(events.get() + run(&sim, Source::Seed(sim.clone()), 200));
        let steady = Sim::new(sim.random(0..=u64::MAX));
        steady::run(&steady);
        events.set(events.get() + steady.fingerprint().0);
    });
    format!(
        "{} events in {} simulations, from seed {first}, in {:.1?}",
        events.get(),
        seeds.get(),
        start.elapsed()
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_list_of_actions_does_what_the_loop_promises_holds(
        seed in 0u64..1000,
        actions in prop::collection::vec(any_action(), 0..300),
    ) {
        let sim = troubled(&Sim::new(seed));
        run(&sim, Source::List(actions.into_iter()), 60);
    }
}

fn any_action() -> impl Strategy<Value = Action> {
    let verb = prop::sample::select(Verb::ALL.map(|(_, verb)| verb).to_vec());
    (verb, any::<u16>(), any::<u32>()).prop_map(|(verb, whom, much)| Action { verb, whom, much })
}
