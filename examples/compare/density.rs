//! How many bytes of all the poems came when.

use super::axis::Axis;
use super::timeline::Run;

/// A level for each column: 0 for no byte at all, `levels` for as many as came in any column of any run.
pub fn levels(run: &Run, axis: &Axis, most: u64, levels: usize) -> Vec<usize> {
    // The root keeps the usual visible beside the largest.
    let level = |count: u64| (count as f64 / most.max(1) as f64).sqrt() * levels as f64;
    counts(run, axis)
        .into_iter()
        .map(|count| level(count).ceil() as usize)
        .map(|level| level.min(levels))
        .collect()
}

pub fn most(runs: &[Run], axis: &Axis) -> u64 {
    runs.iter().flat_map(|run| counts(run, axis)).max().unwrap_or(0)
}

fn counts(run: &Run, axis: &Axis) -> Vec<u64> {
    let mut counts = vec![0; axis.column(axis.end) + 1];
    for track in &run.tracks {
        let mut start = 0;
        for arrival in &track.arrivals {
            counts[axis.column(arrival.at)] += u64::from(arrival.end - start);
            start = arrival.end;
        }
    }
    counts
}
