//! The states of the stages of a run, and which stage comes next. Pure: no disk, no clock, no threads.
//!
//! Stages wait for those of their direct producers that take part in the run. Ready stages come in topological order,
//! so that one job runs them in the order of the file, and many jobs start in the same order each time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use crate::event::StageResult;
use crate::pipeline::graph::Graph;
use crate::pipeline::stage::StageId;
use crate::plan::reasons::Reason;

/// The state of one stage in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum StageState {
    /// Needs this many stages of the run that are not finished.
    Waiting(u32),
    /// All stages that it needs are finished. What a worker fetched already is not fetched again.
    Ready(Fetched),
    /// A worker fetches what the decision needs; then the stage is ready again.
    Fetching(Fetched),
    /// A worker runs the commands, or restores an earlier result, for these reasons.
    Running(Vec<Reason>),
    /// Like `Running`, but its inputs were replaced: the result of a stage that it needs could not be recorded. A failure
    /// belongs to that stage.
    Withdrawn(Vec<Reason>),
    /// Stages that need it may start. The recorder may still be writing its result.
    Finished(StageResult),
}

/// What was fetched for a stage before it was decided. Each level includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fetched {
    #[default]
    Nothing,
    /// The listings of folders of which the stage reads a part.
    Listings,
    /// Missing inputs.
    Inputs,
}

impl StageState {
    /// Whether a worker has the stage.
    fn is_working(&self) -> bool {
        matches!(self, StageState::Fetching(_) | StageState::Running(_) | StageState::Withdrawn(_))
    }
}

/// The states of the selected stages during a run.
pub struct Schedule<'a> {
    graph: &'a Graph,
    states: FxHashMap<StageId, StageState>,
    /// Position in topological order, which orders the ready stages.
    rank: FxHashMap<StageId, u32>,
    ready: BinaryHeap<Reverse<(u32, StageId)>>,
    working: usize,
}

impl<'a> Schedule<'a> {
    /// `selected` in topological order.
    pub fn new(graph: &'a Graph, selected: &[StageId]) -> Schedule<'a> {
        let rank: FxHashMap<_, _> = selected.iter().enumerate().map(|(i, id)| (*id, i as u32)).collect();
        let states = FxHashMap::with_capacity_and_hasher(selected.len(), Default::default());
        let mut schedule = Schedule { graph, states, rank, ready: BinaryHeap::new(), working: 0 };
        for id in selected {
            let needed = graph.upstream(*id).iter().filter(|up| schedule.rank.contains_key(up)).count() as u32;
            schedule.set(*id, StageState::Waiting(needed));
            if needed == 0 {
                schedule.make_ready(*id);
            }
        }
        schedule
    }

    /// The ready stage to decide next; each is returned once. A stage that is ready again after a fetch is not.
    pub fn next_ready(&mut self) -> Option<StageId> {
        self.ready.pop().map(|Reverse((_, id))| id)
    }

    /// `None` for a stage that does not take part.
    pub fn state(&self, id: StageId) -> Option<&StageState> {
        self.states.get(&id)
    }

    /// How many stages workers have.
    pub fn working(&self) -> usize {
        self.working
    }

    /// The stages that take part, in no order.
    pub fn stages(&self) -> impl Iterator<Item = StageId> {
        self.states.keys().copied()
    }

    /// The one place where a state changes.
    pub fn set(&mut self, id: StageId, state: StageState) {
        let is_working = state.is_working();
        let was_working = self.states.insert(id, state).is_some_and(|old| old.is_working());
        self.working = self.working + usize::from(is_working) - usize::from(was_working);
    }

    /// Finishes a stage: those that waited only for it become ready.
    pub fn finish(&mut self, id: StageId, result: StageResult) {
        self.set(id, StageState::Finished(result));
        for down in self.graph.downstream(id) {
            match self.states.get(down) {
                Some(StageState::Waiting(1)) => self.make_ready(*down),
                Some(StageState::Waiting(n)) => self.set(*down, StageState::Waiting(n - 1)),
                _ => {}
            }
        }
    }

    /// Finishes a stage without a result: all stages downstream that wait are blocked. Returns those, in order.
    pub fn fail(&mut self, id: StageId, result: StageResult) -> Vec<StageId> {
        self.set(id, StageState::Finished(result));
        let mut blocked = Vec::new();
        let mut heads = vec![id];
        while let Some(head) = heads.pop() {
            for down in self.graph.downstream(head) {
                if matches!(self.states.get(down), Some(StageState::Waiting(_))) {
                    self.set(*down, StageState::Finished(StageResult::Blocked));
                    blocked.push(*down);
                    heads.push(*down);
                }
            }
        }
        blocked.sort_by_key(|id| self.rank[id]);
        blocked
    }

    /// Marks the stages downstream that are running: their inputs were replaced.
    pub fn withdraw_downstream(&mut self, id: StageId) {
        for down in self.graph.all_downstream(id) {
            if let Some(StageState::Running(reasons)) = self.states.get(&down) {
                let reasons = reasons.clone();
                self.set(down, StageState::Withdrawn(reasons));
            }
        }
    }

    /// The stages that are not finished and that no worker has, in order.
    pub fn left(&self) -> Vec<StageId> {
        let is_left = |state: &StageState| matches!(state, StageState::Waiting(_) | StageState::Ready(_));
        let mut left: Vec<_> = self.states.iter().filter(|(_, state)| is_left(state)).map(|(id, _)| *id).collect();
        left.sort_by_key(|id| self.rank[id]);
        left
    }

    fn make_ready(&mut self, id: StageId) {
        self.set(id, StageState::Ready(Fetched::Nothing));
        self.ready.push(Reverse((self.rank[&id], id)));
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

    fn finished() -> StageState {
        StageState::Finished(StageResult::Ran)
    }

    #[test]
    fn ready_stages_come_in_the_order_of_the_file() {
        let g = graph(&[("c", &["a"]), ("a", &[]), ("b", &[])]);
        let mut s = Schedule::new(&g, &all(&g));
        // `a` comes before `c`, which needs it; `b` stands last in the file.
        let (a, b, c) = (StageId(1), StageId(2), StageId(0));
        assert_eq!(s.state(c), Some(&StageState::Waiting(1)));
        assert_eq!(s.next_ready(), Some(a));
        s.finish(a, StageResult::Ran);
        assert_eq!(s.next_ready(), Some(c));
        assert_eq!(s.next_ready(), Some(b));
        assert_eq!(s.next_ready(), None);
        s.finish(b, StageResult::Ran);
        s.finish(c, StageResult::Ran);
        assert_eq!(s.left(), []);
        assert_eq!([s.state(a), s.state(b), s.state(c)], [Some(&finished()); 3]);
    }

    #[test]
    fn a_failure_blocks_what_needs_it_and_nothing_else() {
        let g = graph(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[]), ("e", &["d", "c"])]);
        let mut s = Schedule::new(&g, &all(&g));
        assert_eq!(s.next_ready(), Some(StageId(0)));
        assert_eq!(s.fail(StageId(0), StageResult::Failed), [StageId(1), StageId(2), StageId(4)]);
        assert_eq!(s.state(StageId(4)), Some(&StageState::Finished(StageResult::Blocked)));
        assert_eq!(s.next_ready(), Some(StageId(3)));
        s.finish(StageId(3), StageResult::UpToDate);
        assert_eq!((s.next_ready(), s.left()), (None, vec![]));
    }

    #[test]
    fn producers_that_were_not_selected_are_not_waited_for() {
        let g = graph(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
        let mut s = Schedule::new(&g, &[StageId(2)]);
        assert_eq!(s.state(StageId(1)), None);
        assert_eq!(s.left(), [StageId(2)]);
        assert_eq!(s.next_ready(), Some(StageId(2)));
        s.finish(StageId(2), StageResult::Ran);
        assert_eq!(s.left(), []);
    }

    #[test]
    fn workers_are_counted_and_a_lost_result_withdraws_running_stages_alone() {
        let g = graph(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["c"]), ("e", &[])]);
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(StageId);
        let mut s = Schedule::new(&g, &all(&g));
        let running = || StageState::Running(vec![Reason::NeverRun]);
        s.set(a, StageState::Fetching(Fetched::Inputs));
        s.set(e, running());
        assert_eq!(s.working(), 2);
        s.set(a, StageState::Ready(Fetched::Inputs));
        assert_eq!(s.working(), 1);
        s.set(a, running());
        s.finish(a, StageResult::Ran);
        s.set(b, running());
        s.withdraw_downstream(a);
        assert_eq!(s.state(b), Some(&StageState::Withdrawn(vec![Reason::NeverRun])));
        assert_eq!(
            [s.state(c), s.state(d)],
            [Some(&StageState::Ready(Fetched::Nothing)), Some(&StageState::Waiting(1))]
        );
        assert_eq!(s.state(e), Some(&running()));
        assert_eq!(s.working(), 2);
        s.fail(b, StageResult::Blocked);
        s.finish(e, StageResult::Ran);
        assert_eq!((s.working(), s.left()), (0, vec![c, d]));
    }
}
