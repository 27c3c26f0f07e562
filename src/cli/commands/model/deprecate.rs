use serde_json::json;

use super::act::How;
use super::desk::Desk;
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::registry::promote::Removal;
use crate::project::Project;

/// Take a version back, or end a model
///
/// Makes an annotated Git tag NAME@VERSION! or NAME@deprecated; no tag is ever deleted, and nothing else changes. The
/// number is not given again. A label of the version goes to the version that had it before, if there is one; a model that
/// has ended has no labels, and goes on with its next version.
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
    let publisher = args.how.publisher(project, out)?;
    let desk = Desk::open(project, out)?;
    let asked = desk.asked(&args.what)?;
    args.how.compare(publisher.as_ref(), &asked.name, &desk.registry, None, out)?;
    let whole = !args.what.contains(['@', '#']);
    let plan = Removal::deprecate(project, &desk.registry, &asked, whole)?;
    let version = plan.version.as_ref().map(|v| v.to_string());
    let of = version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
    let mut said = format!("{}{of} is deprecated", asked.name);
    for (label, heir) in &plan.labels {
        said.push_str(&match heir {
            Some(heir) => format!("; {}#{label} is {heir} again", asked.name),
            None => format!("; no version is {label} any more"),
        });
    }
    let labels: Vec<String> = plan.labels.iter().map(|(label, _)| label.to_string()).collect();
    let shape = json!({"version": version, "labels": labels});
    args.how.perform(plan.new_tags, &said, shape, publisher.as_ref(), project, out)
}
