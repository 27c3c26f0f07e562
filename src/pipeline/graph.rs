//! The graph of stages: a stage that reads a path at, in or around an output of another stage depends on it.
//!
//! Paths are kept in one list in which the contents of a folder directly follow the folder (`/` sorts before all other
//! characters), so that overlapping paths are neighbours, and stages are not compared in pairs. The graph is plain
//! data, part of the compiled form.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
use serde::{Deserialize, Serialize};

use super::problem::{Problem, render};
use super::stage::{EnvironmentSource, FileId, InputLocation, Pipelines, Stage, StageId};
use crate::error::Result;
use crate::path::RepoPath;
use crate::value::Mark;

/// The maximum number of outputs and data that all stages together may read.
const MOST_EDGES: usize = 10_000_000;

/// The definition that owns a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Owner {
    /// A stage, and the index of its out.
    Out(StageId, u32),
    /// A pipeline file, and the index into its `data`.
    Data(FileId, u32),
}

/// The graph of all stages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Graph {
    upstream: Vec<Vec<StageId>>,
    downstream: Vec<Vec<StageId>>,
    order: Vec<StageId>,
    /// For each stage, the `data` entries that it reads: the pipeline file, and the index into its `data`.
    data: Vec<Vec<(FileId, u32)>>,
    /// Sorted by [`compare`], each path once.
    owners: Vec<(RepoPath, Owner)>,
}

impl Graph {
    /// The stages whose outs a stage reads, in the order of the files.
    pub fn upstream(&self, id: StageId) -> &[StageId] {
        &self.upstream[id.0 as usize]
    }

    /// The stages that read outs of a stage.
    pub fn downstream(&self, id: StageId) -> &[StageId] {
        &self.downstream[id.0 as usize]
    }

    /// The stages that need a stage, directly or through others, in no order.
    pub fn all_downstream(&self, id: StageId) -> HashSet<StageId> {
        let mut found = HashSet::new();
        let mut heads = vec![id];
        while let Some(head) = heads.pop() {
            heads.extend(self.downstream(head).iter().copied().filter(|down| found.insert(*down)));
        }
        found
    }

    /// All stages, each after those that it depends on; otherwise in the order of the files.
    pub fn order(&self) -> &[StageId] {
        &self.order
    }

    /// The data that a stage reads, as indexes into the `data` of files.
    pub fn data(&self, id: StageId) -> &[(FileId, u32)] {
        &self.data[id.0 as usize]
    }

    /// The stage with an out at exactly this path.
    pub fn producer(&self, path: &RepoPath) -> Option<StageId> {
        match self.owner(path) {
            Some(Owner::Out(id, _)) => Some(id),
            _ => None,
        }
    }

    /// The out or data at exactly this path.
    pub fn owner(&self, path: &RepoPath) -> Option<Owner> {
        self.owners.binary_search_by(|(p, _)| compare(p, path)).ok().map(|n| self.owners[n].1)
    }

    /// Outs and data that equal, contain or are inside this path.
    pub fn owners_of(&self, path: &RepoPath) -> Vec<Owner> {
        let mut out = Vec::new();
        let mut at = path.parent();
        while let Some(folder) = at {
            out.extend(self.owner(&folder));
            at = folder.parent();
        }
        let from = self.owners.partition_point(|(p, _)| compare(p, path) == Ordering::Less);
        out.extend(self.owners[from..].iter().take_while(|(p, _)| p.is_in(path)).map(|(_, owner)| *owner));
        out
    }
}

/// Compares by characters, with `/` before all others.
fn compare(a: &RepoPath, b: &RepoPath) -> Ordering {
    let key = |c: u8| if c == b'/' { 0 } else { c };
    a.as_str().bytes().map(key).cmp(b.as_str().bytes().map(key))
}

/// A path with its owner, for the search for overlaps.
struct OwnedPath<'p> {
    path: &'p RepoPath,
    /// ``output of stage `a` ``.
    what: String,
    file: FileId,
    mark: Mark,
}

/// Joins the stages. Errors: paths with two owners, and cycles; all are reported at once.
pub fn build(p: &Pipelines) -> Result<Graph> {
    let mut problems = Vec::new();
    let mut owners: Vec<(RepoPath, Owner)> = Vec::new();
    for id in p.ids() {
        let outs = p.stage(id).outs.iter().enumerate();
        owners.extend(outs.map(|(n, out)| (out.path.clone(), Owner::Out(id, n as u32))));
    }
    for (n, file) in p.files.iter().enumerate() {
        let data = file.data.iter().enumerate();
        owners.extend(data.map(|(m, data)| (data.path.clone(), Owner::Data(FileId(n as u32), m as u32))));
    }
    owners.sort_by(|a, b| compare(&a.0, &b.0).then(a.1.cmp(&b.1)));
    overlaps(p, &owners, &mut problems);
    owners.dedup_by(|a, b| a.0 == b.0);

    let count = p.stages.len();
    let mut graph = Graph {
        upstream: vec![Vec::new(); count],
        downstream: vec![Vec::new(); count],
        order: Vec::new(),
        data: vec![Vec::new(); count],
        owners,
    };
    let mut edges_left = MOST_EDGES;
    for id in p.ids() {
        let stage = p.stage(id);
        let (mut upstream, mut data) = (Vec::new(), Vec::new());
        let documents = documents(p, stage);
        let documents = documents.iter().map(|(path, mark)| (path, path.as_str(), *mark));
        for (path, spelled, mark) in reads(stage).chain(documents) {
            let owners = graph.owners_of(path);
            if upstream.len() + data.len() + owners.len() > edges_left {
                let message = format!(
                    "stage `{}`, `deps`: `{spelled}` makes more than {MOST_EDGES} dependencies between stages",
                    stage.name
                );
                let problem = Problem::new(p.file(stage.file).path.to_string(), Some(mark), message);
                return Err(render(&[problem.hint("name the outputs that the stage reads, not a folder of all")]));
            }
            for owner in owners {
                match owner {
                    Owner::Out(by, n) if by == id => {
                        let out = &stage.outs[n as usize].spelled;
                        let message =
                            format!("a cycle: stage `{}` reads its own output `{out}` (`{spelled}`)", stage.name);
                        problems.push(Problem::new(p.file(stage.file).path.to_string(), Some(mark), message));
                    }
                    Owner::Out(by, _) => upstream.push(by),
                    Owner::Data(file, n) => data.push((file, n)),
                }
            }
        }
        edges_left -= upstream.len() + data.len();
        upstream.sort_unstable();
        upstream.dedup();
        data.sort_unstable();
        data.dedup();
        for by in &upstream {
            graph.downstream[by.0 as usize].push(id);
        }
        graph.upstream[id.0 as usize] = upstream;
        graph.data[id.0 as usize] = data;
    }
    graph.order = order(&graph);
    if graph.order.len() < count {
        cycles(p, &graph, &mut problems);
    }
    if problems.is_empty() { Ok(graph) } else { Err(render(&problems)) }
}

/// The paths of the repository that a stage reads.
fn reads(stage: &Stage) -> impl Iterator<Item = (&RepoPath, &str, Mark)> {
    let deps = stage.deps.iter().map(|d| (&d.place, d.spelled.as_str(), d.mark));
    let params = stage.params.iter().map(|f| (&f.place, f.spelled.as_str(), f.mark));
    deps.chain(params).filter_map(|(place, spelled, mark)| match place {
        InputLocation::Repo(path) => Some((path, spelled, mark)),
        _ => None,
    })
}

/// The files that the environment of a stage is made from: a stage that makes one of them runs before.
fn documents(p: &Pipelines, stage: &Stage) -> Vec<(RepoPath, Mark)> {
    let Some(of) = &stage.environment else { return Vec::new() };
    let source = p.environment(of).map(|spec| &spec.source);
    let files = match source {
        Some(EnvironmentSource::Uv { project, .. }) => {
            let lock = project.parent().and_then(|folder| folder.join("uv.lock"));
            [project.clone()].into_iter().chain(lock).collect()
        }
        Some(EnvironmentSource::Pip { requirements, .. }) => vec![requirements.clone()],
        Some(EnvironmentSource::Files { files, .. }) => files.clone(),
        None => Vec::new(),
    };
    files.into_iter().map(|path| (path, of.mark)).collect()
}

/// Two owners of one path, or of a path inside another.
fn overlaps(p: &Pipelines, owners: &[(RepoPath, Owner)], problems: &mut Vec<Problem>) {
    let from = RepoPath::root();
    let mut claims: Vec<OwnedPath<'_>> = Vec::with_capacity(owners.len());
    for (path, owner) in owners {
        claims.push(match owner {
            Owner::Out(id, n) => {
                let stage = p.stage(*id);
                let what = format!("an output of stage `{}`", p.address(*id, &from));
                OwnedPath { path, what, file: stage.file, mark: stage.outs[*n as usize].mark }
            }
            Owner::Data(file, n) => {
                let mark = p.file(*file).data[*n as usize].mark;
                OwnedPath { path, what: "`data`".into(), file: *file, mark }
            }
        });
    }
    for id in p.ids() {
        let stage = p.stage(id);
        for scratch in &stage.scratch {
            let what = format!("scratch of stage `{}`", p.address(id, &from));
            claims.push(OwnedPath { path: &scratch.path, what, file: stage.file, mark: stage.mark });
        }
    }
    claims.sort_by(|a, b| compare(a.path, b.path));
    // the owners that contain the current path, outermost first
    let mut around: Vec<usize> = Vec::new();
    for n in 0..claims.len() {
        let claim = &claims[n];
        while around.last().is_some_and(|&outer| !claim.path.is_in(claims[outer].path)) {
            around.pop();
        }
        if let Some(&outer) = around.last() {
            let outer = &claims[outer];
            // reported at the later one
            let (first, second) =
                if (outer.file, outer.mark) <= (claim.file, claim.mark) { (outer, claim) } else { (claim, outer) };
            let message = if first.path == second.path {
                format!("`{}` is {} and {} as well", second.path, first.what, second.what)
            } else {
                let (inner, outer) = (claim, outer);
                format!("`{}` ({}) lies inside `{}` ({})", inner.path, inner.what, outer.path, outer.what)
            };
            let file = p.file(second.file).path.to_string();
            let place = p.file(first.file).path.to_string();
            let hint = format!("the other one is at {place}:{}:{}", first.mark.line, first.mark.column);
            problems.push(Problem::new(file, Some(second.mark), message).hint(hint));
        }
        around.push(n);
    }
}

/// Kahn's algorithm, taking the earliest ready stage; the result is shorter than the stages if there is a cycle.
fn order(graph: &Graph) -> Vec<StageId> {
    let mut waits: Vec<usize> = graph.upstream.iter().map(Vec::len).collect();
    let free = waits.iter().enumerate().filter(|(_, n)| **n == 0).map(|(id, _)| Reverse(StageId(id as u32)));
    let mut free: BinaryHeap<_> = free.collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(Reverse(id)) = free.pop() {
        order.push(id);
        for next in graph.downstream(id) {
            let waits = &mut waits[next.0 as usize];
            *waits -= 1;
            if *waits == 0 {
                free.push(Reverse(*next));
            }
        }
    }
    order
}

fn cycles(p: &Pipelines, graph: &Graph, problems: &mut Vec<Problem>) {
    let mut net: DiGraph<(), (), u32> = DiGraph::with_capacity(p.stages.len(), 0);
    let nodes: Vec<_> = p.ids().map(|_| net.add_node(())).collect();
    for id in p.ids() {
        for next in graph.downstream(id) {
            net.add_edge(nodes[id.0 as usize], nodes[next.0 as usize], ());
        }
    }
    for knot in kosaraju_scc(&net).into_iter().filter(|knot| knot.len() > 1) {
        let knot: HashSet<StageId> = knot.into_iter().map(|n| StageId(n.index() as u32)).collect();
        let Some(&start) = knot.iter().min() else { continue };
        let names = |ids: &[StageId], between: &str| {
            ids.iter().map(|id| p.address(*id, &RepoPath::root())).collect::<Vec<_>>().join(between)
        };
        let ring = shortest_ring(graph, start, &knot);
        let mut message = format!("a cycle: {} -> {}", names(&ring, " -> "), names(&[start], ""));
        let mut rest: Vec<StageId> = knot.into_iter().filter(|id| !ring.contains(id)).collect();
        rest.sort();
        if !rest.is_empty() {
            message.push_str(&format!("; entangled with it: {}", names(&rest, ", ")));
        }
        let stage = p.stage(start);
        problems.push(Problem::new(p.file(stage.file).path.to_string(), Some(stage.mark), message));
    }
}

/// The shortest path from a stage back to itself, without its end.
fn shortest_ring(graph: &Graph, start: StageId, knot: &HashSet<StageId>) -> Vec<StageId> {
    let mut from: HashMap<StageId, StageId> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(id) = queue.pop_front() {
        for &next in graph.downstream(id).iter().filter(|n| knot.contains(n)) {
            if next == start {
                let mut ring = vec![id];
                while let Some(&before) = ring.last().and_then(|id| from.get(id)) {
                    ring.push(before);
                }
                ring.reverse();
                return ring;
            }
            if next != start && !from.contains_key(&next) {
                from.insert(next, id);
                queue.push_back(next);
            }
        }
    }
    vec![start]
}

#[cfg(test)]
mod tests {
    use super::super::load::memory::Memory;
    use super::*;

    fn graph(files: &[(&str, &str)]) -> (Pipelines, Result<Graph>) {
        let loaded = Memory::new(files).load();
        assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
        let graph = build(&loaded.pipelines);
        (loaded.pipelines, graph)
    }

    fn names(p: &Pipelines, ids: &[StageId]) -> String {
        ids.iter().map(|id| p.address(*id, &RepoPath::root())).collect::<Vec<_>>().join(" ")
    }

    const THREE: &str = "
data: [{path: raw}]
stages:
  last: {cmd: x, deps: [dir, raw/a.csv]}
  free: {cmd: x}
  one: {cmd: x, outs: [dir/a]}
  two: {cmd: x, outs: [dir/b/c, dir.txt]}
  inner: {cmd: x, deps: [dir/b/c/deep, dir.txt], params: [{made.yaml: }]}
  maker: {cmd: x, outs: [made.yaml]}
";

    #[test]
    fn stages_hang_together_by_their_paths() {
        let (p, graph) = graph(&[("pipeline.yaml", THREE)]);
        let graph = graph.unwrap();
        assert_eq!(names(&p, graph.order()), "free one two last maker inner");
        assert_eq!(names(&p, graph.upstream(StageId(0))), "one two");
        assert_eq!(names(&p, graph.upstream(StageId(4))), "two maker");
        assert_eq!(names(&p, graph.downstream(StageId(3))), "last inner");
        assert_eq!(graph.data(StageId(0)), [(FileId(0), 0)]);
        let path = |s: &str| RepoPath::root().join(s).unwrap();
        assert_eq!(graph.producer(&path("dir/a")), Some(StageId(2)));
        assert_eq!(graph.producer(&path("dir")), None);
        assert_eq!(graph.owners_of(&path("dir")).len(), 2);
        assert_eq!(graph.owners_of(&path("raw/x/y")), [Owner::Data(FileId(0), 0)]);
        assert_eq!(graph.owners_of(&RepoPath::root()).len(), 5);
        let bytes = postcard::to_stdvec(&graph).unwrap();
        assert_eq!(postcard::from_bytes::<Graph>(&bytes).unwrap().order(), graph.order());
    }

    #[test]
    fn mistakes() {
        for (yaml, wants) in [
            (
                "a: {cmd: x, outs: [o]}, b: {cmd: x, outs: [./o]}",
                &["`o` is an output of stage `a` and an output of stage `b` as well"][..],
            ),
            ("a: {cmd: x, outs: [o], metrics: [o]}", &["`o` is an output of stage `a`"]),
            (
                "a: {cmd: x, outs: [d/x]}, b: {cmd: x, outs: [d]}, c: {cmd: x, outs: [d.x]}",
                &["`d/x` (an output of stage `a`) lies inside `d` (an output of stage `b`)"],
            ),
            ("a: {cmd: x, outs: [o], deps: [o]}", &["reads its own output `o`"]),
            ("a: {cmd: x, outs: [d/o], deps: [d]}", &["reads its own output `d/o`"]),
            ("a: {cmd: x, outs: [d/o], deps: [c]}, b: {cmd: x, deps: [d], outs: [c]}", &["a cycle: a -> b -> a"]),
            (
                "a: {cmd: x, outs: [a], deps: [b, c]}, b: {cmd: x, deps: [a], outs: [b]}, c: {cmd: x, deps: [a], outs: [c]}, e: {cmd: x, outs: [o]}, f: {cmd: x, outs: [o]}",
                &["a cycle: a -> b -> a; entangled with it: c", "`o` is an output"],
            ),
            ("a: {cmd: x, outs: [s/x], scratch: [s]}", &["lies inside `s` (scratch of stage `a`)"]),
        ] {
            let yaml = format!("stages: {{{yaml}}}");
            let message = graph(&[("pipeline.yaml", &yaml)]).1.unwrap_err().to_string();
            for want in wants {
                assert!(message.contains(want) && message.starts_with("pipeline.yaml:1:"), "{yaml}: {message}");
            }
        }
        let (_, clash) = graph(&[
            ("pipeline.yaml", "data: [{path: sub/raw}]"),
            ("sub/pipeline.yaml", "stages: {a: {cmd: x, outs: [raw/y]}}"),
        ]);
        assert!(clash.unwrap_err().to_string().starts_with("sub/pipeline.yaml:1:29: `sub/raw/y` (an output of"));
    }

    #[test]
    fn long_chains_are_no_trouble() {
        let mut yaml = String::from("stages:\n");
        for n in 0..10_000 {
            yaml += &format!("  s{n}:\n    cmd: run {n}\n    deps: [f{}]\n    outs: [f{n}]\n", n + 1);
        }
        let (_, graph) = graph(&[("pipeline.yaml", &yaml)]);
        assert_eq!(graph.unwrap().order()[0], StageId(9999));
        yaml += "  end: {cmd: x, deps: [f0], outs: [f10000]}\n";
        let (_, graph) = self::graph(&[("pipeline.yaml", &yaml)]);
        assert!(graph.unwrap_err().message.contains("-> s1 ->"));
    }
}
