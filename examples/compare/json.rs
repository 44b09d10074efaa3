//! All the figures as one JSON document, its keys in the order of the table.

use super::format::in_seconds;
use super::plan::Plan;
use super::run::{Outcome, Run};
use super::timeline::{Micros, micros};
use serde_json::Value;

const SCHEMA: u32 = 1;

pub fn document(plan: &Plan, runs: &[Run]) -> String {
    let strategies: Vec<String> = runs.iter().map(|run| strategy(plan, run)).collect();
    object(&[
        ("schema", SCHEMA.to_string()),
        ("poems", plan.poems.len().to_string()),
        ("bytes_per_poem", plan.poems.longest_in_bytes().to_string()),
        ("delay_s", in_seconds(micros(plan.delay)).to_string()),
        ("strategies", format!("[{}]", strategies.join(","))),
    ])
}

fn strategy(plan: &Plan, run: &Run) -> String {
    let floor = plan.floor();
    let figures = run.figures();
    let (verified, skipped) = match &run.outcome {
        Outcome::Done(figures) => (Some(figures.verified), None),
        Outcome::Skipped(why) => (None, Some(Value::from(why.as_str()))),
        Outcome::Running | Outcome::Failed(_) => (Some(0), None),
    };
    object(&[
        ("name", Value::from(run.strategy.name()).to_string()),
        ("wall_s", or_null(figures.map(|figures| in_seconds(figures.wall)))),
        ("floor_s", in_seconds(floor).to_string()),
        ("over_s", or_null(figures.map(|figures| over(figures.wall, floor)))),
        ("last_first_byte_s", or_null(run.last_first_byte().map(in_seconds))),
        ("threads", or_null(figures.map(|figures| figures.threads))),
        ("cpu_s", or_null(figures.map(|figures| in_seconds(figures.cpu)))),
        ("peak_rss_kib", or_null(figures.map(|figures| figures.peak_kib))),
        ("verified", or_null(verified)),
        ("skipped", or_null(skipped)),
    ])
}

/// Less than 0 where poems were cut short.
fn over(wall: Micros, floor: Micros) -> f64 {
    if wall < floor { -in_seconds(floor - wall) } else { in_seconds(wall - floor) }
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or("null".to_string(), |value| value.to_string())
}

/// In this order; a map of serde_json would sort its keys.
fn object(entries: &[(&str, String)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", entries.join(","))
}
