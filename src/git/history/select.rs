//! Lists commits: those that a command selects, and those reachable from others.

use std::collections::{BTreeSet, HashMap};

use gix::revision::walk::Sorting;
use gix::traverse::commit::simple::CommitTimeOrder;

use super::{History, unreadable};
use crate::error::Result;
use crate::git::id::GitId;

/// A selected commit with its display names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedCommit {
    /// The full id.
    pub id: GitId,
    /// As the user wrote it, or branches and tags, or the short id; never empty.
    pub names: Vec<String>,
}

/// The commits that a command selects.
#[derive(Clone, Debug, Default)]
pub struct CommitSelection {
    /// Revisions, as the user wrote them.
    pub revs: Vec<String>,
    /// The tips of all local branches.
    pub all_branches: bool,
    /// The targets of all tags.
    pub all_tags: bool,
    /// All commits reachable from branches (also those of remotes), tags and `HEAD`.
    pub all_commits: bool,
    /// With `revs`: this many commits backwards from each one.
    pub number: Option<usize>,
}

impl CommitSelection {
    /// Is no commit selected, so that the command uses the workspace?
    pub fn is_empty(&self) -> bool {
        self.revs.is_empty() && !self.all_branches && !self.all_tags && !self.all_commits
    }
}

impl History {
    /// The selected commits, each once, in the order of the arguments; of everything the newest first.
    pub fn select_commits(&self, which: &CommitSelection) -> Result<Vec<SelectedCommit>> {
        let mut chosen = Choice::default();
        for rev in &which.revs {
            let first = self.resolve(rev)?;
            match which.number {
                None => chosen.add(first.id, Some(rev)),
                Some(number) => {
                    let ids = self.walk([first.id.0], Some(number))?;
                    ids.into_iter().enumerate().for_each(|(n, id)| chosen.add(id, (n == 0).then_some(rev.as_str())));
                }
            }
        }
        if which.all_branches {
            let names = self.names("refs/heads/")?;
            names.iter().for_each(|(name, id)| chosen.add(*id, Some(name)));
        }
        if which.all_tags {
            let names = self.names("refs/tags/")?;
            names.iter().for_each(|(name, id)| chosen.add(*id, Some(name)));
        }
        if which.all_commits {
            let mut tips: Vec<gix::ObjectId> = Vec::new();
            for prefix in ["refs/heads/", "refs/tags/", "refs/remotes/"] {
                tips.extend(self.names(prefix)?.into_iter().map(|(_, id)| id.0));
            }
            tips.extend(self.head_id().ok().flatten());
            tips.sort();
            tips.dedup();
            self.walk(tips, None)?.into_iter().for_each(|id| chosen.add(id, None));
        }
        Ok(chosen.done())
    }

    /// The commits reachable from `tips`, the newest first and no parent before its child; at most `most`.
    pub(in crate::git) fn walk(
        &self,
        tips: impl IntoIterator<Item = gix::ObjectId>,
        most: Option<usize>,
    ) -> Result<Vec<GitId>> {
        if let Some(grafts) = self.0.grafts.as_ref().filter(|grafts| !grafts.is_empty()) {
            return self.walk_grafts(grafts, tips, most);
        }
        let sorting = Sorting::ByCommitTime(CommitTimeOrder::NewestFirst);
        let walk = self.0.repo.rev_walk(tips).sorting(sorting).all().map_err(unreadable)?;
        let infos: Vec<_> = walk.take(most.unwrap_or(usize::MAX)).collect::<Result<_, _>>().map_err(unreadable)?;
        let mut ids = Vec::with_capacity(infos.len());
        for same_time in infos.chunk_by(|a, b| a.commit_time == b.commit_time) {
            let commits: Vec<_> = same_time.iter().map(|i| (i.id, i.parent_ids.as_slice())).collect();
            ids.extend(children_first(&commits).into_iter().map(GitId));
        }
        Ok(ids)
    }
}

/// Orders commits of the same second: no parent before its child, otherwise in the order given.
pub(super) fn children_first(commits: &[(gix::ObjectId, &[gix::ObjectId])]) -> Vec<gix::ObjectId> {
    if let [(only, _)] = commits {
        return vec![*only];
    }
    let mut children: HashMap<gix::ObjectId, usize> = commits.iter().map(|(id, _)| (*id, 0)).collect();
    for parent in commits.iter().flat_map(|(_, parents)| parents.iter()) {
        if let Some(n) = children.get_mut(parent) {
            *n += 1;
        }
    }
    let at: HashMap<gix::ObjectId, usize> = commits.iter().enumerate().map(|(n, (id, _))| (*id, n)).collect();
    let mut ready: BTreeSet<usize> =
        at.iter().filter(|(id, _)| children.get(*id) == Some(&0)).map(|(_, n)| *n).collect();
    let mut order = Vec::with_capacity(commits.len());
    while let Some(n) = ready.pop_first() {
        let (id, parents) = commits[n];
        order.push(id);
        for parent in parents {
            if let (Some(left), Some(at)) = (children.get_mut(parent), at.get(parent)) {
                *left -= 1;
                if *left == 0 {
                    ready.insert(*at);
                }
            }
        }
    }
    order
}

/// Commits in the order in which they were first selected.
#[derive(Default)]
struct Choice {
    found: Vec<SelectedCommit>,
    at: HashMap<GitId, usize>,
}

impl Choice {
    fn add(&mut self, id: GitId, name: Option<&str>) {
        let at = *self.at.entry(id).or_insert_with(|| {
            self.found.push(SelectedCommit { id, names: Vec::new() });
            self.found.len() - 1
        });
        let names = &mut self.found[at].names;
        if let Some(name) = name.filter(|name| !names.iter().any(|n| n == name)) {
            names.push(name.to_string());
        }
    }

    fn done(mut self) -> Vec<SelectedCommit> {
        for one in self.found.iter_mut().filter(|c| c.names.is_empty()) {
            one.names.push(one.id.short());
        }
        self.found
    }
}
