use serde_json::json;

use super::act::How;
use super::desk::{Desk, label};
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::promote::Removal;
use crate::project::Project;
use crate::tag::Label;

/// Take a label away
///
/// Makes an annotated Git tag NAME#LABEL!#N; no tag is ever deleted.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model demote digits prod     no version of digits has the label prod any more")]
pub struct Args {
    name: String,
    #[arg(value_parser = label)]
    label: Label,
    #[command(flatten)]
    how: How,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let desk = Desk::open(project, out)?;
    let name = desk.name(&args.name)?;
    let plan = Removal::demote(&desk.registry, &name, &args.label)?;
    let version = plan.version.as_ref().map(|v| v.to_string());
    let of = version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
    let said = format!("{name}{of} is no longer {}", args.label);
    let shape = json!({"version": version, "label": args.label.to_string()});
    args.how.perform(plan.act, &said, shape, project, out)
}
