use serde_json::json;

use super::context::{ModelContext, label};
use super::tag_args::{TagArgs, checks};
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::registry::promote::Promotion;
use crate::project::Project;
use crate::tag::Label;
use crate::url::Url;

/// Assign a label to a version
///
/// Creates an annotated Git tag NAME#LABEL#N. A label belongs to one version at a time; a version may have several.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model promote digits@v1.2.0 prod           from now on digits#prod is v1.2.0
  lockstep model promote 'digits#staging' prod --push what staging has, and push the tag")]
pub struct Args {
    /// NAME@VERSION, NAME@latest, or NAME#LABEL for the version that has another label
    version: String,
    #[arg(value_parser = label)]
    label: Label,
    /// Promote although a check fails
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    how: TagArgs,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let publisher = args.how.publisher(project, out)?;
    let context = ModelContext::open(project, out)?;
    let asked = context.asked(&args.version)?;
    let mut plan = Promotion::plan(project, &context.registry, &asked, &args.label)?;
    let (name, version, label) = (asked.name, plan.version.clone(), plan.label.clone());
    let given = plan.given.as_deref().filter(|_| plan.is_done());
    let lacking = args.how.compare(publisher.as_ref(), &name, &context.registry, given, out)?;
    if let Some(tag) = given {
        out.status(format!("{name} {version} is {label} already"));
        let pushed = match &publisher {
            Some(publisher) if lacking.iter().any(|one| one == tag) => {
                publisher.push_old(tag)?;
                out.status(format!("pushed {tag} to {}", publisher.remote));
                Some(&publisher.remote)
            }
            _ => None,
        };
        if args.how.json() {
            out.json(&json!({"event": null, "name": name.to_string(), "version": version.to_string(),
                "label": label.to_string(), "commit": plan.new_tag.commit.hex(), "pushed": pushed.map(Url::to_string)}));
        }
        return Ok(0);
    }
    if plan.revives {
        out.warn(format!("{name} was deprecated; this makes it current again, with its labels"));
    }
    if let Some(refusal) = plan.refusal() {
        if !args.force {
            return Err(refusal);
        }
        for cause in &refusal.causes {
            out.warn(format!("overruled: {cause}"));
        }
        plan.overrule();
    }
    let before = plan.before.as_ref().map(|version| format!(" (was {version})")).unwrap_or_default();
    let said = format!("{name}#{label} is {version}{before}");
    let shape = json!({
        "version": version.to_string(),
        "label": label.to_string(),
        "before": plan.before.as_ref().map(|v| v.to_string()),
        "checks": checks(&plan.checks),
        "forced": plan.new_tag.note.forced,
    });
    args.how.perform(vec![plan.new_tag], &said, shape, publisher.as_ref(), project, out)
}
