use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::edit::remove::{RemoveOptions, remove};
use crate::error::Result;
use crate::path::RepoPath;
use crate::project::Project;

/// Take stages and data out of the pipeline
///
/// Their definitions leave pipeline.yaml, their entries pipeline.lock, their lines .gitignore. Files stay in the
/// workspace, and what was stored stays in the store.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep remove train                  a stage, or all stages of a foreach or matrix
  lockstep remove train --outs           and the files that it made
  lockstep remove data/raw               data stays as a file, and is tracked no more
  lockstep remove sub/pipeline.yaml:train")]
pub struct Args {
    /// Stages, groups, or tracked data
    #[arg(required = true)]
    targets: Vec<String>,
    /// Delete the outputs, or the data, too
    #[arg(long)]
    outs: bool,
    /// With --outs, delete even what is not in the store
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
        out.say(format!("removed {target}"));
    }
    let names = |paths: &[RepoPath]| paths.iter().map(|p| p.relative_to(&project.cwd)).collect::<Vec<_>>().join(", ");
    if !removed.deleted.is_empty() {
        out.say(format!("deleted {}", names(&removed.deleted)));
    }
    if !removed.kept.is_empty() {
        out.say(format!("still here: {}", names(&removed.kept)));
    }
    if !removed.unignored.is_empty() {
        out.say(format!("still here, and no longer ignored by Git: {}", names(&removed.unignored)));
    }
    super::tell_next(&removed.written, project, out);
    Ok(0)
}
