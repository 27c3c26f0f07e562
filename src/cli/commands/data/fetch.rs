use serde_json::{Value as Json, json};

use crate::cli::commands::data::transfer::{self, TransferArgs};
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

/// Download outputs and data into the store
///
/// Does not change the workspace: `lockstep checkout` restores from the store, `lockstep pull` does both.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep fetch                  everything that pipeline.lock pins and that is not here
  lockstep fetch model.bin        one output
  lockstep fetch --rev v1.0       what an earlier commit pins
  lockstep fetch --run-cache      with the results of all runs that were pushed")]
pub struct Args {
    #[command(flatten)]
    transfer: TransferArgs,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let progress = Progress::new(out, false);
    if args.transfer.means_workspace()
        && let Some((count, missing)) =
            fetch_listings(project, args.transfer.remote.as_deref(), args.transfer.jobs, &progress)?
    {
        progress.finish();
        return report_listings(count, &missing, project, out);
    }
    let scope = args.transfer.gather(project, out, &progress)?;
    let fetched = signals::watched(project.around.stop, || scope.fetch(project, &args.transfer.options(), &progress));
    progress.finish();
    let fetched = fetched?;
    if args.transfer.json {
        out.json(&json!({"remotes": json(&fetched)}));
    }
    let code = args.transfer.exit_code(project)?;
    let nothing = match (scope.unpinned.is_empty(), code) {
        (true, 0) => "everything is here",
        (false, 0) => "everything that is pinned is here",
        _ => "nothing to fetch for the pipeline files that can be read",
    };
    let absent = print_fetched(&fetched, (!args.transfer.json).then_some(nothing), out);
    let mut errors = failures(&fetched, &absent, &scope);
    errors.extend(args.transfer.unpinned(&scope, project, out)?);
    transfer::worst(errors, out).map_or(Ok(code), Err)
}

/// A lock with conflicts has no pins to fetch. Reports the listings of its folders, with which it can be merged.
fn report_listings(count: usize, missing: &[RepoPath], project: &Project, out: &Output) -> Result<u8> {
    if missing.is_empty() {
        let folders = text::count(count, "folder");
        out.status(format!("a pipeline.lock has conflicts: the listings of {folders} in conflict are here"));
        out.status("next: lockstep merge, then lockstep fetch");
        return Ok(0);
    }
    let names: Vec<String> = missing.iter().map(|path| path.relative_to(&project.cwd)).collect();
    Err(Error::missing(format!(
        "listings of folders with conflicts are missing here and at the remote: {}",
        names.join(", ")
    ))
    .hint("push them from a clone that has them: lockstep push")
    .hint("or take one side: lockstep merge --ours PATH, or --theirs PATH"))
}

/// The errors: outputs and data that are damaged, lost or absent at the remotes.
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

/// Prints what was fetched, or `nothing` if that was nothing, and returns the outputs that are at no remote. Without
/// `nothing`, prints the cost alone.
pub(super) fn print_fetched(
    fetched: &[RemoteResult<(FetchResult, usize)>],
    nothing: Option<&str>,
    out: &Output,
) -> Vec<Wanted> {
    let mut absent = Vec::new();
    let mut any = false;
    for at in fetched {
        let (done, runs) = &at.done;
        if nothing.is_some() {
            transfer::print_transferred("fetched", &done.fetched, out);
            let runs =
                if *runs > 0 { format!("{} of the run cache", text::count(*runs, "new entry")) } else { String::new() };
            let runs = runs.replace("entrys", "entries");
            match (done.fetched.len(), runs.as_str()) {
                (0, "") => {}
                (0, runs) => out.status(format!("{runs} from {}", at.remote)),
                (_, runs) => {
                    let objects = text::count(done.objects, "object");
                    let and = if runs.is_empty() { "" } else { ", " };
                    out.status(format!("{} in {objects}{and}{runs} from {}", text::bytes(done.bytes), at.remote));
                }
            }
            any |= !done.fetched.is_empty() || !runs.is_empty() || !done.absent.is_empty() || !done.lost.is_empty();
        }
        transfer::print_cost(&at.remote, &at.spent, out);
        absent.extend(done.absent.clone());
    }
    if let Some(nothing) = nothing.filter(|_| !any) {
        out.status(nothing);
    }
    absent
}
