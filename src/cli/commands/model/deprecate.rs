use serde_json::json;

use super::context::ModelContext;
use super::tag_args::TagArgs;
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::registry::promote::Removal;
use crate::project::Project;

/// Deprecate a version, or a model
///
/// Creates an annotated Git tag NAME@VERSION! or NAME@deprecated; deletes no tag, and changes nothing else. The number is
/// not used again. A label of the version returns to the version that had it before, if there is one. A deprecated model
/// has no labels; its next version makes it current again.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model deprecate digits@v1.0.0 -m 'Trained on test data'
  lockstep model deprecate digits           the model as a whole")]
pub struct Args {
    /// NAME or NAME@VERSION
    what: String,
    #[command(flatten)]
    how: TagArgs,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let publisher = args.how.publisher(project, out)?;
    let context = ModelContext::open(project, out)?;
    let asked = context.asked(&args.what)?;
    args.how.compare(publisher.as_ref(), &asked.name, &context.registry, None, out)?;
    let whole = !args.what.contains(['@', '#']);
    let plan = Removal::deprecate(project, &context.registry, &asked, whole)?;
    let version = plan.version.as_ref().map(|v| v.to_string());
    let of = version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
    let mut said = format!("{}{of} is deprecated", asked.name);
    for (label, heir) in &plan.labels {
        said.push_str(&match heir {
            Some(heir) => format!("; {}#{label} is {heir} again", asked.name),
            None => format!("; no version has {label} now"),
        });
    }
    let labels: Vec<String> = plan.labels.iter().map(|(label, _)| label.to_string()).collect();
    let shape = json!({"version": version, "labels": labels});
    args.how.perform(plan.new_tags, &said, shape, publisher.as_ref(), project, out)
}
