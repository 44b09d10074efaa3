//! The picture in text: the poems are the rows, and each byte is where it was read.

mod row;

use super::canvas::{Ink, Line};
use super::format;
use super::plan::Plan;
use super::run::{Outcome, Run};
use super::timeline::Micros;
use super::timeline::{Axis, Density};
use row::Row;

#[derive(Clone, Copy)]
pub struct Look {
    pub width: usize,
    pub colour: bool,
    pub ascii: bool,
}

pub struct Picture<'a> {
    plan: &'a Plan,
    look: Look,
    axis: Axis,
    density: Density,
    /// Columns left of the axis, for the labels.
    gutter: usize,
    glyphs: &'static Glyphs,
}

struct Glyphs {
    connected: char,
    waiting: char,
    closed: char,
    ruler: char,
    tick: char,
    arrow: &'static str,
    levels: &'static [char],
}

static UNICODE: Glyphs = Glyphs {
    connected: '─',
    waiting: '░',
    closed: '┤',
    ruler: '─',
    tick: '┴',
    arrow: "◂",
    levels: &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
};

static ASCII: Glyphs = Glyphs {
    connected: '-',
    waiting: ':',
    closed: '|',
    ruler: '-',
    tick: '+',
    arrow: "<",
    levels: &['.', '-', '=', '+', '*', '%', '#', '@'],
};

/// `slowest `, or a number of two digits between spaces.
const WIDE_GUTTER: usize = 9;
const NARROW_GUTTER: usize = 4;
const BETWEEN_ENTRIES: usize = 3;
/// Labels of the axis keep at least this distance.
const BETWEEN_TICKS: f64 = 10.0;

impl<'a> Picture<'a> {
    /// Of `runs`, on an axis up to `end`.
    pub fn new(plan: &'a Plan, look: Look, end: Micros, runs: &[Run]) -> Self {
        let gutter = if plan.draws_each_poem() { NARROW_GUTTER } else { WIDE_GUTTER };
        // The mark of an end may fall onto the column after the last.
        let columns = look.width.saturating_sub(gutter + 1 + plan.letters_at_the_end()).max(1);
        let glyphs = if look.ascii { &ASCII } else { &UNICODE };
        let axis = Axis::new(end, columns as f64);
        let density = Density::new(axis, runs);
        Self { plan, look, axis, density, gutter, glyphs }
    }

    /// The end of its axis.
    pub fn end(&self) -> Micros {
        self.axis.end
    }

    pub fn axis(&self) -> Vec<String> {
        let (mut ruler, mut labels) = (self.line(), self.line());
        let end = self.column(self.axis.end) + 1;
        ruler.fill_free(self.gutter, end, self.glyphs.ruler, Ink::Faint);
        for (at, label) in self.axis.ticks(BETWEEN_TICKS) {
            let column = self.gutter + self.axis.column(at);
            ruler.put(column, &self.glyphs.tick.to_string(), Ink::Faint);
            let fits = self.look.width.saturating_sub(label.chars().count());
            labels.put(column.min(fits), &label, Ink::Faint);
        }
        self.render(&[ruler, labels])
    }

    pub fn legend(&self) -> Vec<String> {
        let Glyphs { connected, waiting, closed, levels, .. } = self.glyphs;
        let mut entries = vec![
            format!("{connected} connected, nothing to read"),
            format!("{waiting} sent, waiting in the kernel"),
            format!("{closed} closed"),
        ];
        if !self.plan.draws_each_poem() {
            entries.push(format!("{}{} bytes read", levels[0], levels[levels.len() - 1]));
        }
        let mut lines = vec![self.line()];
        let mut column = self.gutter;
        for entry in entries {
            let length = entry.chars().count();
            if column > self.gutter && column + length > self.look.width {
                lines.push(self.line());
                column = self.gutter;
            }
            if let Some(line) = lines.last_mut() {
                line.put(column, &entry, Ink::Faint);
            }
            column += length + BETWEEN_ENTRIES;
        }
        self.render(&lines)
    }

    /// One strategy: its name, and its poems up to `now`.
    pub fn block(&self, run: &Run, now: Option<Micros>) -> Vec<String> {
        let mut lines = vec![self.heading(run, now)];
        match &run.outcome {
            Outcome::Skipped(why) => lines.push(self.remark(&format!("skipped: {why}"), Ink::Faint)),
            Outcome::Running if !self.plan.can_be_watched() => {}
            _ if self.plan.draws_each_poem() => {
                let row = |poem: usize| self.row(&(poem + 1).to_string(), run, poem, now);
                lines.extend((0..run.tracks.len()).map(row));
            }
            _ => lines.extend(self.summary(run)),
        }
        if let Outcome::Failed(why) = &run.outcome {
            lines.push(self.remark(&format!("failed: {why}"), Ink::Bad));
        }
        self.render(&lines)
    }

    fn heading(&self, run: &Run, now: Option<Micros>) -> Line {
        let name = run.strategy.name();
        let mut line = self.line();
        line.put(0, name, Ink::Strong);
        let words = match run.outcome {
            Outcome::Running if run.bytes_so_far > 0 => {
                format!("{} bytes so far", format::commas(run.bytes_so_far))
            }
            _ => run.strategy.in_words().to_string(),
        };
        line.put(name.len() + 2, &words, Ink::Faint);
        let right = match (&run.outcome, now) {
            (Outcome::Done(figures), _) => format::seconds(figures.wall),
            (Outcome::Running, Some(now)) => format::about(now / 100_000 * 100_000),
            _ => String::new(),
        };
        line.put_right(&right, Ink::Strong);
        line
    }

    fn remark(&self, text: &str, ink: Ink) -> Line {
        let mut line = self.line();
        line.put(self.gutter, text, ink);
        line
    }

    /// Of many poems, three; and how much of all of them came when.
    fn summary(&self, run: &Run) -> Vec<Line> {
        let row = |(label, poem)| self.row(label, run, poem, None);
        let mut lines: Vec<Line> = run.three().into_iter().map(row).collect();
        lines.push(self.density(run));
        lines
    }

    fn density(&self, run: &Run) -> Line {
        let mut line = self.line();
        line.put(1, "bytes", Ink::Faint);
        let levels = self.density.levels(run, self.glyphs.levels.len());
        for (column, level) in levels.into_iter().enumerate() {
            let glyph = level.checked_sub(1).map_or(' ', |level| self.glyphs.levels[level]);
            line.put(self.gutter + column, &glyph.to_string(), Ink::Plain);
        }
        line
    }

    fn row(&self, label: &str, run: &Run, poem: usize, now: Option<Micros>) -> Line {
        let mut line = self.line();
        let width = self.gutter - 1;
        line.put(0, &format!("{label:>width$}"), Ink::Faint);
        let schedule = self.plan.schedule(poem, run.servers_late);
        let (axis, gutter, glyphs, track) = (&self.axis, self.gutter, self.glyphs, &run.tracks[poem]);
        Row { line, axis, gutter, glyphs, poem, track, schedule: &schedule, now }.draw()
    }

    fn column(&self, at: Micros) -> usize {
        self.gutter + self.axis.column(at)
    }

    fn line(&self) -> Line {
        Line::new(self.look.width)
    }

    fn render(&self, lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.render(self.look.colour)).collect()
    }
}
