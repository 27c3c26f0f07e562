use serde_json::json;

use super::context::{ModelContext, label};
use super::tag_args::TagArgs;
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::registry::promote::Removal;
use crate::project::Project;
use crate::tag::Label;

/// Remove a label from a model
///
/// Creates an annotated Git tag NAME#LABEL!#N for each version that has had the label: as in GTO, the label would return
/// to an earlier version otherwise. The tags are pushed together or not at all. Deletes no tag.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model demote digits prod          no version of digits has the label prod afterwards
  lockstep model demote digits prod --dry    the tags that this would make")]
pub struct Args {
    name: String,
    #[arg(value_parser = label)]
    label: Label,
    #[command(flatten)]
    how: TagArgs,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let publisher = args.how.publisher(project, out)?;
    let context = ModelContext::open(project, out)?;
    let name = context.name(&args.name)?;
    args.how.compare(publisher.as_ref(), &name, &context.registry, None, out)?;
    let plan = Removal::demote(&context.registry, &name, &args.label)?;
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
