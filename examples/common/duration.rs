//! Durations on the command line: `500ms`, `1s`, `1.5s`, `2m`, `1h`.

use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A parser for clap that takes at least this many milliseconds: 0 where no pause is fine, 1 for a timeout.
pub fn at_least_ms(least: u64) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        parse(text).filter(|duration| (Duration::from_millis(least)..=LONGEST).contains(duration)).ok_or_else(
            || {
                format!(
                    "expected a number with its unit, from {least}ms to 24h, such as 500ms, 1s, 1.5s or 2m"
                )
            },
        )
    }
}

fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    // Only digits and a point: what else a float may be (a sign, spaces) is not a duration.
    if !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds_per_unit).ok()
}
