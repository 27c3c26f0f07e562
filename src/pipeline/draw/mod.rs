//! Draws a graph with characters: boxes in layers, edges downwards between them. Pure.
//!
//! ```text
//! ┌─────────┐
//! │ prepare │        layer 0
//! └────┬────┘
//!   ┌──┴───┐         a channel of tracks
//! ┌─┴─┐  ┌─┴─┐
//! │ a │  │ b │       layer 1
//! └───┘  └───┘
//! ```
//!
//! After Sugiyama, Tagawa and Toda (1981): longest-path layering, edges across several layers cut by bends, order by
//! barycenters, then places along each layer by isotonic regression towards the neighbours (`place.rs`), and the edges
//! of each channel on tracks as in channel routing (`route.rs`). Each connected component is drawn separately.

mod canvas;
mod layers;
mod list;
mod place;
mod route;
#[cfg(test)]
mod tests;
mod width;

use petgraph::unionfind::UnionFind;

pub use canvas::Charset;
use list::list;

/// An acyclic graph to draw: boxes with labels, and edges as pairs of indexes.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The text of each box, one line.
    pub labels: Vec<String>,
    /// Indexes into `labels`, from the upper box to the lower one.
    pub edges: Vec<(usize, usize)>,
}

/// A larger graph is listed instead of drawn.
const MOST_BOXES: usize = 150;
/// The maximum width of a drawing where no other one is known.
const MOST_COLUMNS: usize = 500;
/// Boxes without edges share a row up to this width.
const ROW: usize = 80;
/// The number of columns between them.
const GAP: usize = 2;

/// The drawing, one string per line, in at most `width` columns. Connected boxes that need more, and a large graph, are
/// listed instead (see [`list`]).
pub fn draw(picture: &Picture, charset: Charset, width: Option<usize>) -> Vec<String> {
    if picture.labels.len() > MOST_BOXES {
        return list(picture);
    }
    let width = width.unwrap_or(MOST_COLUMNS);
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let (mut row, mut row_width) = (Vec::new(), 0);
    let mut listed = Vec::new();
    for part in parts(picture) {
        if part.edges.is_empty() {
            let box_width = width::box_width(&part.labels[0], 0);
            if box_width > width {
                listed.extend(list(&part));
                continue;
            }
            if !row.is_empty() && row_width + GAP + box_width > ROW.min(width) {
                blocks.push(beside(std::mem::take(&mut row)));
            }
            row_width = if row.is_empty() { box_width } else { row_width + GAP + box_width };
            row.push(canvas::lone(&part.labels[0], charset));
            continue;
        }
        match connected(&part, charset) {
            Some(lines) if lines.iter().all(|line| width::columns(line) <= width) => blocks.push(lines),
            _ => blocks.push(list(&part)),
        }
    }
    blocks.extend([beside(row), listed].into_iter().filter(|block| !block.is_empty()));
    blocks.join(&String::new())
}

fn connected(picture: &Picture, charset: Charset) -> Option<Vec<String>> {
    let mut layered = layers::layered(picture);
    layers::order(&mut layered);
    let drawn = route::routed(&mut layered)?;
    Some(canvas::paint(&layered, &drawn, charset))
}

/// The parts that hang together, by their first boxes.
fn parts(picture: &Picture) -> Vec<Picture> {
    let count = picture.labels.len();
    let mut sets = UnionFind::<usize>::new(count);
    for (a, b) in &picture.edges {
        sets.union(*a, *b);
    }
    let sets = sets.into_labeling();
    let mut heads: Vec<usize> = Vec::new();
    let mut parts: Vec<Picture> = Vec::new();
    let mut places = vec![(0, 0); count];
    for n in 0..count {
        let part = heads.iter().position(|h| *h == sets[n]).unwrap_or_else(|| {
            heads.push(sets[n]);
            parts.push(Picture::default());
            heads.len() - 1
        });
        places[n] = (part, parts[part].labels.len());
        parts[part].labels.push(picture.labels[n].clone());
    }
    let mut edges = picture.edges.clone();
    edges.sort_unstable();
    edges.dedup();
    for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
        parts[places[a].0].edges.push((places[a].1, places[b].1));
    }
    parts
}

fn beside(boxes: Vec<Vec<String>>) -> Vec<String> {
    let rows = boxes.iter().map(Vec::len).max().unwrap_or(0);
    let line =
        |n: usize| boxes.iter().filter_map(|b| b.get(n).map(String::as_str)).collect::<Vec<_>>().join(&" ".repeat(GAP));
    (0..rows).map(line).collect()
}
