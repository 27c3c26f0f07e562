use clap::Subcommand;

use crate::cli::commands::{diff_values, show};
use crate::cli::output::Output;
use crate::error::Result;
use crate::project::Project;
use crate::run::values::params_of;

/// Show and compare params
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Show the params of stages, now or at any commit
    ///
    /// Of a params file those values are shown that some stage reads; all of them where a stage reads the whole file, or
    /// where it stands under `params:` at the top of a pipeline.yaml.
    #[command(after_help = "\
Examples:
  lockstep params show                 of all stages
  lockstep params show train           what one stage reads
  lockstep params show params.yaml     one file
  lockstep params show --rev HEAD~1    of a commit, without checking it out
  lockstep params show --json          file → values; of revisions a list of {rev, names, commit, files}")]
    Show(show::Args),
    /// Compare params of two revisions
    #[command(after_help = "\
Examples:
  lockstep params diff                      HEAD and the workspace
  lockstep params diff v1.0 v1.1            two tags
  lockstep params diff main --targets train what one stage reads
  lockstep params diff --all                those that are the same, too
  lockstep params diff --json               file → key → old, new")]
    Diff(diff_values::Args),
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Show(args) => show::run(args, project, out, &params_of, "params"),
        Sub::Diff(args) => diff_values::run(args, project, out, &params_of, "params"),
    }
}
