//! The results of all runs: a table in text, an HTML page, a JSON document.

use super::format::{commas, hanging, in_seconds, mib, milliseconds, thousandths};
use super::plan::Plan;
use super::run::{Figures, Outcome, Run};
use super::svg::{self, escape};
use super::timeline::{Micros, micros};
use super::words;
use serde_json::Value;
use std::ops::Range;

/// The heads of the columns, in two lines.
const COLUMNS: [[&str; 2]; 8] = [
    ["wall", "s"],
    ["floor", "s"],
    ["over", "s"],
    ["last 1st", "byte, s"],
    ["threads", ""],
    ["CPU", "ms"],
    ["memory", "MiB"],
    ["verified", ""],
];

/// The figures of all runs, as text.
pub struct Table {
    rows: Vec<Row>,
    name_width: usize,
    widths: [usize; COLUMNS.len()],
}

struct Row {
    name: &'static str,
    /// The figures, or why there are none.
    cells: Result<[String; COLUMNS.len()], String>,
}

impl Table {
    pub fn new(plan: &Plan, runs: &[Run]) -> Self {
        let rows: Vec<Row> = runs.iter().map(|run| Row::new(plan.floor(), run)).collect();
        let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let mut widths = COLUMNS.map(|head| head[0].len().max(head[1].len()));
        for cells in rows.iter().filter_map(|row| row.cells.as_ref().ok()) {
            widths.iter_mut().zip(cells).for_each(|(width, cell)| *width = cell.len().max(*width));
        }
        Self { rows, name_width, widths }
    }

    /// The lines of the table. If it is too wide, it is cut into parts, one below the other.
    pub fn lines(&self, width: usize) -> Vec<String> {
        let with_gap = |gap| (gap, self.parts(gap, width));
        let (gap, parts) = Some(with_gap(2)).filter(|(_, parts)| parts.len() == 1).unwrap_or(with_gap(1));
        parts.into_iter().flat_map(|columns| self.part(columns, gap, width)).collect()
    }

    /// The columns of each part.
    fn parts(&self, gap: usize, width: usize) -> Vec<Range<usize>> {
        let mut parts: Vec<Range<usize>> = Vec::new();
        let mut used = 0;
        for (column, cells) in self.widths.iter().enumerate() {
            let needed = gap + cells;
            match parts.last_mut() {
                Some(part) if used + needed <= width => {
                    part.end = column + 1;
                    used += needed;
                }
                _ => {
                    parts.push(column..column + 1);
                    used = self.name_width + needed;
                }
            }
        }
        parts
    }

    fn part(&self, columns: Range<usize>, gap: usize, width: usize) -> Vec<String> {
        let line = |name: &str, cells: [&str; COLUMNS.len()]| {
            let mut line = format!("{name:<width$}", width = self.name_width);
            for column in columns.clone() {
                line.push_str(&format!("{:>width$}", cells[column], width = gap + self.widths[column]));
            }
            line.trim_end().to_string()
        };
        let mut lines = vec![line("", COLUMNS.map(|head| head[0]))];
        lines.extend(Some(line("", COLUMNS.map(|head| head[1]))).filter(|units| !units.is_empty()));
        for row in &self.rows {
            match &row.cells {
                Ok(cells) => lines.push(line(row.name, cells.each_ref().map(String::as_str))),
                Err(why) if columns.start == 0 => {
                    let label = format!("{:<width$}  ", row.name, width = self.name_width);
                    lines.extend(hanging(&label, why, width));
                }
                Err(_) => {}
            }
        }
        lines
    }
}

impl Row {
    fn new(floor: Micros, run: &Run) -> Self {
        let cells = match &run.outcome {
            Outcome::Done(figures) => Ok(cells(floor, run, figures)),
            Outcome::Skipped(why) => Err(format!("skipped: {why}")),
            Outcome::Failed(why) => Err(format!("failed: {why}")),
            Outcome::Running => Err("did not end".to_string()),
        };
        Self { name: run.strategy.name(), cells }
    }
}

fn cells(floor: Micros, run: &Run, figures: &Figures) -> [String; COLUMNS.len()] {
    [
        thousandths(figures.wall),
        thousandths(floor),
        thousandths(figures.wall.saturating_sub(floor)),
        run.last_first_byte().map_or("none".to_string(), thousandths),
        commas(figures.threads as u64),
        milliseconds(figures.cpu),
        mib(figures.peak_kib),
        format!("{} of {}", commas(figures.verified as u64), commas(run.tracks.len() as u64)),
    ]
}

const HTML_STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif;max-width:960px;margin:2em auto;padding:0 1em;\
background:#fff;color:#1f2328}\
svg{max-width:100%;height:auto}table{border-collapse:collapse;margin:1.5em 0;font-variant-numeric:tabular-nums}\
th,td{padding:.3em .8em;text-align:right;border-bottom:1px solid #d1d9e0}th:first-child,td:first-child{text-align:left}\
.note{color:#59636e;font-size:13px}\
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#f0f6fc}th,td{border-color:#3d444d}.note{color:#9198a1}}";

/// The picture, the table and what they show, as one HTML file that needs nothing else.
pub fn html(plan: &Plan, runs: &[Run]) -> String {
    let title = format!("{}, side by side", words::what(plan));
    let paragraphs = |class: &str, texts: Vec<String>| -> String {
        texts.iter().map(|text| format!("<p{class}>{}</p>\n", escape(text))).collect()
    };
    let mut notes = vec!["Point at some bytes to see which they are, and when they were read.".to_string()];
    notes.extend(words::footnotes(plan, runs));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{HTML_STYLE}</style>\n\
         </head>\n<body>\n{}{}{}{}</body>\n</html>\n",
        svg::document(plan, runs),
        html_table(&Table::new(plan, runs)),
        paragraphs(" class=\"note\"", notes),
        paragraphs("", words::lessons(plan, runs)),
    )
}

fn html_table(table: &Table) -> String {
    let heads: String = COLUMNS.iter().map(|[name, unit]| format!("<th>{name}<br>{unit}</th>")).collect();
    let mut html = format!("<table>\n<tr><th></th>{heads}</tr>\n");
    for row in &table.rows {
        let cells = match &row.cells {
            Ok(cells) => cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect(),
            Err(why) => {
                format!("<td colspan=\"{}\" style=\"text-align:left\">{}</td>", COLUMNS.len(), escape(why))
            }
        };
        html.push_str(&format!("<tr><td>{}</td>{cells}</tr>\n", row.name));
    }
    html + "</table>\n"
}

/// The version of the JSON document.
const SCHEMA: u32 = 1;

/// All figures as one JSON document, with the keys in the order of the table.
pub fn json(plan: &Plan, runs: &[Run]) -> String {
    let strategies: Vec<String> = runs.iter().map(|run| json_strategy(plan, run)).collect();
    object(&[
        ("schema", SCHEMA.to_string()),
        ("poems", plan.poems.len().to_string()),
        ("bytes_per_poem", plan.poems.longest_in_bytes().to_string()),
        ("delay_s", in_seconds(micros(plan.delay)).to_string()),
        ("strategies", format!("[{}]", strategies.join(","))),
    ])
}

fn json_strategy(plan: &Plan, run: &Run) -> String {
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

/// Less than 0 if a poem was cut short.
fn over(wall: Micros, floor: Micros) -> f64 {
    (wall as f64 - floor as f64) / 1e6
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or("null".to_string(), |value| value.to_string())
}

/// Keeps the order of the keys; a map of serde_json sorts them.
fn object(entries: &[(&str, String)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", entries.join(","))
}
