use crate::cli::next_step;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::edit::remove::{RemoveOptions, remove};
use crate::error::Result;
use crate::path::RepoPath;
use crate::project::Project;

/// Remove stages, or tracked data, from the pipeline
///
/// Removes their definitions from pipeline.yaml, their entries from pipeline.lock and their lines from .gitignore. Files
/// stay in the workspace, and objects in the store.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep stage remove train                  a stage, or all stages of a foreach or matrix
  lockstep stage remove train --outs           also delete its outputs
  lockstep stage remove data/raw               stop tracking data, and keep the file
  lockstep stage remove sub/pipeline.yaml:train")]
pub struct Args {
    /// Stages, groups, or tracked data
    #[arg(required = true)]
    targets: Vec<String>,
    /// Also delete the outputs or the data
    #[arg(long)]
    outs: bool,
    /// With --outs, also delete files that are not in the store
    #[arg(short, long, requires = "outs")]
    force: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let options = RemoveOptions { outs: args.outs, force: args.force };
    let progress = Progress::new(out, false);
    let removed = remove(project, &args.targets, &options, &progress);
    progress.finish();
    let removed = removed?;
    for target in &removed.targets {
        out.status(format!("removed {target}"));
    }
    let names = |paths: &[RepoPath]| paths.iter().map(|p| p.relative_to(&project.cwd)).collect::<Vec<_>>().join(", ");
    if !removed.deleted.is_empty() {
        out.status(format!("deleted {}", names(&removed.deleted)));
    }
    if !removed.kept.is_empty() {
        out.status(format!("still here: {}", names(&removed.kept)));
    }
    if !removed.unignored.is_empty() {
        out.status(format!("still here, and no longer ignored by Git: {}", names(&removed.unignored)));
    }
    next_step::print_git_add(&removed.written, project, out);
    Ok(0)
}
