//! A graph with one line per box, for graphs that are too large or too wide to draw.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Picture;
use super::width::columns;

/// Shorter labels are padded at most to this width.
const WIDEST: usize = 32;

/// Lists each box after the boxes that it depends on, and names these: `train  <- prepare, features`.
pub fn list(picture: &Picture) -> Vec<String> {
    let count = picture.labels.len();
    let mut edges = picture.edges.clone();
    edges.sort_unstable();
    edges.dedup();
    let (mut above, mut below) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for (from, to) in edges.into_iter().filter(|(from, to)| from != to) {
        above[to].push(from);
        below[from].push(to);
    }
    let widths = picture.labels.iter().map(|label| columns(label));
    let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
    let mut missing: Vec<usize> = above.iter().map(Vec::len).collect();
    let mut ready: BinaryHeap<Reverse<usize>> = (0..count).filter(|n| missing[*n] == 0).map(Reverse).collect();
    let mut lines = Vec::new();
    while let Some(Reverse(n)) = ready.pop() {
        lines.push(line(picture, n, &above[n], width));
        for to in &below[n] {
            missing[*to] -= 1;
            if missing[*to] == 0 {
                ready.push(Reverse(*to));
            }
        }
    }
    lines
}

fn line(picture: &Picture, n: usize, above: &[usize], width: usize) -> String {
    let label = &picture.labels[n];
    if above.is_empty() {
        return label.clone();
    }
    let names: Vec<&str> = above.iter().map(|from| picture.labels[*from].as_str()).collect();
    let padding = " ".repeat(width.saturating_sub(columns(label)));
    format!("{label}{padding}  <- {}", names.join(", "))
}
