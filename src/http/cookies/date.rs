//! The parser for cookie dates. It accepts every format that servers use (RFC 6265 section 5.1.1).

use std::time::{Duration, SystemTime};

/// Parses a date. A date before 1970 becomes the start of 1970, which is equally in the past.
pub(crate) fn cookie_date(text: &str) -> Option<SystemTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        // A token takes the first meaning that fits and is still open.
        if let Some(found) = clock(token).filter(|_| time.is_none()) {
            time = Some(found);
        } else if let Some(found) = number(token, 1, 2).filter(|_| day.is_none()) {
            day = Some(found);
        } else if let Some(found) = month_of(token).filter(|_| month.is_none()) {
            month = Some(found);
        } else if let Some(found) = number(token, 2, 4).filter(|_| year.is_none()) {
            year = Some(found);
        }
    }
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let ((hour, minute, second), day, month) = (time?, day?, month?);
    let good = (1..=31).contains(&day) && year >= 1601 && hour <= 23 && minute <= 59 && second <= 59;
    if !good || day > days_in(month, year) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    let seconds = u64::try_from(days * 86_400 + i64::from(hour * 3600 + minute * 60 + second)).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn is_delimiter(character: char) -> bool {
    matches!(character, '\t' | ' '..='/' | ';'..='@' | '['..='`' | '{'..='~')
}

/// Parses a number of `least` to `most` digits. A non-digit may follow.
fn number(token: &str, least: usize, most: usize) -> Option<u32> {
    let digits = token.bytes().take_while(u8::is_ascii_digit).count();
    if (least..=most).contains(&digits) { token[..digits].parse().ok() } else { None }
}

fn clock(token: &str) -> Option<(u32, u32, u32)> {
    let mut fields = token.splitn(3, ':');
    let (hour, minute, second) = (fields.next()?, fields.next()?, fields.next()?);
    let whole = |field: &str| number(field, 1, 2).filter(|_| field.len() <= 2);
    Some((whole(hour)?, whole(minute)?, number(second, 1, 2)?))
}

/// The number of a month, from 1.
fn month_of(token: &str) -> Option<u32> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = token.get(..3)?;
    (1..).zip(MONTHS).find_map(|(number, month)| start.eq_ignore_ascii_case(month).then_some(number))
}

fn days_in(month: u32, year: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The number of days from 1970-01-01, in the Gregorian calendar. Years are counted from March, so that the leap day is
/// the last.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let in_year = (153 * month + 2) / 5 + day - 1;
    // There are 719,468 days from 1 March of the year 0 to 1 January 1970.
    i64::from(year) * 365 + i64::from(leap_days) + i64::from(in_year) - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        Some(cookie_date(text)?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
    }

    #[test]
    fn all_forms_that_servers_write_are_read() {
        for text in [
            "Wed, 09 Jun 2021 10:18:14 GMT",
            "Wednesday, 09-Jun-21 10:18:14 GMT",
            "Wed Jun  9 10:18:14 2021",
            "Wed, 09-JUN-2021 10:18:14 GMT",
            "9 june 2021 10:18:14.5",
        ] {
            assert_eq!(seconds(text), Some(1_623_233_894), "{text}");
        }
    }

    #[test]
    fn the_calendar_is_right() {
        for (text, is) in [
            ("1 Jan 1970 00:00:00", Some(0)),
            ("1 Jan 1960 00:00:00", Some(0)),
            ("29 Feb 2000 00:00:00", Some(951_782_400)),
            ("1 Mar 2000 00:00:00", Some(951_868_800)),
            ("29 Feb 2024 23:59:59", Some(1_709_251_199)),
            ("31 Dec 9999 23:59:59", Some(253_402_300_799)),
            ("1 Jan 69 00:00:00", Some(3_124_224_000)),
            ("1 Jan 70 00:00:00", Some(0)),
            ("29 Feb 1900 00:00:00", None),
            ("31 Apr 2021 00:00:00", None),
            ("0 Apr 2021 00:00:00", None),
            ("1 Apr 1600 00:00:00", None),
            ("1 Apr 2021 24:00:00", None),
            ("1 Apr 2021 00:60:00", None),
            ("1 Apr 2021", None),
            ("1 2021 00:00:00", None),
            ("Apr 00:00:00", None),
            ("1 Äpr 2021 00:00:00", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), is, "{text}");
        }
    }
}
