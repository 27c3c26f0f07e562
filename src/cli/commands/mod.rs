//! One file a command.

pub mod add;
pub mod cache;
pub mod check;
pub mod checkout;
pub mod ci;
pub mod commit;
pub mod completion;
pub mod config;
pub mod dag;
pub mod diff;
mod diff_values;
pub mod du;
pub mod fetch;
pub mod freeze;
pub mod gc;
mod gc_cloud;
pub mod get;
pub mod hook;
pub mod import;
pub mod init;
pub mod install;
pub mod list;
pub mod logs;
pub mod merge;
pub mod merge_driver;
pub mod metrics;
pub mod model;
pub mod params;
pub mod plots;
pub mod pull;
pub mod push;
pub mod remote;
pub mod remove;
pub mod repro;
pub mod root;
mod show;
pub mod stage;
mod stage_add;
pub mod status;
mod told;
mod transfer;
pub mod verify;
pub mod version;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::cli::args::{Cli, Command};
use crate::cli::open;
use crate::cli::output::Output;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::pipeline::stage::InputLocation;
use crate::project::origin::Origin;
use crate::project::{Definitions, Project, Snapshot};
use crate::shell::{word, words};
use crate::url::redact_text;
use crate::workspace::orphans::{Orphan, UnlistedData};

/// Runs a command; its exit code comes back.
pub fn run(cli: Cli, out: &Output) -> Result<u8> {
    let global = &cli.global;
    match cli.command {
        Command::Repro(args) => report_damage(&open(global, out)?, out, |project| repro::run(&args, project, out)),
        Command::Status(args) => report_damage(&open(global, out)?, out, |project| status::run(&args, project, out)),
        Command::Stage(args) => stage::run(&args, &open(global, out)?, out),
        Command::Dag(args) => dag::run(&args, &open(global, out)?, out),
        Command::Add(args) => add::run(&args, &open(global, out)?, out),
        Command::Remove(args) => remove::run(&args, &open(global, out)?, out),
        Command::Commit(args) => commit::run(&args, &open(global, out)?, out),
        Command::Checkout(args) => {
            report_damage(&open(global, out)?, out, |project| checkout::run(&args, project, out))
        }
        Command::Push(args) => report_damage(&open(global, out)?, out, |project| push::run(&args, project, out)),
        Command::Fetch(args) => report_damage(&open(global, out)?, out, |project| fetch::run(&args, project, out)),
        Command::Pull(args) => report_damage(&open(global, out)?, out, |project| pull::run(&args, project, out)),
        Command::Remote(args) => remote::run(&args, &open(global, out)?, out),
        Command::Freeze(args) => freeze::run(&args, &open(global, out)?, out),
        Command::Unfreeze(args) => freeze::unfreeze(&args, &open(global, out)?, out),
        Command::Gc(args) => gc::run(&args, &open(global, out)?, out),
        Command::Verify(args) => verify::run(&args, &open(global, out)?, out),
        Command::Du(args) => du::run(&args, &open(global, out)?, out),
        Command::Cache(args) => cache::run(&args, &open(global, out)?, out),
        Command::Diff(args) => diff::run(&args, &open(global, out)?, out),
        Command::List(args) => list::run(&args, global, out),
        Command::Get(args) => get::run(&args, global, out),
        Command::Import(args) => import::run(&args, &open(global, out)?, out),
        Command::Update(args) => import::run_update(&args, &open(global, out)?, out),
        Command::Params(args) => params::run(&args, &open(global, out)?, out),
        Command::Metrics(args) => metrics::run(&args, &open(global, out)?, out),
        Command::Plots(args) => plots::run(&args, &open(global, out)?, out),
        Command::Model(args) => model::run(&args, global, out),
        Command::Check(args) => check::run(&args, &open(global, out)?, out),
        Command::Logs(args) => logs::run(&args, &open(global, out)?, out),
        Command::Config(args) => config::run(&args, global, out),
        Command::Init(args) => init::run(&args, global, out),
        Command::Ci(args) => ci::run(&args, global, out),
        Command::Hook(args) => hook::run(&args, &open(global, out)?, out),
        Command::Install(args) => install::run(&args, &open(global, out)?, out),
        Command::Merge(args) => merge::run(&args, &open(global, out)?, out),
        Command::MergeDriver(args) => merge_driver::run(&args, global, out),
        Command::Root(args) => root::run(&args, &open(global, out)?, out),
        Command::Completion(args) => completion::run(&args, out),
        Command::Version(args) => version::run(&args, out),
        Command::Watchdog { lock } => {
            crate::run::watchdog::serve(&lock).map(|()| 0).map_err(|e| Error::io("watch with", &lock, e))
        }
    }
}

/// Runs a command, and reports the damage in the store that its questions met.
fn report_damage(project: &Project, out: &Output, run: impl FnOnce(&Project) -> Result<u8>) -> Result<u8> {
    let result = run(project);
    let is_told = |damage: &Error| result.as_ref().is_err_and(|e| e.to_string().contains(&damage.message));
    for damage in project.store().damage().iter().filter(|damage| !is_told(damage)) {
        out.warn_error("found on the way:", damage);
    }
    result
}

/// The exit code of a command that is about every pipeline: one that cannot be read is a mistake, whatever the others
/// are like.
fn code_of_all(code: u8, definitions: &Definitions) -> u8 {
    if code == 0 && !definitions.broken.is_empty() { crate::error::Kind::Usage.exit_code() } else { code }
}

/// What lockstep.toml says of these settings and a repository may not say, with the line to type.
pub fn tell_ignored(project: &Project, keys: &[&str], out: &Output) {
    for (key, note) in keys.iter().flat_map(|key| project.config.notes(key).iter().map(move |note| (key, note))) {
        if note.ignored {
            let value = redact_text(&note.value.to_string());
            out.warn(format!("{} sets {key} to {value}, which is ignored: {}", note.origin, note.reason));
            if note.may_be_wanted() {
                out.hint(format!("if you want it: lockstep config --local {key} {}", word(&value)));
            }
        }
    }
}

/// A pipeline file elsewhere that cannot be read is a warning, unless the targets need it.
fn tell_broken(definitions: &Definitions, project: &Project, out: &Output) {
    for (path, error) in &definitions.broken {
        out.warn_of(format!("{} is left out:", path.relative_to(&project.cwd)), error);
    }
    for error in &definitions.unreadable {
        out.warn_of("pipelines there are left out:", error);
    }
    for file in &definitions.pipelines.files {
        for warning in &file.warnings {
            out.warn(warning);
        }
    }
    if out.verbose > 0 {
        for path in &definitions.foreign {
            out.say(format!("{} has none of our keys and is passed over", path.relative_to(&project.cwd)));
        }
    }
}

/// The same of any state of the repository; what is wrong with a commit is told with its name.
fn tell_broken_of(snapshot: &Snapshot<'_>, out: &Output) {
    if snapshot.commit.is_none() {
        return tell_broken(&snapshot.definitions, snapshot.project, out);
    }
    for (path, error) in &snapshot.definitions.broken {
        out.warn_of(format!("{path} of {} is left out:", snapshot.name), error);
    }
}

/// What a checkout took away.
fn tell_removed(removed: &[RepoPath], project: &Project, out: &Output) {
    for path in removed {
        out.say(format!("removed {}: no output here any more, and kept in the store", path.relative_to(&project.cwd)));
    }
}

/// What was taken out of a pipeline file by hand, and what to do with the files.
fn tell_orphans(orphans: &[Orphan], project: &Project, out: &Output) {
    const MOST: usize = 10;
    for orphan in orphans.iter().take(MOST) {
        let (text, hints) = orphan.describe(project);
        out.warn(text);
        hints.into_iter().for_each(|hint| out.hint(hint));
    }
    if orphans.len() > MOST {
        out.warn(format!(
            "{} more paths are no output or data of a pipeline file any more (lockstep status --json)",
            orphans.len() - MOST
        ));
    }
}

fn tell_unlisted(unlisted: &[UnlistedData], project: &Project, out: &Output) {
    const MOST: usize = 10;
    for data in unlisted.iter().take(MOST) {
        let (text, hint) = data.describe(project);
        out.warn(text);
        out.hint(hint);
    }
    if unlisted.len() > MOST {
        let more = unlisted.len() - MOST;
        out.warn(format!("{more} more pins are listed by no pipeline file (lockstep status --json)"));
    }
}

/// Which files a command changed that Git should have.
fn tell_next(written: &[RepoPath], project: &Project, out: &Output) {
    // A file that went, and that Git never had, is nothing to tell Git about.
    let tracked = project.repo.tracked(written).unwrap_or_default();
    let known = |p: &&RepoPath| p.on_disk(project.top()).exists() || tracked.contains(p);
    let names: std::collections::BTreeSet<&RepoPath> = written.iter().filter(known).collect();
    let names: Vec<String> = names.into_iter().map(|p| p.relative_to(&project.cwd)).collect();
    if !names.is_empty() && project.repo.is_git() {
        out.say(format!("next: git add {}", words(names)));
    }
}

/// What helps with outputs and data whose bytes are not here: imports and data cannot be made.
fn bring_or_make(error: Error, missing: &[RepoPath], definitions: &Definitions, project: &Project) -> Error {
    let is_import = |path: &RepoPath| Origin::of(definitions, path).is_some();
    let is_made = |path: &RepoPath| definitions.graph.producer(path).is_some();
    let mut error = error;
    if !project.config.remotes().is_empty() {
        error = error.hint("fetch what was pushed: lockstep pull");
    } else if missing.iter().any(is_import) {
        error = error.hint("bring imports from where they come from: lockstep pull");
    }
    if missing.iter().any(is_made) { error.hint("make them again: lockstep repro") } else { error }
}

/// The errors for outputs and for data that no lock pins.
fn not_pinned(paths: &[RepoPath], outs_are: &str, definitions: &Definitions, project: &Project) -> Vec<Error> {
    let (outs, data): (Vec<&RepoPath>, Vec<&RepoPath>) =
        paths.iter().partition(|path| definitions.graph.producer(path).is_some());
    let names = |paths: &[&RepoPath]| paths.iter().map(|path| path.relative_to(&project.cwd)).collect::<Vec<_>>();
    let mut errors = Vec::new();
    if !outs.is_empty() {
        let message = format!("{} {outs_are}: {}", text::count(outs.len(), "output"), names(&outs).join(", "));
        errors.push(Error::missing(message).hint("make them: lockstep repro"));
    }
    if !data.is_empty() {
        let message = format!("data not pinned yet: {}", names(&data).join(", "));
        errors.push(Error::missing(message).hint(format!("pin them: lockstep add {}", words(names(&data)))));
    }
    errors
}

/// Stages read what `dvc add` tracked, and nobody tracks it here: it would be missing in every clone.
fn tell_dvc_data(definitions: &Definitions, project: &Project, out: &Output) {
    let pointed = |pointer: &RepoPath| pointer.parent()?.join(pointer.name().strip_suffix(".dvc")?);
    let pointers: BTreeMap<RepoPath, &RepoPath> =
        definitions.dvc.iter().filter_map(|pointer| Some((pointed(pointer)?, pointer))).collect();
    if pointers.is_empty() {
        return;
    }
    let pipelines = &definitions.pipelines;
    let tracked: HashSet<&RepoPath> = pipelines.files.iter().flat_map(|f| &f.data).map(|data| &data.path).collect();
    let up = |path: &RepoPath| std::iter::successors(Some(path.clone()), RepoPath::parent);
    let read = pipelines.stages.iter().flat_map(|s| &s.deps).filter_map(|dep| match &dep.place {
        InputLocation::Repo(path) => Some(path),
        _ => None,
    });
    let read: BTreeSet<RepoPath> = read.flat_map(up).filter(|path| pointers.contains_key(path)).collect();
    for data in read.iter().filter(|data| !up(data).any(|above| tracked.contains(&above))) {
        let (pointer, data) = (pointers[data].relative_to(&project.cwd), data.relative_to(&project.cwd));
        out.warn(format!("{pointer} is DVC's: lockstep does not track {data}, which stages read"));
        out.hint(format!("lockstep add {}", word(&data)));
    }
}

/// The hint for a repository with DVC's pipelines alone.
fn with_dvc_hint(error: Error, definitions: &Definitions) -> Error {
    match dvc_hint(definitions) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// In a repository with DVC's files alone, "up to date" and "nothing differs" would be said of what was not read.
fn refuse_dvc_alone(definitions: &Definitions) -> Result<()> {
    match dvc_hint(definitions) {
        Some(hint) => Err(Error::missing("there is no pipeline.yaml in this repository").hint(hint)),
        None => Ok(()),
    }
}

/// The same of two states: where one of them has pipelines, the other has lost or won them, which is shown.
fn refuse_dvc_on_both_sides(old: &Definitions, new: &Definitions) -> Result<()> {
    let has_pipelines = |side: &Definitions| !side.pipelines.files.is_empty() || !side.broken.is_empty();
    if has_pipelines(old) || has_pipelines(new) { Ok(()) } else { refuse_dvc_alone(old).and(refuse_dvc_alone(new)) }
}

fn dvc_hint(definitions: &Definitions) -> Option<String> {
    if !definitions.pipelines.files.is_empty() || !definitions.broken.is_empty() {
        return None;
    }
    if let Some(dvc) = definitions.dvc.iter().find(|path| path.name() == "dvc.yaml") {
        let ours = dvc.parent().and_then(|d| d.join("pipeline.yaml")).unwrap_or_default();
        return Some(format!("{dvc} is DVC's: the format is the same, so `git mv {dvc} {ours}` may be all it takes"));
    }
    let pointer = definitions.dvc.first()?.to_string();
    let data = pointer.strip_suffix(".dvc").unwrap_or(&pointer);
    Some(format!("{pointer} is DVC's: lockstep add {} tracks its data here", word(data)))
}
