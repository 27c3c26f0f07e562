use serde_json::{Map, json};

use crate::cli::commands::transfer::{self, What};
use crate::cli::output::{Output, Style};
use crate::cli::progress::Progress;
use crate::cli::{format, text};
use crate::error::Result;
use crate::pipeline::stage::StageId;
use crate::plan::facts::FactsReader;
use crate::plan::reasons::PathState;
use crate::plan::select::{Scope, SelectionMode};
use crate::project::Project;
use crate::run::data;
use crate::shell::word;
use crate::value::Value;
use crate::workspace::orphans::UnlistedData;
use crate::workspace::status::{Status, difference, sentence, status};

/// Tell what is stale, and why
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep status                 all stages of the repository
  lockstep status train           one stage
  lockstep status -v train        what exactly differs since its last run
  lockstep -q status              exit 1 if anything is stale, and say nothing
  lockstep status -c              what the remote lacks, and what is not here")]
pub struct Args {
    /// Stages, groups, outputs, or PATH/pipeline.yaml[:STAGE]
    targets: Vec<String>,
    /// Everything that is tied to the targets
    #[arg(short, long)]
    pipeline: bool,
    /// Targets are folders
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Targets are patterns over stage names
    #[arg(long)]
    glob: bool,
    /// Compare with the remote instead: what it lacks, and what is not here
    #[arg(short, long, conflicts_with = "pipeline")]
    cloud: bool,
    /// The remote [default: core.remote]
    #[arg(short, long, value_name = "NAME", requires = "cloud")]
    remote: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    if args.cloud {
        let (targets, remote) = (args.targets.clone(), args.remote.clone());
        let what = What { targets, remote, recursive: args.recursive, glob: args.glob, ..What::default() };
        return transfer::compare(&what, args.json, project, out);
    }
    let definitions = project.definitions()?;
    let scope = Scope::of(project, &definitions);
    // What a target needs is not shown: `status b` is about b.
    let reach = SelectionMode {
        single: !args.pipeline,
        pipeline: args.pipeline,
        recursive: args.recursive,
        glob: args.glob,
        ..SelectionMode::default()
    };
    let selected = scope.select(&args.targets, &reach, true)?;
    super::refuse_dvc_alone(&definitions)?;
    super::tell_broken(&definitions, project, out);
    super::tell_dvc_data(&definitions, project, out);
    let progress = Progress::new(out, false);
    let mut reader = FactsReader::new(project, &definitions, &progress);
    let data = if args.targets.is_empty() {
        data::all_data(&definitions)
    } else {
        data::needed_data(&definitions, &[], &selected.data)
    };
    let found = status(project, &definitions, &selected.stages, &data, &mut reader);
    progress.finish();
    let (found, locks) = found?;
    let stale = !found.stages.is_empty() || !found.data.is_empty();
    let code = match found.errors.iter().map(|e| e.kind.exit_code()).min() {
        Some(code) => code,
        None => u8::from(out.quiet && stale),
    };
    for warning in &found.warnings {
        out.warn(warning);
    }
    for error in &found.errors {
        out.error(error);
    }
    if args.json {
        let mut stages = Vec::new();
        for (id, reasons) in &found.stages {
            let stage = definitions.pipelines.stage(*id);
            let reasons: Vec<_> = reasons.iter().map(|r| format::reason(r, stage, &project.cwd)).collect();
            stages.push((definitions.pipelines.address(*id, &project.cwd), Value::List(reasons)));
        }
        let data: Map<String, _> = found
            .data
            .iter()
            .map(|(path, state, old, new)| {
                let id = |pin: &Option<crate::store::Pin>| pin.map(|p| p.id.hex());
                (path.relative_to(&project.cwd), json!({"state": state.word(), "old": id(old), "new": id(new)}))
            })
            .collect();
        let addresses =
            |ids: &[StageId]| ids.iter().map(|id| definitions.pipelines.address(*id, &project.cwd)).collect::<Vec<_>>();
        let (follow, unknown) = (addresses(&found.follow), addresses(&found.unknown));
        let mut shape = Value::from(json!({"stages": {}, "data": data, "follow": follow, "unknown": unknown}));
        shape.set(&["stages"], Value::Map(stages));
        if !found.orphans.is_empty() {
            let paths: Vec<String> = found.orphans.iter().map(|orphan| orphan.path.relative_to(&project.cwd)).collect();
            shape.set(&["orphans"], Value::from(json!(paths)));
        }
        if !found.unlisted.is_empty() {
            let one = |data: &UnlistedData| json!({"lock": data.lock.relative_to(&project.cwd), "name": data.name});
            shape.set(&["unlisted"], json!(found.unlisted.iter().map(one).collect::<Vec<_>>()).into());
        }
        out.values(&shape);
    } else if !out.quiet {
        for (id, reasons) in &found.stages {
            out.line(out.paint_out(Style::Bold, &definitions.pipelines.address(*id, &project.cwd)));
            for reason in reasons {
                out.line(format!("  {}", sentence(reason)));
            }
            if out.verbose > 0 {
                for line in difference(project, &definitions, &locks, *id, &mut reader)? {
                    out.line(format!("    {line}"));
                }
            }
        }
        for (path, state, ..) in &found.data {
            let path = path.relative_to(&project.cwd);
            out.line(format!("data {path}: {}", state.word()));
            match state {
                PathState::NotCheckedOut => out.hint(format!("lockstep checkout {}", word(&path))),
                PathState::Diverged => out.hint(format!("join both: lockstep checkout --merge {}", word(&path))),
                _ => {}
            }
        }
        out.say(summary(&found));
        if args.targets.is_empty() {
            super::tell_orphans(&found.orphans, project, out);
            super::tell_unlisted(&found.unlisted, project, out);
        }
        let pushed = match project.config.remotes().is_empty() {
            true => "lockstep repro makes them again",
            false => "lockstep pull, if they were pushed",
        };
        for ((n, bytes), what, how, next) in [
            (found.absent.outs, "out", "not here", pushed),
            (found.absent.private, "out", "not shared (`push: false`)", "lockstep repro makes them"),
            (found.absent.imports, "import", "not here", "lockstep pull"),
        ] {
            if n > 0 {
                out.say(format!("{} {how}, {}: {next}", text::count(n, what), text::bytes(bytes)));
            }
        }
    }
    let _ = project.index().save();
    Ok(if args.targets.is_empty() { super::code_of_all(code, &definitions) } else { code })
}

/// `2 stages stale, 3 follow from them, 1 not known, 4 up to date`
fn summary(found: &Status) -> String {
    let fine = found.looked_at - found.stages.len() - found.follow.len() - found.unknown.len();
    if found.looked_at == 0 {
        return "no stages here".to_string();
    }
    if fine == found.looked_at {
        return format!("{} up to date", text::count(fine, "stage"));
    }
    let mut parts = vec![format!("{} stale", text::count(found.stages.len(), "stage"))];
    for (n, words) in [(found.follow.len(), "may follow"), (found.unknown.len(), "not known")] {
        if n > 0 {
            parts.push(format!("{n} {words}"));
        }
    }
    parts.push(format!("{fine} up to date"));
    parts.join(", ")
}
