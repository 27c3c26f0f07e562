use std::collections::BTreeSet;

use crate::cli::commands::model::act::checks;
use crate::cli::output::{Output, Style};
use crate::cli::text;
use crate::error::{Error, Kind, Result};
use crate::model::artifact;
use crate::model::checks::Judged;
use crate::model::gate::{Gates, Meant};
use crate::model::registry::Registry;
use crate::project::{Project, Rev};
use crate::tag::{self, ModelName};

/// Tell which conditions on metrics hold
///
/// These are the conditions under `checks:` of a pipeline.yaml. A version that does not meet them is not registered or
/// promoted. The exit code is 1 if one does not hold.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep check                 all of them, by the metrics as they are now
  lockstep check digits          those that an artifact must meet
  lockstep check --rev main      by the metrics of another commit
  lockstep check --json          with values and limits, for programs

Conditions:
  accuracy >= 0.95               a metric and a number; >= <= > < == !=
  eval.json:recall.macro > 0.9   the metric of one file
  accuracy >= main - 0.005       not much worse than another branch; + - *
  accuracy >= digits#prod        nor than the version that has a label")]
pub struct Args {
    /// Artifacts or pipeline files [default: all]
    targets: Vec<String>,
    /// By the conditions and metrics of this commit
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let registry = Registry::read(&project.repo)?;
    let snapshots = project.snapshots();
    let snapshot = snapshots.at(&Rev::of(args.rev.as_deref()))?;
    super::tell_broken_of(&snapshot, out);
    let mut gates = Gates::new(&snapshots, &registry);
    let mut judged: Vec<Judged> = Vec::new();
    if args.targets.is_empty() {
        judged = gates.judge(&snapshot, Meant::All);
    }
    let known: BTreeSet<ModelName> = artifact::all(&snapshot).into_iter().map(|a| a.name).collect();
    for target in &args.targets {
        let path = project.typed(target);
        let files = &snapshot.definitions.pipelines.files;
        if let Some(file) = files.iter().find(|file| Some(&file.path) == path.as_ref()) {
            judged.extend(gates.judge(&snapshot, Meant::Pipeline(&file.path)));
            continue;
        }
        let name: ModelName = target.parse().map_err(Error::usage)?;
        let artifact = artifact::declared(&snapshot, &tag::meant(&name, &known, &project.cwd)?)?;
        judged.extend(gates.judge(&snapshot, Meant::Artifact(&artifact)));
    }
    if args.json {
        out.json(&checks(&judged));
    } else {
        print(&judged, project, out);
    }
    let failed = judged.iter().filter(|j| !j.ok).count();
    if judged.is_empty() {
        out.say("no checks here: write some under `checks` of a pipeline.yaml");
    } else {
        let held = judged.len() - failed;
        out.say(format!("{held} of {} hold", text::count(judged.len(), "check")));
    }
    let code = if failed > 0 { Kind::Check.exit_code() } else { 0 };
    Ok(if args.targets.is_empty() { super::code_of_all(code, &snapshot.definitions) } else { code })
}

fn print(judged: &[Judged], project: &Project, out: &Output) {
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
