use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::gc_remote;
use crate::cli::ask;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::path::links::step_back;
use crate::path::normalise;
use crate::project::Project;
use crate::retention::gc::{GcOptions, GcPlan, RemovedPath, apply, plan};
use crate::retention::remote;
use crate::retention::{CommitScope, ScopeRequest, registered_projects};
use crate::store::gc::GcResult;

/// Remove unneeded objects from the store or a remote
///
/// At least one option says what to keep. Everything else is removed, results of the run cache together with their
/// objects. Always kept is what the locks of all worktrees pin (on disk, in Git's index, in HEAD and in the stash), what
/// Git needs to continue or abort a merge, rebase, cherry-pick and the like, what running stages recorded, and objects
/// younger than --min-age. For other projects that share the store, everything is kept that any of their commits pins.
///
/// With -c, removes the garbage of a remote, in two steps: the first run marks unneeded objects, and a run after
/// --min-age deletes them. A push that needs a marked object keeps it. Only the locks of this repository, and of projects
/// that share its store, are known: objects that only other users of the remote need are deleted. So the command asks for
/// the URL of the remote, unless --force is given.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep store gc -w --dry                  show what the workspace does not need
  lockstep store gc -a -T                     keep what all branches and tags pin
  lockstep store gc -A                        keep what any commit pins: only leftovers go
  lockstep store gc -w --not-in-remote        remove old versions, but not those that only this store has
  lockstep store gc -c -a -T --dry            show what the remote has and no branch or tag pins")]
pub struct Args {
    /// Keep what the workspace needs
    #[arg(short, long)]
    workspace: bool,
    /// Keep what the tips of all branches pin
    #[arg(short, long)]
    all_branches: bool,
    /// Keep what all tags pin
    #[arg(short = 'T', long)]
    all_tags: bool,
    /// Keep what any commit pins, including commits that are only in the reflog
    #[arg(short = 'A', long)]
    all_commits: bool,
    /// Keep what this revision pins; may be repeated
    #[arg(long, value_name = "REV")]
    rev: Vec<String>,
    /// With --rev, keep what N commits back from there pin
    #[arg(short, long, value_name = "N", requires = "rev")]
    num: Option<usize>,
    /// Keep what experiments pin
    #[arg(long)]
    all_experiments: bool,
    /// Remove garbage of a remote instead of the store's
    #[arg(short, long, conflicts_with = "not_in_remote")]
    cloud: bool,
    /// Keep objects that are at no remote
    #[arg(long)]
    not_in_remote: bool,
    /// The remote to compare with, or with -c to clean [default: all; with -c core.remote]
    #[arg(short, long, value_name = "NAME")]
    remote: Option<String>,
    /// Keep objects younger than this; with -c also the time between mark and deletion, which must be longer than any
    /// push takes
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    min_age: Duration,
    /// Show what would be removed, and remove nothing
    #[arg(long, visible_alias = "dry-run")]
    dry: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Forget a project that used the store and no longer exists: its Git folder, or the folder above it
    #[arg(long, value_name = "PATH")]
    forget: Vec<PathBuf>,
    /// Skip locks and references that cannot be read; objects that only they pin may be removed
    #[arg(long)]
    skip_unreadable: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let is_scoped = args.workspace || args.all_branches || args.all_tags || args.all_commits || args.all_experiments;
    if !is_scoped && args.rev.is_empty() {
        return Err(Error::usage("no option says what to keep")
            .hint("what the workspace needs: lockstep store gc -w")
            .hint("what all branches and tags pin: lockstep store gc -a -T")
            .hint("what any commit pins: lockstep store gc -A")
            .hint("see first what would go: --dry"));
    }
    if args.workspace {
        project.with_files()?;
    }
    let options = args.options(project)?;
    if args.cloud {
        let options =
            remote::RemoteGcOptions { request: options.request, remote: options.remote, min_age: options.min_age };
        let how = gc_remote::Flags { dry: args.dry, force: args.force, json: args.json };
        return gc_remote::run(&options, &how, project, out);
    }
    let progress = Progress::new(out, false);
    let planned = plan(project, &options, &progress);
    progress.finish();
    let planned = planned?;
    for error in planned.unreadable.iter().chain(&planned.unasked) {
        out.warn(&error.message);
    }
    for clone in &planned.shallow {
        out.warn(format!(
            "{} is a shallow clone: objects that only its missing commits need are not kept",
            clone.display()
        ));
        out.hint("git fetch --unshallow — run there, gets those commits");
    }
    if args.dry {
        print_dry(args, &planned, out);
        return Ok(0);
    }
    if planned.is_empty() && options.request.forgotten.is_empty() {
        return finish(args, &planned, GcResult::default(), out);
    }
    if !planned.lost.is_empty() && !args.force {
        list(&planned.lost).iter().for_each(|line| out.notice(line));
        let them = if planned.lost.len() == 1 { "it" } else { "them" };
        let question = format!("no remote has {them}; remove {them} for good?");
        ask::confirm(&question, "the same command with --force", "nothing was removed", out).map_err(|e| {
            e.hint("or keep objects that only this store has: --not-in-remote")
                .hint("or push it first: lockstep push -a -T, and --rev COMMIT for older commits")
        })?;
    }
    let freed = apply(project, &options, &planned, args.force, &progress);
    progress.finish();
    finish(args, &planned, freed?, out)
}

impl Args {
    fn options(&self, project: &Project) -> Result<GcOptions> {
        let which = CommitScope {
            revs: self.rev.clone(),
            number: self.num,
            all_branches: self.all_branches,
            all_tags: self.all_tags,
            all_commits: self.all_commits,
            all_experiments: self.all_experiments,
        };
        let known: Vec<PathBuf> = registered_projects(project)?.into_iter().map(|user| user.home).collect();
        let forgotten = self.forget.iter().map(|path| forgotten(path, project, &known)).collect::<Result<_>>()?;
        Ok(GcOptions {
            request: ScopeRequest { which, skip_unreadable: self.skip_unreadable, forgotten },
            min_age: self.min_age,
            not_in_remote: self.not_in_remote,
            remote: self.remote.clone(),
        })
    }
}

/// The Git folder of a project that the user names by it or by the folder above it.
fn forgotten(path: &std::path::Path, project: &Project, known: &[PathBuf]) -> Result<PathBuf> {
    let cwd = &project.around.cwd;
    let by_spelling = || PathBuf::from(normalise(&cwd.join(path).to_string_lossy()));
    let path = path.to_str().and_then(|path| step_back(cwd, path)).map_or_else(by_spelling, |(_, real)| real);
    let spellings = [path.clone(), path.join(".git"), path.join(".lockstep")];
    spellings.into_iter().find(|spelling| known.contains(spelling)).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(|home| home.display().to_string()).collect();
        let error = Error::missing(format!("no project at {} uses the store", path.display()));
        if names.is_empty() { error } else { error.hint(format!("it knows {}", names.join(", "))) }
    })
}

fn finish(args: &Args, planned: &GcPlan, freed: GcResult, out: &Output) -> Result<u8> {
    if args.json {
        let done = json!({"runs": freed.runs, "files": freed.files, "bytes": freed.bytes, "packs": freed.packs});
        out.json(&json!({"plan": as_json(planned), "freed": done}));
        return Ok(0);
    }
    if freed == GcResult::default() {
        out.status("nothing to remove");
    } else {
        let objects = text::count(planned.plan.gone.len(), "object");
        let results =
            if freed.runs > 0 { format!(" and {}", text::count(freed.runs, "result")) } else { String::new() };
        let packs =
            if freed.packs > 0 { format!("; {} rewritten", text::count(freed.packs, "pack")) } else { String::new() };
        out.status(format!("removed {objects}{results}: {} free{packs}", text::bytes(freed.bytes)));
    }
    print_rest(args, planned, out);
    Ok(0)
}

fn print_dry(args: &Args, planned: &GcPlan, out: &Output) {
    if args.json {
        out.json(&json!({"plan": as_json(planned)}));
        return;
    }
    if planned.is_empty() {
        out.line("nothing to remove");
    } else {
        let objects = text::count(planned.plan.gone.len(), "object");
        let results = text::count(planned.runs.len(), "result");
        out.line(format!("would remove {objects} and {results}: {} free", text::bytes(planned.bytes())));
        for (what, lost) in [("at no remote", &planned.lost), ("at a remote", &planned.elsewhere)] {
            if !lost.is_empty() {
                out.line(format!("{what}:"));
                list(lost).iter().for_each(|line| out.line(line));
            }
        }
        let packs = planned.plan.rewrite.len() + usize::from(!planned.plan.fold.is_empty());
        if packs > 0 {
            out.line(format!("would rewrite {}", text::count(planned.plan.rewrite.len(), "pack")));
        }
    }
    print_rest(args, planned, out);
}

/// Prints the unneeded objects that are kept.
fn print_rest(args: &Args, planned: &GcPlan, out: &Output) {
    let age = text::age(args.min_age);
    let (objects, bytes) = planned.young.of_results;
    if planned.young.results > 0 {
        out.status(format!(
            "{} of the run cache, with {} ({}), {} younger than {age}: kept (--min-age)",
            text::count(planned.young.results, "result"),
            text::count(objects, "object"),
            text::bytes(bytes),
            if planned.young.results == 1 { "is" } else { "are" },
        ));
    }
    let (young, bytes) = planned.young.objects;
    if young > 0 {
        out.status(format!(
            "{} ({}) without a reference {} younger than {age} and may be in use: kept",
            text::count(young, "object"),
            text::bytes(bytes),
            if young == 1 { "is" } else { "are" },
        ));
    }
    let (spared, bytes) = planned.plan.spared;
    if spared > 0 && out.verbose > 0 {
        let objects = text::count(spared, "object");
        out.status(format!("{objects} ({}) are in packs that are mostly needed: kept", text::bytes(bytes)));
    }
    match planned.others {
        0 => {}
        1 => out.status("1 other project uses this store: what all its commits pin is kept"),
        n => out.status(format!("{n} other projects use this store: what all their commits pin is kept")),
    }
    if out.verbose > 0 {
        out.status(format!("{} counted", text::count(planned.states, "state")));
    }
}

/// Lists names, up to a limit.
fn list(lost: &[RemovedPath]) -> Vec<String> {
    const SHOWN: usize = 20;
    let one = |one: &RemovedPath| {
        let of = one.commit.as_ref().map_or("an earlier run".to_string(), |commit| format!("the commit {commit}"));
        format!("  {} ({}) of {of}", one.pinned.path, text::bytes(one.pinned.pin.size))
    };
    let mut lines: Vec<String> = lost.iter().take(SHOWN).map(one).collect();
    if lost.len() > SHOWN {
        lines.push(format!("  and {} more", lost.len() - SHOWN));
    }
    lines
}

fn as_json(planned: &GcPlan) -> Json {
    let lost = |all: &[RemovedPath]| -> Json {
        let one = |one: &RemovedPath| {
            json!({
                "path": one.pinned.path, "stage": one.pinned.stage, "id": one.pinned.pin.id.hex(),
                "size": one.pinned.pin.size, "commit": one.commit,
            })
        };
        all.iter().map(one).collect::<Vec<_>>().into()
    };
    json!({
        "objects": planned.plan.gone.len(),
        "bytes": planned.bytes(),
        "runs": planned.runs.len(),
        "packs": {"removed": planned.plan.packs.len(), "rewritten": planned.plan.rewrite.len()},
        "young": {"objects": planned.young.objects.0, "bytes": planned.young.objects.1},
        "young_results": {
            "results": planned.young.results,
            "objects": planned.young.of_results.0, "bytes": planned.young.of_results.1,
        },
        "spared": {"objects": planned.plan.spared.0, "bytes": planned.plan.spared.1},
        "at_no_remote": lost(&planned.lost),
        "at_a_remote": lost(&planned.elsewhere),
        "projects": planned.others + 1,
    })
}

pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|e| format!("{e}; write 24h or 30days"))
}
