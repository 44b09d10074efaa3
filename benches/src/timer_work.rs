//! The work of the timer programs.
//!
//! ```text
//! timers-PEER insert|cancel|fire|hold LIVE TIMES
//! ```
//!
//! does one thing TIMES times, with LIVE other timers. `insert`, `cancel` and `fire` print the nanoseconds of CPU time
//! per operation and the seconds of the whole run; `hold` prints the bytes of LIVE timers.

use std::io;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::resident;

/// A library's timers. Each timer calls a function that counts.
pub trait Timers {
    type Id;

    /// Sets `count` timers. The delay of each is `delay` of its number. Passes the id of each to `each`.
    fn insert(&mut self, count: usize, delay: fn(usize) -> Duration, each: impl FnMut(Self::Id));

    fn cancel(&mut self, timers: impl Iterator<Item = Self::Id>);

    /// Runs until `count` timers have fired.
    fn fire(&mut self, count: usize) -> io::Result<()>;
}

/// A delay within a minute, in no order: 7,919 is coprime to it.
pub(crate) fn far(i: usize) -> Duration {
    Duration::from_millis((60_000 + i * 7_919 % 60_000) as u64)
}

/// A delay within a second.
fn near(i: usize) -> Duration {
    Duration::from_millis((i * 7_919 % 1_000) as u64)
}

/// Performs the work of the command line. The state before the work is the same for every `TIMES`, so the difference of
/// two runs is the work alone.
pub fn run<T: Timers>(mut timers: T) -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).and_then(|n| n.parse().ok());
    let (Some(work), Some(live), Some(times)) = (arguments.first(), number(1), number(2)) else {
        return Err(wrong_usage());
    };
    let mut ids = Vec::with_capacity(live);
    let before = resident("self")?;
    if work == "hold" {
        timers.insert(live, far, std::mem::forget);
        println!("{}", resident("self")?.saturating_sub(before));
        return Ok(());
    }
    timers.insert(live, far, |id| ids.push(id));
    if work == "fire" {
        timers.insert(live, near, |id| ids.push(id));
    }
    let mut ids = ids.into_iter();
    let (begun, cpu) = (Instant::now(), cpu_time()?);
    match work.as_str() {
        "insert" => timers.insert(times, far, std::mem::forget),
        "cancel" => timers.cancel(ids.by_ref().take(times)),
        "fire" if times > 0 => timers.fire(times)?,
        "fire" => {}
        _ => return Err(wrong_usage()),
    }
    let each = (cpu_time()? - cpu).as_nanos() as f64 / times as f64;
    println!("{each:.1} {:.3}", begun.elapsed().as_secs_f64());
    std::mem::forget((timers, ids)); // dropping the live timers would count as work
    Ok(())
}

fn wrong_usage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "usage: timers-PEER insert|cancel|fire|hold LIVE TIMES")
}

fn cpu_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}
