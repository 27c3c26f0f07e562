//! Which version of tracked data lies in the workspace, as seen from the lock.
//!
//! Data that differs from its pin is not always an edit: after a merge, a pull or a switch of branches the lock pins
//! another version than the one that still lies here. The stat index remembers the base: what the lock pinned when it
//! last pinned what lay here. As in Git, it tells the three cases apart:
//!
//! | base and lock | base and workspace | |
//! | --- | --- | --- |
//! | equal | differ | an edit, which may be recorded |
//! | differ | equal | the pinned version is not checked out; to record this one would revert the lock |
//! | differ | differ | both: to record or to check out would drop the changes of one side |

use crate::error::{Error, Kind};
use crate::path::RepoPath;
use crate::project::Project;
use crate::shell::words;
use crate::store::{Pin, Place as Spot};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataVersion {
    Pinned,
    Edited,
    NotCheckedOut,
    Diverged,
}

/// Compares what lies here with the lock, and remembers it where they are equal.
pub fn data_version(project: &Project, path: &RepoPath, now: &Pin, locked: Option<&Pin>) -> DataVersion {
    let (spot, index) = (Spot::from(path), project.index());
    let Some(locked) = locked else { return DataVersion::Edited };
    if now.same_content(locked) {
        index.set_base(&spot, locked);
        return DataVersion::Pinned;
    }
    compare(index.base(&spot), now, locked, &|| project.store().contains(now))
}

/// `is_stored` is asked where no base is known: what the store has was recorded earlier.
fn compare(base: Option<Pin>, now: &Pin, locked: &Pin, is_stored: &dyn Fn() -> bool) -> DataVersion {
    match base {
        Some(base) if base.same_content(locked) => DataVersion::Edited,
        Some(base) if base.same_content(now) => DataVersion::NotCheckedOut,
        Some(_) => DataVersion::Diverged,
        None if is_stored() => DataVersion::NotCheckedOut,
        None => DataVersion::Edited,
    }
}

/// Data that must not be recorded as it is here, since the lock would lose what it pins.
#[derive(Debug, Default)]
pub struct OtherVersions {
    behind: Vec<RepoPath>,
    diverged: Vec<RepoPath>,
}

impl OtherVersions {
    /// Notes data of another version; false for an edit, which may be recorded.
    pub fn note(&mut self, path: &RepoPath, version: DataVersion) -> bool {
        match version {
            DataVersion::Pinned | DataVersion::Edited => return false,
            DataVersion::NotCheckedOut => self.behind.push(path.clone()),
            DataVersion::Diverged => self.diverged.push(path.clone()),
        }
        true
    }

    /// Why nothing is recorded, and what to type.
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
            error = error.hint(format!("join the changes with the pinned version: lockstep checkout --merge {typed}"));
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
        for (base, now, locked, is_stored, want) in [
            (Some(new), edit, new, false, DataVersion::Edited),
            // Brought back by hand.
            (Some(new), old, new, true, DataVersion::Edited),
            (Some(old), old, new, true, DataVersion::NotCheckedOut),
            (Some(old), old, new, false, DataVersion::NotCheckedOut),
            (Some(old), edit, new, false, DataVersion::Diverged),
            (Some(old), Pin { executable: true, ..old }, new, false, DataVersion::Diverged),
            (Some(old), old, Pin { executable: true, ..old }, true, DataVersion::NotCheckedOut),
            (None, old, new, true, DataVersion::NotCheckedOut),
            (None, edit, new, false, DataVersion::Edited),
        ] {
            assert_eq!(compare(base, &now, &locked, &|| is_stored), want, "{base:?} {now:?} {locked:?}");
        }
    }
}
