//! Tracked data: changed data is pinned and stored; missing data that stages need is restored.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::event::{Event, Sink};
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{Data, InputLocation, StageId};
use crate::plan::content_source::ContentSource;
use crate::plan::data_version::{DataVersions, UnrecordableData};
use crate::plan::select::Selection;
use crate::project::origin::Origin;
use crate::project::{Definitions, Project};
use crate::run::pull::MissingInput;
use crate::run::record::RecordJob;
use crate::run::state::Run;
use crate::store::{self, Pin, TrackedPath, difference};
use crate::workspace::gitignore::{self, files_of};
use crate::workspace::journal::{LockChange, Record};
use crate::workspace::restore::restore as restore_path;

/// File and position of every data entry.
pub fn all_data(definitions: &Definitions) -> Vec<(usize, usize)> {
    let files = definitions.pipelines.files.iter().enumerate();
    files.flat_map(|(f, file)| (0..file.data.len()).map(move |d| (f, d))).collect()
}

/// The data that these stages read, also through the variables of their pipeline files, and the data in `named`: file
/// and position of each entry.
pub fn needed_data(definitions: &Definitions, stages: &[StageId], named: &[RepoPath]) -> Vec<(usize, usize)> {
    let read = stages.iter().flat_map(|id| definitions.graph.data(*id)).map(|(f, d)| (f.0 as usize, *d as usize));
    let mut found: BTreeSet<(usize, usize)> = read.collect();
    for file in files_of(definitions, stages.iter().copied()) {
        for (place, _) in &definitions.pipelines.file(file).template_files {
            let InputLocation::Repo(path) = place else { continue };
            found.extend(definitions.graph.owners_of(path).into_iter().filter_map(|owner| match owner {
                Owner::Data(f, d) => Some((f.0 as usize, d as usize)),
                Owner::Out(..) => None,
            }));
        }
    }
    for (f, file) in definitions.pipelines.files.iter().enumerate() {
        for (d, data) in file.data.iter().enumerate() {
            if named.iter().any(|n| n.is_in(&data.path)) {
                found.insert((f, d));
            }
        }
    }
    found.into_iter().collect()
}

/// The data that a run covers, each with whether the run needs it: data that no stage reads may be missing.
fn covered_data(definitions: &Definitions, selected: &Selection) -> BTreeMap<(usize, usize), bool> {
    let own = selected.files.iter().flat_map(|f| {
        let f = f.0 as usize;
        (0..definitions.pipelines.files[f].data.len()).map(move |d| ((f, d), false))
    });
    let needed = needed_data(definitions, &selected.stages, &selected.data).into_iter().map(|at| (at, true));
    own.chain(needed).collect()
}

/// Pins changed data and restores missing data. Returns the jobs for the recorder.
pub(super) fn pin(run: &mut Run, selected: &Selection) -> Result<Vec<RecordJob>> {
    let mut jobs = Vec::new();
    let definitions = run.definitions();
    let mut others = UnrecordableData::default();
    let mut versions = DataVersions::new(run.project(), definitions);
    let mut summaries: Vec<(&RepoPath, String)> = Vec::new();
    for ((f, d), is_needed) in covered_data(definitions, selected) {
        let file = &definitions.pipelines.files[f];
        let data = &file.data[d];
        let locked = run.workspace.locks.all[f].data.get(&data.spelled).copied();
        match (run.workspace.reader.out(&data.path)?, locked) {
            (Some(now), Some(locked)) if now.same_content(&locked) => {
                run.project().index().set_base(&TrackedPath::from(&data.path), &locked);
                jobs.extend(store_again(run.project(), data, now, run.options.no_commit));
            }
            (Some(now), locked) => {
                if run.options.locked {
                    run.outcome.stale_data.push(data.path.clone());
                    continue;
                }
                let version = versions.version(&data.path, &now, locked.as_ref());
                if others.note(&data.path, version) {
                    continue;
                }
                // Git must not track the data, whichever command pins it.
                if let Some(written) = gitignore::write_data(run.project(), &data.path)? {
                    run.outcome.written.push(written);
                    run.workspace.reader.forget();
                }
                summaries.push((&data.path, summary(run.project(), &data.path, locked.as_ref(), &now)));
                let record = Record {
                    lock: Project::lock_path(&file.path),
                    change: LockChange::Data { path: data.spelled.clone(), old: locked, new: now },
                };
                run.workspace.locks.all[f].data.insert(data.spelled.clone(), now);
                let store = if run.options.no_commit { vec![] } else { vec![(data.path.clone(), now)] };
                jobs.push(RecordJob {
                    stage: None,
                    store,
                    run: None,
                    record: Some(record),
                    replaced: vec![],
                    log: None,
                });
            }
            (None, Some(_)) if run.options.allow_missing => {}
            (None, Some(locked)) if !is_needed => {
                if run.options.locked && !run.project().store().contains(&locked) {
                    return Err(lost_error(run.project(), definitions, data, &locked));
                }
            }
            (None, Some(locked)) => {
                if let Some(remotes) = run.remotes {
                    let origin = Origin::of_data(&file.path, data);
                    let input =
                        MissingInput { path: data.path.clone(), pin: locked, remote: data.remote.clone(), origin };
                    remotes.fetch_inputs(&[input], data.path.as_str())?;
                }
                if std::fs::symlink_metadata(data.path.on_disk(run.project().top())).is_err() {
                    restore(run.project(), definitions, run.sink(), data, &locked)?;
                }
                run.workspace.reader.forget();
            }
            (None, None) => {
                return Err(Error::missing(format!("the data {} does not exist", data.path))
                    .hint(format!("create it, or take it out of the data of {}", file.path)));
            }
        }
    }
    // One entry that must not be recorded stops all of them, so do not report the others before.
    if let Some(error) = others.error(run.project()) {
        return Err(error);
    }
    versions.warn(run.sink());
    summaries.iter().for_each(|(path, summary)| run.sink().event(Event::DataPinned { path, summary }));
    Ok(jobs)
}

fn store_again(project: &Project, data: &Data, pin: Pin, no_commit: bool) -> Option<RecordJob> {
    let ask = TrackedPath::from(&data.path);
    let generation = project.store().generation();
    if no_commit || generation.is_some_and(|g| project.index().is_stored(&ask, &pin, g)) {
        return None;
    }
    if project.store().contains(&pin) {
        if let Some(g) = generation {
            project.index().mark_stored(&ask, &pin, g);
        }
        return None;
    }
    let store = vec![(data.path.clone(), pin)];
    Some(RecordJob { stage: None, store, run: None, record: None, replaced: vec![], log: None })
}

/// Restores missing data from the store. Errors: the store does not have it.
pub fn restore(project: &Project, definitions: &Definitions, sink: &dyn Sink, data: &Data, pin: &Pin) -> Result<()> {
    if !project.store().contains(pin) {
        return Err(lost_error(project, definitions, data, pin));
    }
    project.writable(&data.path)?;
    restore_path(project, definitions, &data.path, pin, sink)?;
    sink.event(Event::Note { text: &format!("{} was missing and is back from the store", data.path) });
    Ok(())
}

/// The error for data that is pinned and missing from the workspace and the store.
fn lost_error(project: &Project, definitions: &Definitions, data: &Data, pin: &Pin) -> Error {
    let error = Error::missing(format!("the data {} is neither in the workspace nor in the store", data.path));
    ContentSource::of(project, definitions, &data.path, pin).add_hints(error)
}

/// A summary such as `+12 −0 ~3 files, pinned`, if the old tree is known.
pub fn summary(project: &Project, path: &RepoPath, old: Option<&Pin>, new: &Pin) -> String {
    let count = |n: u64| if n == 1 { "1 file".to_string() } else { format!("{n} files") };
    match old {
        Some(old) if old.is_dir() && new.is_dir() => {
            match difference(project.store(), project.index(), old, &TrackedPath::from(path)) {
                Ok(found) => {
                    let n = |change| found.iter().filter(|(c, _)| *c == change).count();
                    format!(
                        "+{} −{} ~{} files, pinned",
                        n(store::Change::Added),
                        n(store::Change::Removed),
                        n(store::Change::Changed)
                    )
                }
                Err(_) => format!("{} now, pinned", count(new.files.unwrap_or(1))),
            }
        }
        Some(_) => "changed, pinned".into(),
        None => format!("{}, pinned", count(new.files.unwrap_or(1))),
    }
}
