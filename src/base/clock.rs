//! The loop's time: monotonic, read after each poll and each callback, counted in ticks of a millisecond.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The longest wait in one call, in milliseconds: mio hands the kernel 32 bits.
pub(crate) const LONGEST_WAIT: u64 = i32::MAX as u64 - 1;

/// The tick of a deadline that is not armed.
pub(crate) const NO_DEADLINE: u64 = u64::MAX;

/// The time of a simulation, which sets it.
#[cfg(feature = "sim")]
pub(crate) type Time = std::rc::Rc<Cell<Instant>>;

/// Without simulations there is no value of it, so that the compiler leaves out what is there for one.
#[cfg(not(feature = "sim"))]
#[derive(Debug)]
pub(crate) struct Time(std::convert::Infallible);

#[cfg(not(feature = "sim"))]
impl Time {
    fn get(&self) -> Instant {
        match self.0 {}
    }
}

const TICK: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Clock {
    /// The time of a simulation, in the place of the system's.
    simulated: Option<Time>,
    now: Instant,
    /// When the last poll ended.
    polled: Instant,
    /// What is too long between two readings, and a time until which no two can be that far apart: it saves
    /// subtracting them.
    too_long: Duration,
    unsuspicious_until: Instant,
    /// Those of the time as last read, and those of fresh readings, which run ahead of it.
    ticks: Ticks,
    fresh_ticks: Ticks,
}

impl Clock {
    pub(crate) fn new(too_long: Duration, simulated: Option<Time>) -> Self {
        let now = simulated.as_ref().map_or_else(Instant::now, |time| time.get());
        let ticks = Ticks::since(now);
        Clock {
            simulated,
            now,
            polled: now,
            too_long,
            unsuspicious_until: now,
            fresh_ticks: ticks.clone(),
            ticks,
        }
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
    }

    /// A poll has ended at the time as last read.
    #[inline]
    pub(crate) fn mark_poll(&mut self) {
        self.polled = self.now;
    }

    /// The last tick that had passed when the last poll ended. [`Ticks`] cannot tell: it may have been asked about later
    /// times since.
    pub(crate) fn polled_tick(&self) -> u64 {
        whole_ticks(self.ticks.since_base(self.polled))
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
        self.ticks.since_base(self.now)
    }

    /// The last tick that has passed.
    #[inline]
    pub(crate) fn tick(&self) -> u64 {
        self.ticks.at(self.now).number
    }

    /// The first tick at or after a time since the loop was made: rounded up, so that nothing fires early.
    pub(crate) fn tick_at(since_base: Duration) -> u64 {
        whole_ticks(since_base).saturating_add(u64::from(into_tick(since_base) > 0))
    }

    /// The first tick at or after `delay` from now, or the last of all where that is beyond counting; without delay, the one
    /// that has begun.
    #[inline]
    pub(crate) fn tick_after(&self, delay: Duration) -> u64 {
        self.ticks.after(self.now, delay)
    }

    /// The same, counted from the moment of the call, which may be well after the time was last read.
    #[inline]
    pub(crate) fn fresh_tick_after(&self, delay: Duration) -> u64 {
        self.fresh_ticks.after(self.fresh(), delay)
    }

    /// The same, as a time since the loop was made.
    pub(crate) fn fresh_after(&self, delay: Duration) -> Duration {
        self.ticks.since_base(self.fresh()).saturating_add(delay)
    }

    /// How long it is until a tick: zero when it has passed.
    pub(crate) fn until(&self, tick: u64) -> Duration {
        Duration::from_millis(tick).saturating_sub(self.elapsed())
    }

    /// The same in whole ticks, to which epoll_wait(2) would round it up, as far as one call can wait: so it takes no
    /// comparing and subtracting of times.
    #[inline]
    pub(crate) fn ticks_to_wait(&self, tick: u64) -> u64 {
        tick.saturating_sub(self.tick()).min(LONGEST_WAIT)
    }
}

/// Turns times into ticks. The time asked about only goes forward, and most often it is still in the tick it was in
/// before: comparing it with that tick's end saves subtracting it from the base.
#[derive(Clone, Debug)]
struct Ticks {
    base: Instant,
    last: Cell<Tick>,
}

#[derive(Clone, Copy, Debug)]
struct Tick {
    number: u64,
    begins: Instant,
    ends: Instant,
}

impl Ticks {
    fn since(base: Instant) -> Self {
        Ticks { base, last: Cell::new(Tick { number: 0, begins: base, ends: base }) }
    }

    fn since_base(&self, time: Instant) -> Duration {
        time.saturating_duration_since(self.base)
    }

    /// The tick that a time is in.
    #[inline]
    fn at(&self, time: Instant) -> Tick {
        if time >= self.last.get().ends {
            self.find(time);
        }
        self.last.get()
    }

    #[cold]
    fn find(&self, time: Instant) {
        let since_base = self.since_base(time);
        let into_tick = Duration::from_nanos(into_tick(since_base).into());
        let begins = time.checked_sub(into_tick).unwrap_or(time);
        let ends = begins.checked_add(TICK).unwrap_or(begins);
        self.last.set(Tick { number: whole_ticks(since_base), begins, ends });
    }

    /// The first tick at or after `delay` from a time. Without delay, the tick that the time is in: it has begun, so there
    /// is nothing to wait for.
    #[inline]
    fn after(&self, time: Instant, delay: Duration) -> u64 {
        if into_tick(delay) > 0 {
            return Clock::tick_at(self.since_base(time).saturating_add(delay));
        }
        // Whole ticks can be added to the first that is to come, however far off that is.
        let tick = self.at(time);
        let first = tick.number + u64::from(time > tick.begins && !delay.is_zero());
        first.saturating_add(whole_ticks(delay))
    }
}

#[inline]
fn whole_ticks(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis().into())
}

/// How many nanoseconds are over.
#[inline]
fn into_tick(time: Duration) -> u32 {
    time.subsec_nanos() % TICK.subsec_nanos()
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
    fn a_delay_counts_from_any_time_within_its_tick() {
        let ticks = Ticks::since(Instant::now());
        let (nanos, millis) = (Duration::from_nanos, Duration::from_millis);
        for at in [0, 1, 999_999, 1_000_000, 1_000_001, 1_000_002, 1_999_999, 5_000_000, 7_000_001] {
            let time = ticks.base + nanos(at);
            for delay in [millis(1), millis(3), nanos(1), nanos(999_999), nanos(4_000_001)] {
                assert_eq!(
                    ticks.after(time, delay),
                    Clock::tick_at(nanos(at) + delay),
                    "{at} ns + {delay:?}"
                );
            }
            assert_eq!(ticks.at(time).number, at / 1_000_000);
            assert_eq!(ticks.after(time, Duration::ZERO), at / 1_000_000, "{at} ns without delay");
        }
    }

    #[test]
    fn a_wait_for_a_far_off_timer_is_no_longer_than_one_call_can_be() {
        // As a C int, 2^32 ms would be no wait at all, and the loop would spin.
        let clock = Clock::new(Duration::MAX, None);
        for tick in [LONGEST_WAIT + 1, 1 << 32, u64::MAX] {
            assert_eq!(clock.ticks_to_wait(tick), LONGEST_WAIT);
            assert!(i32::try_from(clock.ticks_to_wait(tick)).is_ok());
        }
        assert_eq!(clock.ticks_to_wait(7), 7);
    }

    #[test]
    fn the_longest_delay_does_not_overflow() {
        let clock = Clock::new(Duration::MAX, None);
        assert_eq!(clock.tick_after(Duration::MAX), u64::MAX);
        assert!(clock.until(u64::MAX) > Duration::from_secs(1 << 40));
    }
}
