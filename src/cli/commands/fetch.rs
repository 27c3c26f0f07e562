use serde_json::{Value as Json, json};

use crate::cli::commands::transfer::{self, What};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{signals, text};
use crate::edit::merge::fetch_listings;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::project::Project;
use crate::remote::Wanted;
use crate::remote::fetch::FetchResult;
use crate::remote::fetch::losses::{Loss, join_losses};
use crate::remote::scope::{RemoteResult, Scope};

/// Bring outputs and data from a remote into the store
///
/// The workspace is not touched: `lockstep checkout` restores from the store, `lockstep pull` does both.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep fetch                  everything that pipeline.lock pins and that is not here
  lockstep fetch model.bin        one output
  lockstep fetch --rev v1.0       what an earlier commit pins
  lockstep fetch --run-cache      with the results of all runs that were pushed")]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// With all entries of the run cache
    #[arg(long)]
    run_cache: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let progress = Progress::new(out, false);
    if args.what.means_workspace()
        && let Some((count, missing)) = fetch_listings(project, args.what.remote.as_deref(), args.what.jobs, &progress)?
    {
        progress.finish();
        return tell_listings(count, &missing, project, out);
    }
    let scope = args.what.gather(project, out, &progress)?;
    let fetched =
        signals::watched(project.around.stop, || scope.fetch(project, &args.what.options(args.run_cache), &progress));
    progress.finish();
    let fetched = fetched?;
    if args.json {
        out.json(&json!({"remotes": json(&fetched)}));
    }
    let absent = tell(&fetched, scope.unpinned.is_empty(), !args.json, out);
    let mut errors = failures(&fetched, &absent, &scope);
    errors.extend(args.what.unpinned(&scope, project, out)?);
    transfer::worst(errors, out).map_or(Ok(0), Err)
}

/// A lock with conflicts says too little to fetch by; with the listings of its folders it can be merged.
fn tell_listings(count: usize, missing: &[RepoPath], project: &Project, out: &Output) -> Result<u8> {
    if missing.is_empty() {
        let folders = text::count(count, "folder");
        out.say(format!("a pipeline.lock has conflicts: the listings of {folders} that they are about are here"));
        out.say("next: lockstep merge, then lockstep fetch");
        return Ok(0);
    }
    let names: Vec<String> = missing.iter().map(|path| path.relative_to(&project.cwd)).collect();
    Err(Error::missing(format!("listings of folders with conflicts are nowhere: {}", names.join(", ")))
        .hint("push them from where they are: lockstep push")
        .hint("or take one side: lockstep merge --ours PATH, or --theirs PATH"))
}

/// What could not be had: damaged or gone at a remote, or never there.
pub(super) fn failures(fetched: &[RemoteResult<(FetchResult, usize)>], absent: &[Wanted], scope: &Scope) -> Vec<Error> {
    let mut errors: Vec<Error> = join_losses(fetched.iter().flat_map(|at| &at.done.0.lost)).into_iter().collect();
    errors.extend(fetched.iter().flat_map(|at| at.done.0.runs_lost.clone()));
    if !absent.is_empty() {
        errors.push(transfer::nowhere(absent, scope));
    }
    errors
}

pub(super) fn json(fetched: &[RemoteResult<(FetchResult, usize)>]) -> Vec<Json> {
    let one = |at: &RemoteResult<(FetchResult, usize)>| {
        let (done, runs) = &at.done;
        json!({
            "remote": at.remote, "url": at.url, "fetched": transfer::list(&done.fetched),
            "absent": transfer::list(&done.absent), "lost": lost(&done.lost), "runs": runs, "objects": done.objects, "bytes": done.bytes,
            "cost": transfer::cost(&at.spent),
        })
    };
    fetched.iter().map(one).collect()
}

fn lost(losses: &[Loss]) -> Vec<Json> {
    let one = |loss: &Loss| json!({"error": loss.error.full_message(), "outs": transfer::list(&loss.outs)});
    losses.iter().map(one).collect()
}

/// What was found nowhere comes back.
pub(super) fn tell(
    fetched: &[RemoteResult<(FetchResult, usize)>],
    is_whole: bool,
    aloud: bool,
    out: &Output,
) -> Vec<Wanted> {
    let mut absent = Vec::new();
    let mut any = false;
    for at in fetched {
        let (done, runs) = &at.done;
        if aloud {
            transfer::tell_each("fetched", &done.fetched, out);
            let runs =
                if *runs > 0 { format!("{} of the run cache", text::count(*runs, "new entry")) } else { String::new() };
            let runs = runs.replace("entrys", "entries");
            match (done.fetched.len(), runs.as_str()) {
                (0, "") => {}
                (0, runs) => out.say(format!("{runs} from {}", at.remote)),
                (_, runs) => {
                    let objects = text::count(done.objects, "object");
                    let and = if runs.is_empty() { "" } else { ", " };
                    out.say(format!("{} in {objects}{and}{runs} from {}", text::bytes(done.bytes), at.remote));
                }
            }
            any |= !done.fetched.is_empty() || !runs.is_empty() || !done.absent.is_empty() || !done.lost.is_empty();
        }
        transfer::tell_cost(&at.remote, &at.spent, out);
        absent.extend(done.absent.clone());
    }
    if aloud && !any {
        out.say(if is_whole { "everything is here" } else { "everything that is pinned is here" });
    }
    absent
}
