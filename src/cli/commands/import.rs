use std::path::PathBuf;

use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::edit::import::{ImportOptions, ImportOutcome, import, update};
use crate::error::Result;
use crate::project::Project;

/// Track a file or folder of another repository, pinned to its commit
///
/// It becomes an entry of `data` in the nearest pipeline.yaml upwards, with its origin: stages depend on it as on any
/// data, and a colleague gets the same bytes. `lockstep update` renews it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep import https://github.com/org/models model.bin       from HEAD
  lockstep import ../models data/raw --rev v1.0 -o data/theirs  a folder, at a tag
  lockstep update                                               renew all imports
  lockstep update model.bin --rev v2.0                          one, to another tag")]
pub struct Args {
    /// The repository: a URL, or a folder with one
    #[arg(value_name = "URL")]
    url: String,
    /// The path in it
    #[arg(value_name = "PATH")]
    path: String,
    /// The revision to take, and to follow when it is renewed [default: HEAD]
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Where it goes, or a folder that it goes into [default: its name, in the current folder]
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// What the data is, for people
    #[arg(long, value_name = "TEXT")]
    desc: Option<String>,
    /// Replace what is there
    #[arg(short, long)]
    force: bool,
}

/// Renew imports from the repositories that they come from
///
/// Each follows the revision of its import. What was edited here and saved nowhere is left alone.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep update                        all imports
  lockstep update model.bin              one
  lockstep update model.bin --rev v2.0   to another revision, which it follows from now on")]
pub struct UpdateArgs {
    /// Imported files and folders [default: all]
    targets: Vec<String>,
    /// Follow this revision from now on
    #[arg(long, value_name = "REV", requires = "targets")]
    rev: Option<String>,
    /// Replace changes that are saved nowhere
    #[arg(short, long)]
    force: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let options = ImportOptions { desc: args.desc.clone(), force: args.force };
    let progress = Progress::new(out, false);
    let done = import(
        project,
        &args.url.as_str().into(),
        &args.path,
        args.rev.as_deref(),
        args.out.as_deref(),
        &options,
        &progress,
    );
    progress.finish();
    let done = done?;
    tell(&done, project, out);
    super::tell_next(&done.written, project, out);
    Ok(0)
}

pub fn run_update(args: &UpdateArgs, project: &Project, out: &Output) -> Result<u8> {
    let options = ImportOptions { desc: None, force: args.force };
    let progress = Progress::new(out, false);
    let done = update(project, &args.targets, args.rev.as_deref(), &options, &progress);
    progress.finish();
    let done = done?;
    done.iter().for_each(|one| tell(one, project, out));
    if done.is_empty() {
        out.say("all imports are at the newest commits of their revisions");
    }
    let written: Vec<_> = done.into_iter().flat_map(|one| one.written).collect();
    super::tell_next(&written, project, out);
    Ok(0)
}

fn tell(done: &ImportOutcome, project: &Project, out: &Output) {
    let path = done.path.relative_to(&project.cwd);
    let short = |commit: &str| commit[..commit.len().min(7)].to_string();
    let (url, rev, new) = (&done.import.url, &done.import.rev, short(&done.import.commit));
    match &done.old {
        None => out.say(format!("{path} is {} of {url} at {rev} ({new})", done.import.path)),
        Some(old) if *old == done.import.commit => out.say(format!("{path} is back: {new} ({rev} of {url})")),
        Some(old) => out.say(format!("{path}: {} → {new} ({rev} of {url})", short(old))),
    }
}
