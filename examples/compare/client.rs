//! The process that reads the poems in one way: started for one run, so that its CPU time and memory are its own.

use super::plan::Plan;
use super::poems;
use super::report::Report;
use super::strategies::Strategy;
use super::timeline::{Figures, Micros};
use super::transcript::{Clock, Transcript};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;

/// Takes the servers' addresses on standard input, and reports on standard output.
pub fn run(plan: &Plan, strategy: Strategy) -> io::Result<()> {
    let ports = addresses()?;
    if ports.is_empty() {
        return Err(io::Error::other("no addresses on standard input"));
    }
    let servers: Vec<SocketAddr> = ports.iter().copied().cycle().take(plan.poems.len()).collect();
    let longest = plan.poems.longest_in_bytes();
    let pieces = plan.poems.piece_counts();
    let clock = Arc::new(Clock::new(plan.can_be_watched()));
    let transcript = |(poem, &pieces)| Transcript::new(poem, &clock, longest, pieces);
    let mut poems: Vec<Transcript> = pieces.iter().enumerate().map(transcript).collect();

    let cpu_before = cpu_time()?;
    clock.start();
    let outcome = strategy.read(&servers, &mut poems);
    let wall = clock.now();
    let cpu = cpu_time()?.saturating_sub(cpu_before);
    let peak_kib = peak_memory_kib()?;

    let mut out = BufWriter::new(io::stdout().lock());
    poems.iter().try_for_each(|poem| poem.tell_all(&mut out))?;
    let texts = poems.iter().map(|poem| poem.track.whole());
    let last = match &outcome {
        Ok(()) => {
            let threads = strategy.threads(plan.poems.len());
            let verified = poems::verified(&plan.poems, ports.len(), texts);
            Report::Done(Figures { wall, cpu, peak_kib, threads, verified })
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => Report::Cannot { why: &error.to_string() },
        Err(error) => Report::GaveUp { why: &error.to_string() },
    };
    writeln!(out, "{last}")?;
    out.flush()
}

fn addresses() -> io::Result<Vec<SocketAddr>> {
    let address = |line: io::Result<String>| line?.parse().map_err(io::Error::other);
    io::stdin().lines().map(address).collect()
}

fn cpu_time() -> io::Result<Micros> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let total = usage.user_time() + usage.system_time();
    u64::try_from(total.num_microseconds()).map_err(io::Error::other)
}

/// Linux counts the memory of the process that started this one into `ru_maxrss`: what it had before exec(2) stays in.
/// The high-water mark of the address space begins anew.
#[cfg(target_os = "linux")]
fn peak_memory_kib() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = mark.and_then(|mark| mark.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok());
    kib.ok_or_else(|| io::Error::other("no VmHWM in /proc/self/status"))
}

#[cfg(not(target_os = "linux"))]
fn peak_memory_kib() -> io::Result<u64> {
    // macOS counts in bytes, the BSDs in KiB.
    let unit = if cfg!(target_vendor = "apple") { 1024 } else { 1 };
    let most = u64::try_from(getrusage(UsageWho::RUSAGE_SELF)?.max_rss()).map_err(io::Error::other)?;
    Ok(most / unit)
}
