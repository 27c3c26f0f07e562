//! The graph that `dag` shows: stages or outputs as labels and edges, and its export formats. Pure.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use super::graph::{Graph, Owner};
use super::stage::{InputLocation, Pipelines, StageId};
use crate::escape;
use crate::path::RepoPath;

/// Labels, and edges as indexes from the producer to the consumer; sorted, each once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// The names of the nodes, each once.
    pub labels: Vec<String>,
    /// Indexes into `labels`.
    pub edges: Vec<(usize, usize)>,
}

/// Stages by address, in the order of their files; with `collapse`, the stages of a group are one node with the group's
/// name.
pub fn stages(p: &Pipelines, graph: &Graph, chosen: &BTreeSet<StageId>, collapse: bool, from: &RepoPath) -> Network {
    let mut group_of: HashMap<StageId, &str> = HashMap::new();
    for (name, ids) in p.files.iter().flat_map(|f| &f.groups).filter(|_| collapse) {
        group_of.extend(ids.iter().map(|id| (*id, name.as_str())));
    }
    let label = |id: StageId| {
        let address = p.address(id, from);
        match group_of.get(&id) {
            Some(group) => format!("{}{group}", &address[..address.len() - p.stage(id).name.len()]),
            None => address,
        }
    };
    let mut builder = Builder::default();
    for &id in chosen {
        builder.node(label(id));
    }
    for &id in chosen {
        for &by in graph.upstream(id).iter().filter(|by| chosen.contains(by)) {
            builder.edge(label(by), label(id));
        }
    }
    builder.done()
}

/// Outs of the chosen stages and the data that they read; with `all`, all data.
pub fn outs(p: &Pipelines, graph: &Graph, chosen: &BTreeSet<StageId>, all: bool, from: &RepoPath) -> Network {
    let path = |owner: Owner| match owner {
        Owner::Out(id, n) => &p.stage(id).outs[n as usize].path,
        Owner::Data(file, n) => &p.file(file).data[n as usize].path,
    };
    let mut builder = Builder::default();
    for data in p.files.iter().flat_map(|f| &f.data).filter(|_| all) {
        builder.node(data.path.relative_to(from));
    }
    for &id in chosen {
        for out in &p.stage(id).outs {
            builder.node(out.path.relative_to(from));
        }
    }
    for &id in chosen {
        let stage = p.stage(id);
        let deps = stage.deps.iter().map(|d| &d.place).chain(stage.params.iter().map(|f| &f.place));
        let read = deps.filter_map(|place| if let InputLocation::Repo(path) = place { Some(path) } else { None });
        for owner in read.flat_map(|dep| graph.owners_of(dep)) {
            if matches!(owner, Owner::Out(by, _) if !chosen.contains(&by)) {
                continue;
            }
            let read = path(owner).relative_to(from);
            builder.node(read.clone());
            for out in &stage.outs {
                builder.edge(read.clone(), out.path.relative_to(from));
            }
        }
    }
    builder.done()
}

#[derive(Default)]
struct Builder {
    network: Network,
    places: HashMap<String, usize>,
}

impl Builder {
    fn node(&mut self, label: String) -> usize {
        *self.places.entry(label).or_insert_with_key(|label| {
            self.network.labels.push(label.clone());
            self.network.labels.len() - 1
        })
    }

    fn edge(&mut self, from: String, to: String) {
        let edge = (self.node(from), self.node(to));
        if edge.0 != edge.1 {
            self.network.edges.push(edge);
        }
    }

    fn done(mut self) -> Network {
        self.network.edges.sort_unstable();
        self.network.edges.dedup();
        self.network
    }
}

impl Network {
    /// The graph in the Graphviz format.
    pub fn dot(&self) -> String {
        let quoted =
            |n: usize| format!("\"{}\"", escape::text(&self.labels[n]).replace('\\', "\\\\").replace('"', "\\\""));
        let mut text = String::from("strict digraph {\n");
        for n in 0..self.labels.len() {
            let _ = writeln!(text, "{};", quoted(n));
        }
        for (a, b) in &self.edges {
            let _ = writeln!(text, "{} -> {};", quoted(*a), quoted(*b));
        }
        text.push('}');
        text
    }

    /// The graph in the Mermaid format.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart TD");
        for (n, label) in self.labels.iter().enumerate() {
            let _ = write!(text, "\n\tnode{}[\"{}\"]", n + 1, entities(label));
        }
        for (a, b) in &self.edges {
            let _ = write!(text, "\n\tnode{}-->node{}", a + 1, b + 1);
        }
        text
    }
}

/// Escapes a label for Mermaid, which interprets Markdown and HTML in labels.
fn entities(label: &str) -> String {
    let mut text = String::new();
    for c in escape::text(label).chars() {
        match c {
            '"' => text.push_str("#quot;"),
            '<' => text.push_str("#lt;"),
            '>' => text.push_str("#gt;"),
            '#' | '&' | '`' => text.push_str(&format!("#{};", c as u32)),
            c => text.push(c),
        }
    }
    text
}
