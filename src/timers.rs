//! Deadlines: a hierarchical timing wheel over a slab.
//!
//! Time is counted in ticks of one millisecond, which is what epoll_wait(2) can wait for. Level 0 has a list for each
//! of the next 64 ticks, level 1 one for each of the next 64 × 64, and so on (Varghese and Lauck, "Hashed and
//! Hierarchical Timing Wheels", scheme 7). A timer stands at the level of the highest group of six bits in which its
//! deadline differs from the wheel's time, and moves down a level when that time comes; a list is entered and left at
//! its ends only, so timers of equal deadline keep the order in which they were set. Setting, cancelling and firing
//! take the same time however many there are, and allocate nothing once the slab has grown.

use std::num::NonZeroU32;

use slab::Slab;

const LEVELS: usize = 11; // of 6 bits each: all 64 bits, so no deadline is too far
const SLOTS: usize = 64;
/// Timers that were due when they were set. They fire in the next batch, not in the one at hand.
const DUE: u16 = (LEVELS * SLOTS) as u16;
/// The batch at hand.
const FIRING: u16 = DUE + 1;
const LISTS: usize = FIRING as usize + 1;
/// A timer that has fired and may be set again under the same key.
const NO_LIST: u16 = LISTS as u16;
const NIL: u32 = u32::MAX;

/// Names one timer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TimerKey {
    index: u32,
    serial: NonZeroU32, // so that an Option of it takes no more room
}

struct Timer<T> {
    deadline: u64,
    /// `None` while it fires.
    payload: Option<T>,
    serial: NonZeroU32,
    prev: u32,
    next: u32,
    list: u16,
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

pub(crate) struct Timers<T> {
    slab: Slab<Timer<T>>,
    serial: NonZeroU32,
    lists: Box<[List; LISTS]>,
    /// For each list no later than its earliest deadline; exact until that timer is cancelled.
    earliest: Box<[u64; LISTS]>,
    /// Which of a level's lists have timers, and which levels do.
    occupied: [u64; LEVELS],
    levels: u16,
    /// The wheel's time: every deadline up to here has left the wheel.
    elapsed: u64,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers {
            slab: Slab::new(),
            serial: NonZeroU32::MIN,
            lists: Box::new([List { head: NIL, tail: NIL }; LISTS]),
            earliest: Box::new([u64::MAX; LISTS]),
            occupied: [0; LEVELS],
            levels: 0,
            elapsed: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Sets a timer for the tick `deadline`.
    pub(crate) fn insert(&mut self, deadline: u64, payload: T) -> TimerKey {
        self.serial = self.serial.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let serial = self.serial;
        let index = self.slab.insert(Timer {
            deadline,
            payload: Some(payload),
            serial,
            prev: NIL,
            next: NIL,
            list: DUE,
        }) as u32;
        self.place(index);
        TimerKey { index, serial }
    }

    /// Takes a timer out before it fires; `None` if it has fired or was cancelled.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        self.get(key)?;
        self.unlink(key.index);
        self.slab.remove(key.index as usize).payload
    }

    /// The tick a timer is set for, if it has not fired.
    pub(crate) fn deadline(&self, key: TimerKey) -> Option<u64> {
        self.get(key).map(|timer| timer.deadline)
    }

    fn get(&self, key: TimerKey) -> Option<&Timer<T>> {
        self.slab.get(key.index as usize).filter(|timer| timer.serial == key.serial)
    }

    /// The tick at which to look again: that of the next timer, or a little before it where one was cancelled.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.lists[FIRING as usize].head != NIL || self.lists[DUE as usize].head != NIL {
            return Some(self.elapsed);
        }
        let (level, slot) = self.first_occupied()?;
        Some(self.earliest[level * SLOTS + slot])
    }

    /// Moves everything that is due at the tick `now` into the batch that [`fire`](Self::fire) hands out.
    pub(crate) fn expire(&mut self, now: u64) {
        self.move_to_firing(DUE);
        while let Some((level, slot)) = self.first_occupied() {
            let start = self.start_of(level, slot);
            if start > now {
                break;
            }
            self.elapsed = start;
            let list = (level * SLOTS + slot) as u16;
            if level == 0 {
                self.move_to_firing(list);
            } else {
                self.cascade(list);
            }
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// The next timer of the batch. It keeps its key, for [`rearm`](Self::rearm), until it is cancelled.
    pub(crate) fn fire(&mut self) -> Option<(TimerKey, T)> {
        let index = self.lists[FIRING as usize].head;
        if index == NIL {
            return None;
        }
        self.unlink(index);
        let timer = &mut self.slab[index as usize];
        timer.list = NO_LIST;
        Some((TimerKey { index, serial: timer.serial }, timer.payload.take()?))
    }

    /// Sets a timer that has fired again, unless it was cancelled meanwhile.
    pub(crate) fn rearm(&mut self, key: TimerKey, deadline: u64, payload: T) {
        if self.get(key).is_some_and(|timer| timer.list == NO_LIST) {
            let timer = &mut self.slab[key.index as usize];
            timer.deadline = deadline;
            timer.payload = Some(payload);
            self.place(key.index);
        }
    }

    fn first_occupied(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first tick of a list. The higher bits are those of the wheel's time: a list is emptied before the wheel
    /// goes round, so what stands in it is always ahead.
    fn start_of(&self, level: usize, slot: usize) -> u64 {
        let shift = 6 * level as u32;
        let above = u64::MAX.checked_shl(shift + 6).unwrap_or(0);
        (self.elapsed & above) | (slot as u64) << shift
    }

    /// Puts a timer that stands in no list into the one it belongs to.
    fn place(&mut self, index: u32) {
        let deadline = self.slab[index as usize].deadline;
        if deadline <= self.elapsed {
            return self.append(DUE, index);
        }
        let level = (63 - ((self.elapsed ^ deadline) | 1).leading_zeros()) as usize / 6;
        let slot = (deadline >> (6 * level)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;
        self.levels |= 1 << level;
        self.append((level * SLOTS + slot) as u16, index);
    }

    fn cascade(&mut self, list: u16) {
        let mut index = self.clear(list);
        while index != NIL {
            let next = self.slab[index as usize].next;
            if self.slab[index as usize].deadline <= self.elapsed {
                self.append(FIRING, index); // due at the very tick at which its list is opened
            } else {
                self.place(index);
            }
            index = next;
        }
    }

    fn move_to_firing(&mut self, list: u16) {
        let mut index = self.clear(list);
        while index != NIL {
            let next = self.slab[index as usize].next;
            self.append(FIRING, index);
            index = next;
        }
    }

    /// Empties a list and returns what was its head.
    fn clear(&mut self, list: u16) -> u32 {
        let head = self.lists[list as usize].head;
        self.lists[list as usize] = List { head: NIL, tail: NIL };
        self.vacate(list);
        head
    }

    fn vacate(&mut self, list: u16) {
        self.earliest[list as usize] = u64::MAX;
        if list < DUE {
            let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
            self.occupied[level] &= !(1 << slot);
            if self.occupied[level] == 0 {
                self.levels &= !(1 << level);
            }
        }
    }

    fn append(&mut self, list: u16, index: u32) {
        let ends = &mut self.lists[list as usize];
        let tail = std::mem::replace(&mut ends.tail, index);
        if tail == NIL {
            ends.head = index;
        } else {
            self.slab[tail as usize].next = index;
        }
        let timer = &mut self.slab[index as usize];
        timer.list = list;
        timer.prev = tail;
        timer.next = NIL;
        let earliest = &mut self.earliest[list as usize];
        *earliest = timer.deadline.min(*earliest);
    }

    fn unlink(&mut self, index: u32) {
        let Timer { prev, next, list, .. } = self.slab[index as usize];
        if list == NO_LIST {
            return;
        }
        if prev == NIL {
            self.lists[list as usize].head = next;
        } else {
            self.slab[prev as usize].next = next;
        }
        if next == NIL {
            self.lists[list as usize].tail = prev;
        } else {
            self.slab[next as usize].prev = prev;
        }
        if prev == NIL && next == NIL {
            self.vacate(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn next(timers: &mut Timers<u32>) -> Option<u32> {
        let (key, payload) = timers.fire()?;
        timers.cancel(key);
        Some(payload)
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
                assert_eq!(timers.cancel(key), Some(victim.1));
                assert_eq!(timers.cancel(key), None);
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
    fn a_cancelled_timer_of_the_batch_at_hand_does_not_fire() {
        let mut timers = Timers::new();
        let keys = [1, 2, 3].map(|payload| timers.insert(7, payload));
        timers.expire(7);
        assert_eq!(next(&mut timers), Some(1));
        assert_eq!(timers.cancel(keys[1]), Some(2));
        assert_eq!(timers.cancel(keys[0]), None);
        assert_eq!(next(&mut timers), Some(3));
    }

    #[test]
    fn a_timer_keeps_its_key_when_it_is_set_again() {
        let mut timers = Timers::new();
        let set = timers.insert(1, 1u32);
        timers.expire(1);
        let (key, payload) = timers.fire().unwrap();
        assert_eq!(key, set);
        timers.rearm(key, 2, payload);
        assert_eq!(timers.cancel(set), Some(1));
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
        assert!(size_of::<Timer<crate::alarm::Alarm<()>>>() <= 64);
    }
}
