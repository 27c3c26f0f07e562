use clap::Subcommand;

use super::{diff_values, show_values};
use crate::cli::output::Output;
use crate::error::Result;
use crate::project::Project;
use crate::project::values::metrics_of;

/// Show and compare metrics
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Show metrics, of the workspace or any revision
    ///
    /// Metrics are listed under `metrics:` of a stage or at the top of a pipeline.yaml. Those of a commit are read from Git,
    /// from the store, or, if their bytes are not here, from pipeline.lock.
    #[command(after_help = "\
Examples:
  lockstep metrics show                of all stages
  lockstep metrics show evaluate       of one stage
  lockstep metrics show metrics.json   one file
  lockstep metrics show --rev v1.0     of a commit, without checking it out
  lockstep metrics show -a -T          of the workspace, all branches and all tags, a row each
  lockstep metrics show --md           as a Markdown table, for a pull request
  lockstep metrics show --json         file → values; of revisions a list of {rev, names, commit, files}")]
    Show(show_values::Args),
    /// Compare metrics of two revisions
    ///
    /// The pipeline says which direction is better: `metrics: [metrics.json: {meta: {better: higher}}]`, or for each key,
    /// `better: {accuracy: higher, loss: lower}`.
    #[command(after_help = "\
Examples:
  lockstep metrics diff                     HEAD and the workspace
  lockstep metrics diff main                main and the workspace
  lockstep metrics diff v1.0 v1.1           two tags
  lockstep metrics diff main --md           for a pull request
  lockstep metrics diff main --json         file → key → old, new, diff")]
    Diff(diff_values::Args),
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Show(args) => show_values::run(args, project, out, &metrics_of, "metrics"),
        Sub::Diff(args) => diff_values::run(args, project, out, &metrics_of, "metrics"),
    }
}
