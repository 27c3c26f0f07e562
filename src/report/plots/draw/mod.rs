//! Charts as SVG.
//!
//! Colours and fonts are the page's: shapes carry classes (`line c2 d1`), so that one picture is right on a light page and on
//! a dark one. A colour stands for a revision, a dash for a column; with one revision each column has a colour.

mod axes;
mod bars;
mod confusion;
mod frame;
mod lines;
mod scatter;

use serde_json::Value as Json;

use super::{Chart, Report, Series};

/// How many colours and dashes the page has.
pub const COLOURS: usize = 8;
const DASHES: usize = 4;

/// One picture of a plot; confusion matrices make several, one for each series.
pub struct Panel {
    /// What tells it from the others of the plot.
    pub caption: Option<String>,
    pub svg: String,
    /// What is left out of it.
    pub note: Option<String>,
    /// What the script shows under the mouse.
    pub hover: Option<Json>,
}

/// A line of a legend.
pub struct Key {
    /// Classes of its colour and dash.
    pub class: String,
    pub label: String,
}

/// A chart as pictures. `title` is for those who hear it.
pub fn draw(chart: &Chart, report: &Report, title: &str) -> Vec<Panel> {
    match chart.template {
        t if t.is_confusion() => confusion::draw(chart, report, title),
        t if t.is_bar() => vec![bars::draw(chart, report, title)],
        t if scatter::draws(t) => vec![scatter::draw(chart, report, title)],
        _ => vec![lines::draw(chart, report, title)],
    }
}

/// What the colours and dashes of a chart mean; empty where there is one series, or each has a picture of its own.
pub fn legend(chart: &Chart, report: &Report) -> Vec<Key> {
    if chart.template.is_confusion() || chart.series.len() < 2 {
        return Vec::new();
    }
    let key = |series: &Series| Key { class: class(series, report), label: report.label(series, chart) };
    chart.series.iter().map(key).collect()
}

/// The classes of a series. When colours are used up, dashes go on.
fn class(series: &Series, report: &Report) -> String {
    let (colour, dash) = if report.revisions.len() > 1 { (series.revision, series.part) } else { (series.part, 0) };
    format!("c{} d{}", colour % COLOURS, (dash + colour / COLOURS) % DASHES)
}

#[cfg(test)]
mod tests;
