//! Dots: scatter, scatter_jitter.

use std::collections::HashSet;

use serde_json::json;

use super::super::scale::Scale;
use super::super::svg::Svg;
use super::super::template::Template;
use super::axes::Axis;
use super::frame::{Frame, HEIGHT, WIDTH, letters};
use super::lines::{dots, rounded};
use super::square::is_square;
use super::{DrawnChart, Panel};

/// From this number on, overlapping dots are drawn once.
const MANY: usize = 3000;
/// The size in pixels of a square with at most one dot.
const SQUARE: f64 = 2.5;
/// The maximum number of points with a tooltip.
const MOST_HOVER: usize = 4000;

/// Returns true for the templates of this module.
pub fn draws(template: Template) -> bool {
    matches!(template, Template::Scatter | Template::ScatterJitter)
}

/// Draws dots.
pub fn draw(drawn: &DrawnChart<'_>, title: &str) -> Panel {
    let chart = drawn.chart;
    let xs = Axis::of(drawn.series.iter().map(|one| &one.series.x));
    let ys = Axis::of(drawn.series.iter().map(|one| &one.series.y));
    let labels = (chart.x_label.as_str(), chart.y_label.as_str());
    let count: usize = drawn.series.iter().map(|one| one.series.x.len()).sum();
    let about = format!("{count} dots; x from {}, y from {}", xs.range(), ys.range());
    // Jittered dots may leave the square.
    let is_square = chart.template == Template::Scatter && is_square(&xs, &ys, labels);
    let framed = |letters: usize| match is_square {
        true => Frame::square(letters, labels),
        false => Frame::new(WIDTH, HEIGHT, letters, labels),
    };
    let rows = framed(0);
    let unit = |from: f64, to: f64| Some(Scale::new((0.0, 1.0), from, to, 5, true)).filter(|_| is_square);
    let y = unit(rows.bottom, rows.top).or_else(|| ys.scale(rows.bottom, rows.top, 6, true));
    let frame = framed(y.as_ref().map_or(0, letters));
    // A margin, so that dots are complete.
    let margins = || xs.scale(frame.left + 8.0, frame.right - 4.0, 7, false);
    let x = unit(frame.left, frame.right).or_else(margins);
    let mut svg = Svg::new(frame.width, frame.height, title, &about);
    let (Some(x), Some(y)) = (x, y) else {
        frame.nothing(&mut svg);
        return Panel { caption: None, svg: svg.finish(), is_square, note: None, hover: None };
    };
    frame.axes(&mut svg, &x, &y, (true, true));
    frame.labels(&mut svg, labels);

    let moved = |axis: &Axis<'_>, scale: &Scale| match (chart.template, &axis.words) {
        (Template::ScatterJitter, Some(_)) => 0.3,
        (Template::ScatterJitter, None) => 5.0 / scale.unit(),
        _ => 0.0,
    };
    let reach = (moved(&xs, &x), moved(&ys, &y));
    let mut hover = Vec::new();
    let mut left = MOST_HOVER;
    for (n, one) in drawn.series.iter().enumerate() {
        let class = one.class.as_str();
        let points: Vec<(f64, f64)> = xs.values[n]
            .iter()
            .zip(ys.values[n].iter())
            .enumerate()
            .filter(|(_, (x, y))| x.is_finite() && y.is_finite())
            .map(|(row, (x, y))| (x + reach.0 * spread(row, 0.754_877_666_2), y + reach.1 * spread(row, 0.569_840_291)))
            .collect();
        let mut taken = HashSet::new();
        let square = |p: &(f64, f64)| ((x.at(p.0) / SQUARE).floor() as i64, (y.at(p.1) / SQUARE).floor() as i64);
        let shown: Vec<(f64, f64)> =
            points.iter().filter(|p| points.len() < MANY || taken.insert(square(p))).copied().collect();
        dots(&mut svg, &format!("dots {class}"), shown.iter(), &x, &y);
        // Charts with words on an axis or jittered dots have no tooltips.
        if xs.words.is_none() && ys.words.is_none() && reach == (0.0, 0.0) && shown.len() <= left {
            left -= shown.len();
            hover.push(json!({
                "name": one.label,
                "class": class,
                "x": shown.iter().map(|p| rounded(p.0)).collect::<Vec<_>>(),
                "y": shown.iter().map(|p| rounded(p.1)).collect::<Vec<_>>(),
            }));
        }
    }
    let hover = (!hover.is_empty()).then(|| {
        json!({
            "x": x.ends(), "y": y.ends(), "top": frame.top, "bottom": frame.bottom, "nearest": true,
            "words": null, "label": chart.x_label, "series": hover,
        })
    });
    Panel { caption: None, svg: svg.finish(), is_square, note: None, hover }
}

/// A deterministic, even spread from -1 to 1: the fractions of a row's multiples of an irrational number.
fn spread(row: usize, factor: f64) -> f64 {
    (row as f64 * factor).fract() * 2.0 - 1.0
}
