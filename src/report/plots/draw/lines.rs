//! Lines: linear, simple, smooth.

use std::collections::HashSet;
use std::fmt::Write;

use serde_json::json;

use super::super::scale::{Scale, number};
use super::super::smooth::smooth;
use super::super::svg::{Svg, px};
use super::super::template::Template;
use super::super::thin::{order, thin};
use super::axes::Axis;
use super::frame::{Frame, HEIGHT, WIDTH, letters};
use super::square::is_square;
use super::{DrawnChart, Panel};

/// With more points, they are not marked individually.
const MOST_MARKS: usize = 80;

/// The page has line widths for this many lines on top of another.
const MOST_UNDER: usize = 4;

/// Draws lines.
pub fn draw(drawn: &DrawnChart<'_>, title: &str) -> Panel {
    let chart = drawn.chart;
    let xs = Axis::of(drawn.series.iter().map(|one| &one.series.x));
    let ys = Axis::of(drawn.series.iter().map(|one| &one.series.y));
    let labels = (chart.x_label.as_str(), chart.y_label.as_str());
    let about = format!("{} of {}; x from {}, y from {}", lines(drawn.series.len()), labels.1, xs.range(), ys.range());

    // A smoothed line may leave the square.
    let is_square = chart.template != Template::Smooth && is_square(&xs, &ys, labels);
    let framed = |letters: usize| match is_square {
        true => Frame::square(letters, labels),
        false => Frame::new(WIDTH, HEIGHT, letters, labels),
    };
    // The left margin depends on the labels of y, which do not depend on it.
    let rows = framed(0);
    let unit = |from: f64, to: f64| Some(Scale::new((0.0, 1.0), from, to, 5, true)).filter(|_| is_square);
    let y = unit(rows.bottom, rows.top).or_else(|| ys.scale(rows.bottom, rows.top, 6, true));
    let frame = framed(y.as_ref().map_or(0, letters));
    let x = unit(frame.left, frame.right).or_else(|| xs.scale(frame.left, frame.right, 7, false));
    let mut svg = Svg::new(frame.width, frame.height, title, &about);
    let (Some(x), Some(y)) = (x, y) else {
        frame.nothing(&mut svg);
        return Panel { caption: None, svg: svg.finish(), is_square, note: None, hover: None };
    };
    frame.axes(&mut svg, &x, &y, (is_square, true));
    frame.labels(&mut svg, labels);

    let mut curves = Vec::new();
    for (xs, ys) in xs.values.iter().zip(&ys.values) {
        let rows = order(xs);
        let point = |row: &u32| (xs[*row as usize], ys[*row as usize]);
        let runs = thin(&rows, ys, |row| x.at(xs[row as usize]).floor() as i64);
        let mut curve =
            Curve { runs: runs.iter().map(|run| run.iter().map(point).collect()).collect(), faint: Vec::new() };
        if chart.template == Template::Smooth {
            let all: Vec<(f64, f64)> = rows.iter().map(point).collect();
            curve.faint = std::mem::replace(&mut curve.runs, vec![smooth(&all)]);
        }
        curves.push(curve);
    }
    let mut hover = Vec::new();
    for ((one, curve), covered) in drawn.series.iter().zip(&curves).zip(covered(&curves, &x, &y)) {
        let class = one.class.as_str();
        let runs = &curve.runs;
        let shown: Vec<(f64, f64)> = runs.concat();
        path(&mut svg, &format!("line faint {class}"), &curve.faint, &x, &y);
        for (above, part) in covered {
            path(&mut svg, &format!("line {class} u{}", above.min(MOST_UNDER)), &[part], &x, &y);
        }
        path(&mut svg, &format!("line {class}"), runs, &x, &y);
        if chart.template != Template::Smooth {
            let mark_all = chart.template == Template::Simple && shown.len() <= MOST_MARKS;
            // A point without neighbours has no line through it.
            let alone = runs.iter().filter(|run| mark_all || run.len() == 1).flatten();
            dots(&mut svg, &format!("dot {class}"), alone, &x, &y);
        }
        hover.push(json!({
            "name": one.label,
            "class": class,
            "x": shown.iter().map(|p| rounded(p.0)).collect::<Vec<_>>(),
            "y": shown.iter().map(|p| rounded(p.1)).collect::<Vec<_>>(),
        }));
    }
    let hover = json!({
        "x": x.ends(), "y": y.ends(), "top": frame.top, "bottom": frame.bottom,
        "words": xs.words, "label": chart.x_label, "series": hover,
    });
    Panel { caption: None, svg: svg.finish(), is_square, note: None, hover: Some(hover) }
}

/// Points without a gap between them.
type Run = Vec<(f64, f64)>;

/// A series as drawn.
struct Curve {
    runs: Vec<Run>,
    /// The original points of a smoothed line.
    faint: Vec<Run>,
}

/// The parts of each curve that later curves cover, with their number. Such a part is drawn wider, so that it is
/// visible on both sides of them.
fn covered(curves: &[Curve], x: &Scale, y: &Scale) -> Vec<Vec<(usize, Run)>> {
    let at = |point: &(f64, f64)| [x.at(point.0).round() as i64, y.at(point.1).round() as i64];
    let piece = |pair: &[(f64, f64)]| [at(&pair[0]), at(&pair[1])];
    let pieces = |curve: &Curve| -> HashSet<[[i64; 2]; 2]> {
        curve.runs.iter().flat_map(|run| run.windows(2)).map(piece).filter(|[a, b]| a != b).collect()
    };
    let all: Vec<_> = curves.iter().map(pieces).collect();
    let parts = |(n, curve): (usize, &Curve)| {
        let later = &all[n + 1..];
        let above = |pair: &[(f64, f64)]| later.iter().filter(|other| other.contains(&piece(pair))).count();
        let mut parts: Vec<(usize, Run)> = Vec::new();
        for pair in curve.runs.iter().flat_map(|run| run.windows(2)) {
            match (above(pair), parts.last_mut()) {
                (0, _) => {}
                (n, Some((m, part))) if n == *m && part.last() == pair.first() => part.push(pair[1]),
                (n, _) => parts.push((n, pair.to_vec())),
            }
        }
        parts
    };
    curves.iter().enumerate().map(parts).collect()
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

/// Six digits, like a tooltip.
pub fn rounded(value: f64) -> f64 {
    number(value).parse().unwrap_or(value)
}
