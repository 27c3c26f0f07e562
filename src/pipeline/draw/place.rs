//! Places the nodes of each layer: as near to the middle of their neighbours as order and gaps allow.

use super::layers::Layered;

/// Columns between two boxes; a bend needs fewer.
const GAP: usize = 2;

/// Sets `x` of all nodes. `pushed` is the number of additional columns between a node and its left neighbour.
pub fn place(layered: &mut Layered, pushed: &[usize]) {
    layered.nodes.iter_mut().for_each(|node| node.x = 0);
    for layer in 0..layered.layers.len() {
        move_towards(layered, layer, pushed, |_, _| None);
    }
    let count = layered.layers.len();
    for round in 0..10 {
        let down = round % 2 == 0;
        for step in 0..count {
            let layer = if down { step } else { count - 1 - step };
            move_towards(layered, layer, pushed, |layered, n| {
                let node = &layered.nodes[n];
                // using both sides balances the layout; the last rounds make lines straight
                let near: Vec<usize> = match (round == 6 || round == 7, down) {
                    (true, _) => node.above.iter().chain(&node.below).copied().collect(),
                    (_, true) => node.above.clone(),
                    (_, false) => node.below.clone(),
                };
                let sum: usize = near.iter().map(|m| layered.nodes[*m].center()).sum();
                (!near.is_empty()).then(|| sum as f64 / near.len() as f64)
            });
        }
    }
    let left = layered.nodes.iter().map(|n| n.x).min().unwrap_or(0);
    for node in &mut layered.nodes {
        node.x -= left;
    }
}

/// Moves the nodes of a layer towards the centers that `wish` returns (`None`: unchanged), keeping order and gaps.
/// Finds the places with the least sum of squared distances, by pooling adjacent violators.
fn move_towards(layered: &mut Layered, layer: usize, pushed: &[usize], wish: impl Fn(&Layered, usize) -> Option<f64>) {
    // Room on the left, so that no position is below 0.
    const MARGIN: f64 = 4096.0;
    let order = layered.layers[layer].clone();
    // offset[i]: the center of the i-th node if all are as close as possible
    let mut offsets: Vec<f64> = Vec::with_capacity(order.len());
    for (i, n) in order.iter().enumerate() {
        let half = layered.nodes[*n].width / 2;
        offsets.push(match i.checked_sub(1) {
            None => half as f64,
            Some(before) => {
                let left = &layered.nodes[order[before]];
                let between = left.width.div_ceil(2) + GAP + pushed[*n] + half;
                offsets[before] + between as f64
            }
        });
    }
    // pools of (sum, weight, members)
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (i, n) in order.iter().enumerate() {
        let node = &layered.nodes[*n];
        let at = if node.x == 0 { offsets[i] + MARGIN } else { node.center() as f64 };
        // a straight line through a layer is worth more than a centered box
        let weight = if node.label.is_none() { 4.0 } else { 1.0 };
        let wanted = wish(layered, *n).unwrap_or(at) - offsets[i];
        pools.push((wanted * weight, weight, 1));
        while pools.len() > 1 {
            let (last, before) = (pools[pools.len() - 1], pools[pools.len() - 2]);
            if before.0 / before.1 <= last.0 / last.1 {
                break;
            }
            pools.pop();
            let at = pools.len() - 1;
            pools[at] = (before.0 + last.0, before.1 + last.1, before.2 + last.2);
        }
    }
    let mut members = order.iter().enumerate();
    for (sum, weight, count) in pools {
        for (i, n) in members.by_ref().take(count) {
            let node = &mut layered.nodes[*n];
            let center = ((sum / weight).round() + offsets[i]).max(0.0) as usize;
            node.x = center.saturating_sub(node.width / 2).max(1);
        }
    }
}
