use crate::cli::commands::transfer;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::plan::select::{Scope, SelectionMode};
use crate::project::Project;
use crate::shell::word;
use crate::workspace::checkout::{CheckoutOptions, checkout};

/// Bring outputs and data to what pipeline.lock says
///
/// Without targets, outputs and data that another branch left behind go, as far as they are unchanged and the store has all of them.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  git checkout v1 && lockstep checkout    the files of another commit, and its outputs
  lockstep checkout model.bin             one output
  lockstep checkout --force               also over changes that are saved nowhere
  lockstep checkout --merge raw           after a merge or pull: data that was changed here, too")]
pub struct Args {
    /// Stages, groups, outputs, data, or pipeline files [default: all]
    targets: Vec<String>,
    /// Overwrite changes that are saved nowhere
    #[arg(short, long)]
    force: bool,
    /// Join data that was changed here with the version that pipeline.lock pins by now, file by file
    #[arg(short, long, conflicts_with = "force")]
    merge: bool,
    /// Make files in place again, with the link types of the settings
    #[arg(long)]
    relink: bool,
    /// Targets are folders
    #[arg(short = 'R', long)]
    recursive: bool,
    /// End with success where outputs are missing, too; they are named as warnings
    #[arg(long)]
    allow_missing: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let definitions = project.definitions()?;
    let scope = Scope::of(project, &definitions);
    let reach = SelectionMode { single: true, recursive: args.recursive, ..SelectionMode::default() };
    let selected = scope.select(&args.targets, &reach, true)?;
    super::refuse_dvc_alone(&definitions)?;
    super::tell_broken(&definitions, project, out);
    super::tell_dvc_data(&definitions, project, out);
    let options = CheckoutOptions {
        force: args.force,
        relink: args.relink,
        clean: args.targets.is_empty(),
        merge: args.merge,
        command: "lockstep checkout".into(),
    };
    let progress = Progress::new(out, false);
    let done = checkout(project, &definitions, &selected, &options, &progress);
    progress.finish();
    let done = done?;
    for path in &done.restored {
        out.say(format!("restored {}", path.relative_to(&project.cwd)));
    }
    for path in &done.joined {
        let path = path.relative_to(&project.cwd);
        out.say(format!("joined {path}: it has the changes made here and those of pipeline.lock"));
        out.hint(format!("pin it: lockstep commit {}", word(&path)));
    }
    super::tell_removed(&done.removed, project, out);
    super::tell_next(&done.written, project, out);
    super::tell_unlisted(&done.unlisted, project, out);
    let mut errors = Vec::new();
    if !done.missing.is_empty() {
        let names: Vec<String> = done.missing.iter().map(|p: &RepoPath| p.relative_to(&project.cwd)).collect();
        let error =
            Error::missing(format!("{} not in the store: {}", text::count(names.len(), "output"), names.join(", ")));
        errors.push(super::bring_or_make(error, &done.missing, &definitions, project));
    }
    errors.extend(super::not_pinned(&done.never_made, "never made", &definitions, project));
    if errors.is_empty()
        && done.restored.is_empty()
        && done.joined.is_empty()
        && done.removed.is_empty()
        && definitions.broken.is_empty()
    {
        out.say(if definitions.pipelines.files.is_empty() {
            "nothing is tracked here"
        } else {
            "everything is in place"
        });
    }
    if args.allow_missing {
        errors.drain(..).for_each(|error| out.warn_error("left out:", &error));
    }
    match transfer::worst(errors, out) {
        Some(error) => Err(error),
        None if args.targets.is_empty() => Ok(super::code_of_all(0, &definitions)),
        None => Ok(0),
    }
}
