//! Bars: bar, bar_horizontal, bar_horizontal_sorted. They start at zero, because their length is compared.

use std::collections::HashMap;

use super::super::Column;
use super::super::scale::{Scale, extent, number};
use super::super::svg::{Svg, px};
use super::super::template::Template;
use super::axes::words_of;
use super::frame::{Frame, HEIGHT, WIDTH, letters};
use super::{DrawnChart, DrawnSeries, Panel};

/// More categories than this are left out, with a note.
const MOST: usize = 80;
/// The minimum height of a category in a horizontal chart.
const ROW: f64 = 20.0;

/// What both directions have in common.
struct Bars {
    words: Vec<String>,
    /// One list per series, one value per word; NaN for missing ones.
    values: Vec<Vec<f64>>,
    note: Option<String>,
}

/// Draws bars.
pub fn draw(drawn: &DrawnChart<'_>, title: &str) -> Panel {
    let chart = drawn.chart;
    let bars = gather(drawn);
    let labels = (chart.x_label.as_str(), chart.y_label.as_str());
    let about = format!("bars for {} categories and {} series", bars.words.len(), drawn.series.len());
    let lying = chart.template.is_horizontal();
    let row = ROW.max(9.0 * drawn.series.len() as f64 + 5.0);
    let height = if lying { (bars.words.len() as f64 * row + 56.0).max(160.0) } else { HEIGHT };
    let mut svg = Svg::new(WIDTH, height, title, &about);
    let longest = bars.words.iter().map(|word| word.chars().count()).max().unwrap_or(0);
    let Some((low, high)) = extent(bars.values.iter().flatten().copied()) else {
        Frame::new(WIDTH, height, 0, labels).nothing(&mut svg);
        return Panel { caption: None, svg: svg.finish(), is_square: false, note: None, hover: None };
    };
    let extent = (low.min(0.0), high.max(0.0));
    let (frame, x, y) = if lying {
        let frame = Frame::new(WIDTH, height, longest, labels);
        let y = Scale::words(&bars.words, frame.top, frame.bottom, 1.0);
        (frame, Scale::new(extent, frame.left, frame.right, 6, true), y)
    } else {
        let rows = Frame::new(WIDTH, height, 0, labels);
        let y = Scale::new(extent, rows.bottom, rows.top, 6, true);
        let frame = Frame::new(WIDTH, height, letters(&y), labels);
        let width = longest.min(24) as f64 * super::frame::LETTER + 10.0;
        (frame, Scale::words(&bars.words, frame.left, frame.right, width), y)
    };
    frame.axes(&mut svg, &x, &y, (lying, !lying));
    frame.labels(&mut svg, labels);

    // The base of the bars, if it is not the edge.
    let (start, end) = if lying { (x.at(0.0), frame.bottom) } else { (frame.left, y.at(0.0)) };
    let (width, top) = if lying { (0.0, frame.top) } else { (frame.right - frame.left, end) };
    let place = [("x1", px(start)), ("x2", px(start + width)), ("y1", px(top)), ("y2", px(end))];
    let place = place.each_ref().map(|(key, value)| (*key, value.as_str()));
    svg.element("line", &[&[("class", "axis")], &place[..]].concat());

    let (along, across) = if lying { (&x, &y) } else { (&y, &x) };
    let thick = across.unit() * 0.78 / drawn.series.len() as f64;
    for (n, one) in drawn.series.iter().enumerate() {
        svg.begin("g", &[("class", &format!("bar {}", one.class))]);
        let label = one.label.as_str();
        for (at, value) in bars.values[n].iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let start = across.at(at as f64) + thick * (n as f64 - drawn.series.len() as f64 / 2.0);
            let (zero, end) = (along.at(0.0), along.at(*value));
            let (from, length) = (zero.min(end), (zero - end).abs().max(0.5));
            // A small gap between neighbours.
            let (from, length, start, thick) = (px(from), px(length), px(start), px((thick - 1.0).max(thick * 0.7)));
            let place = if lying {
                [("x", &from), ("width", &length), ("y", &start), ("height", &thick)]
            } else {
                [("y", &from), ("height", &length), ("x", &start), ("width", &thick)]
            };
            svg.begin("rect", &place.map(|(key, value)| (key, value.as_str())));
            svg.text("title", &[], &format!("{}, {label}: {}", bars.words[at], number(*value)));
            svg.end();
        }
        svg.end();
    }
    Panel { caption: None, svg: svg.finish(), is_square: false, note: bars.note, hover: None }
}

fn gather(drawn: &DrawnChart<'_>) -> Bars {
    let chart = drawn.chart;
    let lying = chart.template.is_horizontal();
    let names = |one: &DrawnSeries<'_>| if lying { one.series.y.clone() } else { one.series.x.clone() };
    let columns: Vec<Column> = drawn.series.iter().map(names).collect();
    let mut words = words_of(columns.iter());
    let places: HashMap<&str, usize> = words.iter().enumerate().map(|(n, word)| (word.as_str(), n)).collect();
    let mut values = vec![vec![f64::NAN; words.len()]; drawn.series.len()];
    for (n, one) in drawn.series.iter().enumerate() {
        let lengths = if lying { &one.series.x } else { &one.series.y };
        let (Column::Words { rows, words }, Column::Numbers(lengths)) = (&columns[n], lengths) else { continue };
        for (row, length) in rows.iter().zip(lengths) {
            let Some(at) = places.get(words[*row as usize].as_str()) else { continue };
            // Rows of one category are summed.
            let sum = &mut values[n][*at];
            *sum = if sum.is_nan() { *length } else { *sum + length };
        }
    }
    if chart.template == Template::BarHorizontalSorted {
        let total = |at: usize| values.iter().map(|v| v[at]).filter(|v| v.is_finite()).sum::<f64>();
        let mut order: Vec<usize> = (0..words.len()).collect();
        order.sort_by(|a, b| total(*b).total_cmp(&total(*a)).then(a.cmp(b)));
        words = order.iter().map(|at| words[*at].clone()).collect();
        values = values.iter().map(|of| order.iter().map(|at| of[*at]).collect()).collect();
    }
    let note = (words.len() > MOST).then(|| format!("The first {MOST} of {} categories are shown.", words.len()));
    words.truncate(MOST);
    values.iter_mut().for_each(|of| of.truncate(MOST));
    Bars { words, values, note }
}
