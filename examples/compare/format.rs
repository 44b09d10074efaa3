//! Text for the user: numbers with their units, paragraphs as lines, the bytes of poems as letters.

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

/// A rounded time: `400 ms`, `4 s`, `1.2 s`, `4 min 10 s`.
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

/// MiB without the unit: `6.2`.
pub fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
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

/// Lines of at most `width`, broken between words.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// Lines of at most `width`, where the label is to the left of the first.
pub fn hanging(label: &str, text: &str, width: usize) -> Vec<String> {
    let indent = label.chars().count();
    let texts = wrap(text, width.saturating_sub(indent).max(1));
    let line = |(number, text): (usize, &String)| {
        let left = if number == 0 { label.to_string() } else { " ".repeat(indent) };
        (left + text).trim_end().to_string()
    };
    texts.iter().enumerate().map(line).collect()
}

/// The bytes of a poem, with a dot for each character that is not printable or not one cell wide.
pub fn visible(bytes: &[u8]) -> String {
    let cell = |letter: char| {
        // From U+0300 on, some characters are two cells wide or none. The soft hyphen may be invisible.
        let narrow = ('!'..'\u{300}').contains(&letter) && !letter.is_control() && letter != '\u{ad}';
        if narrow { letter } else { '·' }
    };
    String::from_utf8_lossy(bytes).chars().map(cell).collect()
}

/// The text, cut if it is longer than the room; then a gap of one letter follows.
pub fn cut(text: String, room: Option<usize>) -> String {
    let Some(room) = room.filter(|&room| room < text.chars().count()) else { return text };
    text.chars().take(if room > 1 { room - 1 } else { room }).collect()
}
