//! Deadlines: a hierarchical timing wheel over a slab.
//!
//! Time is counted in ticks of one millisecond, which is what epoll_wait(2) can wait for. Level 0 has a list for each
//! of the next 64 ticks, level 1 one for each of the next 64 × 64, and so on (Varghese and Lauck, "Hashed and
//! Hierarchical Timing Wheels", scheme 7). A timer stands at the level of the highest group of six bits in which its
//! deadline differs from the wheel's time, and moves down a level when that time comes; a list is entered and left at
//! its ends only, so timers of equal deadline keep the order in which they were set. Setting, cancelling and firing
//! take the same time however many there are, and allocate nothing once the slab has grown.
//!
//! What is due is fired from where it stands: [`expire`](Timers::expire) only says up to which tick the batch goes, and
//! the wheel's time follows as [`fire`](Timers::fire) comes to each list.

use std::num::NonZeroU32;

use slab::Slab;

const LEVELS: usize = 11; // of 6 bits each: all 64 bits, so no deadline is too far
const SLOTS: usize = 64;
/// Timers that were due when they were set. They fire in the next batch, not in the one at hand, so there are two such
/// lists: one is added to while the other fires.
const OVERDUE: [u16; 2] = [WHEEL, WHEEL + 1];
const WHEEL: u16 = (LEVELS * SLOTS) as u16;
const LISTS: usize = WHEEL as usize + OVERDUE.len();
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
    /// The neighbours, where there are any: a list knows its own ends, and what these point to beyond means nothing.
    prev: u32,
    next: u32,
    list: u16,
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    /// No later than the earliest deadline; exact until that timer is cancelled.
    earliest: u64,
}

impl List {
    const EMPTY: List = List { head: NIL, tail: NIL, earliest: u64::MAX };

    fn is_empty(&self) -> bool {
        self.head == NIL
    }
}

pub(crate) struct Timers<T> {
    slab: Slab<Timer<T>>,
    serial: NonZeroU32,
    lists: Box<[List; LISTS]>,
    /// Which of a level's lists have timers, and which levels do.
    occupied: [u64; LEVELS],
    levels: u16,
    /// The wheel's time: no deadline before it is left in the wheel.
    elapsed: u64,
    /// The last tick of the batch at hand.
    batch: u64,
    /// The list that fires. Between batches it is an empty one that nothing is added to.
    open: u16,
    /// Which of the overdue lists is added to.
    overdue: usize,
    /// No later than the earliest deadline of all; exact until that timer is cancelled, or the batch at hand is fired.
    next: u64,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers {
            slab: Slab::new(),
            serial: NonZeroU32::MIN,
            lists: Box::new([List::EMPTY; LISTS]),
            occupied: [0; LEVELS],
            levels: 0,
            elapsed: 0,
            batch: 0,
            open: OVERDUE[1],
            overdue: 0,
            next: u64::MAX,
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
        let index = self.slab.vacant_key() as u32;
        let list = self.list_for(deadline);
        let prev = self.append(list, index, deadline);
        self.next = self.next.min(deadline);
        self.slab.insert(Timer { deadline, payload: Some(payload), serial, prev, next: NIL, list });
        TimerKey { index, serial }
    }

    /// Takes a timer out; `false` if there was nothing left to fire.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> bool {
        let Some(&Timer { prev, next, list, .. }) = self.get(key) else { return false };
        if list != NO_LIST {
            self.unlink(key.index, prev, next, list);
        }
        self.slab.remove(key.index as usize).payload.is_some()
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
        (!self.is_empty()).then_some(self.next)
    }

    /// Begins the batch of what is due at the tick `now`, unless one is still at hand.
    pub(crate) fn expire(&mut self, now: u64) {
        if self.open_is_empty() && !self.open_next() {
            self.open = OVERDUE[self.overdue];
            self.overdue = 1 - self.overdue;
            self.batch = self.batch.max(now);
        }
    }

    /// The next timer of the batch. If it `repeats`, it keeps its key, for [`rearm`](Self::rearm), until it is
    /// cancelled.
    pub(crate) fn fire(&mut self, repeats: impl FnOnce(&T) -> bool) -> Option<(TimerKey, T)> {
        if self.open_is_empty() && !self.open_next() {
            self.next = self.find_next();
            return None;
        }
        let index = self.lists[self.open as usize].head;
        let timer = &mut self.slab[index as usize];
        let key = TimerKey { index, serial: timer.serial };
        let next = timer.next;
        let payload = if timer.payload.as_ref().is_some_and(repeats) {
            timer.list = NO_LIST;
            timer.payload.take()
        } else {
            self.slab.remove(index as usize).payload
        };
        let ends = &mut self.lists[self.open as usize];
        if ends.tail == index {
            self.vacate(self.open);
        } else {
            ends.head = next;
        }
        Some((key, payload?))
    }

    /// Sets a timer that has fired again, unless it was cancelled meanwhile.
    pub(crate) fn rearm(&mut self, key: TimerKey, deadline: u64, payload: T) {
        if self.get(key).is_some_and(|timer| timer.list == NO_LIST) {
            let timer = &mut self.slab[key.index as usize];
            timer.deadline = deadline;
            timer.payload = Some(payload);
            self.link(self.list_for(deadline), key.index, deadline);
            self.next = self.next.min(deadline);
        }
    }

    fn open_is_empty(&self) -> bool {
        self.lists[self.open as usize].is_empty()
    }

    /// Opens the next list of the batch; `false` if there is none.
    #[inline(never)] // once for a list, not for each timer in it
    fn open_next(&mut self) -> bool {
        self.open = OVERDUE[1 - self.overdue]; // what was open may be filled again, for a later tick
        while let Some((level, slot)) = self.first_occupied() {
            let start = self.start_of(level, slot);
            if start > self.batch {
                break;
            }
            self.elapsed = start;
            match level.checked_sub(1) {
                None => {
                    self.open = slot as u16;
                    return true;
                }
                Some(below) => self.cascade((level * SLOTS + slot) as u16, below),
            }
        }
        self.elapsed = self.batch;
        false
    }

    fn find_next(&self) -> u64 {
        let overdue = &self.lists[OVERDUE[self.overdue] as usize];
        if !overdue.is_empty() {
            return overdue.earliest;
        }
        self.first_occupied().map_or(u64::MAX, |(level, slot)| self.lists[level * SLOTS + slot].earliest)
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

    /// The list that a timer set now belongs to.
    fn list_for(&self, deadline: u64) -> u16 {
        if deadline <= self.batch {
            return OVERDUE[self.overdue];
        }
        let highest_bit = 63 - (self.elapsed ^ deadline).leading_zeros();
        slot_at(highest_bit as usize / 6, deadline)
    }

    /// Moves a list that is opened to the lists of the level below.
    fn cascade(&mut self, list: u16, below: usize) {
        let List { head: mut index, tail, .. } = self.lists[list as usize];
        self.vacate(list);
        loop {
            let Timer { deadline, next, .. } = self.slab[index as usize];
            self.link(slot_at(below, deadline), index, deadline);
            if index == tail {
                break;
            }
            index = next;
        }
    }

    /// Puts a timer that stands in no list at the end of one.
    fn link(&mut self, list: u16, index: u32, deadline: u64) {
        let prev = self.append(list, index, deadline);
        let timer = &mut self.slab[index as usize];
        timer.list = list;
        timer.prev = prev;
    }

    /// Lets a list end in a timer, and returns which one is before it.
    fn append(&mut self, list: u16, index: u32, deadline: u64) -> u32 {
        let ends = &mut self.lists[list as usize];
        ends.earliest = ends.earliest.min(deadline);
        let prev = std::mem::replace(&mut ends.tail, index);
        if prev != NIL {
            self.slab[prev as usize].next = index;
        } else {
            ends.head = index;
            if list < WHEEL {
                let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
                self.occupied[level] |= 1 << slot;
                self.levels |= 1 << level;
            }
        }
        prev
    }

    fn unlink(&mut self, index: u32, prev: u32, next: u32, list: u16) {
        let ends = &mut self.lists[list as usize];
        match (ends.head == index, ends.tail == index) {
            (true, true) => self.vacate(list),
            (true, false) => ends.head = next,
            (false, true) => ends.tail = prev,
            (false, false) => {
                self.slab[prev as usize].next = next;
                self.slab[next as usize].prev = prev;
            }
        }
    }

    fn vacate(&mut self, list: u16) {
        self.lists[list as usize] = List::EMPTY;
        if list < WHEEL {
            let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
            self.occupied[level] &= !(1 << slot);
            if self.occupied[level] == 0 {
                self.levels &= !(1 << level);
            }
        }
    }
}

fn slot_at(level: usize, deadline: u64) -> u16 {
    let slot = (deadline >> (6 * level)) as usize % SLOTS;
    (level * SLOTS + slot) as u16
}

#[cfg(test)]
mod tests;
