//! `checkout`: brings outs and data in the workspace to what the lock says.

use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::path::RepoPath;
use crate::project::{Definitions, Project};
use crate::run::aside::Asides;
use crate::run::fold::{put_asides_back, recover};
use crate::run::journal::Journal;
use crate::run::leftover::remove_leftovers;
use crate::run::look::Look;
use crate::run::restore::restore;
use crate::run::select::Selected;
use crate::run::workspace;
use crate::shell::word;
use crate::store::{Pin, Place as Spot};

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Overwrite changes that are saved nowhere.
    pub force: bool,
    /// Link again what is in place already.
    pub relink: bool,
    /// Remove what is an output of another branch alone.
    pub clean: bool,
    pub command: String,
}

#[derive(Debug, Default)]
pub struct CheckedOut {
    pub restored: Vec<RepoPath>,
    /// Pinned, and not in the store.
    pub missing: Vec<RepoPath>,
    /// Neither pinned nor in the workspace: no run made these outputs, no command recorded these data.
    pub never_made: Vec<RepoPath>,
    /// Outputs and data of another branch, which the store has.
    pub removed: Vec<RepoPath>,
    /// Changed by hand, saved nowhere, and left alone.
    pub unsaved: Vec<RepoPath>,
}

/// Restores what was selected. Nothing is touched if something unsaved would be overwritten, unless forced.
pub fn checkout(
    project: &Project,
    definitions: &Definitions,
    selected: &Selected,
    options: &Options,
    sink: &dyn Sink,
) -> Result<CheckedOut> {
    let _lock = workspace::take(project, &options.command, sink)?;
    let asides = Asides::of(project);
    put_asides_back(project, &asides, sink)?;
    let mut look = Look::new(project, definitions, sink);
    let mut locks = project.locks(definitions)?;
    look.sweep_outs(&selected.named);
    let mut journal = Journal::at(project.state_dir().join("journal"));
    recover(project, definitions, &mut locks, &mut look, &mut journal, sink)?;

    let mut done = CheckedOut::default();
    let mut todo: Vec<(&RepoPath, Pin, bool)> = Vec::new();
    for (path, pin, is_stored) in wanted(definitions, selected, &locks) {
        let now = look.out(path);
        let Some(pin) = pin else {
            if matches!(now, Ok(None)) {
                done.never_made.push(path.clone());
            }
            continue;
        };
        let now = now?;
        // What Git keeps is touched only where it is missing, and was asked for by name.
        if !is_stored && (now.is_some() || !selected.files.is_empty()) {
            continue;
        }
        let fits = now.is_some_and(|n| n.id == pin.id && n.executable == pin.executable);
        if fits && !options.relink {
            continue;
        }
        project.writable(path)?;
        if !project.store().contains(&pin) {
            if !fits {
                done.missing.push(path.clone());
            }
            continue;
        }
        if let Some(now) = now
            && !fits
            && !options.force
            && !project.store().holds(&now)
        {
            done.unsaved.push(path.clone());
            continue;
        }
        todo.push((path, pin, fits));
    }
    if !done.unsaved.is_empty() {
        let names: Vec<&str> = done.unsaved.iter().map(RepoPath::as_str).collect();
        // Without targets that is all; with some, others must not share their fate.
        let targets = done.unsaved.iter().map(|path| format!(" {}", word(&path.relative_to(&project.cwd))));
        let of_these: String = if selected.files.is_empty() { targets.collect() } else { String::new() };
        return Err(Error::new(
            Kind::Check,
            format!("{} changed and saved nowhere; nothing was touched", were(&names)),
        )
        .hint(format!("throw the changes away: lockstep checkout --force{of_these}"))
        .hint(format!("or record them: lockstep commit{of_these}")));
    }
    if options.clean {
        done.removed = remove_leftovers(project, definitions, &locks, &asides, sink)?;
    }
    for (path, pin, fits) in todo {
        if fits {
            // To link again is to take nothing over.
            project.index().doubt(&Spot::from(path));
        }
        restore(project, definitions, path, &pin, sink)?;
        done.restored.push(path.clone());
    }
    let _ = project.index().save();
    Ok(done)
}

fn were(names: &[&str]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "was" } else { "were" })
}

/// Every selected path with its pin in the lock, if there is one, and whether it is lockstep that keeps it.
pub fn wanted<'a>(
    definitions: &'a Definitions,
    selected: &Selected,
    locks: &crate::project::Locks,
) -> Vec<(&'a RepoPath, Option<Pin>, bool)> {
    let mut all = Vec::new();
    for id in &selected.named {
        let stage = definitions.pipelines.stage(*id);
        let entry = locks.of(stage.file).stages.get(&stage.name);
        for out in stage.outs.iter().filter(|out| selected.takes(*id, &out.path)) {
            let locked = entry.and_then(|entry| entry.outs.get(&out.spelled));
            all.push((&out.path, locked.map(|locked| locked.pin), out.cache));
        }
    }
    for (f, file) in definitions.pipelines.files.iter().enumerate() {
        let whole = selected.files.iter().any(|id| id.0 as usize == f);
        for data in &file.data {
            if whole || selected.data.iter().any(|d| d.is_in(&data.path)) {
                all.push((&data.path, locks.all[f].data.get(&data.spelled).copied(), true));
            }
        }
    }
    all
}
