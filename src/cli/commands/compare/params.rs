use clap::Subcommand;

use super::{diff_values, show_values};
use crate::cli::output::Output;
use crate::error::Result;
use crate::project::Project;
use crate::project::values::{listed_params_of, params_of};

/// Show and compare parameters
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Show parameters, of the workspace or any revision
    ///
    /// Shows all values of the `params.yaml` beside a pipeline.yaml and of the files under its `vars:` and `params:`, and
    /// of other files the values that stages list. With --deps, only values that stages list.
    #[command(after_help = "\
Examples:
  lockstep params show                 of all stages
  lockstep params show train           what one stage reads
  lockstep params show params.yaml     one file
  lockstep params show --deps          without what only templates (`${}`) use
  lockstep params show --rev HEAD~1    of a commit, without checking it out
  lockstep params show --json          file → values; of revisions a list of {rev, names, commit, files}")]
    Show {
        #[command(flatten)]
        args: show_values::Args,
        /// Show only values that stages list under `params`
        #[arg(long)]
        deps: bool,
    },
    /// Compare parameters of two revisions
    #[command(after_help = "\
Examples:
  lockstep params diff                      HEAD and the workspace
  lockstep params diff v1.0 v1.1            two tags
  lockstep params diff main --targets train what one stage reads
  lockstep params diff --all                with equal values
  lockstep params diff --json               file → key → old, new")]
    Diff {
        #[command(flatten)]
        args: diff_values::Args,
        /// Compare only values that stages list under `params`
        #[arg(long)]
        deps: bool,
    },
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let files = |deps: bool| if deps { listed_params_of } else { params_of };
    match &args.command {
        Sub::Show { args, deps } => show_values::run(args, project, out, &files(*deps), "params"),
        Sub::Diff { args, deps } => diff_values::run(args, project, out, &files(*deps), "params"),
    }
}
