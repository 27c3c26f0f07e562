use serde_json::{Map, Value as Json, json};

use super::context::{self, ModelContext};
use crate::cli::advice;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::cli::text;
use crate::error::Result;
use crate::git::Repo;
use crate::model::artifact::{self, Artifact, InvalidArtifact};
use crate::model::registry::{Event, LabelAssignment, Model};
use crate::project::Project;
use crate::tag::{Label, ModelName, Version};

/// List models with their versions and labels
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model list           models and artifacts, each with its latest version and its labels
  lockstep model list --all     every version, also deprecated ones
  lockstep model list digits    the versions of one model
  lockstep model list --json    for programs")]
pub struct Args {
    /// Models [default: all]
    names: Vec<String>,
    /// List every version, also deprecated versions and models
    #[arg(short, long)]
    all: bool,
    /// Verify the signatures of the tags, with a run of `git` for each
    #[arg(long)]
    verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let context = ModelContext::open(project, out)?;
    advice::warn_broken_pipelines_of(&context.now, out);
    // Models are declared in any pipeline file.
    let code = if args.names.is_empty() { advice::exit_code_of_all(0, &context.now.definitions) } else { 0 };
    let declared = artifact::all(&context.now);
    let mut names: Vec<ModelName> =
        context.registry.models.keys().cloned().chain(declared.iter().map(|a| a.name.clone())).collect();
    names.sort();
    names.dedup();
    if !args.names.is_empty() {
        let asked = args.names.iter().map(|typed| context.name(typed)).collect::<Result<Vec<_>>>()?;
        for name in asked.iter().filter(|name| !names.contains(name)) {
            context.registry.model(name)?;
        }
        names.retain(|name| asked.contains(name));
    }
    let rows: Vec<(&ModelName, Option<&Model>, Option<&Artifact>)> = names
        .iter()
        .map(|name| (name, context.registry.models.get(name), declared.iter().find(|a| a.name == *name)))
        .filter(|(_, model, _)| args.all || args.json || model.is_none_or(|m| m.deprecated.is_none()))
        // Tags of other tools may look like a label on a commit.
        .filter(|(_, model, artifact)| args.all || artifact.is_some() || model.is_none_or(|m| !m.versions.is_empty()))
        .collect();
    let unfit = if args.names.is_empty() { artifact::invalid_artifacts(&context.now) } else { Vec::new() };
    if args.json {
        let event = |event: &Event| match args.verify {
            true => context::verified(event, &event.signature(&project.repo)),
            false => context::event(event),
        };
        let known = rows.iter().map(|(name, model, artifact)| shape(name, *model, *artifact, &event));
        out.json(&known.chain(unfit.iter().map(unfit_shape)).collect::<Vec<_>>().into());
        return Ok(code);
    }
    if rows.is_empty() && unfit.is_empty() && code == 0 {
        out.status(match names.is_empty() {
            true => "no models here: name one under `artifacts` of a pipeline.yaml, then lockstep model register",
            false => "all models here are deprecated: lockstep model list --all",
        });
    } else if args.all || args.verify || !args.names.is_empty() {
        versions(&rows, args.all, args.verify.then_some(&project.repo), out);
    } else {
        models(&rows, &unfit, out);
    }
    for artifact in &unfit {
        out.warn_error("it cannot be registered:", &artifact.error);
    }
    Ok(code)
}

fn models(rows: &[(&ModelName, Option<&Model>, Option<&Artifact>)], unfit: &[InvalidArtifact], out: &Output) {
    let mut table = Table::new(["model", "latest", "labels", "path", "registered"]);
    for (name, model, artifact) in rows {
        let latest = model.and_then(|m| m.latest());
        let label = |(label, given): (&Label, &LabelAssignment)| match &given.version {
            Some(version) => format!("{label} {version}"),
            None => label.to_string(),
        };
        let labels = model.map(|m| m.labels.iter().map(label).collect::<Vec<_>>().join(", "));
        let time = latest.and_then(|(_, r)| model.and_then(|m| m.events[r.event].time));
        table.row([
            name.to_string(),
            latest.map_or_else(|| "-".to_string(), |(version, _)| version.to_string()),
            labels.filter(|l| !l.is_empty()).unwrap_or_else(|| "-".into()),
            artifact.map_or_else(|| "-".to_string(), |a| a.path.to_string()),
            time.map_or_else(|| "-".to_string(), text::day),
        ]);
    }
    for artifact in unfit {
        let path = artifact.path.as_deref().unwrap_or("-");
        table.row([artifact.name.clone(), "-".into(), "-".into(), path.to_string(), "-".into()]);
    }
    table.print(false, out);
}

/// Prints a row for each version, withdrawn ones only with `all`, and one for each model without versions. With `verify`
/// there is a column for the signature of the tag.
fn versions(rows: &[(&ModelName, Option<&Model>, Option<&Artifact>)], all: bool, verify: Option<&Repo>, out: &Output) {
    let head = ["model", "version", "labels", "commit", "registered", "by"];
    let mut table = Table::new(head.into_iter().chain(verify.map(|_| "signed")));
    for (name, model, _) in rows {
        let Some(model) = model else {
            table.row(std::iter::once(name.to_string()).chain(vec!["-".to_string(); table.columns() - 1]));
            continue;
        };
        for (version, registered) in model.versions.iter().rev() {
            if registered.withdrawn.is_some() && !all {
                continue;
            }
            let event = &model.events[registered.event];
            let end = if registered.withdrawn.is_some() || model.deprecated.is_some() { " (deprecated)" } else { "" };
            let cells = [
                name.to_string(),
                format!("{version}{end}"),
                labels_of(model, version),
                event.commit.short(),
                event.time.map_or_else(|| "-".into(), text::day),
                event.by.clone().unwrap_or_else(|| "-".into()),
            ];
            let signed = verify.map(|repo| event.signature(repo).state.word().to_string());
            table.row(cells.into_iter().chain(signed));
        }
    }
    table.print(false, out);
}

fn labels_of(model: &Model, version: &Version) -> String {
    let labels: Vec<String> = model.labels_of(version).map(|(label, _)| label.to_string()).collect();
    if labels.is_empty() { "-".into() } else { labels.join(", ") }
}

/// A declared artifact that cannot be a model, and the reason.
fn unfit_shape(artifact: &InvalidArtifact) -> Json {
    json!({
        "name": artifact.name,
        "declared": true,
        "path": artifact.path,
        "error": artifact.error.full_message(),
        "deprecated": false,
        "latest": null,
        "labels": {},
        "versions": [],
    })
}

fn shape(name: &ModelName, model: Option<&Model>, artifact: Option<&Artifact>, event: &dyn Fn(&Event) -> Json) -> Json {
    let (mut versions, mut labels): (Vec<Json>, Map<String, Json>) = Default::default();
    if let Some(model) = model {
        for (version, registered) in &model.versions {
            let mut one = event(&model.events[registered.event]);
            one["version"] = version.to_string().into();
            one["deprecated"] = registered.withdrawn.is_some().into();
            one["labels"] = model.labels_of(version).map(|(label, _)| label.to_string()).collect::<Vec<_>>().into();
            versions.push(one);
        }
        for (label, given) in &model.labels {
            let mut one = event(&model.events[given.event]);
            one["version"] = json!(given.version.as_ref().map(Version::to_string));
            labels.insert(label.to_string(), one);
        }
    }
    json!({
        "name": name.to_string(),
        "declared": artifact.is_some(),
        "path": artifact.map(|a| a.path.to_string()),
        "type": artifact.and_then(|a| a.kind.clone()),
        "desc": artifact.and_then(|a| a.desc.clone()),
        "deprecated": model.is_some_and(|m| m.deprecated.is_some()),
        "latest": model.and_then(|m| m.latest()).map(|(version, _)| version.to_string()),
        "labels": labels,
        "versions": versions,
    })
}
