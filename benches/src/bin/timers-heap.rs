//! Timers by hand, on the standard library's binary heap. A cancelled timer stays in the heap until it is due.

use enjamb_benches::timer_work::{self, Timers};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::time::{Duration, Instant};

type Call = Box<dyn FnOnce(&mut usize)>;

fn fired(count: &mut usize) {
    *count += 1;
}

/// A slot of the slab, and the serial number of its tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    serial: u64,
    index: usize,
}

#[derive(Default)]
struct Heap {
    calls: Slab<(u64, Call)>,
    serial: u64,
    queue: BinaryHeap<Reverse<(Instant, Id)>>,
    fired: usize,
}

impl Heap {
    fn take(&mut self, id: Id) -> Option<Call> {
        self.calls.get(id.index).filter(|(serial, _)| *serial == id.serial)?;
        Some(self.calls.remove(id.index).1)
    }
}

impl Timers for Heap {
    type Id = Id;

    fn insert(&mut self, count: usize, delay: fn(usize) -> Duration, mut each: impl FnMut(Id)) {
        for i in 0..count {
            self.serial += 1;
            let id = Id { serial: self.serial, index: self.calls.insert((self.serial, Box::new(fired))) };
            self.queue.push(Reverse((Instant::now() + delay(i), id)));
            each(id);
        }
    }

    fn cancel(&mut self, timers: impl Iterator<Item = Id>) {
        timers.for_each(|id| drop(self.take(id)));
    }

    fn fire(&mut self, count: usize) -> io::Result<()> {
        while self.fired < count
            && let Some(&Reverse((due, _))) = self.queue.peek()
        {
            let now = Instant::now();
            std::thread::sleep(due.saturating_duration_since(now));
            while self.fired < count
                && let Some(&Reverse((due, id))) = self.queue.peek()
                && due <= now
            {
                self.queue.pop();
                if let Some(call) = self.take(id) {
                    call(&mut self.fired);
                }
            }
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    timer_work::run(Heap::default())
}
