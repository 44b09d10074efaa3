//! The loop's time: monotonic, read after each poll and each callback, counted in ticks of a millisecond.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Clock {
    /// The time of a simulation, in the place of the system's.
    simulated: Option<Rc<Cell<Instant>>>,
    base: Instant,
    now: Instant,
    /// What is too long between two readings, and a time until which no two can be that far apart: it saves
    /// subtracting them.
    too_long: Duration,
    unsuspicious_until: Instant,
    /// From `base` to `now`, once somebody has asked.
    elapsed: Cell<Option<Duration>>,
}

impl Clock {
    pub(crate) fn new(too_long: Duration, simulated: Option<Rc<Cell<Instant>>>) -> Self {
        let now = simulated.as_ref().map_or_else(Instant::now, |time| time.get());
        Clock { simulated, base: now, now, too_long, unsuspicious_until: now, elapsed: Cell::new(None) }
    }

    /// The time as last read.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Reads the time.
    #[inline]
    pub(crate) fn read(&mut self) {
        self.set(self.fresh());
    }

    /// Reads the time anew, without taking it as the loop's.
    #[inline]
    pub(crate) fn fresh(&self) -> Instant {
        match &self.simulated {
            None => Instant::now(),
            Some(time) => time.get(),
        }
    }

    /// Takes a fresh reading as the loop's time.
    #[inline]
    pub(crate) fn set(&mut self, now: Instant) {
        self.now = now;
        self.elapsed.set(None);
    }

    /// Whether it may be too long from the last reading to `now`: [`judge`](Self::judge) knows.
    #[inline]
    pub(crate) fn suspects(&self, now: Instant) -> bool {
        now >= self.unsuspicious_until
    }

    /// How long it was from the last reading to `now`, if that was too long.
    pub(crate) fn judge(&mut self, now: Instant) -> Option<Duration> {
        self.unsuspicious_until = now.checked_add(self.too_long).unwrap_or(now);
        Some(now.saturating_duration_since(self.now)).filter(|passed| *passed > self.too_long)
    }

    /// The time as last read, since the loop was made.
    pub(crate) fn elapsed(&self) -> Duration {
        let elapsed = self.elapsed.get().unwrap_or_else(|| self.now.saturating_duration_since(self.base));
        self.elapsed.set(Some(elapsed));
        elapsed
    }

    /// The last tick that has passed.
    pub(crate) fn tick(&self) -> u64 {
        let elapsed = self.elapsed();
        elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis())
    }

    /// The first tick at or after a time since the loop was made: rounded up, so that nothing fires early.
    pub(crate) fn tick_at(since_base: Duration) -> u64 {
        let millis = u64::from(since_base.subsec_nanos().div_ceil(1_000_000));
        since_base.as_secs().saturating_mul(1000).saturating_add(millis)
    }

    /// The first tick at or after `delay` from now, or the last of all where that is beyond counting.
    pub(crate) fn tick_after(&self, delay: Duration) -> u64 {
        Self::tick_at(self.elapsed().saturating_add(delay))
    }

    /// The same, counted from the moment of the call, which may be well after the time was last read.
    pub(crate) fn fresh_after(&self, delay: Duration) -> Duration {
        self.fresh().saturating_duration_since(self.base).saturating_add(delay)
    }

    /// How long it is until a tick: zero when it has passed.
    pub(crate) fn until(&self, tick: u64) -> Duration {
        Duration::from_millis(tick).saturating_sub(self.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_rounded_up_to_its_tick() {
        assert_eq!(Clock::tick_at(Duration::ZERO), 0);
        assert_eq!(Clock::tick_at(Duration::from_nanos(1)), 1);
        assert_eq!(Clock::tick_at(Duration::from_millis(7)), 7);
        assert_eq!(Clock::tick_at(Duration::from_nanos(6_999_999_999)), 7000);
    }

    #[test]
    fn the_longest_delay_does_not_overflow() {
        let clock = Clock::new(Duration::MAX, None);
        assert_eq!(clock.tick_after(Duration::MAX), u64::MAX);
        assert!(clock.until(u64::MAX) > Duration::from_secs(1 << 40));
    }
}
