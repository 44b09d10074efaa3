//! The picture as SVG: nothing outside the file is needed, and it follows the reader's light or dark.

mod pen;
mod row;

pub use pen::escape;

use super::format;
use super::plan::Plan;
use super::run::{Outcome, Run};
use super::timeline::Micros;
use super::timeline::{Axis, Density};
use super::words;
use pen::Pen;
use row::{BASELINE, Row};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;
/// The axis begins after the labels of the rows, and ends where the last row has room for its end.
const AXIS_LEFT: f64 = 88.0;
const AXIS_RIGHT: f64 = 896.0;
const TOP: f64 = 72.0;
/// For the axis and the legend.
const BOTTOM: f64 = 66.0;
const HEADING: f64 = 26.0;
const ROW: f64 = 20.0;
const STRIP: f64 = 32.0;
const BETWEEN_BLOCKS: f64 = 14.0;
const BETWEEN_TICKS: f64 = 70.0;
/// The width of a letter of a poem.
const LETTER: f64 = 7.2;
/// The width of a bar of the density strip.
const BAR: f64 = 4.0;

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

/// What is being drawn, and how far down it is.
struct Drawing<'a> {
    plan: &'a Plan,
    axis: Axis,
    /// In bars.
    density: Density,
    pen: Pen,
    y: f64,
}

pub fn document(plan: &Plan, runs: &[Run]) -> String {
    // A lump at the end has room for its letters and as many again, for the words after it.
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
            self.pen.text_anchored("wall", [WIDTH - MARGIN, baseline], "end", &format::seconds(figures.wall));
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
