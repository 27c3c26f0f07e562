//! Charts as SVG.
//!
//! Colours and fonts are the page's: shapes have classes (`line c2 d1`), so that one picture fits light and dark pages.
//! A colour stands for a revision, a dash for a column; with one revision each column has a colour.

mod axes;
mod bars;
mod confusion;
mod frame;
mod lines;
mod scatter;

use serde_json::Value as Json;

use super::{Chart, PlotReport, Series};

/// The number of colours and dashes of the page.
pub const COLOURS: usize = 8;
const DASHES: usize = 4;

/// One picture of a plot; confusion matrices have one per series.
pub struct Panel {
    /// Its distinction from the other pictures of the plot.
    pub caption: Option<String>,
    pub svg: String,
    /// A note on omitted data.
    pub note: Option<String>,
    /// The tooltip data for the script.
    pub hover: Option<Json>,
}

/// A line of a legend.
pub struct LegendEntry {
    /// Classes of its colour and dash.
    pub class: String,
    pub label: String,
}

/// A chart as pictures. `title` is for screen readers.
pub fn draw(chart: &Chart, report: &PlotReport, title: &str) -> Vec<Panel> {
    match chart.template {
        t if t.is_confusion() => confusion::draw(chart, report, title),
        t if t.is_bar() => vec![bars::draw(chart, report, title)],
        t if scatter::draws(t) => vec![scatter::draw(chart, report, title)],
        _ => vec![lines::draw(chart, report, title)],
    }
}

/// The legend of a chart; empty if there is one series, or each has a picture of its own.
pub fn legend(chart: &Chart, report: &PlotReport) -> Vec<LegendEntry> {
    if chart.template.is_confusion() || chart.series.len() < 2 {
        return Vec::new();
    }
    let key = |series: &Series| LegendEntry { class: class(series, report), label: report.label(series, chart) };
    chart.series.iter().map(key).collect()
}

/// The classes of a series. When colours are used up, dashes distinguish.
fn class(series: &Series, report: &PlotReport) -> String {
    let (colour, dash) = if report.revisions.len() > 1 { (series.revision, series.part) } else { (series.part, 0) };
    format!("c{} d{}", colour % COLOURS, (dash + colour / COLOURS) % DASHES)
}

#[cfg(test)]
mod tests;
