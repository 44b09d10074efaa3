use super::*;
use std::collections::BTreeMap;

fn next(timers: &mut Timers<u32>) -> Option<u32> {
    timers.fire(|_| false).map(|(_, payload)| payload)
}

fn fired(timers: &mut Timers<u32>, now: u64) -> Vec<u32> {
    timers.expire(now);
    std::iter::from_fn(|| next(timers)).collect()
}

/// xorshift: the same numbers in every run.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    move |below| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x % below
    }
}

#[test]
fn timers_fire_like_a_sorted_map() {
    let mut number = numbers();
    let mut timers = Timers::new();
    let mut model = BTreeMap::new(); // (deadline, order of setting) → payload and key
    let mut now = 0;
    for order in 0..50_000u32 {
        let spread = [1, 50, 5_000, 500_000, 50_000_000][number(5) as usize];
        let deadline = now + 1 + number(spread);
        let key = timers.insert(deadline, order);
        model.insert((deadline, order), key);
        if number(3) == 0 {
            let victim = *model.iter().nth(number(model.len().min(20) as u64) as usize).unwrap().0;
            let key = model.remove(&victim).unwrap();
            assert!(timers.cancel(key));
            assert!(!timers.cancel(key));
        }
        if number(4) == 0 {
            if let Some((&(deadline, _), _)) = model.first_key_value() {
                assert!(timers.next().unwrap() <= deadline, "would oversleep");
            }
            let stride = [2, 100, 10_000, 1_000_000][number(4) as usize];
            now += number(stride);
            let later = model.split_off(&(now + 1, 0));
            let expected: Vec<u32> = model.keys().map(|&(_, order)| order).collect();
            assert_eq!(fired(&mut timers, now), expected);
            model = later;
        }
        assert_eq!(timers.len(), model.len());
    }
}

#[test]
fn the_next_tick_is_exact_while_nothing_is_cancelled() {
    let mut timers = Timers::new();
    for deadline in [86_400_000, 3_600_123, 10_007, 5] {
        timers.insert(deadline, 0u32);
        assert_eq!(timers.next(), Some(deadline));
    }
}

#[test]
fn after_a_cancel_the_next_tick_may_be_early_but_does_not_stand_still() {
    let mut timers = Timers::new();
    let early = timers.insert(5_000, 1u32);
    timers.insert(5_050, 2u32);
    timers.cancel(early);
    let mut now = 0;
    let mut wakes = 0;
    while !timers.is_empty() {
        now = timers.next().unwrap().max(now);
        fired(&mut timers, now);
        wakes += 1;
    }
    assert_eq!(now, 5_050);
    assert!(wakes <= 3, "{wakes} wakes for one timer");
}

#[test]
fn a_timer_due_when_it_is_set_waits_for_the_next_batch() {
    let mut timers = Timers::new();
    timers.insert(1, 1u32);
    timers.expire(1);
    timers.insert(1, 2);
    assert_eq!(next(&mut timers), Some(1));
    assert!(next(&mut timers).is_none());
    assert_eq!(timers.next(), Some(1));
    assert_eq!(fired(&mut timers, 1), [2]);
}

#[test]
fn what_is_left_of_a_batch_fires_before_what_became_due_meanwhile() {
    let mut timers = Timers::new();
    for payload in [1, 2] {
        timers.insert(5, payload);
    }
    timers.expire(5);
    assert_eq!(next(&mut timers), Some(1));
    timers.insert(5, 3u32);
    timers.insert(6, 4);
    assert_eq!(timers.next(), Some(5), "the next turn would wait");
    assert_eq!(fired(&mut timers, 6), [2]);
    assert_eq!(fired(&mut timers, 6), [3, 4]);
}

#[test]
fn a_cancelled_timer_of_the_batch_at_hand_does_not_fire() {
    let mut timers = Timers::new();
    let keys = [1, 2, 3].map(|payload| timers.insert(7, payload));
    timers.expire(7);
    assert_eq!(next(&mut timers), Some(1));
    assert!(timers.cancel(keys[1]));
    assert!(!timers.cancel(keys[0]));
    assert_eq!(next(&mut timers), Some(3));
}

#[test]
fn a_timer_keeps_its_key_when_it_is_set_again() {
    let mut timers = Timers::new();
    let set = timers.insert(1, 1u32);
    timers.expire(1);
    let (key, payload) = timers.fire(|_| true).unwrap();
    assert_eq!(key, set);
    timers.rearm(key, 2, payload);
    assert!(timers.cancel(set));
    timers.rearm(key, 3, payload);
    assert!(timers.is_empty(), "a cancelled timer came back");
}

#[test]
fn the_farthest_deadline_neither_overflows_nor_fires() {
    let mut timers = Timers::new();
    timers.insert(u64::MAX, 1u32);
    assert_eq!(fired(&mut timers, u64::MAX - 1), [0u32; 0]);
    assert_eq!(fired(&mut timers, u64::MAX), [1]);
}

#[test]
fn a_million_cancelled_timers_do_not_pile_up() {
    let mut timers = Timers::new();
    for round in 0..1_000_000u64 {
        let key = timers.insert(round + 60_000, 0u32);
        timers.cancel(key);
    }
    assert!(timers.is_empty() && timers.slab.capacity() < 16);
}

#[test]
fn a_timer_is_at_most_64_bytes() {
    assert!(size_of::<Timer<crate::reactor::timers::Task<()>>>() <= 64);
}
