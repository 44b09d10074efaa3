//! The picture, the table and what to make of them as one HTML file, with nothing outside it. The moment of each range
//! of bytes is shown where the pointer rests.

use super::plan::Plan;
use super::run::Run;
use super::svg::{self, escape};
use super::table::{COLUMNS, Table};
use super::words;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif;max-width:960px;margin:2em auto;padding:0 1em;\
background:#fff;color:#1f2328}\
svg{max-width:100%;height:auto}table{border-collapse:collapse;margin:1.5em 0;font-variant-numeric:tabular-nums}\
th,td{padding:.3em .8em;text-align:right;border-bottom:1px solid #d1d9e0}th:first-child,td:first-child{text-align:left}\
.note{color:#59636e;font-size:13px}\
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#f0f6fc}th,td{border-color:#3d444d}.note{color:#9198a1}}";

pub fn document(plan: &Plan, runs: &[Run]) -> String {
    let title = format!("{}, side by side", words::what(plan));
    let paragraphs = |class: &str, texts: Vec<String>| -> String {
        texts.iter().map(|text| format!("<p{class}>{}</p>\n", escape(text))).collect()
    };
    let mut notes = vec!["Point at some bytes to see which they are, and when they were read.".to_string()];
    notes.extend(words::footnotes(plan, runs));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n{}{}{}{}</body>\n</html>\n",
        svg::document(plan, runs),
        table(&Table::new(plan, runs)),
        paragraphs(" class=\"note\"", notes),
        paragraphs("", words::lessons(plan, runs)),
    )
}

fn table(table: &Table) -> String {
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
