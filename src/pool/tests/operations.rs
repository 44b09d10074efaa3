//! Random lists of operations. A failing list is shortened as long as it still fails; its seed runs it again.

use std::fmt::Debug;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::net::simulated::Random;
use crate::sim::{Sim, check};

/// The operations, each with its weight.
pub(in crate::pool) trait Verb: Copy + Debug + PartialEq + 'static {
    const ALL: &'static [(u64, Self)];
}

/// An operation, its object, and its variant. The numbers are taken modulo the number of objects, so every number is
/// valid. All randomness of an operation comes from its own number, so it does the same in a shorter list. 0 is the
/// simplest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::pool) struct Operation<V> {
    pub(in crate::pool) verb: V,
    pub(in crate::pool) object: u16,
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
        Operation { verb, object: chance.below(1 << 16) as u16, how: chance.below(1 << 32) as u32 }
    }

    /// The random numbers of this operation.
    pub(in crate::pool) fn chance(&self) -> Chance {
        Chance((self.how > 0).then(|| Random::new(self.how.into())))
    }
}

/// Random numbers, or always 0, the simplest.
#[derive(Clone)]
pub(in crate::pool) struct Chance(Option<Random>);

impl Chance {
    pub(in crate::pool) fn below(&mut self, most: u64) -> u64 {
        self.0.as_mut().map_or(0, |random| random.within(0..=most - 1))
    }
}

/// Runs a test with a list of this many operations for every seed, each time in a new simulation. After a panic, it
/// tries shorter lists, then smaller numbers; it prints the smallest failing list and runs it once more.
///
/// (proptest passes over a list once, element by element, and retries each element that it puts back. When operations
/// change the effect of later ones, that takes many times as long and ends far from the shortest list.)
pub(in crate::pool) fn check_lists<V: Verb>(
    seeds: impl IntoIterator<Item = u64>,
    operations: usize,
    test: impl Fn(&Sim, &[Operation<V>]),
) {
    check(seeds, |sim| {
        let mut chance = Chance(Some(Random::new(sim.seed())));
        let list: Vec<_> = (0..operations).map(|_| Operation::drawn(&mut chance)).collect();
        let fails = |list: &[Operation<V>]| {
            let sim = Sim::new(sim.seed()); // outlives the panic, so that only the last run prints its events
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

/// Removes ever smaller parts of a list, and simplifies ever smaller parts of it, until any further change to a single
/// operation makes the list pass.
fn shrink<V: Verb>(
    mut list: Vec<Operation<V>>,
    fails: impl Fn(&[Operation<V>]) -> bool,
) -> Vec<Operation<V>> {
    let leave_out: Change<V> = |list, part| drop(list.drain(part));
    let tame: Change<V> = |list, part| list[part].iter_mut().for_each(|of| of.how = 0);
    let lower: Change<V> = |list, part| list[part].iter_mut().for_each(|of| of.object = 0);
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
        // An operation may be removable now, because the operations that needed it are gone.
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
                let armed = list.iter().position(|of| of.verb == Planted::Arm && of.object > 3);
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
    assert!(list[0].object > 3 && list[0].how == 0, "{list:?}");
    assert!(list[1].object == 0 && list[1].how == 0, "{list:?}");
    assert_eq!(format!("{list:?}"), format!("{:?}", shrunk()));
}
