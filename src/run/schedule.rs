//! Which stage may start next. Pure: ids in, ids out; no disk, no clock, no threads.
//!
//! Stages wait for those of their direct producers that take part in the run. Among the ready ones the first in
//! topological order goes first, so that one job runs them in the order of the file and many jobs start alike each time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::pipeline::graph::Graph;
use crate::pipeline::stage::StageId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Waits for so many producers.
    Waiting(u32),
    Ready,
    /// Handed out by [`Schedule::next`].
    Started,
    Done,
    /// Needs a stage that failed.
    Blocked,
}

pub struct Schedule<'a> {
    graph: &'a Graph,
    progress: HashMap<StageId, Progress>,
    /// Position in topological order: what goes first among the ready.
    rank: HashMap<StageId, u32>,
    ready: BinaryHeap<Reverse<(u32, StageId)>>,
    open: usize,
}

impl<'a> Schedule<'a> {
    /// `chosen` in topological order.
    pub fn new(graph: &'a Graph, chosen: &[StageId]) -> Schedule<'a> {
        let rank: HashMap<_, _> = chosen.iter().enumerate().map(|(i, id)| (*id, i as u32)).collect();
        let mut schedule =
            Schedule { graph, progress: HashMap::new(), rank, ready: BinaryHeap::new(), open: chosen.len() };
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
    pub fn next(&mut self) -> Option<StageId> {
        let Reverse((_, id)) = self.ready.pop()?;
        self.progress.insert(id, Progress::Started);
        Some(id)
    }

    /// A started stage is done: what waited for it alone becomes ready.
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

    /// A started stage failed: what needs it, however far, is blocked. Returns those, in order.
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

    /// What was never handed out nor blocked, in order.
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

    pub fn is_over(&self) -> bool {
        self.open == 0
    }
}
