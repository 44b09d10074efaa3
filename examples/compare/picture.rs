//! The picture in text: a row for each poem, with each byte in the column of the time when it was read.

use super::format::{about, commas, cut, seconds, visible};
use super::plan::Plan;
use super::run::{Outcome, Run};
use super::screen::{Ink, Line, Look};
use super::timeline::{Axis, Chunk, Density, Micros, Schedule, Track};

pub struct Picture<'a> {
    plan: &'a Plan,
    look: Look,
    axis: Axis,
    density: Density,
    /// The columns to the left of the axis, for the labels.
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

/// The columns for `slowest`, or for a number of two digits.
const WIDE_GUTTER: usize = 9;
const NARROW_GUTTER: usize = 4;
const BETWEEN_ENTRIES: usize = 3;
/// The least distance between the labels of the axis.
const BETWEEN_TICKS: f64 = 10.0;

impl<'a> Picture<'a> {
    /// The axis ends at the expected end, or where the longest of the runs ended.
    pub fn new(plan: &'a Plan, look: Look, runs: &[Run]) -> Self {
        let gutter = if plan.draws_each_poem() { NARROW_GUTTER } else { WIDE_GUTTER };
        // The mark of a closed connection may be in the column after the last.
        let columns = look.width.saturating_sub(gutter + 1 + plan.letters_at_the_end()).max(1);
        let glyphs = if look.ascii { &ASCII } else { &UNICODE };
        let axis = Axis::new(plan.axis_end(runs), columns as f64);
        let density = Density::new(axis, runs);
        Self { plan, look, axis, density, gutter, glyphs }
    }

    /// The end of the axis.
    pub fn end(&self) -> Micros {
        self.axis.end
    }

    pub fn axis(&self) -> Vec<String> {
        let (mut ruler, mut labels) = (self.line(), self.line());
        let end = self.column(self.axis.end) + 1;
        ruler.fill_free(self.gutter, end, self.glyphs.ruler, Ink::Faint);
        for (at, label) in self.axis.ticks(BETWEEN_TICKS) {
            let column = self.column(at);
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

    /// One strategy: its name and its poems. While it runs, the picture ends at `now`.
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
                format!("{} bytes so far", commas(run.bytes_so_far))
            }
            _ => run.strategy.in_words().to_string(),
        };
        line.put(name.len() + 2, &words, Ink::Faint);
        let right = match (&run.outcome, now) {
            (Outcome::Done(figures), _) => seconds(figures.wall),
            (Outcome::Running, Some(now)) => about(now / 100_000 * 100_000),
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

    /// Three of many poems, and how many bytes of all poems arrived in each column.
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
        Row { picture: self, line, poem, track: &run.tracks[poem], schedule: &schedule, now }.draw()
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

/// One poem in the picture.
struct Row<'a> {
    picture: &'a Picture<'a>,
    line: Line,
    poem: usize,
    track: &'a Track,
    schedule: &'a Schedule,
    now: Option<Micros>,
}

impl Row<'_> {
    /// First the bytes, then a shade while bytes wait to be read, then a line while the connection is open.
    fn draw(mut self) -> Line {
        let Some(connected) = self.track.connected else { return self.line };
        let chunks = self.track.chunks(self.schedule);
        let free = self.bytes(&chunks);
        self.waits(&chunks);
        let known_to = self.track.ended.or(self.now).unwrap_or(connected);
        let (from, to) = (self.picture.column(connected), self.picture.column(known_to));
        self.line.fill_free(from, to, self.picture.glyphs.connected, Ink::Faint);
        let end = free.max(to);
        if self.track.ended.is_some() {
            self.line.put(end, &self.picture.glyphs.closed.to_string(), Ink::Faint);
        }
        self.annotate(end + 2, &chunks);
        self.line
    }

    /// Puts the bytes that were read in the same column as one text, from that column on, and cuts it before the next
    /// text. Returns the column after the last text.
    fn bytes(&mut self, chunks: &[Chunk]) -> usize {
        let mut free = 0;
        let axis = &self.picture.axis;
        let same_column = |one: &Chunk, next: &Chunk| axis.column(one.at) == axis.column(next.at);
        let mut columns = chunks.chunk_by(same_column).peekable();
        while let Some(chunks) = columns.next() {
            let (first, last) = (&chunks[0], &chunks[chunks.len() - 1]);
            let text = visible(&self.track.text[first.bytes.start..last.bytes.end]);
            let column = self.picture.column(first.at);
            let lump = chunks.iter().any(Chunk::is_lump);
            // A lump is read just before the end, and may go beyond it.
            let end = self.track.ended.filter(|_| !lump);
            let next = columns.peek().map(|next| next[0].at).or(end);
            let room = next.map(|at| self.picture.column(at) - column).filter(|&room| room > 0);
            let text = cut(text, room);
            self.line.put(column, &text, if lump { Ink::Lump(self.poem) } else { Ink::Poem(self.poem) });
            free = column + text.chars().count();
        }
        free
    }

    /// Shades the times at which bytes were sent but not read.
    fn waits(&mut self, chunks: &[Chunk]) {
        let still = self.now.and_then(|now| Some((self.track.unread_since(self.schedule)?, now)));
        let waits = chunks.iter().map(|chunk| (chunk.sent, chunk.at)).chain(still);
        for (sent, read) in
            waits.filter(|(sent, read)| read.saturating_sub(*sent) > self.picture.axis.resolution())
        {
            let (from, to) = (self.picture.column(sent), self.picture.column(read));
            self.line.fill_free(from, to, self.picture.glyphs.waiting, Ink::Faint);
        }
    }

    fn annotate(&mut self, column: usize, chunks: &[Chunk]) {
        if let Some(failure) = &self.track.failure {
            self.line.put(column, failure, Ink::Bad);
            return;
        }
        let most_of_it = |chunk: &&Chunk| chunk.is_lump() && chunk.bytes.len() * 2 > self.track.text.len();
        if let Some(lump) = chunks.iter().find(most_of_it) {
            let note = format!("{} {} bytes at once", self.picture.glyphs.arrow, lump.bytes.len());
            self.line.put_if_free(column, &note, Ink::Plain);
        }
    }
}
