//! Runs a test for many seeds, and replays one.

use std::env;

use crate::net::simulated::SEED;
use crate::sim::Sim;

/// Runs a test once for each seed, each time in a new simulation. A run that panics prints its seed and the last
/// events. With `ENJAMB_SEED=17` in the environment, only seed 17 runs, and repeats that run.
///
/// ```
/// use enjamb::sim::{Script, check};
///
/// check(0..20, |sim| {
///     let mut reactor = sim.clone().rough().reactor::<()>().unwrap();
///     let server = ([10, 0, 0, 1], 7);
///     reactor.cx(&mut ()).listen(server, |_, _| Script::new().expect("ping").say("pong").close()).unwrap();
///     reactor.cx(&mut ()).connect(server, Script::new().say("ping").expect("pong"));
///     reactor.run(&mut ()).unwrap();
/// });
/// ```
///
/// # Panics
/// If `test` panics, or if `ENJAMB_SEED` is not a number.
pub fn check(seeds: impl IntoIterator<Item = u64>, test: impl Fn(&Sim)) {
    match env::var(SEED) {
        Ok(seed) => {
            let seed = seed
                .parse()
                .unwrap_or_else(|_| panic!("{SEED}={seed} is not a seed: give a number from 0 to 2^64-1"));
            run(seed, &test);
        }
        Err(_) => seeds.into_iter().for_each(|seed| run(seed, &test)),
    }
}

fn run(seed: u64, test: impl Fn(&Sim)) {
    let sim = Sim::new(seed);
    sim.network().checked = true;
    test(&sim);
}
