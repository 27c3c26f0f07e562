use super::recording::Recording;
use super::shape;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::deploy::{DeployAction, engine};
use crate::error::Result;
use crate::project::Project;

/// Let a target keep its version
///
/// No promotion counts for it until `lockstep deploy resume`; a deployment by hand needs --force.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep deploy hold prod -m 'trade fair until Friday'")]
pub struct Args {
    /// The name under `deploy` in pipeline.yaml
    target: String,
    /// Words for the record
    #[arg(short, long, value_name = "WORDS")]
    message: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Let a target follow its label again
///
/// Ends a hold, and what a rollback holds back. The next deployment takes the version that has the label.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep deploy resume prod")]
pub struct ResumeArgs {
    /// The name under `deploy` in pipeline.yaml
    target: String,
    /// Words for the record
    #[arg(short, long, value_name = "WORDS")]
    message: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    set(&args.target, true, args.message.clone(), args.json, project, out)
}

pub fn resume(args: &ResumeArgs, project: &Project, out: &Output) -> Result<u8> {
    set(&args.target, false, args.message.clone(), args.json, project, out)
}

fn set(name: &str, holds: bool, why: Option<String>, json: bool, project: &Project, out: &Output) -> Result<u8> {
    let progress = Progress::new(out, true);
    let outcome = engine::set_hold(project, name, holds, why, &progress);
    progress.finish();
    let outcome = outcome?;
    Recording::new(project, false, false)?.record(project, name, &outcome, out)?;
    if json {
        out.json(&shape(&outcome));
        return Ok(0);
    }
    let already = if outcome.action == DeployAction::UpToDate { " already" } else { "" };
    let version = outcome.version.unwrap_or_default();
    out.status(match holds {
        true => format!("{name} is held{already} at {version}"),
        false => format!("{name} follows its label{already}; {version} is current"),
    });
    Ok(0)
}
