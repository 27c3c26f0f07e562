use serde_json::json;

use crate::cli::commands::data::transfer::{self, TransferArgs};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{signals, text};
use crate::error::Result;
use crate::project::Project;
use crate::remote::scope::Options;

/// Upload outputs and data to a remote
///
/// Uploads what the remote lacks, with the results of the stages, so that others restore them instead of running. An
/// output with `remote: NAME` goes to that remote; one with `push: false` is not pushed.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep push                    everything that pipeline.lock pins
  lockstep push train -r backup    what one stage made, to another remote
  lockstep push -a -T              with what all branches and tags pin
  lockstep push --run-cache        with the results of all earlier runs")]
pub struct Args {
    #[command(flatten)]
    transfer: TransferArgs,
    /// Upload everything, also what the remote has already, to replace damaged objects
    #[arg(long)]
    again: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let progress = Progress::new(out, false);
    let scope = args.transfer.gather(project, out, &progress)?;
    let options = Options { again: args.again, ..args.transfer.options() };
    let pushed = signals::watched(project.around.stop, || scope.push(project, &options, &progress));
    progress.finish();
    let pushed = pushed?;
    if args.transfer.json {
        let one = |at: &crate::remote::scope::RemoteResult<crate::remote::push::PushResult>| {
            json!({
                "remote": at.remote, "url": at.url, "pushed": transfer::list(&at.done.pushed),
                "absent": transfer::list(&at.done.absent), "runs": at.done.runs, "objects": at.done.objects,
                "bytes": at.done.bytes, "cost": transfer::cost(&at.spent),
            })
        };
        out.json(&json!({"remotes": pushed.iter().map(one).collect::<Vec<_>>()}));
    }
    let mut absent = Vec::new();
    let code = args.transfer.exit_code(project)?;
    let is_whole = scope.unpinned.is_empty() && code == 0;
    for at in pushed {
        if !args.transfer.json {
            transfer::print_transferred("pushed", &at.done.pushed, out);
            let done = &at.done;
            out.status(match (done.pushed.len(), done.runs) {
                (0, 0) if done.absent.is_empty() && is_whole => format!("{} has everything", at.remote),
                (0, 0) => format!("nothing to push to {}", at.remote),
                (_, runs) => {
                    let has = if done.absent.is_empty() && is_whole { "has everything now" } else { "has more now" };
                    let objects = text::count(done.objects, "object");
                    let runs = if runs > 0 { format!(", {}", text::count(runs, "run")) } else { String::new() };
                    format!("{} {has}: {} in {objects}{runs} sent", at.remote, text::bytes(done.bytes))
                }
            });
        }
        transfer::print_cost(&at.remote, &at.spent, out);
        absent.extend(at.done.absent);
    }
    let mut errors = args.transfer.unpinned(&scope, project, out)?;
    if !absent.is_empty() {
        errors.insert(0, transfer::nowhere(&absent, &scope));
    }
    transfer::worst(errors, out).map_or(Ok(code), Err)
}
