//! One file a command.

pub mod add;
pub mod cache;
pub mod checkout;
pub mod commit;
pub mod dag;
pub mod freeze;
pub mod remove;
pub mod repro;
pub mod stage;
mod stage_add;
pub mod status;
pub mod version;

use crate::cli::args::{Cli, Command};
use crate::cli::open;
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::project::{Definitions, Project};

/// Runs a command; its exit code comes back.
pub fn run(cli: Cli, out: &Output) -> Result<u8> {
    let global = &cli.global;
    match cli.command {
        Command::Repro(args) => repro::run(&args, &open(global)?, out),
        Command::Status(args) => status::run(&args, &open(global)?, out),
        Command::Stage(args) => stage::run(&args, &open(global)?, out),
        Command::Dag(args) => dag::run(&args, &open(global)?, out),
        Command::Add(args) => add::run(&args, &open(global)?, out),
        Command::Remove(args) => remove::run(&args, &open(global)?, out),
        Command::Commit(args) => commit::run(&args, &open(global)?, out),
        Command::Checkout(args) => checkout::run(&args, &open(global)?, out),
        Command::Freeze(args) => freeze::run(&args, &open(global)?, out),
        Command::Unfreeze(args) => freeze::unfreeze(&args, &open(global)?, out),
        Command::Cache(args) => cache::run(&args, &open(global)?, out),
        Command::Version(args) => version::run(&args, out),
        Command::Watchdog { lock } => {
            crate::run::watchdog::serve(&lock).map(|()| 0).map_err(|e| Error::io("watch with", &lock, e))
        }
    }
}

/// A pipeline file elsewhere that cannot be read is a warning, unless the targets need it.
fn tell_broken(definitions: &Definitions, project: &Project, out: &Output) {
    for (path, error) in &definitions.broken {
        out.warn(format!("{} is left out:\n{}", path.relative_to(&project.cwd), error.message));
    }
    for file in &definitions.pipelines.files {
        for warning in &file.warnings {
            out.warn(warning);
        }
    }
    if out.verbose > 0 {
        for path in &definitions.foreign {
            out.say(format!("{} has none of our keys and is passed over", path.relative_to(&project.cwd)));
        }
    }
}

/// Which files a command changed that Git should have.
fn tell_next(written: &[RepoPath], project: &Project, out: &Output) {
    // A file that went, and that Git never had, is nothing to tell Git about.
    let tracked = project.repo.tracked(written).unwrap_or_default();
    let known = |p: &&RepoPath| p.on_disk(project.top()).exists() || tracked.contains(p);
    let names: Vec<String> = written.iter().filter(known).map(|p| p.relative_to(&project.cwd)).collect();
    if !names.is_empty() && project.repo.is_git() {
        out.say(format!("next: git add {}", names.join(" ")));
    }
}

/// Somebody with a `dvc.yaml` alone is told what to do about it.
fn with_dvc_hint(error: Error, definitions: &Definitions) -> Error {
    match definitions.dvc.first() {
        Some(dvc) if definitions.pipelines.files.is_empty() => error.hint(format!(
            "{dvc} is DVC's: the format is the same, so `git mv {dvc} {}` may be all it takes",
            dvc.parent().and_then(|d| d.join("pipeline.yaml")).unwrap_or_default()
        )),
        _ => error,
    }
}
