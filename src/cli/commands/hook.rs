use std::io::Read;

use clap::Subcommand;

use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Kind, Result};
use crate::event::Silent;
use crate::git::Underway;
use crate::plan::facts::Look;
use crate::plan::reasons::{Reason, State};
use crate::project::Project;
use crate::remote::Wanted;
use crate::remote::unpushed::{RefUpdate, UnpushedData, unpushed};
use crate::run::data;
use crate::workspace::status::status;

/// What the hooks that `lockstep install` writes call
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
    /// Tell which outputs are not what pipeline.lock says
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
            // Whatever is wrong will be said by the next command; Git is done already.
            let _ = tell_differences(is_merged, project, out);
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

/// Lines `local-ref local-commit remote-ref remote-commit`; a ref that goes away leaves nothing behind.
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
        error = error.because(format!("neither here nor there: {}", named(&left.nowhere)));
        let push = "lockstep push — where data is that no stage makes";
        error = error.hint(if left.is_made { "lockstep repro — makes what is in no store" } else { push });
    }
    error.hint("git push --no-verify — pushes without this check")
}

fn tell_differences(is_merged: bool, project: &Project, out: &Output) -> Result<()> {
    // In the middle of a rebase this would be said for each commit. A merge that is done counts as underway until its
    // hook is over.
    match project.repo.underway() {
        None => {}
        Some(Underway::Merge) if is_merged => {}
        Some(_) => return Ok(()),
    }
    let definitions = project.definitions()?;
    let all: Vec<_> = definitions.pipelines.ids().collect();
    let mut look = Look::new(project, &definitions, &Silent);
    let (found, _) = status(project, &definitions, &all, &data::all(&definitions), &mut look)?;
    let reasons = found.stages.iter().flat_map(|(_, reasons)| reasons);
    let outs = reasons.filter(|reason| matches!(reason, Reason::Out { .. })).count();
    let is_other = |state: &State| matches!(state, State::NotCheckedOut | State::Diverged | State::Deleted);
    let data = found.data.iter().filter(|(_, state, ..)| is_other(state)).count();
    let _ = project.index().save();
    super::tell_unlisted(&found.unlisted, project, out);
    let counts = [(outs, "output"), (data, "data path")].into_iter().filter(|(n, _)| *n > 0);
    let counts: Vec<String> = counts.map(|(n, word)| text::count(n, word)).collect();
    if !counts.is_empty() {
        let be = if outs + data == 1 { "is" } else { "are" };
        out.say(format!("{} {be} not what pipeline.lock says: lockstep checkout", counts.join(" and ")));
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
