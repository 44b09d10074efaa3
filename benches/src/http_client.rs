//! The arguments and the output of the HTTP clients.

use std::io;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// The GETs to send. Each lane sends its GETs one after another; the lanes run at once.
pub struct Asked {
    pub url: String,
    pub lanes: usize,
    /// The number of GETs of each lane.
    pub each: usize,
}

/// Parses the command line: `URL COUNT LANES`.
pub fn asked() -> io::Result<Asked> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next();
    let mut number = || arguments.next()?.parse::<usize>().ok().filter(|number| *number > 0);
    match (url, number(), number()) {
        (Some(url), Some(count), Some(lanes)) => Ok(Asked { url, lanes, each: count / lanes }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "expected URL COUNT LANES")),
    }
}

/// Measures from its creation to `stop`. Create it after the first request of each lane, which connects.
pub struct Meter {
    begun: Instant,
    cpu: i64,
}

impl Meter {
    pub fn start() -> io::Result<Meter> {
        Ok(Meter { begun: Instant::now(), cpu: cpu()? })
    }

    /// Prints the number of bytes received, and the microseconds of wall time and of CPU time.
    pub fn stop(self, bytes: usize) -> io::Result<()> {
        let (wall, cpu) = (self.begun.elapsed().as_micros(), cpu()? - self.cpu);
        println!("{bytes} {wall} {cpu}");
        Ok(())
    }
}

/// CPU time of all threads of this process, in microseconds.
fn cpu() -> io::Result<i64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok(usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
}
