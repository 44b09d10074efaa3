//! One run of one strategy, watched: an `enjamb` loop that hears the client's reports and Ctrl-C, and redraws the
//! screen.

use super::children::{Client, Servers};
use super::interrupts::Interrupts;
use super::plan::Plan;
use super::report;
use super::show::Show;
use super::strategies::Strategy;
use super::timeline::{Micros, Outcome, Run};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io;
use std::time::{Duration, Instant};

/// Ten pictures a second look alive.
const FRAME: Duration = Duration::from_millis(100);

/// What the loop lends: the screen, and the run to be seen on it.
struct Stage<'a, 'b> {
    show: &'a mut Show<'b>,
    run: &'a mut Run,
    started: Instant,
    drawn: io::Result<()>,
}

/// Runs the strategy against fresh servers. What goes wrong with either is the outcome of the run; an error is one of
/// drawing it.
pub fn run(plan: &Plan, strategy: Strategy, interrupts: &Interrupts, show: &mut Show) -> io::Result<Run> {
    let mut run = Run::new(strategy, plan.poems.len(), Outcome::Running);
    let mut stage = Stage { show, run: &mut run, started: Instant::now(), drawn: Ok(()) };
    let late = watch(strategy, interrupts, &mut stage);
    stage.drawn?;
    match late {
        Ok(late) => run.servers_late = late,
        Err(error) => run.outcome = Outcome::Failed(error.to_string()),
    }
    Ok(run)
}

/// Starts both processes, and returns how late the servers were when both have ended.
fn watch(strategy: Strategy, interrupts: &Interrupts, stage: &mut Stage) -> io::Result<Micros> {
    let (servers, addresses) = Servers::start()?;
    let (client, reports) = Client::start(strategy, &addresses)?;
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(stage);
    cx.adopt(reports, Reports)?;
    cx.adopt(interrupts.wake()?, Interrupt)?;
    cx.every(FRAME, |cx: &mut Cx<'_, Stage>| {
        cx.state.draw();
        if cx.state.drawn.is_err() {
            cx.stop();
        }
    });
    reactor.run(stage)?;
    if stage.drawn.is_err() || interrupts.status().is_some() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let status = client.wait()?;
    if let Outcome::Running = stage.run.outcome {
        stage.run.outcome = Outcome::Failed(format!("its process ended early ({status})"));
    }
    servers.end()
}

impl Stage<'_, '_> {
    fn draw(&mut self) {
        let now = Micros::try_from(self.started.elapsed().as_micros()).unwrap_or(Micros::MAX);
        self.drawn = match self.show.reader_has_left() {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => self.show.frame(self.run, now),
        };
    }
}

/// The client's standard output.
struct Reports;

impl Protocol<Stage<'_, '_>> for Reports {
    fn received(&mut self, conn: &mut Conn<'_, Stage>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            let stage = conn.state();
            if line == b"started" {
                stage.started = Instant::now();
            }
            let line = String::from_utf8_lossy(line);
            report::apply(&line, stage.run)
                .ok_or_else(|| io::Error::other(format!("not a report: {line}")))?;
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Stage>, end: End) {
        if let Err(error) = end.result {
            cx.state.run.outcome = Outcome::Failed(error.to_string());
        }
        cx.stop();
    }
}

/// What is readable when a signal has come.
struct Interrupt;

impl Protocol<Stage<'_, '_>> for Interrupt {
    fn received(&mut self, conn: &mut Conn<'_, Stage>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        conn.cx().stop();
        Ok(())
    }
}
