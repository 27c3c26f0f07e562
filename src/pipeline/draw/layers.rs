//! Assigns each box to a layer, and orders the boxes of a layer.

use super::Picture;
use super::width::box_width;

/// A box, or the bend of an edge that crosses a layer.
#[derive(Clone, Debug)]
pub struct DrawnNode {
    /// `None` for a bend.
    pub label: Option<String>,
    /// Counted from the top.
    pub layer: usize,
    /// In columns; odd, so that there is a middle column.
    pub width: usize,
    /// Nodes of the layer above with edges to this one; `below`: nodes of the layer below that this one leads to.
    pub above: Vec<usize>,
    pub below: Vec<usize>,
    /// The leftmost column.
    pub x: usize,
}

impl DrawnNode {
    /// The middle column.
    pub fn center(&self) -> usize {
        self.x + self.width / 2
    }
}

/// Nodes in layers, with edges only between neighbouring layers.
#[derive(Clone, Debug, Default)]
pub struct Layered {
    /// Boxes first, by their index in the picture, then bends.
    pub nodes: Vec<DrawnNode>,
    /// From the top, each from the left.
    pub layers: Vec<Vec<usize>>,
}

/// Layers by longest paths; a box without incoming edges moves down towards its successors. Edges of one box that cross
/// a layer share a bend there.
pub fn layered(picture: &Picture) -> Layered {
    let count = picture.labels.len();
    let (mut above, mut below) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for (a, b) in &picture.edges {
        above[*b].push(*a);
        below[*a].push(*b);
    }
    let mut layer = vec![0; count];
    let mut waits: Vec<usize> = above.iter().map(Vec::len).collect();
    let mut free: Vec<usize> = (0..count).filter(|n| waits[*n] == 0).collect();
    while let Some(n) = free.pop() {
        for &next in &below[n] {
            layer[next] = layer[next].max(layer[n] + 1);
            waits[next] -= 1;
            if waits[next] == 0 {
                free.push(next);
            }
        }
    }
    for n in (0..count).filter(|n| above[*n].is_empty()) {
        if let Some(lowest) = below[n].iter().map(|b| layer[*b]).min() {
            layer[n] = lowest - 1;
        }
    }
    let mut out = Layered { nodes: Vec::new(), layers: vec![Vec::new(); layer.iter().max().map_or(0, |l| l + 1)] };
    for (n, label) in picture.labels.iter().enumerate() {
        out.add(Some(label.clone()), layer[n]);
    }
    for (n, targets) in below.iter().enumerate() {
        let mut at = n;
        let mut targets = targets.clone();
        targets.sort_by_key(|t| layer[*t]);
        for target in targets {
            while out.nodes[at].layer + 1 < layer[target] {
                let next = out.nodes[at].layer + 1;
                // a bend belongs to one box: it is the only bend below, if there is one
                let bend = out.nodes[at].below.iter().copied().find(|b| out.nodes[*b].label.is_none());
                at = bend.unwrap_or_else(|| {
                    let bend = out.add(None, next);
                    out.join(at, bend);
                    bend
                });
            }
            out.join(at, target);
        }
    }
    for node in &mut out.nodes {
        node.width = node.label.as_ref().map_or(1, |label| box_width(label, node.above.len()));
    }
    out
}

impl Layered {
    fn add(&mut self, label: Option<String>, layer: usize) -> usize {
        let n = self.nodes.len();
        self.nodes.push(DrawnNode { label, layer, width: 1, above: Vec::new(), below: Vec::new(), x: 0 });
        self.layers[layer].push(n);
        n
    }

    fn join(&mut self, from: usize, to: usize) {
        self.nodes[from].below.push(to);
        self.nodes[to].above.push(from);
    }

    /// The position of each node in its layer.
    fn positions(&self) -> Vec<usize> {
        let mut positions = vec![0; self.nodes.len()];
        for layer in &self.layers {
            for (at, n) in layer.iter().enumerate() {
                positions[*n] = at;
            }
        }
        positions
    }

    fn crossings(&self) -> usize {
        let positions = self.positions();
        let mut crossings = 0;
        for layer in &self.layers {
            let mut edges: Vec<(usize, usize)> = Vec::new();
            for (at, n) in layer.iter().enumerate() {
                edges.extend(self.nodes[*n].below.iter().map(|b| (at, positions[*b])));
            }
            for (i, a) in edges.iter().enumerate() {
                crossings += edges[..i].iter().filter(|b| (a.0 < b.0 && a.1 > b.1) || (a.0 > b.0 && a.1 < b.1)).count();
            }
        }
        crossings
    }
}

/// Orders the layers by the barycenters of neighbours, alternately downwards and upwards. Keeps the order with the
/// fewest crossings, and the first of equals.
pub fn order(layered: &mut Layered) {
    let mut best = (layered.crossings(), layered.layers.clone());
    for round in 0..12 {
        if best.0 == 0 {
            break;
        }
        let down = round % 2 == 0;
        let count = layered.layers.len();
        for step in 0..count {
            let at = if down { step } else { count - 1 - step };
            let positions = layered.positions();
            let mut keyed: Vec<(f64, usize)> = layered.layers[at]
                .iter()
                .map(|n| {
                    let node = &layered.nodes[*n];
                    let near = if down { &node.above } else { &node.below };
                    let sum: usize = near.iter().map(|m| positions[*m]).sum();
                    let own = positions[*n] as f64;
                    (if near.is_empty() { own } else { sum as f64 / near.len() as f64 }, *n)
                })
                .collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            layered.layers[at] = keyed.into_iter().map(|(_, n)| n).collect();
        }
        let now = layered.crossings();
        if now < best.0 {
            best = (now, layered.layers.clone());
        }
    }
    layered.layers = best.1;
}
