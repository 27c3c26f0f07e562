use std::cmp::Reverse;
use std::time::UNIX_EPOCH;

use serde_json::{Value as Json, json};

use super::context::{self, ModelContext};
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::cli::text;
use crate::deploy::record::Record;
use crate::deploy::{self, EventKind};
use crate::error::Result;
use crate::git::{GitId, Repo};
use crate::model::registry::{Event, Model};
use crate::project::Project;
use crate::tag::{Action, Version};

/// Show the history of a model: registrations, promotions, demotions, deprecations
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model history digits           the newest first
  lockstep model history digits --verify  with the state of each signature
  lockstep model history digits --deployments    and where its versions were deployed, as far as this clone knows
  lockstep model history digits --json    with messages and overruled checks")]
pub struct Args {
    name: String,
    /// Verify the signatures of the tags, with a run of `git` for each
    #[arg(long)]
    verify: bool,
    /// Show the deployments of its versions, too: `lockstep deploy log --fetch` gets their records
    #[arg(long)]
    deployments: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let context = ModelContext::open(project, out)?;
    let model = context.registry.model(&context.name(&args.name)?)?;
    let verify = args.verify.then_some(&project.repo);
    let deployments = match args.deployments {
        true => deployments_of(&project.repo, &model.name.to_string())?,
        false => Vec::new(),
    };
    let entries = merge(model, deployments);
    if args.json {
        out.json(&entries.iter().map(|entry| entry.shape(model, verify)).collect::<Vec<_>>().into());
        return Ok(0);
    }
    let mut table = Table::new(["when", "what", "by", "commit", "tag"].into_iter().chain(verify.map(|_| "signed")));
    for entry in &entries {
        table.row(entry.cells(model).into_iter().chain(verify.map(|repo| entry.signature(model, repo))));
    }
    table.print(false, out);
    Ok(0)
}

/// A line of the history.
enum Entry {
    /// An index into [`Model::events`].
    Tag(usize),
    Deployment(Box<RecordedDeployment>),
}

/// A deployment of a version, with the commit that records it.
struct RecordedDeployment {
    record: GitId,
    event: deploy::Event,
}

impl Entry {
    fn cells(&self, model: &Model) -> [String; 5] {
        match self {
            Entry::Tag(at) => {
                let event = &model.events[*at];
                let forced = event.note.as_ref().is_some_and(|note| !note.forced.is_empty());
                [
                    event.time.map_or_else(|| "-".into(), text::day),
                    format!("{}{}", sentence(model, *at, event), if forced { ", by force" } else { "" }),
                    event.by.clone().unwrap_or_else(|| "-".into()),
                    event.commit.short(),
                    event.tag.clone(),
                ]
            }
            Entry::Deployment(deployment) => {
                let RecordedDeployment { record, event } = &**deployment;
                [
                    seconds(event).map_or_else(|| "-".into(), text::day),
                    deployment_sentence(event),
                    event.actor.clone(),
                    event.commit.as_deref().map_or_else(|| "-".into(), |id| id.chars().take(7).collect()),
                    format!("{} {}", event.target, record.short()),
                ]
            }
        }
    }

    fn signature(&self, model: &Model, repo: &Repo) -> String {
        let signature = match self {
            Entry::Tag(at) => model.events[*at].signature(repo),
            Entry::Deployment(deployment) => repo.verify_commit(deployment.record),
        };
        signature.state.word().to_string()
    }

    fn shape(&self, model: &Model, verify: Option<&Repo>) -> Json {
        match self {
            Entry::Tag(at) => shape(model, *at, &model.events[*at], verify),
            Entry::Deployment(deployment) => {
                let mut shape = json!(deployment.event);
                shape["record"] = deployment.record.hex().into();
                if let Some(repo) = verify {
                    shape["signed"] = repo.verify_commit(deployment.record).state.word().into();
                }
                shape
            }
        }
    }

    /// Seconds since 1970.
    fn time(&self, model: &Model) -> Option<i64> {
        match self {
            Entry::Tag(at) => model.events[*at].time,
            Entry::Deployment(deployment) => seconds(&deployment.event),
        }
    }
}

/// The records of all targets in this clone: the events about this model, of each target the newest first.
fn deployments_of(repo: &Repo, name: &str) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for target in Record::targets(repo)? {
        for recorded in Record::of(repo, &target).read(usize::MAX)? {
            if let Some(event) = recorded.event.filter(|event| event.name == name) {
                found.push(Entry::Deployment(Box::new(RecordedDeployment { record: recorded.id, event })));
            }
        }
    }
    // Stable: events of one second stay in the order of their record.
    found.sort_by_key(|entry| match entry {
        Entry::Deployment(deployment) => Reverse(seconds(&deployment.event)),
        Entry::Tag(_) => Reverse(None),
    });
    Ok(found)
}

/// Tags and deployments in one list, the newest first; both keep their own order.
fn merge(model: &Model, deployments: Vec<Entry>) -> Vec<Entry> {
    let mut tags = (0..model.events.len()).rev().map(Entry::Tag).peekable();
    let mut merged = Vec::new();
    for deployment in deployments {
        while let Some(tag) = tags.next_if(|tag| tag.time(model) > deployment.time(model)) {
            merged.push(tag);
        }
        merged.push(deployment);
    }
    merged.extend(tags);
    merged
}

fn seconds(event: &deploy::Event) -> Option<i64> {
    let time = humantime::parse_rfc3339(&event.time).ok()?;
    time.duration_since(UNIX_EPOCH).ok()?.as_secs().try_into().ok()
}

fn deployment_sentence(event: &deploy::Event) -> String {
    let version = event.version.as_deref().unwrap_or("a path");
    let at = format!("{} on {}", event.target, event.host);
    let previous = || event.previous.as_deref().map_or_else(String::new, |version| format!(", back to {version}"));
    match event.event {
        EventKind::Deploy => format!("{version} deployed to {at}"),
        EventKind::Rollback => format!("{at} rolled back to {version}"),
        EventKind::Return => format!("{version} failed at {at}{}", previous()),
        EventKind::Refuse => format!("{version} refused by the check of {at}"),
        EventKind::Hold => format!("{at} held"),
        EventKind::Resume => format!("{at} resumed"),
    }
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
