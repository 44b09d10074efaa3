//! What the HTTP clients share: what they are asked for, and what they say of it.

use std::io;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// So many GETs of this, so many at once: each lane has one after another.
pub struct Asked {
    pub url: String,
    pub lanes: usize,
    /// How many GETs each lane is to do.
    pub each: usize,
}

/// What the command line asks for: `URL COUNT LANES`.
pub fn asked() -> io::Result<Asked> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next();
    let mut number = || arguments.next()?.parse::<usize>().ok().filter(|number| *number > 0);
    match (url, number(), number()) {
        (Some(url), Some(count), Some(lanes)) => Ok(Asked { url, lanes, each: count / lanes }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "expected URL COUNT LANES")),
    }
}

/// Measures what is done while it lives: after the first request of each lane, which connects.
pub struct Meter {
    begun: Instant,
    cpu: i64,
}

impl Meter {
    pub fn start() -> io::Result<Meter> {
        Ok(Meter { begun: Instant::now(), cpu: cpu()? })
    }

    /// Says how many bytes came meanwhile, and the microseconds that it took: by the clock, and of CPU.
    pub fn stop(self, bytes: usize) -> io::Result<()> {
        let (wall, cpu) = (self.begun.elapsed().as_micros(), cpu()? - self.cpu);
        println!("{bytes} {wall} {cpu}");
        Ok(())
    }
}

/// Microseconds of CPU that all threads of this process have used.
fn cpu() -> io::Result<i64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok(usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
}
