//! What standard output shows, in this order: announcement, picture, table, lessons.

use super::format::wrap;
use super::picture::Picture;
use super::plan::Plan;
use super::results::Table;
use super::run::Run;
use super::screen::Screen;
use super::timeline::Micros;
use super::words;
use std::io;

pub struct Show<'a> {
    plan: &'a Plan,
    screen: Screen,
    manner: Manner,
}

enum Manner {
    /// Nothing: standard output is for the JSON document.
    Silent,
    /// The picture after all runs, for a file or a pipe.
    AtTheEnd,
    /// The poems of each strategy while they arrive, on the expected axis.
    Live,
    /// One line with the progress of each run, and the picture after all runs: if the poems are too many or too quick
    /// to watch.
    Counting,
}

/// A shorter run is too quick to watch.
const WATCHABLE: Micros = 500_000;
/// If a run exceeds the expected axis by a larger factor, the picture is drawn again, on an axis that fits.
const SLACK: f64 = 1.05;

impl<'a> Show<'a> {
    pub fn new(plan: &'a Plan, silent: bool, ascii: bool) -> Self {
        let screen = Screen::new(ascii);
        let manner = match (silent, screen.is_terminal()) {
            (true, _) => Manner::Silent,
            (_, false) => Manner::AtTheEnd,
            _ if plan.can_be_watched() && plan.longest() >= WATCHABLE => Manner::Live,
            _ => Manner::Counting,
        };
        Self { plan, screen, manner }
    }

    pub fn open(&mut self) -> io::Result<()> {
        let announcement = words::announcement(self.plan, self.screen.look().width);
        match self.manner {
            Manner::Silent => {
                announcement.iter().for_each(|line| log::info!("{line}"));
                Ok(())
            }
            Manner::Live => {
                self.screen.print(&announcement)?;
                let picture = self.expected();
                self.screen.print(&picture.legend())?;
                self.screen.print(&picture.axis())
            }
            Manner::AtTheEnd | Manner::Counting => self.screen.print(&announcement),
        }
    }

    /// Draws a run that is not complete, `now` after its start.
    pub fn frame(&mut self, run: &Run, now: Micros) -> io::Result<()> {
        match self.manner {
            Manner::Live | Manner::Counting => {
                let block = self.expected().block(run, Some(now));
                self.screen.draw(&block)
            }
            Manner::Silent | Manner::AtTheEnd => Ok(()),
        }
    }

    /// Whether standard output is a pipe whose other end is closed.
    pub fn reader_has_left(&self) -> bool {
        self.screen.reader_has_left()
    }

    /// Prints a run that is complete.
    pub fn finished(&mut self, run: &Run) -> io::Result<()> {
        match self.manner {
            Manner::Live => {
                let mut block = self.expected().block(run, None);
                block.push(String::new());
                self.screen.print(&block)
            }
            Manner::Counting => self.screen.draw(&[]),
            Manner::Silent | Manner::AtTheEnd => Ok(()),
        }
    }

    /// Prints what follows after the last run.
    pub fn close(&mut self, runs: &[Run]) -> io::Result<()> {
        if let Manner::Silent = self.manner {
            return Ok(());
        }
        if self.plan.running().next().is_none() {
            return self.screen.print(&Table::new(self.plan, runs).lines(self.screen.look().width));
        }
        let picture = Picture::new(self.plan, self.screen.look(), runs);
        let drawn =
            matches!(self.manner, Manner::Live) && picture.end() as f64 <= self.plan.longest() as f64 * SLACK;
        let mut lines = if drawn { self.expected().axis() } else { whole(&picture, runs) };
        lines.push(String::new());
        lines.extend(self.text(runs));
        self.screen.show_cursor();
        self.screen.print(&lines)
    }

    fn text(&self, runs: &[Run]) -> Vec<String> {
        let width = self.screen.look().width;
        let mut lines = Table::new(self.plan, runs).lines(width);
        let wrapped = |text: &String| wrap(text, width);
        lines.extend(words::footnotes(self.plan, runs).iter().flat_map(wrapped));
        for lesson in words::lessons(self.plan, runs) {
            lines.push(String::new());
            lines.extend(wrapped(&lesson));
        }
        lines
    }

    /// The picture on the expected axis.
    fn expected(&self) -> Picture<'a> {
        Picture::new(self.plan, self.screen.look(), &[])
    }
}

fn whole(picture: &Picture, runs: &[Run]) -> Vec<String> {
    let mut lines = Vec::new();
    for run in runs {
        lines.extend(picture.block(run, None));
        lines.push(String::new());
    }
    lines.extend(picture.axis());
    lines.extend(picture.legend());
    lines
}
