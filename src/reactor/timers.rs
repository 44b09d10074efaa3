//! What a timer does when it fires.

use std::time::Duration;

use crate::Cx;
use crate::base::slots::Key;

type Many<S> = Box<dyn FnMut(&mut Cx<'_, S>)>;
type Once<S> = Box<dyn FnOnce(&mut Cx<'_, S>)>;

pub(crate) enum Alarm<S> {
    /// A connection's deadline may have come: the connection knows.
    Deadline(Key),
    /// A listener that could not accept tries again.
    Retry(Key),
    /// A connection that has no socket yet tries another address, or the same listener again.
    Redial(Key),
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
        let behind = now.saturating_sub(self.due).as_nanos();
        let periods = behind / self.period.as_nanos() + 1;
        let step = u32::try_from(periods).ok().and_then(|periods| self.period.checked_mul(periods));
        self.due = step.and_then(|step| self.due.checked_add(step)).unwrap_or(Duration::MAX);
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
}
