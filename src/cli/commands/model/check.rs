use std::collections::BTreeSet;

use serde_json::json;

use crate::cli::advice;
use crate::cli::commands::model::tag_args::checks;
use crate::cli::output::{Output, Style};
use crate::cli::text;
use crate::error::{Error, Kind, Result};
use crate::model::artifact::{self, Artifact};
use crate::model::checks::CheckOutcome;
use crate::model::registry::Registry;
use crate::model::registry::gate::{GateScope, Gates};
use crate::model::registry::signed;
use crate::project::{Project, Rev, Snapshot};
use crate::tag::{self, ModelName};
use crate::value::Value;
use crate::workspace::stale_metrics::stale_metrics;

/// Check the conditions on metrics
///
/// The conditions are listed under `checks:` of a pipeline.yaml. A version that fails them cannot be registered or
/// promoted. With `require: [signed]` of an artifact, or LOCKSTEP_REQUIRE_SIGNED=1, the tags of its latest version and of
/// its labels must have good signatures. The exit code is 1 if a check fails.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep model check                 all of them, by the metrics as they are now
  lockstep model check digits          those that an artifact must meet
  lockstep model check --rev main      by the metrics of another commit
  lockstep model check --json          with values and limits, for programs

Conditions:
  accuracy >= 0.95               a metric and a number; >= <= > < == !=
  eval.json:recall.macro > 0.9   the metric of one file
  accuracy >= main - 0.005       not much worse than another branch; + - *
  accuracy >= digits#prod        nor than the version that has a label")]
pub struct Args {
    /// Artifacts or pipeline files [default: all]
    targets: Vec<String>,
    /// Check the conditions and metrics of this revision
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let registry = Registry::read(&project.repo)?;
    let snapshots = project.snapshots();
    let snapshot = snapshots.at(&Rev::of(args.rev.as_deref()))?;
    advice::refuse_dvc_only(&snapshot.definitions)?;
    advice::warn_broken_pipelines_of(&snapshot, out);
    let mut gates = Gates::new(&snapshots, &registry);
    let mut judged: Vec<CheckOutcome> = Vec::new();
    if args.targets.is_empty() {
        judged = gates.evaluate(&snapshot, GateScope::All);
    }
    let artifacts = artifact::all(&snapshot);
    let mut asked: Vec<&Artifact> = if args.targets.is_empty() { artifacts.iter().collect() } else { Vec::new() };
    let known: BTreeSet<ModelName> = artifacts.iter().map(|a| a.name.clone()).collect();
    for target in &args.targets {
        let path = project.typed(target);
        let definitions = &snapshot.definitions;
        let files = &definitions.pipelines.files;
        if let Some(file) = files.iter().find(|file| Some(&file.path) == path.as_ref()) {
            judged.extend(gates.evaluate(&snapshot, GateScope::Pipeline(&file.path)));
            asked.extend(artifacts.iter().filter(|a| definitions.pipelines.file(a.file).path == file.path));
            continue;
        }
        let name: ModelName = target.parse().map_err(Error::usage)?;
        let artifact = artifact::declared(&snapshot, &tag::resolve_name(&name, &known, &project.cwd)?)?;
        judged.extend(gates.evaluate(&snapshot, GateScope::Artifact(&artifact)));
        asked.extend(artifacts.iter().filter(|a| a.name == artifact.name));
    }
    if !judged.is_empty() {
        let stale = stale_metrics(&snapshot)?;
        judged = judged.into_iter().map(|one| one.unless_undone(&stale)).collect();
    }
    let signed = signed(&snapshot, &registry, &asked)?;
    if args.json {
        out.values(&shapes(&judged, &signed));
    } else {
        print(&judged, project, out);
        signed.iter().for_each(|one| print_signed(one, out));
    }
    let failed = judged.iter().filter(|j| !j.ok).count() + signed.iter().filter(|s| s.error.is_some()).count();
    let all = judged.len() + signed.len();
    if all == 0 {
        out.status("no checks here: write some under `checks` of a pipeline.yaml");
    } else {
        out.status(format!("{} of {} hold", all - failed, text::count(all, "check")));
    }
    let code = if failed > 0 { Kind::Check.exit_code() } else { 0 };
    Ok(if args.targets.is_empty() { advice::exit_code_of_all(code, &snapshot.definitions) } else { code })
}

/// A version or label whose tags must have good signatures.
struct SignedCheck {
    /// `digits` for the latest version, or `digits#prod`.
    name: String,
    artifact: String,
    pipeline: String,
    /// Why the check fails.
    error: Option<Error>,
}

fn signed(snapshot: &Snapshot<'_>, registry: &Registry, artifacts: &[&Artifact]) -> Result<Vec<SignedCheck>> {
    let mut checks = Vec::new();
    for artifact in artifacts {
        let Some(model) = registry.models.get(&artifact.name) else { continue };
        if !signed::is_required(snapshot, &model.name)? {
            continue;
        }
        let pipeline = &snapshot.definitions.pipelines.file(artifact.file).path;
        checks.extend(signed::unsigned_answers(&snapshot.project.repo, model).into_iter().map(|(name, error)| {
            SignedCheck { name, artifact: artifact.name.short().to_string(), pipeline: pipeline.to_string(), error }
        }));
    }
    Ok(checks)
}

fn shapes(judged: &[CheckOutcome], signed: &[SignedCheck]) -> Value {
    let mut shapes = checks(judged);
    let signed = signed.iter().map(|one| {
        json!({
            "check": "signed",
            "artifact": one.artifact,
            "pipeline": one.pipeline,
            "version": one.name,
            "ok": one.error.is_none(),
            "error": one.error.as_ref().map(Error::full_message),
        })
    });
    if let Value::List(list) = &mut shapes {
        list.extend(signed.map(Value::from));
    }
    shapes
}

fn print_signed(one: &SignedCheck, out: &Output) {
    let Some(error) = &one.error else {
        return out.line(format!("{}  {} is signed", out.paint_out(Style::Green, "ok  "), one.name));
    };
    let why = [std::slice::from_ref(&error.message), &error.causes].concat().join("; ");
    out.line(format!("{}  {} is not signed: {why}", out.paint_out(Style::Red, "FAIL"), one.name));
    error.hints.iter().for_each(|hint| out.hint(hint));
}

fn print(judged: &[CheckOutcome], project: &Project, out: &Output) {
    let mut last = None;
    for one in judged {
        let head = (&one.pipeline, &one.check.artifact);
        if last != Some(head) && judged.iter().any(|j| (&j.pipeline, &j.check.artifact) != head) {
            let of = one.check.artifact.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
            out.line(out.paint_out(Style::Dim, &format!("{}{of}", one.pipeline.relative_to(&project.cwd))));
        }
        last = Some(head);
        let (word, style) = if one.ok { ("ok  ", Style::Green) } else { ("FAIL", Style::Red) };
        out.line(format!("{}  {}", out.paint_out(style, word), one.sentence()));
        one.error.iter().flat_map(|error| &error.lines).for_each(|line| out.line(line));
        for hint in one.error.iter().flat_map(|e| &e.hints) {
            out.hint(hint);
        }
    }
}
