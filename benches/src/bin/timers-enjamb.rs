//! Timers on `enjamb`.

use enjamb::{Cx, Reactor, TimerId};
use enjamb_benches::timer_work::{self, Timers};
use std::io;
use std::time::Duration;

/// The number of timers that have fired, and the number at which to stop.
#[derive(Default)]
struct Fired {
    count: usize,
    stop_at: usize,
}

fn fired(cx: &mut Cx<'_, Fired>) {
    cx.state.count += 1;
    if cx.state.count == cx.state.stop_at {
        cx.stop();
    }
}

struct Enjamb {
    reactor: Reactor<Fired>,
    state: Fired,
}

impl Timers for Enjamb {
    type Id = TimerId;

    fn insert(&mut self, count: usize, delay: fn(usize) -> Duration, mut each: impl FnMut(TimerId)) {
        let mut cx = self.reactor.cx(&mut self.state);
        (0..count).for_each(|i| each(cx.after(delay(i), fired)));
    }

    fn cancel(&mut self, timers: impl Iterator<Item = TimerId>) {
        let mut cx = self.reactor.cx(&mut self.state);
        timers.for_each(|timer| _ = cx.cancel(timer));
    }

    fn fire(&mut self, count: usize) -> io::Result<()> {
        self.state.stop_at = count;
        self.reactor.run(&mut self.state)
    }
}

fn main() -> io::Result<()> {
    timer_work::run(Enjamb { reactor: Reactor::new()?, state: Fired::default() })
}
