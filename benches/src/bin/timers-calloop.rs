//! Timers on calloop: a source for each.

use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, RegistrationToken};
use enjamb_benches::timer_work::{self, Timers};
use std::io;
use std::time::Duration;

struct Calloop {
    event_loop: EventLoop<'static, usize>,
    fired: usize,
}

impl Timers for Calloop {
    type Id = RegistrationToken;

    fn insert(&mut self, count: usize, delay: fn(usize) -> Duration, mut each: impl FnMut(Self::Id)) {
        let handle = self.event_loop.handle();
        for i in 0..count {
            let timer = Timer::from_duration(delay(i));
            let inserted = handle.insert_source(timer, |_, (), fired| {
                *fired += 1;
                TimeoutAction::Drop
            });
            each(inserted.expect("a timer cannot be refused"));
        }
    }

    fn cancel(&mut self, timers: impl Iterator<Item = Self::Id>) {
        let handle = self.event_loop.handle();
        timers.for_each(|timer| handle.remove(timer));
    }

    fn fire(&mut self, count: usize) -> io::Result<()> {
        while self.fired < count {
            self.event_loop.dispatch(None, &mut self.fired).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    timer_work::run(Calloop { event_loop: EventLoop::try_new().map_err(io::Error::other)?, fired: 0 })
}
