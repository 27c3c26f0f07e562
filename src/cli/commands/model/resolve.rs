use serde_json::json;

use super::context::{self, ModelContext};
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::model::registry::signed;
use crate::model::registry::{Event, Model};
use crate::model::trace::Trace;
use crate::project::Project;
use crate::tag::{Action, Label, ModelRequest, ModelTag, Version, Which};

/// Show what a tag, a version or a label refers to
///
/// A CI job for a pushed tag learns from it what to do: deploy a version that became `prod`, publish a new one.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model resolve \"$GITHUB_REF_NAME\" --json   what the pushed tag says: event, version, commit, path, hash
  lockstep model resolve 'digits#prod'               the version that has a label
  lockstep model resolve digits                      the latest version
  lockstep model resolve 'digits#prod' --verify      fails unless its tag has a good signature

The signature is verified by `git verify-tag`, with your own keys. It has to be good (exit code 1 otherwise) with
--verify, with LOCKSTEP_REQUIRE_SIGNED=1, and where the artifact says `require: [signed]`.")]
pub struct Args {
    /// TAG, NAME@VERSION, NAME#LABEL or NAME
    what: String,
    /// Fail unless the signature of the tag is good
    #[arg(long)]
    verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let context = ModelContext::open(project, out)?;
    let ResolvedVersion { model, at, label, which } = find(&context, &args.what)?;
    let event = &model.events[at];
    if args.verify || signed::is_required(&context.now, &model.name)? {
        signed::require(&project.repo, model, which.as_ref(), at)?;
    }
    let signature = event.signature(&project.repo);
    let about_version = !matches!(event.action, Action::Deprecate | Action::Create);
    let version = model.version_of(at).filter(|_| about_version);
    let trace = version.as_ref().map(|version| {
        let which = Which::Version(version.clone());
        Trace::load(project, &context.registry, &ModelRequest { name: model.name.clone(), which })
    });
    let trace = trace.transpose()?;
    let current = model.holds(at);
    let path = trace.as_ref().and_then(|t| t.origin.as_ref()).map(|origin| origin.path.to_string());
    let found = trace.as_ref().and_then(|t| t.pin());
    let kind = trace.as_ref().and_then(|t| t.artifact.as_ref()).and_then(|artifact| artifact.kind.clone());
    if args.json {
        let mut shape = context::verified(event, &signature);
        shape["name"] = model.name.to_string().into();
        shape["version"] = json!(version.as_ref().map(Version::to_string));
        shape["label"] = json!(label.as_ref().map(Label::to_string));
        shape["current"] = current.into();
        shape["path"] = json!(path);
        shape["type"] = json!(kind);
        shape["pin"] = json!(found.as_ref().map(context::pin));
        out.json(&shape);
        return Ok(0);
    }
    let line = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            out.line(format!("{key:8} {}", &value));
        }
    };
    line("event", Some(event.word().into()));
    line("name", Some(model.name.to_string()));
    line("version", version.as_ref().map(Version::to_string));
    line("label", label.as_ref().map(Label::to_string));
    line("commit", Some(event.commit.hex()));
    line("path", path);
    line("blake3", found.map(|pin| pin.id.hex()));
    line("tag", Some(event.tag.clone()));
    line("signed", Some(context::signature_words(&signature).unwrap_or_else(|| "none".into())));
    if !current {
        out.status("a later tag has changed this");
    }
    Ok(0)
}

/// The version or label that the argument names.
struct ResolvedVersion<'d> {
    model: &'d Model,
    /// The place of the event.
    at: usize,
    /// The label that it is about.
    label: Option<Label>,
    /// `None` if the argument is a tag.
    which: Option<Which>,
}

fn find<'d>(context: &'d ModelContext<'_>, typed: &str) -> Result<ResolvedVersion<'d>> {
    let label = |event: &Event| match &event.action {
        Action::Promote(label) | Action::Demote(label) => Some(label.clone()),
        _ => None,
    };
    // A tag may have the name of a label. The argument means the label then.
    let full = typed.strip_prefix("refs/tags/");
    if typed.parse::<ModelRequest>().is_ok() && full.is_none() {
        let asked = context.asked(typed)?;
        let (model, event, _) = context.registry.find(&asked)?;
        return Ok(ResolvedVersion { model, at: model.index_of(event), label: label(event), which: Some(asked.which) });
    }
    let tag = full.unwrap_or(typed);
    if let Ok(parsed) = tag.parse::<ModelTag>() {
        let model = context.registry.models.get(&parsed.name);
        let found = model.and_then(|model| Some((model, model.events.iter().position(|e| e.tag == tag)?)));
        let Some((model, at)) = found else {
            return Err(Error::missing(format!("there is no tag {tag} here")).hint("git fetch --tags"));
        };
        return Ok(ResolvedVersion { model, at, label: label(&model.events[at]), which: None });
    }
    let asked = context.asked(tag)?;
    let (model, event, _) = context.registry.find(&asked)?;
    Ok(ResolvedVersion { model, at: model.index_of(event), label: label(event), which: Some(asked.which) })
}
