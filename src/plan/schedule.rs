//! Which stage may start next. Pure: ids in, ids out; no disk, no clock, no threads.
//!
//! Stages wait for those of their direct producers that take part in the run. Ready stages start in topological order,
//! so that one job runs them in the order of the file, and many jobs start in the same order each time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use crate::pipeline::graph::Graph;
use crate::pipeline::stage::StageId;

/// The state of one stage in the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Waits for this many producers.
    Waiting(u32),
    Ready,
    /// Handed out by [`Schedule::start_next`].
    Started,
    Done,
    /// Needs a stage that failed.
    Blocked,
}

/// The state of the selected stages during a run.
pub struct Schedule<'a> {
    graph: &'a Graph,
    progress: FxHashMap<StageId, Progress>,
    /// Position in topological order, which orders the ready stages.
    rank: FxHashMap<StageId, u32>,
    ready: BinaryHeap<Reverse<(u32, StageId)>>,
    open: usize,
}

impl<'a> Schedule<'a> {
    /// `chosen` in topological order.
    pub fn new(graph: &'a Graph, chosen: &[StageId]) -> Schedule<'a> {
        let rank: FxHashMap<_, _> = chosen.iter().enumerate().map(|(i, id)| (*id, i as u32)).collect();
        let mut schedule =
            Schedule { graph, progress: FxHashMap::default(), rank, ready: BinaryHeap::new(), open: chosen.len() };
        for id in chosen {
            let waits = graph.upstream(*id).iter().filter(|up| schedule.rank.contains_key(up)).count() as u32;
            schedule.progress.insert(*id, Progress::Waiting(waits));
            if waits == 0 {
                schedule.make_ready(*id);
            }
        }
        schedule
    }

    fn make_ready(&mut self, id: StageId) {
        self.progress.insert(id, Progress::Ready);
        self.ready.push(Reverse((self.rank[&id], id)));
    }

    /// The next stage that may start, in order.
    pub fn start_next(&mut self) -> Option<StageId> {
        let Reverse((_, id)) = self.ready.pop()?;
        self.progress.insert(id, Progress::Started);
        Some(id)
    }

    /// Marks a started stage as done: stages that waited only for it become ready.
    pub fn done(&mut self, id: StageId) {
        self.progress.insert(id, Progress::Done);
        self.open -= 1;
        for down in self.graph.downstream(id) {
            if let Some(Progress::Waiting(n)) = self.progress.get(down).copied() {
                if n <= 1 {
                    self.make_ready(*down);
                } else {
                    self.progress.insert(*down, Progress::Waiting(n - 1));
                }
            }
        }
    }

    /// Marks a started stage as failed: all its downstream stages are blocked. Returns those, in order.
    pub fn failed(&mut self, id: StageId) -> Vec<StageId> {
        self.progress.insert(id, Progress::Done);
        self.open -= 1;
        let mut blocked = Vec::new();
        let mut heads = vec![id];
        while let Some(head) = heads.pop() {
            for down in self.graph.downstream(head) {
                if matches!(self.progress.get(down), Some(Progress::Waiting(_))) {
                    self.progress.insert(*down, Progress::Blocked);
                    self.open -= 1;
                    blocked.push(*down);
                    heads.push(*down);
                }
            }
        }
        blocked.sort_by_key(|id| self.rank[id]);
        blocked
    }

    /// The stages that were neither started nor blocked, in order.
    pub fn left(&self) -> Vec<StageId> {
        let mut left: Vec<_> = self
            .progress
            .iter()
            .filter(|(_, p)| matches!(p, Progress::Waiting(_) | Progress::Ready))
            .map(|(id, _)| *id)
            .collect();
        left.sort_by_key(|id| self.rank[id]);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::graph::build;
    use crate::pipeline::load::memory::Memory;

    /// Stages by name with what each reads; every one makes an out of its own name.
    fn graph(stages: &[(&str, &[&str])]) -> Graph {
        let mut text = String::from("stages:\n");
        for (name, deps) in stages {
            text.push_str(&format!("  {name}: {{cmd: x, deps: [{}], outs: [{name}]}}\n", deps.join(", ")));
        }
        build(&Memory::new(&[("pipeline.yaml", &text)]).load().pipelines).unwrap()
    }

    fn all(graph: &Graph) -> Vec<StageId> {
        graph.order().to_vec()
    }

    #[test]
    fn what_is_ready_starts_in_the_order_of_the_file() {
        let g = graph(&[("c", &["a"]), ("a", &[]), ("b", &[])]);
        let mut s = Schedule::new(&g, &all(&g));
        // `a` comes before `c`, which needs it; `b` stands last in the file.
        let (a, b, c) = (StageId(1), StageId(2), StageId(0));
        assert_eq!(s.start_next(), Some(a));
        s.done(a);
        assert_eq!(s.start_next(), Some(c));
        assert_eq!(s.start_next(), Some(b));
        assert_eq!(s.start_next(), None);
        s.done(b);
        s.done(c);
        assert!(s.open == 0 && s.left().is_empty());
    }

    #[test]
    fn a_failure_blocks_what_needs_it_and_nothing_else() {
        let g = graph(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[]), ("e", &["d", "c"])]);
        let mut s = Schedule::new(&g, &all(&g));
        assert_eq!(s.start_next(), Some(StageId(0)));
        assert_eq!(s.failed(StageId(0)), [StageId(1), StageId(2), StageId(4)]);
        assert_eq!(s.start_next(), Some(StageId(3)));
        s.done(StageId(3));
        assert!(s.open == 0 && s.left().is_empty());
    }

    #[test]
    fn producers_that_were_not_chosen_are_not_waited_for() {
        let g = graph(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
        let mut s = Schedule::new(&g, &[StageId(2)]);
        assert_eq!(s.start_next(), Some(StageId(2)));
        assert_eq!(s.left(), []);
        s.done(StageId(2));
        assert!(s.open == 0);
    }
}
