//! The random numbers of a simulation, all derived from its seed.

use std::ops::RangeInclusive;

/// SplitMix64. Every seed gives a different stream of 2^64 numbers, more than a simulation draws.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number of the range. An empty range gives its start.
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        match high.saturating_sub(low) {
            0 => low,
            u64::MAX => self.next(),
            width => low + self.next() % (width + 1),
        }
    }

    /// Draws whether an event of this probability happens. Probability 0 draws no number.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && (self.next() >> 11) as f64 / ((1u64 << 53) as f64) < probability
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.within(0..=last as u64) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.within(3..=9), random.within(5..=5), random.within(0..=u64::MAX)]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn chances_and_ranges_keep_their_bounds() {
        let mut random = Random::new(7);
        assert!((0..1000).all(|_| (3..=9).contains(&random.within(3..=9))));
        assert!((0..1000).all(|_| !random.chance(0.0) && random.chance(1.0)));
        let half = (0..10_000).filter(|_| random.chance(0.5)).count();
        assert!((4_700..5_300).contains(&half), "{half}");
    }
}
