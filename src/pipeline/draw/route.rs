//! Routes the edges between two layers on tracks.
//!
//! An edge leaves its box at the bottom middle and enters the next one from above. The edges of one channel are grouped
//! into nets whose lines may touch without ambiguity: all edges of a node that has several here, and all edges into one
//! node from nodes that have only this one. All other lines cross without touching.

use super::layers::Layered;
use super::place::place;

/// The lines of one net: from the columns above to those below, all joined by one track.
#[derive(Clone, Debug)]
pub struct Net {
    /// Columns at the top of the channel.
    pub from: Vec<usize>,
    /// Columns at its bottom.
    pub to: Vec<usize>,
    /// Counted from the top of the channel; `None` for a straight line.
    pub track: Option<usize>,
}

/// The space between a layer and the next one.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// In no particular order.
    pub nets: Vec<Net>,
    /// The number of tracks, which is the height of the channel.
    pub tracks: usize,
}

/// How often nodes are moved to separate lines that would overlap.
const TRIES: usize = 200;

/// Places the nodes and routes the edges; `None` if no routing was found.
pub fn routed(layered: &mut Layered) -> Option<Vec<Channel>> {
    let mut pushed = vec![0; layered.nodes.len()];
    for _ in 0..TRIES {
        place(layered, &pushed);
        let mut channels = Vec::new();
        let mut stuck = None;
        for layer in 0..layered.layers.len().saturating_sub(1) {
            let (nets, targets) = nets(layered, layer);
            match tracks(nets) {
                Ok(channel) => channels.push(channel),
                Err(net) => {
                    stuck = Some(targets[net]);
                    break;
                }
            }
        }
        match stuck {
            None => return Some(channels),
            Some(node) => pushed[node] += 1,
        }
    }
    None
}

/// The nets below a layer, and for each a node that it enters.
fn nets(layered: &Layered, layer: usize) -> (Vec<Net>, Vec<usize>) {
    let nodes = &layered.nodes;
    let (mut nets, mut targets): (Vec<Net>, Vec<usize>) = (Vec::new(), Vec::new());
    // one net per node with several edges, in the order of the layer
    let mut net_of: Vec<Option<usize>> = vec![None; nodes.len()];
    for n in layered.layers[layer].iter().copied().filter(|n| nodes[*n].below.len() > 1) {
        net_of[n] = Some(nets.len());
        nets.push(Net { from: vec![nodes[n].center()], to: Vec::new(), track: None });
        targets.push(nodes[n].below[0]);
    }
    for &n in &layered.layers[layer + 1] {
        let node = &nodes[n];
        if node.above.is_empty() {
            continue;
        }
        // what enters here: nets of other nodes, and all the single edges as one
        let mut entering: Vec<(usize, Option<usize>)> =
            node.above.iter().filter_map(|a| Some((nodes[*a].center(), Some(net_of[*a]?)))).collect();
        let singles: Vec<usize> =
            node.above.iter().filter(|a| net_of[**a].is_none()).map(|a| nodes[*a].center()).collect();
        if !singles.is_empty() {
            entering.push((singles.iter().sum::<usize>() / singles.len(), None));
        }
        entering.sort();
        // In the middle of the box, or beside it if more lines can come down straight then.
        let middle = (node.center() + 1).saturating_sub(entering.len());
        let last = 2 * (entering.len() - 1);
        let straight = |first: usize| entering.iter().enumerate().filter(|(at, e)| e.0 == first + 2 * at).count();
        let first = (node.x + 1..(node.x + node.width).saturating_sub(last + 1))
            .filter(|first| first.abs_diff(middle) <= node.width / 8 + 1)
            .max_by_key(|first| (straight(*first), std::cmp::Reverse(first.abs_diff(middle))))
            .unwrap_or(middle);
        for (at, (_, net)) in entering.into_iter().enumerate() {
            let port = first + 2 * at;
            match net {
                Some(net) => nets[net].to.push(port),
                None => {
                    nets.push(Net { from: singles.clone(), to: vec![port], track: None });
                    targets.push(n);
                }
            }
        }
    }
    (nets, targets)
}

/// Assigns a track to every net that is not a straight line. Errors: the index of a net that cannot have one.
fn tracks(mut nets: Vec<Net>) -> Result<Channel, usize> {
    let is_straight = |net: &Net| net.from == net.to;
    // If one net comes down in the column in which another leaves, the first must turn off above.
    let above = |a: &Net, b: &Net| a.from.iter().any(|x| b.to.contains(x));
    let span = |net: &Net| {
        let columns = || net.from.iter().chain(&net.to).copied();
        (columns().min().unwrap_or(0), columns().max().unwrap_or(0))
    };
    // How many lines cross if one net turns above another.
    let crossings = |a: &Net, b: &Net| {
        let within = |x: &&usize, net: &Net| span(net).0 < **x && **x < span(net).1;
        b.from.iter().filter(|x| within(x, a)).count() + a.to.iter().filter(|x| within(x, b)).count()
    };
    let mut left: Vec<usize> = (0..nets.len()).filter(|n| !is_straight(&nets[*n])).collect();
    left.sort_by_key(|n| span(&nets[*n]));
    let mut track = 0;
    while !left.is_empty() {
        let may: Vec<usize> =
            left.iter().copied().filter(|n| left.iter().all(|m| m == n || !above(&nets[*m], &nets[*n]))).collect();
        let worse = |n: usize| {
            left.iter().filter(|m| crossings(&nets[n], &nets[**m]) > crossings(&nets[**m], &nets[n])).count()
        };
        let Some(least) = may.iter().map(|n| worse(*n)).min() else { return Err(left[left.len() - 1]) };
        let mut end = None;
        let mut chosen = Vec::new();
        for n in may {
            let (from, to) = span(&nets[n]);
            if worse(n) == least && end.is_none_or(|end| from > end + 1) {
                end = Some(to);
                chosen.push(n);
            }
        }
        for n in &chosen {
            nets[*n].track = Some(track);
        }
        left.retain(|n| !chosen.contains(n));
        track += 1;
    }
    Ok(Channel { nets, tracks: track })
}
