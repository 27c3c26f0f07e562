use std::time::Instant;

use serde_json::json;

use crate::cli::advice;
use crate::cli::args::Targets;
use crate::cli::next_step::{self, GitInputs};
use crate::cli::output::{Output, Style};
use crate::cli::progress::Progress;
use crate::cli::{format, signals, text};
use crate::config::modes::Modes;
use crate::error::{Error, Result};
use crate::event::StageResult;
use crate::pipeline::stage::StageId;
use crate::plan::select::{Scope, Selection, SelectionMode};
use crate::project::{Definitions, Project};
use crate::remote::scope::{Options as SharedOptions, Scope as Shared};
use crate::remote::settings::grant;
use crate::report::last::LastRun;
use crate::report::plots;
use crate::run::options::RunOptions;
use crate::run::outcome::{Outcome, StageOutcome};
use crate::run::repro::repro;
use crate::secret::SIGN_KEY;
use crate::shell::word;
use crate::value::Value;
use crate::workspace::status::{is_of_absence, sentence};

/// Run stale stages, and restore results from the run cache
///
/// Without targets, runs the pipeline of the current folder.
#[derive(clap::Args, Debug, Default)]
#[command(after_help = "\
Examples:
  lockstep repro                        the current folder's pipeline and what it needs
  lockstep repro train                  one stage and what it needs
  lockstep repro models/a.bin           what makes this output
  lockstep repro -P -j 4                every pipeline, four stages at once
  lockstep repro --dry                  what would run
  lockstep repro --locked               fail if anything is stale (for CI)
  lockstep repro --pull --allow-missing restore results of others; fetch only what is needed")]
pub struct Args {
    #[command(flatten)]
    targets: Targets,
    /// Run stages that are up to date, too
    #[arg(short, long)]
    force: bool,
    /// Run only the targets, not the stages that they depend on
    #[arg(short = 's', long)]
    single_item: bool,
    /// Run all stages that are connected to the targets
    #[arg(short, long)]
    pipeline: bool,
    /// Run every pipeline of the repository
    #[arg(short = 'P', long)]
    all_pipelines: bool,
    /// Run the targets and the stages that depend on them
    #[arg(long)]
    downstream: bool,
    /// After a stage that ran, run its dependents even if its outputs did not change
    #[arg(long)]
    force_downstream: bool,
    /// Show what would run, and run nothing
    #[arg(long)]
    dry: bool,
    /// After a failure, continue with stages that do not depend on the failed one
    #[arg(short, long)]
    keep_going: bool,
    /// After a failure, continue with all stages, and exit 0
    #[arg(long, conflicts_with = "keep_going")]
    ignore_errors: bool,
    /// Run stages instead of restoring results from the run cache
    #[arg(long)]
    no_run_cache: bool,
    /// Do not store outputs (see `lockstep commit`)
    #[arg(long)]
    no_commit: bool,
    /// Restore results, and fetch missing files, from the remote
    #[arg(long)]
    pull: bool,
    /// Which run caches to read and write, as in `local:rw,remote:r` [default: local:rw]
    #[arg(long, value_name = "MODES", conflicts_with = "no_run_cache")]
    cache: Option<String>,
    /// Do not run a stage because its data is missing here
    #[arg(long)]
    allow_missing: bool,
    /// Run nothing; exit 1 and show the reasons if anything is stale
    #[arg(long, conflicts_with_all = ["force", "dry"])]
    locked: bool,
    /// Run N stages at once; 0 for one for each core [default: the setting `jobs`, or 1]
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// Pass this credential (GITHUB_TOKEN, ACTIONS_…) to stages that list it under `env`; may be repeated
    #[arg(long, value_name = "NAME")]
    pass_env: Vec<String>,
    /// Use no remote, and do not let uv and pip use the network when they make environments
    #[arg(long, conflicts_with = "pull")]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// `lockstep repro NAME`.
    pub fn of_stage(name: &str) -> Args {
        Args { targets: Targets { names: vec![name.to_string()], ..Targets::default() }, ..Args::default() }
    }
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    if !args.dry {
        LastRun::delete(project);
    }
    let definitions = project.definitions()?;
    advice::refuse_dvc_only(&definitions)?;
    let selected = select(args, project, &definitions)?;
    advice::warn_broken_pipelines(&definitions, project, out);
    advice::warn_dvc_data(&definitions, project, out);
    advice::warn_ignored_settings(project, &["cache.mode", "cache.sign"], out);
    let options = options(args, project, out)?;
    if !options.dry && (options.modes.remote.read || options.modes.remote.write) {
        let stages = selected.stages.iter().map(|id| definitions.pipelines.stage(*id));
        let outs = stages.flat_map(|stage| stage.outs.iter().filter_map(|out| out.remote.as_deref()));
        grant::check_all(project, outs.map(Some).chain([None]))?;
    }
    signals::watch();
    let started = Instant::now();
    let progress = Progress::new(out, options.jobs > 1);
    let outcome = repro(project, &definitions, &selected, &options, &progress, &signals::SIGNAL);
    progress.finish();
    let outcome = outcome?;
    if !outcome.dry {
        LastRun::of(project, &definitions, &outcome, started.elapsed().as_secs_f64()).leave(project);
        if options.modes.remote.write && outcome.interrupted.is_none() {
            push(&outcome, project, &definitions, &progress, out);
        }
    }
    if args.json {
        print_json(&outcome, project, &definitions, out);
    } else if outcome.dry {
        print_dry(&outcome, project, &definitions, out);
    }
    // With one job, the output of the last stage is directly above.
    let worked = |s: &&StageOutcome| !s.tail.is_empty() || matches!(s.result, StageResult::Ran | StageResult::Restored);
    let above = outcome.stages.iter().rfind(worked).map(|s| s.id).filter(|_| options.jobs == 1 && !out.quiet);
    for stage in outcome.stages.iter().filter(|s| s.error.is_some()) {
        if stage.stopped {
            print_stopped(stage, project, &definitions, out);
        } else {
            print_failure(stage, above == Some(stage.id), project, &definitions, out);
        }
    }
    for error in &outcome.errors {
        out.error(error);
    }
    print_stale(&outcome, project, &definitions, out);
    if !outcome.dry {
        print_summary(&outcome, &definitions, started.elapsed().as_secs_f64(), out);
        advice::warn_orphans(&outcome.orphans, project, out);
        print_next(&outcome, &definitions, project, out);
    }
    let code = outcome.exit_code();
    Ok(if args.ignore_errors && outcome.interrupted.is_none() { 0 } else { code })
}

fn select(args: &Args, project: &Project, definitions: &Definitions) -> Result<Selection> {
    let reach = SelectionMode {
        single: args.single_item,
        downstream: args.downstream,
        pipeline: args.pipeline,
        all: args.all_pipelines,
        ..args.targets.reach()
    };
    if args.downstream && args.targets.is_empty() {
        return Err(Error::usage("--downstream needs a target to start from"));
    }
    let scope = Scope::of(project, definitions);
    scope.select(&args.targets.names, &reach, false).map_err(|e| advice::hint_dvc(e, definitions))
}

fn options(args: &Args, project: &Project, out: &Output) -> Result<RunOptions> {
    let jobs = match args.jobs.unwrap_or_else(|| project.config.jobs()) {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    };
    let pass_env: Vec<String> = project.config.pass_env().iter().chain(&args.pass_env).cloned().collect();
    if pass_env.iter().any(|name| name == SIGN_KEY) {
        return Err(Error::usage(format!("{SIGN_KEY} is never passed to a stage"))
            .because("a command that sees it could sign any result"));
    }
    Ok(RunOptions {
        pass_env,
        force: args.force,
        force_downstream: args.force_downstream,
        dry: args.dry,
        keep_going: args.keep_going,
        ignore_errors: args.ignore_errors,
        modes: modes(args, project)?,
        no_commit: args.no_commit,
        allow_missing: args.allow_missing,
        locked: args.locked,
        jobs,
        offline: args.offline,
        command: "lockstep repro".into(),
        terminal: out.interactive && jobs == 1 && !args.json && !out.quiet,
        count_unselected: args.targets.is_empty() && !args.all_pipelines && !args.targets.recursive && !args.locked,
    })
}

/// The flags take precedence over the setting.
fn modes(args: &Args, project: &Project) -> Result<Modes> {
    let text = args.cache.as_deref().or(project.config.cache_mode());
    let mut modes = text.map(Modes::parse).transpose()?.unwrap_or_default();
    modes.remote.read |= args.pull;
    modes.local.read &= !args.no_run_cache;
    if args.offline {
        (modes.remote.read, modes.remote.write) = (false, false);
    }
    Ok(modes)
}

/// Pushes the results (`remote:w`). A failure is a warning: `lockstep push` tries again.
fn push(outcome: &Outcome, project: &Project, definitions: &Definitions, progress: &Progress, out: &Output) {
    let ran = outcome.stages.iter().filter(|s| s.result == StageResult::Ran);
    let selected = Selection { named: ran.map(|s| s.id).collect(), ..Selection::default() };
    if selected.named.is_empty() {
        return;
    }
    let mut shared = Shared::default();
    let pushed = project.locks(definitions).and_then(|locks| {
        shared.add(definitions, &selected, &locks, &project.cwd);
        shared.push(project, &SharedOptions::default(), progress)
    });
    progress.finish();
    match pushed {
        Ok(all) => all.iter().for_each(|at| {
            out.status(format!("pushed {} to {}", text::count(at.done.pushed.len(), "output"), at.remote));
        }),
        Err(error) => {
            out.warn(format!("nothing was pushed: {}", error.message));
            out.hint("try again: lockstep push");
        }
    }
}

fn print_json(outcome: &Outcome, project: &Project, definitions: &Definitions, out: &Output) {
    let stages: Vec<_> = outcome
        .stages
        .iter()
        .map(|s| {
            let stage = definitions.pipelines.stage(s.id);
            let reasons: Vec<_> = s.reasons.iter().map(|r| format::reason(r, stage, &project.cwd)).collect();
            let mut o = json!({
                "address": definitions.pipelines.address(s.id, &project.cwd),
                "result": format::result(s.result),
                "reasons": [],
                "seconds": (s.seconds * 1000.0).round() / 1000.0,
            });
            if let Some(from) = s.from {
                o["from"] = json!(format::source(from));
            }
            if let Some(error) = &s.error {
                o["error"] = json!(error.full_message());
            }
            if let Some(exit) = s.exit {
                o["exit"] = json!(exit);
            }
            let mut o = Value::from(o);
            o.set(&["reasons"], Value::List(reasons));
            o
        })
        .collect();
    let stale: Vec<_> = outcome.stale.iter().map(|id| definitions.pipelines.address(*id, &project.cwd)).collect();
    let errors: Vec<_> = outcome.errors.iter().map(Error::full_message).collect();
    let mut o = json!({"stages": []});
    if !stale.is_empty() {
        o["stale"] = json!(stale);
    }
    if !errors.is_empty() {
        o["errors"] = json!(errors);
    }
    let mut o = Value::from(o);
    o.set(&["stages"], Value::List(stages));
    out.values(&o);
}

fn print_dry(outcome: &Outcome, project: &Project, definitions: &Definitions, out: &Output) {
    for s in &outcome.stages {
        let address = definitions.pipelines.address(s.id, &project.cwd);
        let reasons: Vec<String> = s.reasons.iter().map(sentence).collect();
        match s.result {
            StageResult::Ran => {
                out.line(format!("would run {}: {}", out.paint_out(Style::Bold, &address), reasons.join(", ")));
                for line in definitions.pipelines.stage(s.id).cmd.iter().flat_map(|c| c.lines()) {
                    out.line(format!("  > {line}"));
                }
            }
            StageResult::Restored => {
                out.line(format!("would restore {}: {}", out.paint_out(Style::Bold, &address), reasons.join(", ")));
            }
            _ => {}
        }
    }
    let stale = outcome.count(StageResult::Ran) + outcome.count(StageResult::Restored);
    let rest = outcome.count(StageResult::UpToDate) + outcome.count(StageResult::Skipped);
    let failed = match outcome.count(StageResult::Failed) {
        0 => String::new(),
        n => format!(", {n} cannot run"),
    };
    out.status(format!("{stale} would run or be restored, {rest} up to date{failed}"));
}

/// The user knows that the run was interrupted, so this prints only what happened to the outputs.
fn print_stopped(stage: &StageOutcome, project: &Project, definitions: &Definitions, out: &Output) {
    let address = definitions.pipelines.address(stage.id, &project.cwd);
    for what in stage.error.iter().flat_map(|e| &e.hints) {
        out.status(format!("{} {address}: {what}", out.paint(Style::Yellow, "stopped")));
    }
}

fn print_failure(stage: &StageOutcome, seen: bool, project: &Project, definitions: &Definitions, out: &Output) {
    let Some(error) = &stage.error else { return };
    let mut error = error.clone();
    let address = definitions.pipelines.address(stage.id, &project.cwd);
    if !seen && !stage.tail.is_empty() {
        let bar = out.paint(Style::Dim, "|");
        error.lines.extend(stage.tail.iter().map(|l| format!("  {bar} {l}")));
    }
    if stage.exit.is_some() {
        error.hints.push(format!("see all of its output: lockstep logs {}", word(&address)));
    }
    out.error(&error);
}

fn print_stale(outcome: &Outcome, project: &Project, definitions: &Definitions, out: &Output) {
    if outcome.stale.is_empty() && outcome.stale_data.is_empty() {
        return;
    }
    for s in outcome.stages.iter().filter(|s| outcome.stale.contains(&s.id)) {
        let reasons: Vec<String> = s.reasons.iter().map(sentence).collect();
        let address = definitions.pipelines.address(s.id, &project.cwd);
        out.notice(format!("{} {address}: {}", out.paint(Style::Red, "stale"), reasons.join(", ")));
    }
    for path in &outcome.stale_data {
        out.notice(format!("{} data {path} changed", out.paint(Style::Red, "stale")));
    }
    let n = outcome.stale.len() + outcome.stale_data.len();
    let mut error = Error::new(
        crate::error::Kind::Check,
        format!("{} stale: pipeline.lock does not say what is here", text::count(n, "stage or data path")),
    );
    let stale = outcome.stages.iter().filter(|s| outcome.stale.contains(&s.id));
    let (absent, other): (Vec<bool>, Vec<bool>) = stale
        .flat_map(|s| {
            s.reasons.iter().map(|reason| is_of_absence(reason, definitions.pipelines.stage(s.id), &definitions.graph))
        })
        .partition(|is_of_absence| *is_of_absence);
    if !absent.is_empty() {
        let pull = if project.config.remotes().is_empty() { "" } else { ", or lockstep pull" };
        error = error.hint(format!("bring what is pinned and not here: lockstep checkout{pull}"));
    }
    if !other.is_empty() || !outcome.stale_data.is_empty() {
        error = error.hint("run `lockstep repro` and commit pipeline.lock");
    }
    out.error(&error);
}

fn print_summary(outcome: &Outcome, definitions: &Definitions, seconds: f64, out: &Output) {
    let skipped = outcome.stages.iter().filter(|s| s.result == StageResult::Skipped);
    let frozen = skipped.filter(|s| definitions.pipelines.stage(s.id).frozen).count();
    let stopped = outcome.stages.iter().filter(|s| s.stopped).count();
    let counts = [
        (outcome.count(StageResult::Ran), "ran", Some(Style::Green)),
        (outcome.count(StageResult::Restored), "restored", Some(Style::Green)),
        (outcome.count(StageResult::UpToDate), "up to date", None),
        (outcome.stale.len() + outcome.stale_data.len(), "stale", Some(Style::Red)),
        (frozen, "frozen", None),
        (outcome.count(StageResult::Skipped) - frozen - outcome.stale.len(), "skipped", None),
        (stopped, "stopped", Some(Style::Yellow)),
        (outcome.count(StageResult::Failed) - stopped, "failed", Some(Style::Red)),
        (outcome.count(StageResult::Blocked), "not run", Some(Style::Red)),
    ];
    let part = |(n, word, style): &(usize, &str, Option<Style>)| {
        let part = format!("{n} {word}");
        style.map_or(part.clone(), |style| out.paint(style, &part))
    };
    let parts: Vec<String> = counts.iter().filter(|(n, ..)| *n > 0).map(part).collect();
    let saved: f64 = outcome.stages.iter().map(|s| s.saved).sum();
    let mut line = match parts.is_empty() {
        // Something may have been refused that is no stage.
        true if outcome.exit_code() != 0 => "nothing was done".to_string(),
        true => "nothing to do".to_string(),
        false => parts.join(", "),
    };
    if outcome.interrupted.is_some() {
        line = format!("{} {line}", out.paint(Style::Yellow, "interrupted:"));
    }
    line.push_str(&format!(" in {}", text::seconds(seconds)));
    if saved >= 0.01 {
        line.push_str(&format!("; the run cache saved {}", text::seconds(saved)));
    }
    out.status(line);
    if outcome.stale_unselected > 0 {
        out.status(format!("{} stale elsewhere, -P for all", outcome.stale_unselected));
    }
}

fn print_next(outcome: &Outcome, definitions: &Definitions, project: &Project, out: &Output) {
    // After a failure, the next step is not a commit.
    if outcome.exit_code() != 0 {
        return;
    }
    let made = outcome.stages.iter().filter(|s| matches!(s.result, StageResult::Ran | StageResult::Restored));
    let made: Vec<StageId> = made.map(|s| s.id).collect();
    for error in plots::missing_columns(definitions, &made, project) {
        out.warn(&error.message);
        error.hints.iter().for_each(|hint| out.hint(hint));
    }
    let mut written = outcome.written.clone();
    if !written.is_empty() {
        // Outputs that Git tracks belong in the same commit as the lock that pins them.
        let outs = made.iter().flat_map(|id| &definitions.pipelines.stage(*id).outs);
        written.extend(outs.filter(|out| !out.cache).map(|out| out.path.clone()));
    }
    next_step::print_recorded(&written, &GitInputs::of(definitions, &made), definitions, project, out);
}
