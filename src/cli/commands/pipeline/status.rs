use serde_json::{Map, json};

use crate::cli::advice;
use crate::cli::args::Targets;
use crate::cli::commands::data::transfer::{self, TransferArgs};
use crate::cli::output::{Output, Style};
use crate::cli::progress::Progress;
use crate::cli::{format, text};
use crate::error::Result;
use crate::pipeline::stage::StageId;
use crate::plan::facts::FactsReader;
use crate::plan::missing_input::similar_path;
use crate::plan::reasons::{PathState, Reason};
use crate::plan::select::{Scope, SelectionMode};
use crate::project::{Definitions, Project};
use crate::run::data;
use crate::shell::word;
use crate::value::Value;
use crate::workspace::orphans::UnlistedData;
use crate::workspace::status::{Status, difference, sentence, status};

/// Show what is stale, and why
///
/// Without targets, all pipelines of the repository. Takes no lock, and runs no command.
///
/// Exits 0 whether or not anything is stale; with -q, also with -c and --json, exits 1 if anything is, as DVC does.
/// `lockstep repro --locked` exits 1 and shows the reasons. What cannot be judged is an error.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep status                 all stages of the repository
  lockstep status train           one stage
  lockstep status -v train        what exactly differs since its last run
  lockstep -q status              print nothing, and exit 1 if anything is stale
  lockstep status -c              what the remote lacks, and what is not here")]
pub struct Args {
    #[command(flatten)]
    targets: Targets,
    /// Show all stages that are connected to the targets
    #[arg(short, long)]
    pipeline: bool,
    /// Compare the store with the remote: show what is missing there and here
    #[arg(short, long, conflicts_with = "pipeline")]
    cloud: bool,
    /// The remote [default: core.remote]
    #[arg(short, long, value_name = "NAME", requires = "cloud")]
    remote: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    if args.cloud {
        let (targets, remote) = (args.targets.clone(), args.remote.clone());
        let transfer = TransferArgs { targets, remote, json: args.json, ..TransferArgs::default() };
        return transfer::compare(&transfer, project, out);
    }
    let definitions = project.definitions()?;
    let scope = Scope::of(project, &definitions);
    // `status b` is about b, not about the stages that b depends on.
    let reach = SelectionMode { single: !args.pipeline, pipeline: args.pipeline, ..args.targets.reach() };
    let selected = scope.select(&args.targets.names, &reach, true)?;
    advice::refuse_dvc_only(&definitions)?;
    advice::warn_broken_pipelines(&definitions, project, out);
    advice::warn_dvc_data(&definitions, project, out);
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
        if !found.elsewhere.is_empty() {
            let platforms: Map<String, _> =
                found.elsewhere.iter().map(|(platform, ids)| (platform.clone(), json!(addresses(ids)))).collect();
            shape.set(&["elsewhere"], Value::from(json!(platforms)));
        }
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
                if let Some(path) = similar_dep(reason, *id, &definitions, project) {
                    out.hint(format!("did you mean `{path}`?"));
                }
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
                PathState::Diverged => out.hint(format!("merge both: lockstep checkout --merge {}", word(&path))),
                PathState::Deleted => out.hint(format!("bring it back: lockstep checkout {}", word(&path))),
                _ => {}
            }
        }
        // Without the stages of a broken file, "no stages" would be false.
        if found.looked_at > 0 || definitions.broken.is_empty() {
            out.status(summary(&found));
        }
        for (platform, ids) in &found.elsewhere {
            let first = ids.first().map(|id| definitions.pipelines.address(*id, &project.cwd)).unwrap_or_default();
            let (who, was) = match ids.len() {
                1 => (first, "was"),
                n => (text::count(n, "stage"), "were"),
            };
            out.status(format!("{who} {was} made on {platform}, in the same environment"));
        }
        if args.targets.is_empty() {
            advice::warn_orphans(&found.orphans, project, out);
            advice::warn_unlisted_data(&found.unlisted, project, out);
        }
        print_absent(&found, project, out);
    }
    let _ = project.index().save();
    Ok(if args.targets.is_empty() { advice::exit_code_of_all(code, &definitions) } else { code })
}

/// A path that the user may have meant by a dep that does not exist.
fn similar_dep(reason: &Reason, id: StageId, definitions: &Definitions, project: &Project) -> Option<String> {
    let Reason::Dep { path, state: PathState::Missing, .. } = reason else { return None };
    let stage = definitions.pipelines.stage(id);
    let dep = stage.deps.iter().find(|dep| dep.spelled == *path)?;
    similar_path(project, definitions, stage, &dep.place)
}

/// Prints how to get content that is pinned and not in the workspace.
fn print_absent(found: &Status, project: &Project, out: &Output) {
    let (made, copied) = match project.config.remotes().is_empty() {
        true => ("lockstep repro makes them again", "there is no remote, so put copies back from where they are"),
        false => ("lockstep pull, if they were pushed", "lockstep pull, if they were pushed"),
    };
    let absent = &found.absent;
    for ((n, bytes), what, how, next) in [
        (absent.stored, "path", "not checked out", "lockstep checkout"),
        (absent.outs, "out", "not here", made),
        (absent.private, "out", "not shared (`push: false`)", "lockstep repro makes them"),
        (absent.imports, "import", "not here", "lockstep pull"),
        (absent.data, "data path", "not here", copied),
    ] {
        if n > 0 {
            out.status(format!("{} {how}, {}: {next}", text::count(n, what), text::bytes(bytes)));
        }
    }
}

/// `2 stages stale, 1 not here, 3 may follow, 1 not known, 4 up to date`
fn summary(found: &Status) -> String {
    let fine = found.looked_at - found.stages.len() - found.follow.len() - found.unknown.len();
    if found.looked_at == 0 {
        return "no stages here".to_string();
    }
    if fine == found.looked_at {
        return format!("{} up to date", text::count(fine, "stage"));
    }
    let mut parts = vec![format!("{} stale", text::count(found.stages.len() - found.not_here, "stage"))];
    let others = [(found.not_here, "not here"), (found.follow.len(), "may follow"), (found.unknown.len(), "not known")];
    for (n, words) in others {
        if n > 0 {
            parts.push(format!("{n} {words}"));
        }
    }
    parts.push(format!("{fine} up to date"));
    parts.join(", ")
}
