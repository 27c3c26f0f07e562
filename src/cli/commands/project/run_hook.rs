use std::io::Read;

use clap::Subcommand;

use crate::cli::advice;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Kind, Result};
use crate::event::Silent;
use crate::git::OperationKind;
use crate::plan::facts::FactsReader;
use crate::plan::reasons::{PathState, Reason};
use crate::project::Project;
use crate::remote::Wanted;
use crate::remote::unpushed::{RefUpdate, UnpushedData, unpushed};
use crate::run::data;
use crate::workspace::status::status;

/// Run by the hooks that `lockstep hooks install` writes
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Refuse to push commits whose outputs no remote has
    #[command(after_help = "\
The refs are read from standard input, as Git gives them to a pre-push hook, or from the variables of the pre-commit
framework.

Examples:
  exec lockstep hook pre-push \"$@\"   as the last line of a pre-push hook of your own")]
    PrePush {
        /// Git's name of the remote, and its address
        git: Vec<String>,
    },
    /// Show which outputs differ from pipeline.lock
    PostCheckout {
        /// The commits before and after, and 1 for a whole checkout
        git: Vec<String>,
    },
    /// The same after a merge
    PostMerge {
        /// 1 for a squash
        git: Vec<String>,
    },
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::PrePush { .. } => pre_push(project, out),
        Sub::PostCheckout { git } if git.get(2).is_some_and(|flag| flag == "0") => Ok(0),
        Sub::PostCheckout { .. } | Sub::PostMerge { .. } => {
            let is_merged = matches!(args.command, Sub::PostMerge { .. });
            // Git has finished already, so an error is left to the next command.
            let _ = print_differences(is_merged, project, out);
            Ok(0)
        }
    }
}

fn pre_push(project: &Project, out: &Output) -> Result<u8> {
    let env = |name: &str| project.around.env.get(name).filter(|value| !value.is_empty());
    let updates = match env("PRE_COMMIT_TO_REF") {
        Some(to) => vec![RefUpdate { to: to.clone(), from: env("PRE_COMMIT_FROM_REF").cloned() }],
        None => {
            let mut lines = String::new();
            let read = std::io::stdin().read_to_string(&mut lines);
            read.map_err(|e| Error::io("read", "standard input", e))?;
            updates(&lines)
        }
    };
    let progress = Progress::new(out, false);
    let left = unpushed(project, &updates);
    progress.finish();
    let left = left.map_err(|e| e.hint("git push --no-verify — pushes without this check"))?;
    if left.is_empty() {
        return Ok(0);
    }
    let head = project.repo.head()?;
    for left in &left {
        out.error(&refusal(left, head.as_deref() == Some(&left.commit.hex())));
    }
    Ok(Kind::Check.exit_code())
}

/// Parses lines `local-ref local-commit remote-ref remote-commit`. Skips deleted refs.
fn updates(lines: &str) -> Vec<RefUpdate> {
    let is_none = |id: &str| id.bytes().all(|b| b == b'0');
    lines
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, to, _, from] = words[..] else { return None };
            (!is_none(to)).then(|| RefUpdate { to: to.into(), from: (!is_none(from)).then(|| from.into()) })
        })
        .collect()
}

fn refusal(left: &UnpushedData, is_head: bool) -> Error {
    let named = |all: &[Wanted]| {
        let names: Vec<&str> = all.iter().take(5).map(|wanted| wanted.name.as_str()).collect();
        let more =
            if all.len() > names.len() { format!(" and {} more", all.len() - names.len()) } else { String::new() };
        format!("{}{more}", names.join(", "))
    };
    let commit = left.commit.short();
    let mut error = Error::new(Kind::Check, format!("not pushed: no remote has all that {commit} pins"));
    if !left.here.is_empty() {
        let push = if is_head { "lockstep push".to_string() } else { format!("lockstep push --rev {commit}") };
        let bytes = left.here.iter().map(|wanted| wanted.pin.size).sum();
        error = error.because(format!("only here: {} ({})", named(&left.here), text::bytes(bytes))).hint(push);
    }
    if !left.nowhere.is_empty() {
        error = error.because(format!("neither in this store nor at a remote: {}", named(&left.nowhere)));
        let push = "lockstep push — where data is that no stage makes";
        error = error.hint(if left.is_made { "lockstep repro — makes what is in no store" } else { push });
    }
    error.hint("git push --no-verify — pushes without this check")
}

fn print_differences(is_merged: bool, project: &Project, out: &Output) -> Result<()> {
    // Silent during a rebase, which runs the hook for each commit. A merge is still the current operation while its
    // hook runs.
    match project.repo.current_operation() {
        None => {}
        Some(OperationKind::Merge) if is_merged => {}
        Some(_) => return Ok(()),
    }
    let definitions = project.definitions()?;
    let all: Vec<_> = definitions.pipelines.ids().collect();
    let mut reader = FactsReader::new(project, &definitions, &Silent);
    let (found, _) = status(project, &definitions, &all, &data::all_data(&definitions), &mut reader)?;
    let reasons = found.stages.iter().flat_map(|(_, reasons)| reasons);
    let outs = reasons.filter(|reason| matches!(reason, Reason::Out { .. })).count();
    let is_other =
        |state: &PathState| matches!(state, PathState::NotCheckedOut | PathState::Diverged | PathState::Deleted);
    let data = found.data.iter().filter(|(_, state, ..)| is_other(state)).count();
    let _ = project.index().save();
    advice::warn_unlisted_data(&found.unlisted, project, out);
    let counts = [(outs, "output"), (data, "data path")].into_iter().filter(|(n, _)| *n > 0);
    let counts: Vec<String> = counts.map(|(n, word)| text::count(n, word)).collect();
    if !counts.is_empty() {
        let be = if outs + data == 1 { "differs" } else { "differ" };
        out.status(format!("{} {be} from pipeline.lock: lockstep checkout", counts.join(" and ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_read() {
        let zero = "0".repeat(40);
        let lines = format!("refs/heads/a aaa refs/heads/a {zero}\n\n(delete) {zero} refs/heads/b bbb\nx ccc y ddd\n");
        let update = |to: &str, from: Option<&str>| RefUpdate { to: to.into(), from: from.map(str::to_string) };
        assert_eq!(updates(&lines), [update("aaa", None), update("ccc", Some("ddd"))]);
    }
}
