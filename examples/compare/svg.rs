//! The picture as SVG. The file needs nothing else, and has colours for a light and a dark background.

use super::format::{counted, cut, seconds, visible};
use super::plan::Plan;
use super::run::{Outcome, Run};
use super::timeline::{Axis, Chunk, Density, Micros, Schedule, Track};
use super::words;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;
/// The axis begins after the labels of the rows. After its end there is room for a lump or an error.
const AXIS_LEFT: f64 = 88.0;
const AXIS_RIGHT: f64 = 896.0;
const TOP: f64 = 72.0;
/// The height of the axis and the legend.
const BOTTOM: f64 = 66.0;
const HEADING: f64 = 26.0;
const ROW: f64 = 20.0;
/// Above and below the text of a row.
const PADDING: f64 = 3.0;
const ROW_HEIGHT: f64 = ROW - 2.0 * PADDING;
const BASELINE: f64 = ROW * 0.7;
const STRIP: f64 = 32.0;
const BETWEEN_BLOCKS: f64 = 14.0;
const BETWEEN_TICKS: f64 = 70.0;
/// The width of a letter.
const LETTER: f64 = 7.2;
/// The width of a bar of the density strip.
const BAR: f64 = 4.0;

/// The classes of the poems.
const COLOURS: [&str; 4] = ["a", "b", "c", "d"];

const STYLE: &str = "\
.card{rx:8px}.paper{fill:#fff}.edge{fill:none;stroke:#d1d9e0}\
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328}\
.title{font:600 17px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}\
.words{font:12.5px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#59636e}\
.name,.lump,.wall{font-weight:700}.faint{fill:#59636e}.bad{fill:#cf222e}\
.grid{stroke:#d1d9e0;stroke-dasharray:2 3}.line{stroke:#afb8c1}.end{stroke:#59636e;stroke-width:1.5}\
.a{fill:#0969da}.b{fill:#8250df}.c{fill:#1a7f37}.d{fill:#bc4c00}.wait{opacity:.16}.ghost{opacity:.55}\
.chunk:hover text{text-decoration:underline}\
@media (prefers-color-scheme:dark){\
.paper{fill:#0d1117}.edge{stroke:#3d444d}text{fill:#f0f6fc}.words,.faint{fill:#9198a1}.bad{fill:#ff7b72}\
.grid{stroke:#30363d}.line{stroke:#545d68}.end{stroke:#9198a1}\
.a{fill:#58a6ff}.b{fill:#bc8cff}.c{fill:#3fb950}.d{fill:#f0883e}.wait{opacity:.24}.ghost{opacity:.75}}";

/// The document so far.
struct Drawing<'a> {
    plan: &'a Plan,
    axis: Axis,
    /// On an axis whose columns are bars.
    density: Density,
    pen: Pen,
    /// The top of what is drawn next.
    y: f64,
}

pub fn document(plan: &Plan, runs: &[Run]) -> String {
    // A lump at the end needs room for its letters, and about as much for the note after it.
    let room = 2.0 * plan.letters_at_the_end() as f64 * LETTER;
    let axis = Axis::new(plan.axis_end(runs), AXIS_RIGHT - AXIS_LEFT - room);
    let density = Density::new(Axis::new(axis.end, axis.length / BAR), runs);
    let mut drawing = Drawing { plan, axis, density, pen: Pen::default(), y: TOP };
    runs.iter().for_each(|run| drawing.block(run));
    let blocks = drawing.pen.take();
    drawing.axis();
    drawing.legend();
    let grid = drawing.pen.take();
    let height = drawing.y + BOTTOM;
    drawing.title(runs, height);
    let title = drawing.pen.take();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n{title}{grid}{blocks}</svg>\n",
        words::title(plan, runs),
    )
}

fn x(axis: &Axis, at: Micros) -> f64 {
    AXIS_LEFT + axis.position(at)
}

impl Drawing<'_> {
    fn title(&mut self, runs: &[Run], height: f64) {
        self.pen.rect("card paper", [0.0, 0.0, WIDTH, height]);
        self.pen.rect("card edge", [0.5, 0.5, WIDTH - 1.0, height - 1.0]);
        self.pen.text("title", [MARGIN, 34.0], &words::title(self.plan, runs));
        let words = format!(
            "{}; {}. Each byte is drawn at the moment it was read.",
            words::what(self.plan),
            words::pace(self.plan)
        );
        self.pen.text("words", [MARGIN, 54.0], &words);
    }

    fn block(&mut self, run: &Run) {
        let name = run.strategy.name();
        let baseline = self.y + BASELINE;
        self.pen.text("name", [MARGIN, baseline], name);
        let after_name = MARGIN + (name.len() + 2) as f64 * LETTER;
        self.pen.text("words", [after_name, baseline], run.strategy.in_words());
        if let Some(figures) = run.figures() {
            self.pen.text_anchored("wall", [WIDTH - MARGIN, baseline], "end", &seconds(figures.wall));
        }
        self.y += HEADING;
        match &run.outcome {
            Outcome::Skipped(why) => self.remark("faint", &format!("skipped: {why}")),
            _ if self.plan.draws_each_poem() => {
                (0..run.tracks.len()).for_each(|poem| self.row(&format!("poem {}", poem + 1), run, poem));
            }
            _ => self.summary(run),
        }
        if let Outcome::Failed(why) = &run.outcome {
            self.remark("bad", &format!("failed: {why}"));
        }
        self.y += BETWEEN_BLOCKS;
    }

    fn remark(&mut self, class: &str, text: &str) {
        self.pen.text(class, [AXIS_LEFT, self.y + BASELINE], text);
        self.y += ROW;
    }

    fn row(&mut self, label: &str, run: &Run, poem: usize) {
        self.pen.text("faint", [MARGIN, self.y + BASELINE], label);
        let track = &run.tracks[poem];
        let schedule = self.plan.schedule(poem, run.servers_late);
        Row { pen: &mut self.pen, axis: &self.axis, poem, track, schedule: &schedule, y: self.y }.draw();
        if let Some(failure) = &track.failure {
            let after = x(&self.axis, track.ended.unwrap_or(0)) + LETTER;
            self.pen.text("bad", [after, self.y + BASELINE], failure);
        }
        self.y += ROW;
    }

    fn summary(&mut self, run: &Run) {
        for (label, poem) in run.three() {
            self.row(label, run, poem);
        }
        self.pen.text("faint", [MARGIN, self.y + STRIP / 2.0 + 4.0], "bytes");
        self.y += STRIP;
        let levels = self.density.levels(run, STRIP as usize);
        let bar = |(bar, level): (usize, &usize)| {
            let left = AXIS_LEFT + bar as f64 * BAR;
            format!("M{left:.1} {:.1}v-{level}h{BAR}v{level}z", self.y)
        };
        let bars: String = levels.iter().enumerate().filter(|(_, level)| **level > 0).map(bar).collect();
        self.pen.path("a", &bars);
    }

    fn axis(&mut self) {
        self.pen.path("line", &format!("M{AXIS_LEFT} {:.1}h{:.1}", self.y, self.axis.length));
        for (at, label) in self.axis.ticks(BETWEEN_TICKS) {
            let x = x(&self.axis, at);
            self.pen.path("grid", &format!("M{x:.1} {TOP}V{:.1}", self.y + 4.0));
            self.pen.text_anchored("faint", [x, self.y + 18.0], "middle", &label);
        }
    }

    fn legend(&mut self) {
        let (top, baseline) = (self.y + 37.0, self.y + 48.0);
        let at = |offset: f64| AXIS_LEFT + offset;
        self.pen.path("line", &format!("M{AXIS_LEFT} {}h24", top + 7.0));
        self.pen.text("words", [at(32.0), baseline], "connected, nothing to read");
        self.pen.rect("wait b", [at(216.0), top, 24.0, 14.0]);
        self.pen.text("words", [at(248.0), baseline], "sent, waiting in the kernel to be read");
        self.pen.path("end", &format!("M{} {top}v14", at(496.0)));
        self.pen.text("words", [at(506.0), baseline], "closed");
    }
}

/// One poem: a line while the connection is open, a band while bytes wait to be read, and the bytes.
struct Row<'a> {
    pen: &'a mut Pen,
    axis: &'a Axis,
    poem: usize,
    track: &'a Track,
    schedule: &'a Schedule,
    y: f64,
}

impl Row<'_> {
    fn draw(&mut self) {
        let Some(connected) = self.track.connected else { return };
        let ended = self.track.ended.unwrap_or(connected);
        let middle = self.y + ROW / 2.0;
        self.pen.path("line", &format!("M{:.1} {middle:.1}H{:.1}", self.x(connected), self.x(ended)));
        self.chunks();
        self.pen.path("end", &format!("M{:.1} {:.1}v{ROW_HEIGHT}", self.x(ended), self.y + PADDING));
    }

    /// Draws all bands, then all texts over them, because a band may begin to the left of an earlier text. Chunks that
    /// were read within the width of a letter are one text.
    fn chunks(&mut self) {
        let chunks = self.track.chunks(self.schedule);
        chunks.iter().for_each(|chunk| self.band(chunk));
        let mut rest = chunks.as_slice();
        while let Some(first) = rest.first() {
            let from = self.x(first.at);
            let together = rest.iter().take_while(|chunk| self.x(chunk.at) < from + LETTER).count();
            let (chunks, later) = rest.split_at(together);
            // A lump is read just before the end, and may go beyond it.
            let end = self.track.ended.filter(|_| !chunks.iter().any(Chunk::is_lump));
            let next = later.first().map(|next| next.at).or(end);
            let room = next.map(|at| self.x(at) - from).filter(|&room| room >= LETTER);
            self.text(chunks, room);
            rest = later;
        }
    }

    fn text(&mut self, chunks: &[Chunk], room: Option<f64>) {
        let (first, last) = (&chunks[0], &chunks[chunks.len() - 1]);
        let bytes = first.bytes.start..last.bytes.end;
        let text = cut(visible(&self.track.text[bytes.clone()]), room.map(|room| (room / LETTER) as usize));
        let (from, width) = (self.x(first.at), text.chars().count() as f64 * LETTER);
        self.pen.begin_group("chunk", &self.tooltip(first, last));
        if chunks.iter().any(Chunk::is_lump) {
            self.pen.rect(self.colour(), [from - 1.0, self.y, 2.0, ROW]);
            self.bytes(&format!("lump {}", self.colour()), from + PADDING, &text);
        } else {
            // Covers the line of the connection, which would strike through the text.
            self.pen.rect("paper", [from, self.y + PADDING, width, ROW_HEIGHT]);
            self.bytes(self.colour(), from, &text);
        }
        self.pen.end_group();
        if room.is_none() && bytes.len() > self.track.text.len() / 2 {
            let note = format!("{} at once", counted(bytes.len(), "byte"));
            self.pen.text("faint", [from + width + 2.0 * LETTER, self.y + BASELINE], &note);
        }
    }

    fn bytes(&mut self, class: &str, from: f64, text: &str) {
        let width = text.chars().count() as f64 * LETTER;
        self.pen.text_of_width(class, [from, self.y + BASELINE], width, text);
    }

    /// Draws a band from the time when the bytes were sent to the time when they were read. In it, each piece is repeated
    /// in a faint colour at the time when it was sent.
    fn band(&mut self, chunk: &Chunk) {
        if chunk.at - chunk.sent <= 2 * self.axis.resolution() {
            return;
        }
        let (from, to) = (self.x(chunk.sent), self.x(chunk.at));
        self.pen.rect("paper", [from, self.y + PADDING, to - from, ROW_HEIGHT]);
        self.pen.rect(&format!("wait {}", self.colour()), [from, self.y + PADDING, to - from, ROW_HEIGHT]);
        let apart = self.axis.position(self.schedule.delay);
        for piece in chunk.pieces.clone() {
            let bytes = self.schedule.bytes(piece);
            let text = visible(self.track.text.get(bytes).unwrap_or_default());
            if (text.chars().count() + 1) as f64 * LETTER < apart {
                let sent = self.x(self.schedule.sent(self.track, piece));
                self.bytes(&format!("ghost {}", self.colour()), sent, &text);
            }
        }
    }

    /// The text that a browser shows while the pointer rests on the bytes.
    fn tooltip(&self, first: &Chunk, last: &Chunk) -> String {
        let (from, to) = (first.bytes.start, last.bytes.end.saturating_sub(1));
        let (read, waited) = (seconds(first.at), seconds(first.at - first.sent));
        format!(
            "poem {}, bytes {from} to {to}: read at {read}, {waited} after they had been sent",
            self.poem + 1
        )
    }

    fn colour(&self) -> &'static str {
        COLOURS[self.poem % COLOURS.len()]
    }

    fn x(&self, at: Micros) -> f64 {
        x(self.axis, at)
    }
}

/// Writes SVG elements to a string, which cannot fail.
#[derive(Default)]
struct Pen {
    svg: String,
}

impl Pen {
    fn path(&mut self, class: &str, path: &str) {
        let _ = writeln!(self.svg, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4]) {
        let _ = writeln!(
            self.svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }

    fn text(&mut self, class: &str, [x, y]: [f64; 2], text: &str) {
        self.text_with(class, [x, y], "", text);
    }

    /// The point is the middle or the end of the text.
    fn text_anchored(&mut self, class: &str, [x, y]: [f64; 2], anchor: &str, text: &str) {
        self.text_with(class, [x, y], &format!(" text-anchor=\"{anchor}\""), text);
    }

    /// The text has this width in every font.
    fn text_of_width(&mut self, class: &str, [x, y]: [f64; 2], width: f64, text: &str) {
        let exactly = format!(" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\"");
        self.text_with(class, [x, y], &exactly, text);
    }

    fn text_with(&mut self, class: &str, [x, y]: [f64; 2], attributes: &str, text: &str) {
        let text = escape(text);
        let _ =
            writeln!(self.svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\"{attributes}>{text}</text>");
    }

    /// The elements up to `end_group` have this tooltip.
    fn begin_group(&mut self, class: &str, tooltip: &str) {
        let _ = writeln!(self.svg, "<g class=\"{class}\"><title>{}</title>", escape(tooltip));
    }

    fn end_group(&mut self) {
        self.svg.push_str("</g>\n");
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.svg)
    }
}

/// Text for an element of SVG or HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
