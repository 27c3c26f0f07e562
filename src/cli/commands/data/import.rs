use std::path::PathBuf;

use crate::cli::next_step;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::edit::import::{ImportOptions, ImportOutcome, import, update};
use crate::error::Result;
use crate::project::Project;

/// Track a file or folder of another repository
///
/// Adds it to `data` in the nearest pipeline.yaml upwards, with its repository and commit. Stages depend on it as on any
/// data, and every clone gets the same bytes. `lockstep update` updates it. Files in Git LFS are downloaded.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep import https://github.com/org/models model.bin       from HEAD
  lockstep import ../models data/raw --rev v1.0 -o data/theirs  a folder, at a tag
  lockstep import hf://org/name@v1.0 model.safetensors          a model of the Hugging Face Hub
  lockstep import hf://datasets/org/name . -o data/squad        a whole dataset
  lockstep update                                               update all imports
  lockstep update model.bin --rev v2.0                          one, to another tag")]
pub struct Args {
    /// The repository: a URL, hf://ORG/NAME, or a folder
    #[arg(value_name = "URL")]
    url: String,
    /// The path in the repository; `.` for the whole of it
    #[arg(value_name = "PATH")]
    path: String,
    /// The revision to import, and to follow in updates [default: HEAD]
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// The path of the import, or a folder for it [default: the current folder]
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// A description of the data
    #[arg(long, value_name = "TEXT")]
    desc: Option<String>,
    /// Replace existing files
    #[arg(short, long)]
    force: bool,
}

/// Update imports to new commits of their repositories
///
/// Each import follows its own revision. Imports with changes that are not in the store are left alone.
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
    /// Overwrite changes that are not in the store
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
    print_import(&done, project, out);
    next_step::print_git_add(&done.written, project, out);
    Ok(0)
}

pub fn run_update(args: &UpdateArgs, project: &Project, out: &Output) -> Result<u8> {
    let options = ImportOptions { desc: None, force: args.force };
    let progress = Progress::new(out, false);
    let done = update(project, &args.targets, args.rev.as_deref(), &options, &progress);
    progress.finish();
    let done = done?;
    done.iter().for_each(|one| print_import(one, project, out));
    if done.is_empty() {
        out.status("every import is at the newest commit of the revision that it follows");
    }
    let written: Vec<_> = done.into_iter().flat_map(|one| one.written).collect();
    next_step::print_git_add(&written, project, out);
    Ok(0)
}

fn print_import(done: &ImportOutcome, project: &Project, out: &Output) {
    let path = done.path.relative_to(&project.cwd);
    let short = |commit: &str| commit[..commit.len().min(7)].to_string();
    let (url, rev, new) = (&done.import.url, &done.import.rev, short(&done.import.commit));
    match &done.old {
        None => out.status(format!("{path} is {} of {url} at {rev} ({new})", done.import.path)),
        Some(old) if *old == done.import.commit => out.status(format!("restored {path}: {new} ({rev} of {url})")),
        Some(old) => out.status(format!("{path}: {} → {new} ({rev} of {url})", short(old))),
    }
}
