//! Compares the version of tracked data in the workspace with the lock.
//!
//! Data that differs from its pin is not always an edit: after a merge, a pull or a switch of branches the lock pins
//! another version than the one in the workspace. The stat index remembers the base: the pin of the lock when lock and
//! workspace last agreed. As in Git, the base tells the three cases apart:
//!
//! | base and lock | base and workspace | |
//! | --- | --- | --- |
//! | equal | differ | an edit, which may be recorded |
//! | differ | equal | the pinned version is not checked out; recording this one would revert the lock |
//! | differ | differ | both: recording or checking out would drop the changes of one side |
//!
//! The index is a cache and may be lost. Without a base, the version is an earlier one if the store has it, or if the
//! history of the lock pins it. Git is asked only in this case.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Kind};
use crate::event::{Event, Sink};
use crate::path::RepoPath;
use crate::project::{Definitions, Project};
use crate::shell::words;
use crate::store::{ObjectId, Pin, TrackedPath};

/// How tracked data in the workspace relates to the pin in the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataVersion {
    /// The workspace has the content that the lock pins.
    Pinned,
    /// The workspace was changed since it had the locked version, or no lock has the path.
    Edited,
    /// The workspace has the content of an earlier lock, unchanged: a checkout updates it.
    NotCheckedOut,
    /// Both the workspace and the lock differ from the base.
    Diverged,
    /// No base is known, and the history is incomplete: an edit, or an earlier version.
    Unknown,
}

/// Compares data in the workspace with its pins.
pub struct DataVersions<'a> {
    project: &'a Project,
    definitions: &'a Definitions,
    /// The pins in all versions of each lock, read when needed.
    histories: HashMap<RepoPath, LockHistory>,
    /// Why the history is incomplete, by the data for which it was searched.
    limits: Vec<(RepoPath, String)>,
}

/// The ids in all versions of one lock that Git has.
#[derive(Debug, Default)]
struct LockHistory {
    ids: HashSet<ObjectId>,
    /// Why there may be more.
    limit: Option<String>,
}

impl<'a> DataVersions<'a> {
    /// Compares with the locks of this project; their histories are read when needed.
    pub fn new(project: &'a Project, definitions: &'a Definitions) -> Self {
        DataVersions { project, definitions, histories: HashMap::new(), limits: Vec::new() }
    }

    /// Compares the workspace with the lock, and remembers the base if they are equal.
    pub fn version(&mut self, path: &RepoPath, now: &Pin, locked: Option<&Pin>) -> DataVersion {
        let (spot, index) = (TrackedPath::from(path), self.project.index());
        let Some(locked) = locked else { return DataVersion::Edited };
        if now.same_content(locked) {
            index.set_base(&spot, locked);
            return DataVersion::Pinned;
        }
        compare(index.base(&spot), now, locked, &mut || self.is_earlier(path, now))
    }

    /// Whether this content was recorded earlier; `None` if unknown.
    fn is_earlier(&mut self, path: &RepoPath, now: &Pin) -> Option<bool> {
        if self.project.store().contains(now) {
            return Some(true);
        }
        let files = &self.definitions.pipelines.files;
        let Some(file) = files.iter().find(|file| file.data.iter().any(|data| data.path == *path)) else {
            return Some(false);
        };
        let lock = Project::lock_path(&file.path);
        let history = self.histories.entry(lock).or_insert_with_key(|lock| LockHistory::read(self.project, lock));
        if history.ids.contains(&now.id) {
            return Some(true);
        }
        let Some(limit) = &history.limit else { return Some(false) };
        self.limits.push((path.clone(), limit.clone()));
        None
    }

    /// A sentence for each path for which it is unknown whether its content is an earlier version.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.limits.iter().map(|(path, limit)| {
            let path = path.relative_to(&self.project.cwd);
            format!("{path} is taken for an edit: whether it is an earlier version is not known, since {limit}")
        })
    }

    /// Sends the warnings to `sink`.
    pub fn warn(&self, sink: &dyn Sink) {
        self.warnings().for_each(|text| sink.event(Event::Warning { text: &text }));
    }
}

impl LockHistory {
    fn read(project: &Project, lock: &RepoPath) -> LockHistory {
        let mut found = LockHistory::default();
        let limit = project.repo.file_versions(lock, &mut |bytes| collect_ids(bytes, &mut found.ids));
        found.limit = limit.map_or_else(|e| Some(e.message), |limit| limit.map(String::from));
        found
    }
}

/// All ids in the text of a lock, whatever its format.
fn collect_ids(lock: &[u8], ids: &mut HashSet<ObjectId>) {
    let words = lock.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() == 2 * size_of::<ObjectId>());
    ids.extend(words.filter_map(|word| std::str::from_utf8(word).ok()?.parse::<ObjectId>().ok()));
}

/// `is_earlier` is called only if no base is known.
fn compare(base: Option<Pin>, now: &Pin, locked: &Pin, is_earlier: &mut dyn FnMut() -> Option<bool>) -> DataVersion {
    match base {
        Some(base) if base.same_content(locked) => DataVersion::Edited,
        Some(base) if base.same_content(now) => DataVersion::NotCheckedOut,
        Some(_) => DataVersion::Diverged,
        None => match is_earlier() {
            Some(true) => DataVersion::NotCheckedOut,
            Some(false) => DataVersion::Edited,
            None => DataVersion::Unknown,
        },
    }
}

/// Data whose current version must not be recorded, because the lock would lose what it pins.
#[derive(Debug, Default)]
pub struct UnrecordableData {
    behind: Vec<RepoPath>,
    diverged: Vec<RepoPath>,
}

impl UnrecordableData {
    /// Notes data of another version; returns false for an edit, which may be recorded.
    pub fn note(&mut self, path: &RepoPath, version: DataVersion) -> bool {
        match version {
            DataVersion::Pinned | DataVersion::Edited | DataVersion::Unknown => return false,
            DataVersion::NotCheckedOut => self.behind.push(path.clone()),
            DataVersion::Diverged => self.diverged.push(path.clone()),
        }
        true
    }

    /// The error that says why nothing is recorded, and what to type.
    pub fn error(&self, project: &Project) -> Option<Error> {
        let named = |paths: &[RepoPath]| paths.iter().map(|p| p.relative_to(&project.cwd)).collect::<Vec<_>>();
        let (behind, diverged) = (named(&self.behind), named(&self.diverged));
        let all: Vec<String> = behind.iter().chain(&diverged).cloned().collect();
        all.first()?;
        let message = match &all[..] {
            [one] => format!("data {one} is not checked out: pipeline.lock pins another version"),
            _ => format!("data is not checked out: pipeline.lock pins other versions of {}", all.join(", ")),
        };
        let mut error = Error::new(Kind::Check, message);
        if !diverged.is_empty() {
            error = error.because(format!("{} changed here as well since the last checkout", diverged.join(", ")));
        }
        if !behind.is_empty() {
            error = error.hint(format!("bring the pinned version: lockstep checkout {}", words(behind)));
        }
        if !diverged.is_empty() {
            let typed = words(diverged);
            error = error.hint(format!("merge the changes with the pinned version: lockstep checkout --merge {typed}"));
        }
        let typed = words(all);
        Some(error.hint(format!("or pin what is here instead of it: lockstep commit --force {typed}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectId;

    #[test]
    fn an_earlier_version_is_no_edit() {
        let pin = |n: u8| Pin { id: ObjectId([n; 32]), size: 1, files: None, executable: false };
        let [old, new, edit] = [1, 2, 3].map(pin);
        for (base, now, locked, is_earlier, want) in [
            (Some(new), edit, new, Some(false), DataVersion::Edited),
            // Brought back by hand.
            (Some(new), old, new, Some(true), DataVersion::Edited),
            (Some(old), old, new, Some(true), DataVersion::NotCheckedOut),
            (Some(old), old, new, Some(false), DataVersion::NotCheckedOut),
            (Some(old), edit, new, None, DataVersion::Diverged),
            (Some(old), Pin { executable: true, ..old }, new, Some(false), DataVersion::Diverged),
            (Some(old), old, Pin { executable: true, ..old }, Some(true), DataVersion::NotCheckedOut),
            (None, old, new, Some(true), DataVersion::NotCheckedOut),
            (None, edit, new, Some(false), DataVersion::Edited),
            (None, edit, new, None, DataVersion::Unknown),
        ] {
            assert_eq!(compare(base, &now, &locked, &mut || is_earlier), want, "{base:?} {now:?} {locked:?}");
        }
    }

    #[test]
    fn ids_stand_in_the_text_of_a_lock() {
        let ids = [1, 2].map(|n| ObjectId([n; 32]));
        let text = format!("blake3: {}\n  other: \"{}\"\nlonger: {}0\nshort: abc\n", ids[0], ids[1], ObjectId([3; 32]));
        let mut found = HashSet::new();
        collect_ids(text.as_bytes(), &mut found);
        assert_eq!(found, ids.into());
    }
}
