//! Restores an output or data from the store, so that a kill during a restore leaves nothing behind.
//!
//! The store builds the restored content beside its place and renames it. Until then a note in `restoring/<hash of the
//! path>` names the place; the next command that takes the workspace lock removes the leftovers that notes name.

use std::fs;

use crate::error::{Error, Result};
use crate::event::{Event, Sink};
use crate::path::RepoPath;
use crate::plan::facts::IgnoreRules;
use crate::project::{Definitions, Project};
use crate::store::{self, ObjectId, Pin, TrackedPath};
use crate::workspace::preserve::{discard_old, keep_ignored_files, rules};

/// Brings `path` to `pin`. The caller has checked that no unsaved change is overwritten.
pub fn restore(
    project: &Project,
    definitions: &Definitions,
    path: &RepoPath,
    pin: &Pin,
    sink: &dyn Sink,
) -> Result<()> {
    let place = project.writable(path)?;
    let notes = project.state_dir().join("restoring");
    let note = notes.join(&ObjectId::of(path.as_str().as_bytes()).hex()[..32]);
    let written = fs::write(&note, path.as_str()).or_else(|_| {
        fs::create_dir_all(&notes)?;
        fs::write(&note, path.as_str())
    });
    written.map_err(|e| Error::io("write", &note, e))?;
    let rules = IgnoreRules(&definitions.rules);
    let restored = store::restore(project.store(), project.index(), &place, pin, &rules, sink);
    if restored.is_ok() {
        project.index().set_base(&TrackedPath::from(path), pin);
    }
    // The note stays until the rest of the old version is moved, so that the next command can finish it.
    let kept = match restored {
        Ok(Some(left)) => keep_ignored_files(project, path, &left, sink),
        Ok(None) => Ok(()),
        Err(e) => Err(e),
    };
    let _ = fs::remove_file(&note);
    kept
}

/// Cleans up after killed restores: removes half-built and swapped-out content. Ignored files inside an old version are
/// kept. The caller holds the workspace lock.
pub fn clear_interrupted_restores(project: &Project, sink: &dyn Sink) {
    let notes = project.state_dir().join("restoring");
    for note in fs::read_dir(&notes).into_iter().flatten().flatten() {
        let path = fs::read_to_string(note.path()).ok().and_then(|p| RepoPath::root().join(&p));
        if let Some(path) = path.filter(|p| !p.is_root())
            && let Ok(place) = project.writable(&path)
        {
            let leftovers = store::abandoned_siblings(&place)
                .iter()
                .try_for_each(|left| discard_old(project, &IgnoreRules(&rules(project)?), &path, left, sink));
            if let Err(e) = leftovers {
                sink.event(Event::Warning { text: &e.message });
                continue;
            }
        }
        let _ = fs::remove_file(note.path());
    }
}
