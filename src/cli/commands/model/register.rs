use serde_json::json;

use super::context::{ModelContext, pin};
use super::tag_args::{TagArgs, checks};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::Result;
use crate::model::registry::register::{RegistrationPlan, VersionNumber};
use crate::project::Project;
use crate::tag::{Bump, Version};
use crate::value::Value;

/// Register a version of an artifact
///
/// Creates an annotated Git tag NAME@VERSION, which pins the artifact's bytes and holds the metrics, the checks and the
/// record of the run that made them. Refuses an artifact that could not be reproduced later, or that fails the checks of
/// its pipeline.yaml.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model register digits --version v1.0.0            what HEAD pins
  lockstep model register digits --bump minor --push         the next number, and push the tag
  lockstep model register digits --bump patch --rev release  what another commit pins
  lockstep model register digits --bump major -m 'Reads sevens, too'")]
#[command(group(clap::ArgGroup::new("number").required(true)))]
pub struct Args {
    /// An artifact of a pipeline.yaml, with its folder if the name is not unique: models/a:digits
    name: String,
    /// The number, a semantic version
    #[arg(long, value_name = "VERSION", group = "number")]
    version: Option<Version>,
    /// Take the next number after the highest one
    #[arg(long, value_enum, value_name = "PART", group = "number")]
    bump: Option<VersionPart>,
    /// Register what this revision pins [default: HEAD]
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Register although a check or the reproducibility fails
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    how: TagArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum VersionPart {
    Major,
    Minor,
    Patch,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let publisher = args.how.publisher(project, out)?;
    let context = ModelContext::open(project, out)?;
    let name = context.name(&args.name)?;
    args.how.compare(publisher.as_ref(), &name, &context.registry, None, out)?;
    let number = match (&args.version, args.bump) {
        (Some(version), _) => VersionNumber::This(version.clone()),
        (None, Some(VersionPart::Major)) => VersionNumber::Next(Bump::Major),
        (None, Some(VersionPart::Minor)) => VersionNumber::Next(Bump::Minor),
        (None, _) => VersionNumber::Next(Bump::Patch),
    };
    let progress = Progress::new(out, false);
    let plan = RegistrationPlan::make(project, &context.registry, &name, &number, args.rev.as_deref(), &progress);
    progress.finish();
    let mut plan = plan?;
    if let Some(refusal) = plan.refusal() {
        if !args.force {
            return Err(refusal);
        }
        for cause in &refusal.causes {
            out.warn(format!("overruled: {cause}"));
        }
        plan.overrule();
    }
    for warning in &plan.warnings {
        out.warn(warning);
    }
    let found = plan.origin.pin;
    let said = format!(
        "registered {name} {}: {} {}, {}, of {} ({})",
        plan.version,
        plan.origin.path,
        &found.id.hex()[..12],
        text::bytes(found.size),
        plan.new_tag.commit.short(),
        &text::cut(&plan.about.subject, 50),
    );
    let shape = json!({
        "version": plan.version.to_string(),
        "path": plan.origin.path.to_string(),
        "pin": pin(&found),
        "checks": [],
        "warnings": plan.warnings,
        "forced": plan.new_tag.note.forced,
    });
    let mut shape = Value::from(shape);
    shape.set(&["checks"], checks(&plan.checks));
    args.how.perform(vec![plan.new_tag], &said, shape, publisher.as_ref(), project, out)
}
