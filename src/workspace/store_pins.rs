//! Stores files and folders of the workspace, durably.

use crate::error::{Kind, Result};
use crate::event::Sink;
use crate::path::RepoPath;
use crate::project::Project;
use crate::store::{Pin, TrackedPath};

/// Stores what lies at these paths; the bytes are those of the pins, or it is an error.
///
/// Another process may set a damaged object aside meanwhile, which makes a batch start again: hours of work are not lost
/// to that.
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
