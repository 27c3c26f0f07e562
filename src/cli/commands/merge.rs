use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::error::{Error, Result};
use crate::lock::merge::{Block, Choice, Side, Why};
use crate::path::RepoPath;
use crate::project::Project;
use crate::run::merge::{Resolution, resolve};
use crate::shell::words;

/// Resolve the conflicts that a merge left in pipeline.lock
///
/// Each stage and each data path is taken whole from one side: from the one that changed it; where both did, from the
/// one that ran on the inputs as they are merged now, else from ours. So resolve pipeline.yaml and your params first.
/// Whatever is stale then shows in `lockstep status`.
///
/// After `lockstep install` Git does this itself; merge buttons of hosting sites do not.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep merge                     every pipeline.lock with conflicts
  lockstep merge models              those in this folder
  lockstep merge && git add -u && git rebase --continue")]
pub struct Args {
    /// Lock files, or folders with some [default: all]
    paths: Vec<String>,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let inside = |path: &String| {
        project.typed(path).ok_or_else(|| Error::missing(format!("`{path}` is outside the repository")))
    };
    let paths: Vec<_> = args.paths.iter().map(inside).collect::<Result<_>>()?;
    let progress = Progress::new(out, false);
    let resolution = resolve(project, &paths, &progress);
    progress.finish();
    let Resolution { resolved, settled } = resolution?;
    let named = |path: &RepoPath| path.relative_to(&project.cwd);
    if resolved.is_empty() && settled.is_empty() {
        out.say("no pipeline.lock has a conflict");
        return Ok(0);
    }
    for path in &settled {
        out.say(format!("{} is settled already, and stays as it is", named(path)));
    }
    for lock in &resolved {
        out.say(format!("{}: ours is {}, theirs is {}", named(&lock.path), lock.ours, lock.theirs));
        for choice in &lock.choices {
            out.say(format!("  {}", sentence(choice, "ours", "theirs")));
        }
        for block in &lock.left_out {
            let name = block.name();
            out.say(format!("  {name}: left out, its record is mixed from both; the next repro makes it"));
        }
    }
    let paths: Vec<_> = resolved.iter().map(|lock| &lock.path).chain(&settled).map(named).collect();
    out.say(format!("next: git add {}", words(paths)));
    Ok(0)
}

/// `train: both sides changed it; ours is the record of the merged inputs`
pub fn sentence(choice: &Choice, ours: &str, theirs: &str) -> String {
    let (this, other) = match choice.side {
        Side::Ours => (ours, theirs),
        Side::Theirs => (theirs, ours),
    };
    let name = match &choice.block {
        Block::Data(path) => format!("data {path}"),
        Block::Stage(name) => name.clone(),
    };
    match (choice.why, choice.gone) {
        (Why::OnlyChange, true) => format!("{name}: removed, as {this} has it"),
        (Why::OnlyChange, false) => format!("{name}: taken from {this}"),
        (Why::Inputs, _) => format!("{name}: both sides ran it; taken from {this}, which ran on the merged inputs"),
        (Why::Undecided, _) => format!("{name}: both sides changed it; taken from {this}"),
        (Why::NotRemoved, _) => format!("{name}: removed by {other}, but {this} changed it; kept"),
    }
}
