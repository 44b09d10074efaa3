//! What is asked of every program that has timers.
//!
//! ```text
//! timers-PEER insert|cancel|fire|hold LIVE TIMES
//! ```
//!
//! does one thing as often as told, while a number of others are live. `insert`, `cancel` and `fire` print the
//! nanoseconds of CPU time that each took, and the seconds until all was done; `hold` prints the bytes that LIVE take.

use std::io;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::resident;

/// The timers of a library, each of which calls a function that counts.
pub trait Timers {
    type Id;

    /// Sets as many, each for what `delay` says of its number, and hands over what cancels it.
    fn insert(&mut self, count: usize, delay: fn(usize) -> Duration, each: impl FnMut(Self::Id));

    fn cancel(&mut self, timers: impl Iterator<Item = Self::Id>);

    /// Runs until as many have fired.
    fn fire(&mut self, count: usize) -> io::Result<()>;
}

/// Spreads them over a minute, in no order: 7,919 is prime to it.
pub(crate) fn far(i: usize) -> Duration {
    Duration::from_millis((60_000 + i * 7_919 % 60_000) as u64)
}

/// Spreads them over a second.
fn near(i: usize) -> Duration {
    Duration::from_millis((i * 7_919 % 1_000) as u64)
}

/// Does what the command line says. What is there beforehand is the same for every `TIMES`, so that the difference of
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
    std::mem::forget((timers, ids)); // dropping what is still live would count as part of the work
    Ok(())
}

fn wrong_usage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "usage: timers-PEER insert|cancel|fire|hold LIVE TIMES")
}

fn cpu_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}
