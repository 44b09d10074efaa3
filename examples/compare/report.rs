//! What a client tells the program that started it: a line for each thing that happened.

use super::timeline::{Figures, Micros, Outcome, Run};
use std::fmt;

pub enum Report<'a> {
    Started,
    Connected {
        poem: usize,
        at: Micros,
    },
    Received {
        poem: usize,
        at: Micros,
        bytes: &'a [u8],
    },
    Ended {
        poem: usize,
        at: Micros,
    },
    Failed {
        poem: usize,
        at: Micros,
        why: &'a str,
    },
    Progress {
        bytes: u64,
    },
    Done(Figures),
    /// The strategy cannot do this at all.
    Cannot {
        why: &'a str,
    },
    /// The strategy could have, and did not.
    GaveUp {
        why: &'a str,
    },
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => write!(to, "started"),
            Self::Connected { poem, at } => write!(to, "connected {poem} {at}"),
            Self::Received { poem, at, bytes } => {
                write!(to, "received {poem} {at} ")?;
                bytes.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
            }
            Self::Ended { poem, at } => write!(to, "ended {poem} {at}"),
            Self::Failed { poem, at, why } => write!(to, "failed {poem} {at} {}", one_line(why)),
            Self::Progress { bytes } => write!(to, "progress {bytes}"),
            Self::Done(Figures { wall, cpu, peak_kib, threads, verified }) => {
                write!(to, "done {wall} {cpu} {peak_kib} {threads} {verified}")
            }
            Self::Cannot { why } => write!(to, "cannot {}", one_line(why)),
            Self::GaveUp { why } => write!(to, "gave-up {}", one_line(why)),
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

/// Adds a line to what is known of the run; `None` if it is not a report.
pub fn apply(line: &str, run: &mut Run) -> Option<()> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "started" => {}
        "progress" => run.bytes_so_far = rest.parse().ok()?,
        "done" => run.outcome = Outcome::Done(figures(rest)?),
        "cannot" => run.outcome = Outcome::Skipped(rest.to_string()),
        "gave-up" => run.outcome = Outcome::Failed(rest.to_string()),
        _ => apply_to_track(verb, rest, run)?,
    }
    Some(())
}

fn apply_to_track(verb: &str, rest: &str, run: &mut Run) -> Option<()> {
    let mut words = rest.splitn(3, ' ');
    let track = run.tracks.get_mut(words.next()?.parse::<usize>().ok()?)?;
    let at = words.next()?.parse().ok()?;
    match verb {
        "connected" => track.connected = Some(at),
        "received" => track.received(at, &unhex(words.next()?)?),
        "ended" => track.ended = Some(at),
        "failed" => {
            track.ended = Some(at);
            track.failure = Some(words.next()?.to_string());
        }
        _ => return None,
    }
    Some(())
}

fn figures(rest: &str) -> Option<Figures> {
    let numbers: Vec<u64> = rest.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[wall, cpu, peak_kib, threads, verified] = numbers.as_slice() else { return None };
    Some(Figures {
        wall,
        cpu,
        peak_kib,
        threads: usize::try_from(threads).ok()?,
        verified: usize::try_from(verified).ok()?,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(pair).collect()
}
