//! What a timer does when it fires, the firing, and the deadlines of connections.

use std::io;
use std::time::Duration;

use crate::Cx;
use crate::base::clock::{Clock, NO_DEADLINE};
use crate::base::error::{self, while_doing};
use crate::base::slots::Key;
use crate::base::wheel::TimerKey;
use crate::reactor::core::Core;

type Many<S> = Box<dyn FnMut(&mut Cx<'_, S>)>;
type Once<S> = Box<dyn FnOnce(&mut Cx<'_, S>)>;

pub(crate) enum Task<S> {
    /// A connection's deadline may have come: the connection knows.
    Deadline(Key),
    /// A listener that could not accept tries again.
    Accept(Key),
    /// A connection that has no socket yet tries another address, or the same listener again.
    Connecting(Key),
    Once(Once<S>),
    Every(Box<Periodic<S>>),
}

pub(crate) struct Periodic<S> {
    pub(crate) period: Duration,
    /// When it is due, since the loop was made. Kept apart from the tick, whose rounding would add up.
    pub(crate) due: Duration,
    pub(crate) call: Many<S>,
}

impl<S> Periodic<S> {
    /// Steps to the next due time after `now`: on the same grid, leaving out what has been missed.
    pub(crate) fn step(&mut self, now: Duration) {
        // 64 bits count the nanoseconds of 584 years. A longer period has not gone by once.
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let behind = now.saturating_sub(self.due);
        let into_period = Duration::from_nanos(nanos(behind) % nanos(self.period));
        self.due = self.due.saturating_add(behind - into_period).saturating_add(self.period);
    }
}

impl<S> Core<S> {
    /// Fires the timers that are due at the tick `now`, but none that one of them sets for it: that one is for the next
    /// time, so that it cannot hold the loop.
    pub(crate) fn fire_timers(&mut self, state: &mut S, now: u64) {
        self.timers.expire(now);
        for _ in 0..self.config.timer_budget {
            // What does not repeat has fired for the last time, whatever its call comes to.
            let fired = self.timers.fire(|task| matches!(task, Task::Every(_)));
            let Some((timer, task)) = fired else { return };
            match task {
                Task::Every(periodic) => self.fire_periodic(state, timer, periodic),
                Task::Deadline(key) => self.deadline_due(state, key, now),
                Task::Accept(key) => self.retry_accept(key),
                Task::Connecting(key) => self.connecting_due(key),
                Task::Once(call) => {
                    call(&mut Cx { state, core: self });
                    self.returned("a timer", None);
                }
            }
        }
    }

    fn fire_periodic(&mut self, state: &mut S, timer: TimerKey, mut periodic: Box<Periodic<S>>) {
        self.firing = Some(timer);
        (periodic.call)(&mut Cx { state, core: self });
        self.returned("a periodic timer", None);
        if self.firing.take().is_some() {
            periodic.step(self.clock.elapsed());
            self.timers.rearm(timer, Clock::tick_at(periodic.due), Task::Every(periodic));
        }
    }

    /// Arms a connection's deadline. Progress of closing does not move this one on. A timer is never set for later than the
    /// deadline, and looks again when it fires: so moving the deadline on with every byte received touches no timer.
    #[inline]
    pub(crate) fn set_deadline(&mut self, key: Key, tick: u64) {
        let Some(stream) = self.slots.stream(key) else { return };
        let tick = tick.min(self.shutdown_by.unwrap_or(NO_DEADLINE));
        let before = std::mem::replace(&mut stream.deadline, tick);
        stream.state.fix_deadline();
        if stream.timer.is_none() || tick == NO_DEADLINE || tick < before {
            self.set_deadline_timer(key);
        }
    }

    /// What is left to do when the deadline is new, disarmed, or moved forward.
    #[inline(never)] // callbacks that only move a deadline on are the smaller for it
    pub(crate) fn set_deadline_timer(&mut self, key: Key) {
        let Some(stream) = self.slots.stream(key) else { return };
        let tick = stream.due();
        if let Some(timer) = stream.timer {
            if tick != NO_DEADLINE && self.timers.deadline(timer).is_some_and(|set| set <= tick) {
                return;
            }
            self.timers.cancel(timer);
            stream.timer = None;
        }
        if tick != NO_DEADLINE {
            stream.timer = Some(self.timers.insert(tick, Task::Deadline(key)));
        }
    }

    /// A connection's timer has fired, as of the tick `now`: its deadline may have moved on since it was set.
    pub(crate) fn deadline_due(&mut self, state: &mut S, key: Key, now: u64) {
        let Some(stream) = self.slots.stream(key) else { return };
        stream.timer = None;
        if stream.due() > now {
            return self.set_deadline_timer(key);
        }
        stream.deadline = NO_DEADLINE;
        if stream.state.is_connecting() {
            self.connect_timed_out(key);
        } else if stream.state.is_ending() && stream.state.is_broken() {
            self.give_up(key);
        } else if stream.state.is_ending() {
            let result = match stream.unsent() {
                0 => Ok(()), // all was sent; only the peer's own end did not come
                _ => Err(while_doing(error::CLOSING, &stream.peer, io::ErrorKind::TimedOut.into())),
            };
            self.doom(key, result);
        } else {
            self.call(state, key, |machine, conn| machine.timed_out(conn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_periodic_timer_neither_drifts_nor_catches_up_in_a_burst() {
        let millis = Duration::from_millis;
        let mut periodic = Periodic::<()> { period: millis(100), due: millis(100), call: Box::new(|_| ()) };
        for (now, next) in [(100, 200), (207, 300), (300, 400), (1_234, 1_300), (1_300, 1_400)] {
            periodic.step(millis(now));
            assert_eq!(periodic.due, millis(next));
        }
    }

    #[test]
    fn a_periodic_timer_finds_its_grid_after_a_stall_of_any_length() {
        let (millis, days) = (Duration::from_millis, |days: u64| Duration::from_secs(days * 24 * 60 * 60));
        for period in [millis(1), millis(3), Duration::from_secs(1), days(365 * 1_000), Duration::MAX] {
            for stall in [days(49), days(50), days(365 * 100), days(365 * 500)] {
                let mut periodic = Periodic::<()> { period, due: period, call: Box::new(|_| ()) };
                let now = period.saturating_add(stall);
                periodic.step(now);
                let ahead = periodic.due.saturating_sub(now);
                let at_the_end_of_time = periodic.due == Duration::MAX;
                assert!(ahead <= period && (at_the_end_of_time || !ahead.is_zero()), "{period:?}, {stall:?}");
                assert!(at_the_end_of_time || periodic.due.as_nanos().is_multiple_of(period.as_nanos()));
            }
        }
    }
}
