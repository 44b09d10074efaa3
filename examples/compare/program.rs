//! The program: it makes a plan and runs one strategy after another. For each run it starts itself again in two roles,
//! one process that serves the poems and one that reads them. Then it sums up.
//!
//! Read `strategies` first: they are what the program compares. `client` calls one of them, and its transcripts record
//! what it reads.

// What to run.
mod options;
mod plan;
mod poems;

// One run: the process that serves, the process that reads, the parent process of both, and what it records.
mod client;
mod run;
mod servers;
mod strategies;
mod supervise;
mod timeline;

// What the user sees.
mod format;
mod picture;
mod results;
mod screen;
mod show;
mod svg;
mod words;

#[path = "../common/mod.rs"]
mod common;

use clap::{CommandFactory, Parser, error::ErrorKind};
use common::{messages, output};
use options::Options;
use plan::{Choice, Plan, PlanError};
use run::{Outcome, Run};
use show::Show;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use supervise::Interrupts;

pub fn main() -> ExitCode {
    let options = Options::parse();
    messages::show_from("error");
    let plan = match Plan::new(&options) {
        Ok(plan) => plan,
        Err(PlanError::Usage(message)) => {
            Options::command().error(ErrorKind::ValueValidation, message).exit()
        }
        Err(PlanError::Failure(message)) => return failed(&message),
    };
    let role = match (options.serve, options.client) {
        (true, _) => servers::run(&plan),
        (_, Some(strategy)) => client::run(&plan, strategy),
        _ => return compare(&plan, &options),
    };
    match role {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(message: &str) -> ExitCode {
    log::error!("{message}");
    ExitCode::FAILURE
}

fn compare(plan: &Plan, options: &Options) -> ExitCode {
    let ready = plan::raise_file_limit(plan, options).and_then(|()| check_writable(options));
    if let Err(message) = ready {
        return failed(&message);
    }
    let interrupts = match Interrupts::catch() {
        Ok(interrupts) => interrupts,
        Err(error) => return failed(&format!("cannot catch Ctrl-C: {error}")),
    };
    let shown = run_all(plan, options, &interrupts);
    if let Some(status) = interrupts.status() {
        return status;
    }
    match shown {
        Ok(runs) => sum_up(plan, options, &runs),
        Err(error) => output::exit_status(Err(error), ExitCode::SUCCESS),
    }
}

/// Runs one strategy after another. After a signal, returns the runs that are complete.
fn run_all(plan: &Plan, options: &Options, interrupts: &Interrupts) -> io::Result<Vec<Run>> {
    let mut show = Show::new(plan, options.json, options.ascii);
    show.open()?;
    let mut runs = Vec::new();
    for choice in &plan.choices {
        let run = run_one(plan, choice, interrupts, &mut show)?;
        if interrupts.status().is_some() {
            return Ok(runs);
        }
        show.finished(&run)?;
        runs.push(run);
    }
    show.close(&runs)?;
    Ok(runs)
}

/// Runs one strategy as often as the plan says, and returns the median run.
fn run_one(plan: &Plan, choice: &Choice, interrupts: &Interrupts, show: &mut Show) -> io::Result<Run> {
    let skipped = |why| Run::new(choice.strategy, plan.poems.len(), Outcome::Skipped(why));
    if let Some(why) = &choice.skipped {
        return Ok(skipped(why.clone()));
    }
    let mut runs = Vec::new();
    while runs.len() < plan.runs && interrupts.status().is_none() {
        runs.push(supervise::run(plan, choice.strategy, interrupts, show)?);
    }
    Ok(Run::median(runs).unwrap_or_else(|| skipped("interrupted".to_string())))
}

/// Reports each run that failed, writes the files and the JSON document, and returns the exit status.
fn sum_up(plan: &Plan, options: &Options, runs: &[Run]) -> ExitCode {
    let wrong: Vec<&Run> = runs.iter().filter(|run| !run.went_well()).collect();
    wrong.iter().for_each(|run| log::error!("{}", words::complaint(run)));
    let mut status = if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let files =
        [(&options.svg, svg::document as fn(&Plan, &[Run]) -> String), (&options.html, results::html)];
    for (path, document) in files {
        if let Some(path) = path
            && let Err(error) = fs::write(path, document(plan, runs))
        {
            status = failed(&cannot_write(path, &error));
        }
    }
    let printed = if options.json { output::print(&(results::json(plan, runs) + "\n")) } else { Ok(()) };
    output::exit_status(printed, status)
}

/// Opens the files before the first run, so that an error is known at once and not after half a minute.
fn check_writable(options: &Options) -> Result<(), String> {
    for path in [&options.svg, &options.html].into_iter().flatten() {
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        opened.map_err(|error| cannot_write(path, &error))?;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}; try another file", path.display())
}
