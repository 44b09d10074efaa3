//! The figures, one row for each strategy.

use super::format;
use super::plan::Plan;
use super::run::{Figures, Outcome, Run};
use super::timeline::Micros;
use super::words;
use std::ops::Range;

/// The heads, over two lines.
pub const COLUMNS: [[&str; 2]; 8] = [
    ["wall", "s"],
    ["floor", "s"],
    ["over", "s"],
    ["last 1st", "byte, s"],
    ["threads", ""],
    ["CPU", "ms"],
    ["memory", "MiB"],
    ["verified", ""],
];

pub struct Table {
    pub rows: Vec<Row>,
}

pub struct Row {
    pub name: &'static str,
    /// The figures, or why there are none.
    pub cells: Result<[String; COLUMNS.len()], String>,
}

impl Table {
    pub fn new(plan: &Plan, runs: &[Run]) -> Self {
        Self { rows: runs.iter().map(|run| row(plan.floor(), run)).collect() }
    }

    /// As text. Columns for which there is no room go below the others.
    pub fn lines(&self, width: usize) -> Vec<String> {
        let layout = |between| Layout::new(self, between, width);
        let layout = Some(layout(2)).filter(|layout| layout.parts.len() == 1).unwrap_or_else(|| layout(1));
        layout.parts.iter().flat_map(|columns| self.part(&layout, columns.clone(), width)).collect()
    }

    fn part(&self, layout: &Layout, columns: Range<usize>, width: usize) -> Vec<String> {
        let head =
            |line: usize| layout.line("", columns.clone().map(|column| (column, COLUMNS[column][line])));
        let mut lines = vec![head(0)];
        lines.extend(Some(head(1)).filter(|units| !units.is_empty()));
        for row in &self.rows {
            match &row.cells {
                Ok(cells) => {
                    let cells = columns.clone().map(|column| (column, cells[column].as_str()));
                    lines.push(layout.line(row.name, cells));
                }
                Err(why) if columns.start == 0 => {
                    let label = format!("{:<names$}  ", row.name, names = layout.names);
                    lines.extend(words::hanging(&label, why, width));
                }
                Err(_) => {}
            }
        }
        lines
    }

    fn column_width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| Some(row.cells.as_ref().ok()?[column].as_str()));
        cells.chain(COLUMNS[column]).map(str::len).max().unwrap_or(0)
    }
}

struct Layout {
    names: usize,
    between: usize,
    widths: Vec<usize>,
    /// The columns that go beside each other.
    parts: Vec<Range<usize>>,
}

impl Layout {
    fn new(table: &Table, between: usize, width: usize) -> Self {
        let names = table.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..COLUMNS.len()).map(|column| table.column_width(column)).collect();
        let mut parts: Vec<Range<usize>> = Vec::new();
        let mut used = usize::MAX;
        for (column, cells) in widths.iter().enumerate() {
            let needed = between + cells;
            match parts.last_mut() {
                Some(part) if used + needed <= width => {
                    part.end = column + 1;
                    used += needed;
                }
                _ => {
                    parts.push(column..column + 1);
                    used = names + needed;
                }
            }
        }
        Self { names, between, widths, parts }
    }

    fn line<'a>(&self, name: &str, cells: impl Iterator<Item = (usize, &'a str)>) -> String {
        let mut line = format!("{name:<width$}", width = self.names);
        for (column, cell) in cells {
            line.push_str(&format!("{cell:>width$}", width = self.between + self.widths[column]));
        }
        line.trim_end().to_string()
    }
}

fn row(floor: Micros, run: &Run) -> Row {
    let cells = match &run.outcome {
        Outcome::Done(figures) => Ok(cells(floor, run, figures)),
        Outcome::Skipped(why) => Err(format!("skipped: {why}")),
        Outcome::Failed(why) => Err(format!("failed: {why}")),
        Outcome::Running => Err("did not end".to_string()),
    };
    Row { name: run.strategy.name(), cells }
}

fn cells(floor: Micros, run: &Run, figures: &Figures) -> [String; COLUMNS.len()] {
    let verified =
        format!("{} of {}", format::commas(figures.verified as u64), format::commas(run.tracks.len() as u64));
    [
        format::thousandths(figures.wall),
        format::thousandths(floor),
        format::thousandths(figures.wall.saturating_sub(floor)),
        run.last_first_byte().map_or("none".to_string(), format::thousandths),
        format::commas(figures.threads as u64),
        format::milliseconds(figures.cpu),
        format!("{:.1}", format::in_mib(figures.peak_kib)),
        verified,
    ]
}
