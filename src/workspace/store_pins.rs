//! Stores files and folders of the workspace, durably.

use crate::error::{Kind, Result};
use crate::event::Sink;
use crate::path::RepoPath;
use crate::project::Project;
use crate::store::{Pin, TrackedPath};

/// Stores the content of these paths. Errors: the content does not match its pin.
///
/// Another process may quarantine a damaged object during the batch, which then starts again, so that hours of work are
/// not lost.
pub fn store_pins<'p>(
    project: &Project,
    pins: impl Iterator<Item = (&'p RepoPath, &'p Pin)> + Clone,
    sink: &dyn Sink,
) -> Result<()> {
    for _ in 0..3 {
        match store_once(project, pins.clone(), sink) {
            Err(e) if e.kind == Kind::Busy => {}
            done => return done,
        }
    }
    store_once(project, pins, sink)
}

fn store_once<'p>(
    project: &Project,
    pins: impl Iterator<Item = (&'p RepoPath, &'p Pin)> + Clone,
    sink: &dyn Sink,
) -> Result<()> {
    let mut batch = project.store().batch();
    for (path, pin) in pins.clone() {
        for link in project.index().followed(&TrackedPath::from(path)) {
            project.writable_area().check_link_target(path, &link)?;
        }
        batch.add(project.index(), &TrackedPath::from(path), pin)?;
    }
    let generation = batch.commit(sink)?;
    for (path, pin) in pins {
        project.index().mark_stored(&TrackedPath::from(path), pin, generation);
    }
    Ok(())
}
