use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::edit::merge::{Resolution, resolve};
use crate::error::Kind;
use crate::error::{Error, Result};
use crate::lock::merge::{Block, BlockChoice, ChoiceReason, DataConflict, Remedy, Side};
use crate::path::RepoPath;
use crate::project::Project;
use crate::shell::{word, words};
use crate::workspace::join_data::Picks;

/// Resolve merge conflicts in pipeline.lock
///
/// Takes each stage whole from one side: from the side that changed it; if both did, from the side that ran on the inputs
/// as they are merged now, else from ours. So resolve pipeline.yaml and your params first. `lockstep status` then shows
/// stages that are stale.
///
/// Merges data file by file. A file that both sides changed, or that one removed and the other changed, stays a conflict
/// until --ours or --theirs takes it from one side.
///
/// After `lockstep hooks install` Git does this itself; merge buttons of hosting sites do not.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep merge                     every pipeline.lock with conflicts
  lockstep merge models              those in this folder
  lockstep merge --theirs data/x.csv this file of tracked data as they have it
  lockstep merge && git add -u && git rebase --continue")]
pub struct Args {
    /// Lock files, or folders with lock files [default: all]
    paths: Vec<String>,
    /// Take this data, or file of data, from our side if it has a conflict; may be repeated
    #[arg(long, value_name = "PATH")]
    ours: Vec<String>,
    /// The same from their side, which in a rebase is your own commit
    #[arg(long, value_name = "PATH")]
    theirs: Vec<String>,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let inside = |path: &String| {
        project.typed(path).ok_or_else(|| Error::missing(format!("`{path}` is outside the repository")))
    };
    let all = |paths: &[String]| paths.iter().map(inside).collect::<Result<Vec<RepoPath>>>();
    let paths = all(&args.paths)?;
    let picks = Picks { ours: all(&args.ours)?, theirs: all(&args.theirs)? };
    if let Some(path) = picks.ours.iter().find(|path| picks.theirs.contains(path)) {
        let path = path.relative_to(&project.cwd);
        return Err(Error::usage(format!("`{path}` cannot be taken from both sides")));
    }
    let progress = Progress::new(out, false);
    let resolution = resolve(project, &paths, &picks, &progress);
    progress.finish();
    let Resolution { resolved, settled } = resolution?;
    let named = |path: &RepoPath| path.relative_to(&project.cwd);
    if resolved.is_empty() && settled.is_empty() {
        out.status("no pipeline.lock has a conflict");
        return Ok(0);
    }
    for path in &settled {
        out.status(format!("{} is settled already, and stays as it is", named(path)));
    }
    for lock in &resolved {
        out.status(format!("{}: ours is {}, theirs is {}", named(&lock.path), lock.ours, lock.theirs));
        for choice in &lock.choices {
            out.status(format!("  {}", sentence(choice, "ours", "theirs")));
        }
        let is_whole = |choice: &&BlockChoice| choice.why == ChoiceReason::PickedWhole && !choice.gone;
        for choice in lock.choices.iter().filter(is_whole) {
            warn_taken_whole(choice, &named(&lock.path), &folder_of(project, &lock.path), out);
        }
        for block in &lock.left_out {
            let name = block.name();
            out.status(format!("  {name}: left out, its record is mixed from both; the next repro makes it"));
        }
        for name in &lock.unlisted {
            out.warn(format!("{} pins {name}, which no pipeline file lists as data", named(&lock.path)));
            out.hint(format!("list it under `data`, as `- path: {name}`, or the next repro drops it from the lock"));
        }
    }
    let open = resolved.iter().filter(|lock| !lock.conflicts.is_empty());
    let mut errors =
        open.map(|lock| conflict_error(&named(&lock.path), &folder_of(project, &lock.path), &lock.conflicts));
    if let Some(error) = errors.next() {
        errors.for_each(|error| out.error(&error));
        return Err(error);
    }
    let paths: Vec<_> = resolved.iter().map(|lock| &lock.path).chain(&settled).map(named).collect();
    out.status(format!("next: git add {}", words(paths)));
    Ok(0)
}

/// Warns of data that was taken from one side because its listings are missing.
fn warn_taken_whole(choice: &BlockChoice, lock: &str, folder: &str, out: &Output) {
    let (this, other) = match choice.side {
        Side::Ours => ("ours", "theirs"),
        Side::Theirs => ("theirs", "ours"),
    };
    let path = format!("{folder}{}", choice.block.name());
    out.warn(format!(
        "{path} is taken whole from {this}: the changes of {other} in it are lost, including those that do not conflict"
    ));
    let (lock, path) = (word(lock), word(&path));
    out.hint(format!(
        "to join the rest, bring the listings first: git checkout -m {lock}; lockstep fetch; lockstep merge --{this} {path}"
    ));
}

/// The folder of a lock relative to the current folder, as a prefix of paths.
fn folder_of(project: &Project, lock: &RepoPath) -> String {
    match lock.parent().unwrap_or_default().relative_to(&project.cwd).as_str() {
        "." => String::new(),
        folder => format!("{folder}/"),
    }
}

/// The largest number of conflicting files that are shown for one lock.
const MOST_SHOWN: usize = 20;

/// The error for data of a lock that cannot be merged. `folder` is the prefix of its paths.
pub fn conflict_error(lock: &str, folder: &str, conflicts: &[DataConflict]) -> Error {
    let details: Vec<&String> = conflicts.iter().flat_map(|conflict| &conflict.details).collect();
    let mut lines: Vec<String> = details.iter().take(MOST_SHOWN).map(|detail| format!("  {folder}{detail}")).collect();
    if details.len() > MOST_SHOWN {
        lines.push(format!("  and {} more", details.len() - MOST_SHOWN));
    }
    let mut error = Error::new(Kind::Check, format!("{lock} has conflicts in data")).with_lines(lines);
    if conflicts.iter().any(|conflict| conflict.remedy == Remedy::Fetch) {
        error = error.hint("fetch the listings of both sides and merge them: lockstep fetch, then lockstep merge");
    }
    let first = format!("{folder}{}", conflicts.first().map_or("PATH", |conflict| &conflict.path));
    let first = word(&first);
    error.hint(format!("take one side, of data or of a file in it: lockstep merge --ours {first}, or --theirs {first}"))
}

/// `train: both sides changed it; ours is the record of the merged inputs`
pub fn sentence(choice: &BlockChoice, ours: &str, theirs: &str) -> String {
    let (this, other) = match choice.side {
        Side::Ours => (ours, theirs),
        Side::Theirs => (theirs, ours),
    };
    let name = match &choice.block {
        Block::Data(path) => format!("data {path}"),
        Block::Stage(name) => name.clone(),
    };
    match (choice.why, choice.gone) {
        (ChoiceReason::OnlyChange, true) => format!("{name}: removed, as {this} has it"),
        (ChoiceReason::OnlyChange, false) => format!("{name}: taken from {this}"),
        (ChoiceReason::Inputs, _) => {
            format!("{name}: both sides ran it; taken from {this}, which ran on the merged inputs")
        }
        (ChoiceReason::Undecided, _) => format!("{name}: both sides changed it; taken from {this}"),
        (ChoiceReason::Joined, _) => format!("{name}: merged file by file from both sides"),
        (ChoiceReason::Picked, true) => format!("{name}: removed, as {this} has it"),
        (ChoiceReason::Picked, false) => format!("{name}: conflicts are taken from {this}"),
        (ChoiceReason::PickedWhole, true) => format!("{name}: removed, as {this} has it"),
        (ChoiceReason::PickedWhole, false) => {
            format!("{name}: taken whole from {this}, since the listing of its files is not here")
        }
        (ChoiceReason::Settled, _) => format!("{name}: settled already"),
        (ChoiceReason::NotRemoved, _) => format!("{name}: removed by {other}, but {this} changed it; kept"),
    }
}
