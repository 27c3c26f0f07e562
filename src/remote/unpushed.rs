//! What a push of commits would leave behind: outputs and data that they pin and no remote has.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::git::GitId;
use crate::path::RepoPath;
use crate::pipeline::stage::FileId;
use crate::plan::select::Selection;
use crate::project::{Project, Rev, Snapshot};
use crate::remote::scope::{Options, Scope};
use crate::remote::{Remote, Wanted};
use crate::store::ObjectId;

/// A ref that is about to be pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct RefUpdate {
    /// The commit that it will point to.
    pub to: String,
    /// The commit that it points to at the Git remote now, if known.
    pub from: Option<String>,
}

/// What remotes lack of a commit.
#[derive(Debug)]
pub struct UnpushedData {
    /// The commit that pins the data.
    pub commit: GitId,
    /// In the local store.
    pub here: Vec<Wanted>,
    /// Not in the local store either.
    pub nowhere: Vec<Wanted>,
    /// Whether a stage makes some of `nowhere`. Data cannot be made again.
    pub is_made: bool,
}

/// Checks the tips that are pushed. What the commit that the ref points to already pins is not checked again. Without a
/// remote in the settings, nothing is reported.
pub fn unpushed(project: &Project, updates: &[RefUpdate]) -> Result<Vec<UnpushedData>> {
    let remotes = project.config.remotes();
    if remotes.is_empty() {
        return Ok(Vec::new());
    }
    let snapshots = project.snapshots();
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for update in updates {
        let snapshot = snapshots.at(&Rev::Named(update.to.clone()))?;
        let Some(commit) = snapshot.commit.filter(|commit| seen.insert(*commit)) else { continue };
        // A commit that was never fetched, or that Git no longer has, is ignored.
        let before = update.from.as_ref().and_then(|from| snapshots.at(&Rev::Named(from.clone())).ok());
        let before: BTreeSet<(ObjectId, bool)> = match before {
            Some(before) => before.pinned()?.iter().map(|p| (p.pin.id, p.pin.is_dir())).collect(),
            None => BTreeSet::new(),
        };
        let mut left = UnpushedData { commit, here: Vec::new(), nowhere: Vec::new(), is_made: false };
        let scope = scope(&snapshot)?;
        for at in scope.compare(project, &Options::default())? {
            let is_new = |wanted: &Wanted| !before.contains(&(wanted.pin.id, wanted.pin.is_dir()));
            left.here.extend(at.done.not_there.into_iter().filter(is_new));
            left.nowhere.extend(at.done.nowhere.into_iter().filter(is_new));
        }
        for name in &remotes {
            if left.here.is_empty() && left.nowhere.is_empty() {
                break;
            }
            let known = Remote::open(project, Some(name), None)?.catalog()?;
            left.here.retain(|wanted| known.lasting_root(&wanted.pin).is_none());
            left.nowhere.retain(|wanted| known.root(&wanted.pin).is_none());
        }
        if !left.here.is_empty() || !left.nowhere.is_empty() {
            left.is_made = left.nowhere.iter().any(|wanted| !scope.is_data(&wanted.name));
            all.push(left);
        }
    }
    Ok(all)
}

/// Everything that a snapshot pins.
fn scope(snapshot: &Snapshot) -> Result<Scope> {
    let pipelines = &snapshot.definitions.pipelines;
    let files = (0..pipelines.files.len() as u32).map(FileId).collect();
    let selected = Selection { named: pipelines.ids().collect(), files, ..Selection::default() };
    let mut scope = Scope::default();
    scope.add(&snapshot.definitions, &selected, snapshot.locks()?, &RepoPath::root());
    Ok(scope)
}
