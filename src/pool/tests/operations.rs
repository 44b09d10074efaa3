//! Random lists of operations. A list that fails is made shorter for as long as it fails, and its seed runs it again.

use std::fmt::Debug;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::net::simulated::Random;
use crate::sim::{Sim, check};

/// What can be done, each with its weight.
pub(in crate::pool) trait Verb: Copy + Debug + PartialEq + 'static {
    const ALL: &'static [(u64, Self)];
}

/// What is done, to whom, and how. The numbers are taken modulo what there is, so that any are good; and all that chance
/// has to do with an operation comes from its own, so that it does the same in a shorter list; 0 is the plainest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::pool) struct Operation<V> {
    pub(in crate::pool) verb: V,
    pub(in crate::pool) whom: u16,
    pub(in crate::pool) how: u32,
}

impl<V: Verb> Operation<V> {
    pub(in crate::pool) fn drawn(chance: &mut Chance) -> Self {
        let mut drawn = chance.below(V::ALL.iter().map(|(weight, _)| weight).sum());
        let found = V::ALL.iter().find(|(weight, _)| match drawn.checked_sub(*weight) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        let verb = found.expect("less than the weights add up to").1;
        Operation { verb, whom: chance.below(1 << 16) as u16, how: chance.below(1 << 32) as u32 }
    }

    /// What is left to chance in this one.
    pub(in crate::pool) fn chance(&self) -> Chance {
        Chance((self.how > 0).then(|| Random::new(self.how.into())))
    }
}

/// Random numbers, or 0 again and again, which should be the plainest.
#[derive(Clone)]
pub(in crate::pool) struct Chance(Option<Random>);

impl Chance {
    pub(in crate::pool) fn below(&mut self, most: u64) -> u64 {
        self.0.as_mut().map_or(0, |random| random.within(0..=most - 1))
    }
}

/// Runs a test with a list of as many operations for every seed, each time in a new simulation. Where it panics, shorter
/// lists are tried, then smaller numbers; what is left is printed, and done once more.
///
/// (proptest goes through a list once, element by element, and tries each that it puts back again. Where each operation
/// changes what the later ones do, that takes many times as long, and stops far from the shortest.)
pub(in crate::pool) fn check_lists<V: Verb>(
    seeds: impl IntoIterator<Item = u64>,
    operations: usize,
    test: impl Fn(&Sim, &[Operation<V>]),
) {
    check(seeds, |sim| {
        let mut chance = Chance(Some(Random::new(sim.seed())));
        let list: Vec<_> = (0..operations).map(|_| Operation::drawn(&mut chance)).collect();
        let fails = |list: &[Operation<V>]| {
            let sim = Sim::new(sim.seed()); // outlives the panic, so that only the last run shows its events
            catch_unwind(AssertUnwindSafe(|| test(&sim, list))).is_err()
        };
        if fails(&list) {
            let list = shrink(list, fails);
            let lines: String = list.iter().map(|operation| format!("\n  {operation:?}")).collect();
            eprintln!("seed {} fails, and {} of its operations are enough:{lines}", sim.seed(), list.len());
            test(sim, &list);
            panic!(
                "it failed, and did not the next time: it must depend on nothing but its seed and its list"
            );
        }
    });
}

type Change<V> = fn(&mut Vec<Operation<V>>, Range<usize>);

/// Leaves out ever smaller parts of a list, and makes ever smaller parts of it simpler, until nothing more can be done to
/// any single operation for the list to fail still.
fn shrink<V: Verb>(
    mut list: Vec<Operation<V>>,
    fails: impl Fn(&[Operation<V>]) -> bool,
) -> Vec<Operation<V>> {
    let leave_out: Change<V> = |list, part| drop(list.drain(part));
    let tame: Change<V> = |list, part| list[part].iter_mut().for_each(|of| of.how = 0);
    let lower: Change<V> = |list, part| list[part].iter_mut().for_each(|of| of.whom = 0);
    let mut part = list.len();
    while part > 0 {
        let before = list.clone();
        for change in [leave_out, tame, lower] {
            let mut at = 0;
            while at < list.len() {
                let mut simpler = list.clone();
                change(&mut simpler, at..list.len().min(at + part));
                if simpler != list && fails(&simpler) {
                    list = simpler;
                } else {
                    at += part;
                }
            }
        }
        // What was needed may have been needed only by something that is no longer there.
        if part > 1 || list == before {
            part /= 2;
        }
    }
    list
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Planted {
    Harmless,
    Arm,
    Fire,
}

impl Verb for Planted {
    const ALL: &'static [(u64, Self)] = &[(90, Planted::Harmless), (5, Planted::Arm), (5, Planted::Fire)];
}

#[test]
fn a_list_that_fails_shrinks_to_the_operations_it_takes_and_does_so_again() {
    let shrunk = || {
        let last = std::cell::RefCell::default();
        let failed = catch_unwind(AssertUnwindSafe(|| {
            check_lists(0..1, 1000, |_, list: &[Operation<Planted>]| {
                last.replace(list.to_vec());
                let armed = list.iter().position(|of| of.verb == Planted::Arm && of.whom > 3);
                let fired = list.iter().rposition(|of| of.verb == Planted::Fire && of.how < u32::MAX);
                assert!(armed.is_none_or(|armed| fired.is_none_or(|fired| fired < armed)), "planted");
            });
        }));
        assert!(failed.is_err());
        last.take()
    };
    let list = shrunk();
    let verbs: Vec<Planted> = list.iter().map(|of| of.verb).collect();
    assert_eq!(verbs, [Planted::Arm, Planted::Fire]);
    assert!(list[0].whom > 3 && list[0].how == 0, "{list:?}");
    assert!(list[1].whom == 0 && list[1].how == 0, "{list:?}");
    assert_eq!(format!("{list:?}"), format!("{:?}", shrunk()));
}
