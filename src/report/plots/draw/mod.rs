//! Charts as SVG.
//!
//! Colours and fonts are the page's: shapes have classes (`line c2 d1`), so that one picture fits light and dark pages.
//! A colour stands for a revision, a dash for a column; with one revision each column has a colour. Revisions with the
//! same data share one drawing, in the colour of the first.

mod axes;
mod bars;
mod confusion;
mod frame;
mod lines;
mod scatter;
mod square;

use serde_json::Value as Json;

use super::same::{SameSeries, is_same_chart, same_series};
use super::{Chart, PlotReport, Series};

pub use frame::cut;

/// The number of colours and dashes of the page.
pub const COLOURS: usize = 8;
const DASHES: usize = 4;

/// One picture of a plot; confusion matrices have one per series.
pub struct Panel {
    /// Its distinction from the other pictures of the plot.
    pub caption: Option<String>,
    pub svg: String,
    /// Whether the data has a square.
    pub is_square: bool,
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

/// The series of a chart as they are drawn.
struct DrawnChart<'c> {
    chart: &'c Chart,
    series: Vec<DrawnSeries<'c>>,
    /// Whether the labels say more than the title of the plot.
    has_labels: bool,
}

/// A series, drawn once for all revisions with the same data.
struct DrawnSeries<'c> {
    series: &'c Series,
    /// Its distinction from the others: `main, loss`, `loss, same in main, svm`.
    label: String,
    /// Classes of its colour and dash.
    class: String,
}

/// A chart as pictures. `title` is for screen readers.
pub fn draw(chart: &Chart, report: &PlotReport, title: &str) -> Vec<Panel> {
    let drawn = DrawnChart::of(chart, report);
    match chart.template {
        t if t.is_confusion() => confusion::draw(&drawn, title),
        t if t.is_bar() => vec![bars::draw(&drawn, title)],
        t if scatter::draws(t) => vec![scatter::draw(&drawn, title)],
        _ => vec![lines::draw(&drawn, title)],
    }
}

/// The legend of a chart; empty if it has nothing to distinguish, or each series has a picture of its own.
pub fn legend(chart: &Chart, report: &PlotReport) -> Vec<LegendEntry> {
    let drawn = DrawnChart::of(chart, report);
    if chart.template.is_confusion() || !drawn.has_labels {
        return Vec::new();
    }
    drawn.series.into_iter().map(|one| LegendEntry { class: one.class, label: one.label }).collect()
}

/// `same in main, svm`; the name alone for one revision.
pub fn same_in(report: &PlotReport, revisions: &[usize]) -> String {
    let names: Vec<&str> = revisions.iter().map(|n| report.revisions[*n].as_str()).collect();
    if names.len() > 1 { format!("same in {}", names.join(", ")) } else { names.concat() }
}

impl<'c> DrawnChart<'c> {
    fn of(chart: &'c Chart, report: &PlotReport) -> DrawnChart<'c> {
        // A chart that is the same in all revisions looks like one of a single revision.
        let has_revisions = report.revisions.len() > 1 && !is_same_chart(chart, report.revisions.len());
        let has_parts = chart.series.iter().any(|other| other.part != chart.series[0].part);
        let drawn = |same: SameSeries<'c>| {
            let series = same.first;
            let revisions = same_in(report, &same.revisions);
            let label = match (has_revisions, has_parts) {
                (true, true) if same.revisions.len() > 1 => format!("{}, {revisions}", series.name),
                (true, true) => format!("{revisions}, {}", series.name),
                (true, false) => revisions,
                (false, _) => series.name.clone(),
            };
            let (colour, dash) = if has_revisions { (series.revision, series.part) } else { (series.part, 0) };
            DrawnSeries { series, label, class: class(colour, dash) }
        };
        let series: Vec<DrawnSeries<'c>> = same_series(chart).into_iter().map(drawn).collect();
        let has_labels = series.len() > 1 || (has_revisions && chart.series.len() > 1);
        DrawnChart { chart, series, has_labels }
    }
}

/// The classes of a colour and a dash. When colours are used up, dashes distinguish.
fn class(colour: usize, dash: usize) -> String {
    format!("c{} d{}", colour % COLOURS, (dash + colour / COLOURS) % DASHES)
}

#[cfg(test)]
mod tests;
