use serde_json::json;

use super::desk::{self, Desk};
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::model::registry::signed;
use crate::model::registry::{Event, Model};
use crate::model::trace::Trace;
use crate::project::Project;
use crate::tag::{Action, Label, ModelRequest, ModelTag, Version, Which};

/// Tell what a tag, a version or a label stands for
///
/// In CI a push of a tag tells what to do: deploy what became `prod`, publish what was registered.
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
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let desk = Desk::open(project, out)?;
    let Answer { model, at, label, which } = find(&desk, &args.what)?;
    let event = &model.events[at];
    if args.verify || signed::is_required(&desk.now, &model.name)? {
        signed::require(&project.repo, model, which.as_ref(), at)?;
    }
    let signature = event.signature(&project.repo);
    let about_version = !matches!(event.action, Action::Deprecate | Action::Create);
    let version = model.version_of(at).filter(|_| about_version);
    let trace = version.as_ref().map(|version| {
        let which = Which::Version(version.clone());
        Trace::load(project, &desk.registry, &ModelRequest { name: model.name.clone(), which })
    });
    let trace = trace.transpose()?;
    let current = model.holds(at);
    let path = trace.as_ref().and_then(|t| t.origin.as_ref()).map(|origin| origin.path.to_string());
    let found = trace.as_ref().and_then(|t| t.pin());
    let kind = trace.as_ref().and_then(|t| t.artifact.as_ref()).and_then(|artifact| artifact.kind.clone());
    if args.json {
        let mut shape = desk::verified(event, &signature);
        shape["name"] = model.name.to_string().into();
        shape["version"] = json!(version.as_ref().map(Version::to_string));
        shape["label"] = json!(label.as_ref().map(Label::to_string));
        shape["current"] = current.into();
        shape["path"] = json!(path);
        shape["type"] = json!(kind);
        shape["pin"] = json!(found.as_ref().map(desk::pin));
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
    line("signed", Some(desk::signature_words(&signature).unwrap_or_else(|| "none".into())));
    if !current {
        out.say("this is not so any more: a later tag says otherwise");
    }
    Ok(0)
}

/// What the words on the command line stand for.
struct Answer<'d> {
    model: &'d Model,
    /// The place of the event.
    at: usize,
    /// The label that it is about.
    label: Option<Label>,
    /// `None` where a tag was named.
    which: Option<Which>,
}

fn find<'d>(desk: &'d Desk<'_>, typed: &str) -> Result<Answer<'d>> {
    let label = |event: &Event| match &event.action {
        Action::Promote(label) | Action::Demote(label) => Some(label.clone()),
        _ => None,
    };
    // A tag may have the very name of a label; the label is meant then.
    let full = typed.strip_prefix("refs/tags/");
    if typed.parse::<ModelRequest>().is_ok() && full.is_none() {
        let asked = desk.asked(typed)?;
        let (model, event, _) = desk.registry.find(&asked)?;
        return Ok(Answer { model, at: model.index_of(event), label: label(event), which: Some(asked.which) });
    }
    let tag = full.unwrap_or(typed);
    if let Ok(parsed) = tag.parse::<ModelTag>() {
        let model = desk.registry.models.get(&parsed.name);
        let found = model.and_then(|model| Some((model, model.events.iter().position(|e| e.tag == tag)?)));
        let Some((model, at)) = found else {
            return Err(Error::missing(format!("there is no tag {tag} here")).hint("git fetch --tags"));
        };
        return Ok(Answer { model, at, label: label(&model.events[at]), which: None });
    }
    let asked = desk.asked(tag)?;
    let (model, event, _) = desk.registry.find(&asked)?;
    Ok(Answer { model, at: model.index_of(event), label: label(event), which: Some(asked.which) })
}
