use serde_json::json;

use super::act::How;
use super::desk::{Desk, label};
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::registry::promote::Removal;
use crate::project::Project;
use crate::tag::Label;

/// Take a label away
///
/// Makes an annotated Git tag NAME#LABEL!#N. A version that had the label before would get it back, as in GTO, so each
/// version that still has it gets such a tag; they are pushed together or not at all. No tag is ever deleted.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model demote digits prod          no version of digits has the label prod any more
  lockstep model demote digits prod --dry    the tags that this would make")]
pub struct Args {
    name: String,
    #[arg(value_parser = label)]
    label: Label,
    #[command(flatten)]
    how: How,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let publisher = args.how.publisher(project, out)?;
    let desk = Desk::open(project, out)?;
    let name = desk.name(&args.name)?;
    args.how.compare(publisher.as_ref(), &name, &desk.registry, None, out)?;
    let plan = Removal::demote(&desk.registry, &name, &args.label)?;
    let version = plan.version.as_ref().map(|v| v.to_string());
    let of = version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
    let also: Vec<String> = plan.also.iter().map(|version| version.to_string()).collect();
    let rest = match also.len() {
        0 => String::new(),
        1 => format!(", and {}, which had the label before, does not get it back", also[0]),
        _ => format!(", and {}, which had the label before, do not get it back", also.join(", ")),
    };
    let said = format!("{name}{of} is no longer {}{rest}", args.label);
    let shape = json!({"version": version, "label": args.label.to_string(), "also": also});
    args.how.perform(plan.new_tags, &said, shape, publisher.as_ref(), project, out)
}
