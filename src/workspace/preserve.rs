//! What the rules ignore inside an output, when that version of the output goes.
//!
//! It is the user's: no store has it. It moves to the version that comes ([`carry_over`]); what cannot (the new version has
//! another file of that name, or is a file itself) is kept in a log folder, and told of. Asked before every old version
//! goes, whichever way it came to be old.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::event::{Event, Sink};
use crate::git;
use crate::path::RepoPath;
use crate::project::Project;
use crate::store::{self, PreserveResult, Rules, carry_over, strip};
use crate::workspace::backup::{Aside, move_to};
use crate::workspace::logs::{Logs, RunLog};

/// The rules as they are now, for who comes upon old versions before anything else is known.
pub fn rules(project: &Project) -> Result<git::Rules> {
    Ok(project.definitions_without_graph()?.rules)
}

/// Removes an old version of an output that lies at `old`, but for what is ignored in it.
pub fn give_up(project: &Project, rules: &dyn Rules, out: &RepoPath, old: &Path, sink: &dyn Sink) -> Result<()> {
    if !carry_to_place(project, rules, out, old)?.left {
        // What cannot be removed is left under a name that tells whose it is.
        let _ = store::remove(old);
        return Ok(());
    }
    let _ = strip(old, out.as_str().as_bytes(), rules);
    keep_rest(project, out, old, sink)
}

/// Moves what is ignored in an old version to the output, in the folder that is opened for it.
fn carry_to_place(project: &Project, rules: &dyn Rules, out: &RepoPath, old: &Path) -> Result<PreserveResult> {
    let place = project.writable(out)?;
    if !fs::symlink_metadata(old).is_ok_and(|meta| meta.is_dir()) {
        return Ok(PreserveResult::default());
    }
    place.create_parents()?;
    let folder = place.open_folder()?;
    let new = folder.join(place.file_name().unwrap_or_default());
    Ok(carry_over(old, &new, out.as_str().as_bytes(), rules))
}

/// Finds a place for what is left of an old version: what is ignored in it and could not move.
pub fn keep_rest(project: &Project, out: &RepoPath, left: &Path, sink: &dyn Sink) -> Result<()> {
    let log = Logs::new(project.logs_dir()).recovered()?;
    tell(out, &move_to(left, &log.kept(out))?, sink);
    Ok(())
}

/// The same for an output that was set aside. Until its ignored files are in safety it can still be put back whole.
pub fn give_up_aside(
    project: &Project,
    rules: &dyn Rules,
    aside: Aside,
    log: Option<&RunLog>,
    sink: &dyn Sink,
) -> Result<()> {
    let out = aside.out.clone();
    if !carry_to_place(project, rules, &out, aside.place())?.left {
        aside.forget();
        return Ok(());
    }
    let log = log.cloned().map_or_else(|| Logs::new(project.logs_dir()).recovered(), Ok)?;
    let kept = aside.keep(&free(log.kept(&out)))?;
    let _ = strip(&kept, out.as_str().as_bytes(), rules);
    tell(&out, &kept, sink);
    Ok(())
}

/// A path at which nothing is: `path`, or with a number.
fn free(path: PathBuf) -> PathBuf {
    let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
    let name = path.file_name().unwrap_or_default().to_os_string();
    let numbered = (2..).map(|n| {
        let mut name = name.clone();
        name.push(format!(".{n}"));
        path.with_file_name(name)
    });
    std::iter::once(path.clone()).chain(numbered).find(is_free).unwrap_or(path.clone())
}

fn tell(out: &RepoPath, kept: &Path, sink: &dyn Sink) {
    let text =
        format!("files in {out} that lockstep ignores could not stay there; they are kept in {}", kept.display());
    sink.event(Event::Note { text: &text });
}
