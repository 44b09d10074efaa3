//! Numbers as the reader sees them.

use super::timeline::Micros;

/// `12.004 s`
pub fn seconds(time: Micros) -> String {
    thousandths(time) + " s"
}

/// Seconds without the unit.
pub fn thousandths(time: Micros) -> String {
    format!("{:.3}", in_seconds(time))
}

pub fn in_seconds(time: Micros) -> f64 {
    time as f64 / 1e6
}

/// A round length of time: `400 ms`, `4 s`, `1.2 s`, `4 min 10 s`.
pub fn about(time: Micros) -> String {
    let tenths = (time + 50_000) / 100_000;
    match time {
        0..1_000_000 => format!("{} ms", (time + 500) / 1000),
        1_000_000..60_000_000 if tenths.is_multiple_of(10) => format!("{} s", tenths / 10),
        1_000_000..60_000_000 => format!("{}.{} s", tenths / 10, tenths % 10),
        _ => {
            let seconds = time.div_ceil(1_000_000);
            format!("{} min {:02} s", commas(seconds / 60), seconds % 60)
        }
    }
}

/// Milliseconds without the unit: `0.9`, `145`, `1,250`.
pub fn milliseconds(time: Micros) -> String {
    if time < 10_000 { format!("{:.1}", time as f64 / 1e3) } else { commas((time + 500) / 1000) }
}

/// CPU time: `0.9 ms`, `145 ms`, `1.25 s`.
pub fn cpu(time: Micros) -> String {
    if time < 1_000_000 { milliseconds(time) + " ms" } else { format!("{:.2} s", in_seconds(time)) }
}

pub fn mib(kib: u64) -> String {
    format!("{:.1} MiB", in_mib(kib))
}

pub fn in_mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// `5,000`
pub fn commas(number: u64) -> String {
    let digits = number.to_string();
    let comma_before = |index: usize| index > 0 && (digits.len() - index).is_multiple_of(3);
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if comma_before(index) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 poem`, `5,000 poems`
pub fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", commas(number as u64))
}
