//! Whether the limit on open files allows what is asked for.

use super::format::{commas, counted};
use super::options::Options;
use super::plan::{self, Plan};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// The standard streams, what the poll needs for itself, a file that is read meanwhile.
const OTHERS: usize = 16;

/// Raises the limit as far as it goes without privileges, and says what to do if that is not enough.
pub fn enough_for(plan: &Plan, options: &Options) -> Result<(), String> {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let (soft, hard) = limits.map_err(|error| format!("cannot tell the limit on open files: {error}"))?;
    // A server has a connection for each poem and a listener for each port; a client has the connections only.
    let need = plan.poems.len() + plan.ports() + OTHERS;
    // The type of a limit is unsigned on most systems, but not on all.
    let wanted = rlim_t::try_from(need).unwrap_or(rlim_t::MAX);
    let raised = || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    if soft >= wanted || (hard >= wanted && raised().is_ok()) {
        return Ok(());
    }
    let limit = usize::try_from(hard).unwrap_or(usize::MAX);
    Err(format!(
        "{} need {} open files in one process, and the limit is {}: {}, or raise it as root with `ulimit -n {need}`",
        counted(plan.poems.len(), "poem"),
        commas(need as u64),
        commas(limit as u64),
        fewer(plan, options, limit),
    ))
}

fn fewer(plan: &Plan, options: &Options, limit: usize) -> String {
    let need = |&poems: &usize| {
        let server = options.server.unwrap_or(plan::server_for(poems));
        poems + plan::ports_for(poems, server, plan.poems.all_alike()) + OTHERS
    };
    let possible = (1..plan.poems.len()).rev().find(|poems| need(poems) <= limit);
    match possible {
        Some(poems) if plan.poems.all_alike() => format!("try --poems {poems}"),
        _ => "try fewer poems".to_string(),
    }
}
