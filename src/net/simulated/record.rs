//! The events of a simulation, to print and to compare runs.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The number of events that are kept, enough to find the cause of a failure. The fingerprint covers all events.
const KEPT: usize = 10_000;

/// An event at one end of a connection, or at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Connect(SocketAddr),
    Connected(u32),
    Refused,
    Unanswered,
    GiveUp,
    Accept,
    Arrive(usize),
    End,
    Reset,
    Crash,
    Ready(u32),
    Spurious,
    Read(usize),
    Write(usize),
    Finish,
    Close,
    Listen(SocketAddr),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Connect(to) => write!(f, "connects to {to}"),
            What::Connected(other) => write!(f, "is connected with #{other}"),
            What::Refused => f.write_str("is refused"),
            What::Unanswered => f.write_str("is not answered"),
            What::GiveUp => f.write_str("gives up: there was no answer for too long"),
            What::Accept => f.write_str("is accepted"),
            What::Arrive(n) => write!(f, "has {n} bytes arrive"),
            What::End => f.write_str("has the peer's end arrive"),
            What::Reset => f.write_str("is reset"),
            What::Crash => f.write_str("is lost: its host crashes"),
            What::Ready(bits) => {
                let names = [(1, "read"), (2, "write"), (4, "read to the end")];
                let ready: Vec<_> =
                    names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
                write!(f, "is reported ready to {}", ready.join(", "))
            }
            What::Spurious => f.write_str("is reported ready for no reason"),
            What::Read(n) => write!(f, "reads {n} bytes"),
            What::Write(n) => write!(f, "writes {n} bytes"),
            What::Finish => f.write_str("finishes"),
            What::Close => f.write_str("closes"),
            What::Listen(on) => write!(f, "listens on {on}"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    at: Duration,
    who: u32,
    what: What,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, micros) = (self.at.as_secs(), self.at.subsec_micros());
        write!(f, "{secs:>4}.{micros:06} s  #{} {}", self.who, self.what)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    events: VecDeque<Event>,
    count: u64,
    fingerprint: u64,
}

impl Record {
    pub(crate) fn add(&mut self, at: Duration, who: u32, what: What) {
        use std::hash::{DefaultHasher, Hash, Hasher};
        // A new hasher with fixed keys gives the same value in every run.
        let mut hasher = DefaultHasher::new();
        (self.fingerprint, at, who, what).hash(&mut hasher);
        self.fingerprint = hasher.finish();
        self.count += 1;
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(Event { at, who, what });
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The last `n` events, one per line.
    pub(crate) fn last(&self, n: usize) -> String {
        let skipped = self.events.len().saturating_sub(n);
        self.events.iter().skip(skipped).map(|event| format!("{event}\n")).collect()
    }
}
