//! The order of the performance: announcement, picture, table, lessons.

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
    /// Nothing on standard output but the document at the end.
    Silent,
    /// The picture when all the figures are known, for a file or a pipe.
    AtTheEnd,
    /// Each strategy's poems while they come, on an axis that is known before.
    Live,
    /// A line that says how far it is, and the picture at the end: for so many poems, or so quick ones, that nobody
    /// could watch them.
    Counting,
}

/// Shorter runs are over before they are seen.
const WATCHABLE: Micros = 500_000;
/// How much longer than foreseen the longest run may take before the picture is drawn anew, on an axis that fits.
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
                let picture = self.foreseen();
                self.screen.print(&picture.legend())?;
                self.screen.print(&picture.axis())
            }
            Manner::AtTheEnd | Manner::Counting => self.screen.print(&announcement),
        }
    }

    /// The run as it stands, `now` after its start.
    pub fn frame(&mut self, run: &Run, now: Micros) -> io::Result<()> {
        match self.manner {
            Manner::Live | Manner::Counting => {
                let block = self.foreseen().block(run, Some(now));
                self.screen.draw(&block)
            }
            Manner::Silent | Manner::AtTheEnd => Ok(()),
        }
    }

    /// Whether nobody is left to see it.
    pub fn reader_has_left(&self) -> bool {
        self.screen.reader_has_left()
    }

    /// A strategy is done.
    pub fn finished(&mut self, run: &Run) -> io::Result<()> {
        match self.manner {
            Manner::Live => {
                let mut block = self.foreseen().block(run, None);
                block.push(String::new());
                self.screen.print(&block)
            }
            Manner::Counting => self.screen.draw(&[]),
            Manner::Silent | Manner::AtTheEnd => Ok(()),
        }
    }

    /// All of them are.
    pub fn close(&mut self, runs: &[Run]) -> io::Result<()> {
        if let Manner::Silent = self.manner {
            return Ok(());
        }
        if self.plan.running().next().is_none() {
            return self.screen.print(&Table::new(self.plan, runs).lines(self.screen.look().width));
        }
        let picture = self.measured(runs);
        let drawn =
            matches!(self.manner, Manner::Live) && picture.end() as f64 <= self.plan.longest() as f64 * SLACK;
        let mut lines = if drawn { self.foreseen().axis() } else { whole(&picture, runs) };
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

    /// On the axis that is known before.
    fn foreseen(&self) -> Picture<'a> {
        Picture::new(self.plan, self.screen.look(), self.plan.longest(), &[])
    }

    /// On the axis that fits what was measured.
    fn measured(&self, runs: &[Run]) -> Picture<'a> {
        Picture::new(self.plan, self.screen.look(), self.plan.axis_end(runs), runs)
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
