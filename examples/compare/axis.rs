//! The time axis, one for all the strategies.

use super::timeline::Micros;

pub struct Axis {
    /// The time at its end.
    pub end: Micros,
    /// From 0 to there, in columns or in pixels.
    pub length: f64,
}

pub struct Tick {
    pub at: Micros,
    pub label: String,
}

impl Axis {
    pub fn new(end: Micros, length: f64) -> Self {
        Self { end: end.max(1), length }
    }

    pub fn position(&self, at: Micros) -> f64 {
        at.min(self.end) as f64 / self.end as f64 * self.length
    }

    /// The column that a moment falls into; what comes after the end is in the one after the last.
    pub fn column(&self, at: Micros) -> usize {
        self.position(at) as usize
    }

    /// How much time one column or pixel stands for.
    pub fn resolution(&self) -> Micros {
        (self.end as f64 / self.length) as Micros
    }

    /// Round moments, at least `room` apart.
    pub fn ticks(&self, room: f64) -> Vec<Tick> {
        let wide_enough = |step: &Micros| *step as f64 / self.end as f64 * self.length >= room;
        let Some(step) = round_steps().find(wide_enough) else { return Vec::new() };
        (0..=self.end / step).map(|n| Tick { at: n * step, label: label(n * step, step) }).collect()
    }
}

/// 1, 2, 5, 10, 20, 50, …
fn round_steps() -> impl Iterator<Item = Micros> {
    (0..18).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)))
}

fn label(at: Micros, step: Micros) -> String {
    match step {
        _ if at == 0 => "0 s".to_string(),
        0..1_000 => format!("{:.3} ms", at as f64 / 1e3),
        1_000..100_000 => format!("{} ms", at / 1_000),
        100_000..1_000_000 => format!("{:.1} s", at as f64 / 1e6),
        _ => format!("{} s", at / 1_000_000),
    }
}
