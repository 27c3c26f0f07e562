use serde_json::{Value as Json, json};

use super::context::{self, ModelContext};
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::cli::text;
use crate::error::Result;
use crate::git::Repo;
use crate::model::registry::{Event, Model};
use crate::project::Project;
use crate::tag::{Action, Version};

/// Show the history of a model: registrations, promotions, demotions, deprecations
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model history digits           the newest first
  lockstep model history digits --verify  with the state of each signature
  lockstep model history digits --json    with messages and overruled checks")]
pub struct Args {
    name: String,
    /// Verify the signatures of the tags, with a run of `git` for each
    #[arg(long)]
    verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let context = ModelContext::open(project, out)?;
    let model = context.registry.model(&context.name(&args.name)?)?;
    let events = || model.events.iter().enumerate().rev();
    let verify = args.verify.then_some(&project.repo);
    if args.json {
        out.json(&events().map(|(at, event)| shape(model, at, event, verify)).collect::<Vec<_>>().into());
        return Ok(0);
    }
    let mut table = Table::new(["when", "what", "by", "commit", "tag"].into_iter().chain(verify.map(|_| "signed")));
    for (at, event) in events() {
        let forced = event.note.as_ref().is_some_and(|note| !note.forced.is_empty());
        let cells = [
            event.time.map_or_else(|| "-".into(), text::day),
            format!("{}{}", sentence(model, at, event), if forced { ", by force" } else { "" }),
            event.by.clone().unwrap_or_else(|| "-".into()),
            event.commit.short(),
            event.tag.clone(),
        ];
        let signed = verify.map(|repo| event.signature(repo).state.word().to_string());
        table.row(cells.into_iter().chain(signed));
    }
    table.print(false, out);
    Ok(0)
}

fn sentence(model: &Model, at: usize, event: &Event) -> String {
    let version = || model.version_of(at).map_or_else(|| event.commit.short(), |v| v.to_string());
    match &event.action {
        Action::Register(version) => format!("registered {version}"),
        Action::Deregister(version) => format!("deprecated {version}"),
        Action::Promote(label) => format!("{} became {label}", version()),
        Action::Demote(label) => format!("{} no longer {label}", version()),
        Action::Deprecate => "ended the model".into(),
        Action::Create => "announced the model".into(),
    }
}

fn shape(model: &Model, at: usize, event: &Event, verify: Option<&Repo>) -> Json {
    let mut shape = match verify {
        Some(repo) => context::verified(event, &event.signature(repo)),
        None => context::event(event),
    };
    let label = match &event.action {
        Action::Promote(label) | Action::Demote(label) => Some(label.to_string()),
        _ => None,
    };
    let about_version = !matches!(event.action, Action::Deprecate | Action::Create);
    shape["version"] = json!(model.version_of(at).filter(|_| about_version).as_ref().map(Version::to_string));
    shape["label"] = json!(label);
    shape["message"] = json!(event.words);
    shape["forced"] = json!(event.note.as_ref().map(|note| note.forced.clone()).unwrap_or_default());
    shape
}
