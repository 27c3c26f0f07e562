//! Restoring an output or data from the store, so that a kill in the middle leaves nothing behind.
//!
//! The store builds what it restores beside its place and renames it. A note of the place stands in
//! `restoring/<hash of the path>` meanwhile; the next command that takes the workspace lock removes what notes tell of.

use std::fs;

use crate::error::{Error, Result};
use crate::event::{Event, Sink};
use crate::path::RepoPath;
use crate::plan::facts::IgnoreRules;
use crate::project::{Definitions, Project};
use crate::store::{self, ObjectId, Pin, TrackedPath};
use crate::workspace::preserve::{give_up, keep_rest, rules};

/// Brings `path` to `pin`; whether something unsaved would be lost is the caller's question.
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
    // Until what is left has its place, the note tells the next command of it.
    let kept = match restored {
        Ok(Some(left)) => keep_rest(project, path, &left, sink),
        Ok(None) => Ok(()),
        Err(e) => Err(e),
    };
    let _ = fs::remove_file(&note);
    kept
}

/// Removes what killed restores left: what was half built, or what had been swapped out. Of the latter that stays which
/// was ignored in it. The workspace lock is held.
pub fn clear_leftovers(project: &Project, sink: &dyn Sink) {
    let notes = project.state_dir().join("restoring");
    for note in fs::read_dir(&notes).into_iter().flatten().flatten() {
        let path = fs::read_to_string(note.path()).ok().and_then(|p| RepoPath::root().join(&p));
        if let Some(path) = path.filter(|p| !p.is_root())
            && let Ok(place) = project.writable(&path)
        {
            let gone = store::abandoned_siblings(&place)
                .iter()
                .try_for_each(|left| give_up(project, &IgnoreRules(&rules(project)?), &path, left, sink));
            if let Err(e) = gone {
                sink.event(Event::Warning { text: &e.message });
                continue;
            }
        }
        let _ = fs::remove_file(note.path());
    }
}
