//! A report for programs (JSON), for a pull request (Markdown), and for a terminal.

use crate::error::Error;
use crate::escape::markdown_cell;
use serde_json::{Value as Json, json};

use super::scale::{extent, number};
use super::spark::spark;
use super::{Chart, Column, Content, Plot, PlotReport, Series};

/// The width of a sparkline.
const WIDTH: usize = 24;

/// All data, unthinned. Numbers that JSON lacks become null.
pub fn json(report: &PlotReport) -> Json {
    let plot = |plot: &Plot| match &plot.content {
        Content::Chart(chart) => json!({
            "id": plot.id,
            "title": plot.title,
            "template": chart.own.as_ref().map_or(chart.template.name(), |own| own.name.as_str()),
            "x_label": chart.x_label,
            "y_label": chart.y_label,
            "series": chart.series.iter().map(|series| json!({
                "revision": report.revisions[series.revision],
                "name": series.name,
                "file": series.file,
                "x": column(&series.x),
                "y": column(&series.y),
            })).collect::<Vec<_>>(),
        }),
        Content::Images(images) => json!({
            "id": plot.id,
            "title": plot.title,
            "images": images.iter().map(|image| json!({
                "revision": report.revisions[image.revision],
                "file": image.file,
                "type": image.kind.media_type(),
                "size": image.bytes.len(),
            })).collect::<Vec<_>>(),
        }),
    };
    json!({
        "revisions": report.revisions,
        "plots": report.plots.iter().map(plot).collect::<Vec<_>>(),
        "errors": report.errors.iter().map(Error::full_message).collect::<Vec<_>>(),
    })
}

fn column(column: &Column) -> Json {
    (0..column.len()).map(|n| cell(column, n)).collect()
}

/// One value of a column; a gap is null.
pub fn cell(column: &Column, n: usize) -> Json {
    match column {
        Column::Numbers(numbers) => plain(numbers[n]),
        Column::Words { rows, words } => json!(words[rows[n] as usize]),
    }
}

/// A whole number without a decimal point, as it was most likely written.
fn plain(number: f64) -> Json {
    if number.fract() == 0.0 && number.abs() < 9e15 { json!(number as i64) } else { json!(number) }
}

/// One series or picture in one line.
pub struct SeriesRow {
    pub plot: String,
    /// Empty with a single revision.
    pub revision: String,
    /// Empty for a single series.
    pub name: String,
    /// A sparkline; empty if it is not a line.
    pub spark: String,
    /// The description.
    pub facts: String,
}

/// The series and pictures of a report, one per line.
pub fn rows(report: &PlotReport) -> Vec<SeriesRow> {
    let revision = |n: usize| if report.revisions.len() > 1 { report.revisions[n].clone() } else { String::new() };
    let of_plot = |plot: &Plot| match &plot.content {
        Content::Chart(chart) => {
            chart.series.iter().map(|series| of_series(plot, chart, series, revision(series.revision))).collect()
        }
        Content::Images(images) => images
            .iter()
            .map(|image| SeriesRow {
                plot: plot.title.clone(),
                revision: revision(image.revision),
                name: image.file.clone(),
                spark: String::new(),
                facts: format!("{}, {} bytes", image.kind.media_type(), image.bytes.len()),
            })
            .collect::<Vec<_>>(),
    };
    report.plots.iter().flat_map(of_plot).collect()
}

fn of_series(plot: &Plot, chart: &Chart, series: &Series, revision: String) -> SeriesRow {
    let alone = chart.series.iter().all(|other| other.part == series.part);
    let (spark, facts) = if chart.template.is_confusion() {
        (String::new(), equal(&series.x, &series.y))
    } else {
        let values = if chart.template.is_horizontal() { &series.x } else { &series.y };
        match values {
            Column::Numbers(numbers) => (spark(numbers, WIDTH), range(numbers)),
            Column::Words { rows, words } => (String::new(), format!("{} rows, {} values", rows.len(), words.len())),
        }
    };
    let name = if alone { String::new() } else { series.name.clone() };
    SeriesRow { plot: plot.title.clone(), revision, name, spark, facts }
}

fn range(numbers: &[f64]) -> String {
    let last = numbers.iter().rev().find(|n| n.is_finite());
    match (extent(numbers.iter().copied()), last) {
        (Some((low, high)), Some(last)) => {
            format!("last {}, min {}, max {}", number(*last), number(low), number(high))
        }
        _ => "no values".into(),
    }
}

/// The number of rows with equal values: the diagonal of a confusion matrix.
fn equal(x: &Column, y: &Column) -> String {
    let (Column::Words { rows: xs, words: x }, Column::Words { rows: ys, words: y }) = (x, y) else {
        return String::new();
    };
    let same = xs.iter().zip(ys).filter(|(a, b)| x[**a as usize] == y[**b as usize]).count();
    match xs.len() {
        0 => "no values".into(),
        all => format!("equal in {same} of {all} ({:.1} %)", 100.0 * same as f64 / all as f64),
    }
}

/// The report as Markdown.
pub fn markdown(report: &PlotReport) -> String {
    let several = report.revisions.len() > 1;
    let mut lines = Vec::new();
    let row = |cells: &[&str]| {
        let cells: Vec<String> = cells.iter().map(|cell| markdown_cell(cell)).collect();
        format!("| {} |", cells.join(" | "))
    };
    let pick = |plot: &str, revision: &str, name: &str, trend: &str, facts: &str| {
        let cells = [plot, revision, name, trend, facts];
        let chosen: Vec<&str> = cells.iter().enumerate().filter(|(n, _)| several || *n != 1).map(|(_, c)| *c).collect();
        row(&chosen)
    };
    lines.push(pick("plot", "revision", "series", "trend", "values"));
    lines.push(pick("---", "---", "---", "---", "---"));
    for SeriesRow { plot, revision, name, spark, facts } in rows(report) {
        lines.push(pick(&plot, &revision, &name, &spark, &facts));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests;
