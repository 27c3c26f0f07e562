//! The frame of a chart: grid, ticks, labels.

use super::super::scale::Scale;
use super::super::svg::{Svg, px};

pub const WIDTH: f64 = 640.0;
pub const HEIGHT: f64 = 340.0;
/// The approximate width of a letter: fonts are not measured here.
pub const LETTER: f64 = 6.6;
/// Longer words are cut.
const LONGEST: usize = 24;

/// The side of a square of data.
const SIDE: f64 = 384.0;
/// The margins at the right and at the top.
const RIGHT: f64 = 18.0;
const TOP: f64 = 10.0;

/// The rectangle of the data.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Of the picture.
    pub width: f64,
    pub height: f64,
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Frame {
    /// With room on the left for labels of this many letters.
    pub fn new(width: f64, height: f64, letters: usize, labels: (&str, &str)) -> Frame {
        Frame {
            width,
            height,
            left: left(letters, labels.1),
            right: width - RIGHT,
            top: TOP,
            bottom: height - below(labels.0),
        }
    }

    /// The same with a square of data, in a picture of a suitable size.
    pub fn square(letters: usize, labels: (&str, &str)) -> Frame {
        let (width, height) = (left(letters, labels.1) + SIDE + RIGHT, TOP + SIDE + below(labels.0));
        Frame::new(width, height, letters, labels)
    }

    /// Grid and ticks; no grid lines through bars or words.
    pub fn axes(&self, svg: &mut Svg, x: &Scale, y: &Scale, grid: (bool, bool)) {
        let Frame { left, right, top, bottom, .. } = *self;
        svg.begin("g", &[("class", "grid")]);
        if grid.1 {
            for (value, _) in &y.ticks {
                let at = px(y.at(*value));
                svg.element("line", &[("x1", &px(left)), ("x2", &px(right)), ("y1", &at), ("y2", &at)]);
            }
        }
        if grid.0 {
            for (value, _) in &x.ticks {
                let at = px(x.at(*value));
                svg.element("line", &[("x1", &at), ("x2", &at), ("y1", &px(top)), ("y2", &px(bottom))]);
            }
        }
        svg.end();
        svg.begin("g", &[("class", "tick")]);
        for (value, label) in &y.ticks {
            let at = px(y.at(*value) + 4.0);
            svg.text("text", &[("x", &px(left - 8.0)), ("y", &at), ("text-anchor", "end")], &cut(label, LONGEST));
        }
        let mut free = f64::NEG_INFINITY;
        for (value, label) in &x.ticks {
            let label = cut(label, LONGEST);
            let half = label.chars().count() as f64 * LETTER / 2.0;
            let at = x.at(*value);
            // Labels do not overlap, and stay inside the picture.
            if at - half < free {
                continue;
            }
            free = at + half + 6.0;
            let at = at.min(right + 16.0 - half);
            svg.text("text", &[("x", &px(at)), ("y", &px(bottom + 17.0)), ("text-anchor", "middle")], &label);
        }
        svg.end();
        let base = px(bottom);
        svg.element("line", &[("class", "axis"), ("x1", &px(left)), ("x2", &px(right)), ("y1", &base), ("y2", &base)]);
    }

    /// The names of both axes.
    pub fn labels(&self, svg: &mut Svg, (x, y): (&str, &str)) {
        let fit = |length: f64| (length / LETTER) as usize;
        if !x.is_empty() {
            let at = [("class", "label"), ("x", &px((self.left + self.right) / 2.0)), ("y", &px(self.bottom + 38.0))];
            svg.text("text", &[&at[..], &[("text-anchor", "middle")]].concat(), &cut(x, fit(self.right - self.left)));
        }
        if !y.is_empty() {
            let place = format!("translate(14 {}) rotate(-90)", px((self.top + self.bottom) / 2.0));
            let at = [("class", "label"), ("transform", place.as_str()), ("text-anchor", "middle")];
            svg.text("text", &at, &cut(y, fit(self.bottom - self.top)));
        }
    }

    /// The text of an empty chart.
    pub fn nothing(&self, svg: &mut Svg) {
        let (x, y) = ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0);
        svg.text("text", &[("class", "label"), ("x", &px(x)), ("y", &px(y)), ("text-anchor", "middle")], "no values");
    }
}

/// The margin at the left of the data, for labels of this many letters.
fn left(letters: usize, label: &str) -> f64 {
    letters.min(LONGEST) as f64 * LETTER + 14.0 + if label.is_empty() { 0.0 } else { 20.0 }
}

/// The margin below the data.
fn below(label: &str) -> f64 {
    if label.is_empty() { 26.0 } else { 46.0 }
}

/// The length of the longest label.
pub fn letters(scale: &Scale) -> usize {
    scale.ticks.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0)
}

/// Shortens a text to a number of letters.
pub fn cut(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters.max(1)) {
        Some(_) => text.chars().take(letters.max(2) - 1).chain(['…']).collect(),
        None => text.to_string(),
    }
}
