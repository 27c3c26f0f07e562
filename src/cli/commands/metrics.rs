use clap::Subcommand;

use crate::cli::commands::show;
use crate::cli::output::Output;
use crate::error::Result;
use crate::project::Project;
use crate::run::values::metrics_of;

/// Show metrics
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Show the metrics of stages as they are now
    ///
    /// These are the outputs under `metrics:` of a stage, and the files under `metrics:` at the top of a pipeline.yaml.
    #[command(after_help = "\
Examples:
  lockstep metrics show                of all stages
  lockstep metrics show evaluate       of one stage
  lockstep metrics show metrics.json   one file
  lockstep metrics show --md           as a Markdown table, for a pull request
  lockstep metrics show --json         file → values, for programs")]
    Show(show::Args),
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Show(args) => show::run(args, project, out, &metrics_of, "metrics"),
    }
}
