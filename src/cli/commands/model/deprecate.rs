use serde_json::json;

use super::act::How;
use super::desk::Desk;
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::promote::Removal;
use crate::project::Project;

/// Take a version back, or end a model
///
/// Makes an annotated Git tag NAME@VERSION! or NAME@deprecated; no tag is ever deleted, and nothing else changes. The
/// number is not given again. A model that has ended goes on with its next version.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model deprecate digits@v1.0.0 -m 'Trained on test data'
  lockstep model deprecate digits           the model as a whole")]
pub struct Args {
    /// NAME or NAME@VERSION
    what: String,
    #[command(flatten)]
    how: How,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let desk = Desk::open(project, out)?;
    let asked = desk.asked(&args.what)?;
    let whole = !args.what.contains(['@', '#']);
    let plan = Removal::deprecate(&desk.registry, &asked, whole)?;
    for label in &plan.labels {
        out.warn(format!("the label {label} goes on pointing to it: lockstep model demote {} {label}", asked.name));
    }
    let version = plan.version.as_ref().map(|v| v.to_string());
    let of = version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
    let said = format!("{}{of} is deprecated", asked.name);
    let labels: Vec<String> = plan.labels.iter().map(|label| label.to_string()).collect();
    args.how.perform(plan.act, &said, json!({"version": version, "labels": labels}), project, out)
}
