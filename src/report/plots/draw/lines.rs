//! Lines: linear, simple, smooth.

use std::fmt::Write;

use serde_json::json;

use super::super::scale::{Scale, number};
use super::super::smooth::smooth;
use super::super::svg::{Svg, px};
use super::super::template::Template;
use super::super::thin::{order, thin};
use super::super::{Chart, Report};
use super::axes::Axis;
use super::frame::{Frame, HEIGHT, WIDTH, letters};
use super::{Panel, class};

/// More points than this are not marked one by one.
const MOST_MARKS: usize = 80;

pub fn draw(chart: &Chart, report: &Report, title: &str) -> Panel {
    let xs = Axis::of(chart.series.iter().map(|series| &series.x));
    let ys = Axis::of(chart.series.iter().map(|series| &series.y));
    let labels = (chart.x_label.as_str(), chart.y_label.as_str());
    let about = format!("{} of {}; x from {}, y from {}", lines(chart.series.len()), labels.1, xs.range(), ys.range());
    let mut svg = Svg::new(WIDTH, HEIGHT, title, &about);

    // The room on the left depends on the labels of y, which do not depend on it.
    let rows = Frame::new(WIDTH, HEIGHT, 0, labels);
    let y = ys.scale(rows.bottom, rows.top, 6, true);
    let frame = Frame::new(WIDTH, HEIGHT, y.as_ref().map_or(0, letters), labels);
    let x = xs.scale(frame.left, frame.right, 7, false);
    let (Some(x), Some(y)) = (x, y) else {
        frame.nothing(&mut svg);
        return Panel { caption: None, svg: svg.finish(), note: None, hover: None };
    };
    frame.axes(&mut svg, &x, &y, (false, true));
    frame.labels(&mut svg, labels);

    let mut hover = Vec::new();
    for (n, series) in chart.series.iter().enumerate() {
        let class = class(series, report);
        let (xs, ys) = (&xs.values[n], &ys.values[n]);
        let rows = order(xs);
        let runs = thin(&rows, ys, |row| x.at(xs[row as usize]).floor() as i64);
        let points = |run: &Vec<u32>| run.iter().map(|row| (xs[*row as usize], ys[*row as usize])).collect();
        let runs: Vec<Vec<(f64, f64)>> = runs.iter().map(points).collect();
        let mut shown: Vec<(f64, f64)> = runs.concat();
        if chart.template == Template::Smooth {
            path(&mut svg, &format!("line faint {class}"), &runs, &x, &y);
            let all: Vec<(f64, f64)> = rows.iter().map(|row| (xs[*row as usize], ys[*row as usize])).collect();
            shown = smooth(&all);
            path(&mut svg, &format!("line {class}"), std::slice::from_ref(&shown), &x, &y);
        } else {
            path(&mut svg, &format!("line {class}"), &runs, &x, &y);
            let mark_all = chart.template == Template::Simple && shown.len() <= MOST_MARKS;
            // A point without neighbours has no line through it.
            let alone = runs.iter().filter(|run| mark_all || run.len() == 1).flatten();
            dots(&mut svg, &format!("dot {class}"), alone, &x, &y);
        }
        hover.push(json!({
            "name": report.label(series, chart),
            "class": class,
            "x": shown.iter().map(|p| rounded(p.0)).collect::<Vec<_>>(),
            "y": shown.iter().map(|p| rounded(p.1)).collect::<Vec<_>>(),
        }));
    }
    let hover = json!({
        "x": x.ends(), "y": y.ends(), "top": frame.top, "bottom": frame.bottom,
        "words": xs.words, "label": chart.x_label, "series": hover,
    });
    Panel { caption: None, svg: svg.finish(), note: None, hover: Some(hover) }
}

fn lines(n: usize) -> String {
    if n == 1 { "one line".into() } else { format!("{n} lines") }
}

fn path(svg: &mut Svg, class: &str, runs: &[Vec<(f64, f64)>], x: &Scale, y: &Scale) {
    let mut d = String::new();
    for run in runs.iter().filter(|run| run.len() > 1) {
        for (n, point) in run.iter().enumerate() {
            let _ = write!(d, "{}{} {}", if n == 0 { 'M' } else { 'L' }, px(x.at(point.0)), px(y.at(point.1)));
        }
    }
    if !d.is_empty() {
        svg.element("path", &[("class", class), ("d", &d)]);
    }
}

/// Round dots, as one path of lines without length: half the bytes of circles.
pub fn dots<'p>(svg: &mut Svg, class: &str, points: impl Iterator<Item = &'p (f64, f64)>, x: &Scale, y: &Scale) {
    let mut d = String::new();
    for point in points {
        let _ = write!(d, "M{} {}h0", px(x.at(point.0)), px(y.at(point.1)));
    }
    if !d.is_empty() {
        svg.element("path", &[("class", class), ("d", &d)]);
    }
}

/// Six digits, which is what a tooltip shows.
pub fn rounded(value: f64) -> f64 {
    number(value).parse().unwrap_or(value)
}
