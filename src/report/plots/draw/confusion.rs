//! Confusion matrices: how often each pair of x and y occurs, one picture per series.

use std::collections::HashMap;

use super::super::scale::Scale;
use super::super::svg::{Svg, px};
use super::super::template::Template;
use super::super::{Chart, Column};
use super::axes::{classes, words_of};
use super::frame::{Frame, LETTER};
use super::{DrawnChart, DrawnSeries, Panel};

/// Draws one matrix per series.
pub fn draw(drawn: &DrawnChart<'_>, title: &str) -> Vec<Panel> {
    let chart = drawn.chart;
    // All of them have the same classes, so that they can be compared.
    let mut xs = classes(words_of(chart.series.iter().map(|series| &series.x)));
    let mut ys = classes(words_of(chart.series.iter().map(|series| &series.y)));
    // Predicted and actual classes are the same, even if one of them never occurs.
    if is_square(&xs, &ys) {
        xs.append(&mut ys);
        xs = classes(xs);
        ys.clone_from(&xs);
    }
    let panel = |DrawnSeries { series, label, .. }: &DrawnSeries<'_>| {
        let name = if drawn.has_labels { format!("{title}, {label}") } else { title.to_string() };
        let counts = count(&series.x, &series.y, &xs, &ys);
        let svg = matrix(chart, &name, &counts, &xs, &ys);
        Panel { caption: drawn.has_labels.then(|| label.clone()), svg, is_square: true, note: None, hover: None }
    };
    drawn.series.iter().map(panel).collect()
}

/// Returns true if the axes share most of their classes.
fn is_square(xs: &[String], ys: &[String]) -> bool {
    xs.iter().filter(|x| ys.contains(x)).count() * 2 >= xs.len().max(ys.len())
}

/// Rows of y, columns of x.
fn count(x: &Column, y: &Column, xs: &[String], ys: &[String]) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; xs.len()]; ys.len()];
    let (Column::Words { rows: x, words: x_words }, Column::Words { rows: y, words: y_words }) = (x, y) else {
        return counts;
    };
    let place = |words: &[String], all: &[String]| -> Vec<usize> {
        let at: HashMap<&str, usize> = all.iter().enumerate().map(|(n, word)| (word.as_str(), n)).collect();
        words.iter().map(|word| at.get(word.as_str()).copied().unwrap_or(0)).collect()
    };
    let (x_at, y_at) = (place(x_words, xs), place(y_words, ys));
    for (x, y) in x.iter().zip(y) {
        counts[y_at[*y as usize]][x_at[*x as usize]] += 1;
    }
    counts
}

fn matrix(chart: &Chart, title: &str, counts: &[Vec<u64>], xs: &[String], ys: &[String]) -> String {
    let labels = (chart.x_label.as_str(), chart.y_label.as_str());
    let total: u64 = counts.iter().flatten().sum();
    let agree: u64 = (0..xs.len()).filter(|n| xs.get(*n) == ys.get(*n)).map(|n| counts[n][n]).sum();
    let about = format!("{total} rows; {} and {} are equal in {agree} of them", labels.0, labels.1);
    let longest = ys.iter().map(|word| word.chars().count()).max().unwrap_or(0);
    let frame = Frame::square(longest, labels);
    let mut svg = Svg::new(frame.width, frame.height, title, &about);
    if total == 0 {
        frame.nothing(&mut svg);
        return svg.finish();
    }
    let widest = xs.iter().map(|word| word.chars().count()).max().unwrap_or(0).min(24);
    let x = Scale::words(xs, frame.left, frame.right, widest as f64 * LETTER + 4.0);
    let y = Scale::words(ys, frame.top, frame.bottom, 13.0);
    frame.axes(&mut svg, &x, &y, (false, false));
    frame.labels(&mut svg, labels);

    let shares = chart.template == Template::ConfusionNormalized;
    let largest = counts.iter().flatten().copied().max().unwrap_or(1).max(1) as f64;
    svg.begin("g", &[("class", "cells")]);
    for (row, of_row) in counts.iter().enumerate() {
        let in_row = of_row.iter().sum::<u64>().max(1) as f64;
        for (column, count) in of_row.iter().enumerate() {
            let share = *count as f64 / if shares { in_row } else { largest };
            let (left, top) = (x.at(column as f64 - 0.5), y.at(row as f64 - 0.5));
            // A rare class stays visible.
            let strength = if *count == 0 { 0.03 } else { 0.08 + 0.92 * share };
            svg.begin(
                "rect",
                &[
                    ("x", &px(left)),
                    ("y", &px(top)),
                    ("width", &px(x.unit())),
                    ("height", &px(y.unit())),
                    ("fill-opacity", &format!("{strength:.2}")),
                ],
            );
            let value = if shares { format!("{count} ({:.1} %)", share * 100.0) } else { count.to_string() };
            let (x_word, y_word) = (&xs[column], &ys[row]);
            svg.text("title", &[], &format!("{} {x_word}, {} {y_word}: {value}", labels.0, labels.1));
            svg.end();
            let text = if shares { format!("{share:.2}") } else { count.to_string() };
            let fits = x.unit() >= text.chars().count() as f64 * LETTER + 2.0 && y.unit() >= 13.0;
            if *count > 0 && fits {
                let class = if strength > 0.72 { "strong" } else { "weak" };
                let (at, line) = (px(x.at(column as f64)), px(y.at(row as f64) + 4.0));
                svg.text("text", &[("class", class), ("x", &at), ("y", &line), ("text-anchor", "middle")], &text);
            }
        }
    }
    svg.end();
    svg.finish()
}
