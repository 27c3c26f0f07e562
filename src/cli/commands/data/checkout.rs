use crate::cli::advice;
use crate::cli::args::Targets;
use crate::cli::commands::data::transfer;
use crate::cli::next_step;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::plan::select::Scope;
use crate::project::Project;
use crate::shell::word;
use crate::workspace::checkout::{CheckoutOptions, checkout};

/// Restore outputs and data as pipeline.lock pins them
///
/// Without targets, restores everything, and removes outputs and data of another branch if they are unchanged and in the
/// store.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  git checkout v1 && lockstep checkout    the files of another commit, and its outputs
  lockstep checkout model.bin             one output
  lockstep checkout --force               also over changes that are not in the store
  lockstep checkout --merge raw           after a merge or pull: data that was changed here, too")]
pub struct Args {
    #[command(flatten)]
    targets: Targets,
    /// Overwrite changes that are not in the store
    #[arg(short, long)]
    force: bool,
    /// Merge data that was changed here with the version in pipeline.lock, file by file
    #[arg(short, long, conflicts_with = "force")]
    merge: bool,
    /// Link or copy files again, with the link types of the settings
    #[arg(long)]
    relink: bool,
    /// Warn of missing outputs instead of failing
    #[arg(long)]
    allow_missing: bool,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let definitions = project.definitions()?;
    let scope = Scope::of(project, &definitions);
    let selected = scope.select(&args.targets.names, &args.targets.reach(), true)?;
    advice::refuse_dvc_only(&definitions)?;
    advice::warn_broken_pipelines(&definitions, project, out);
    advice::warn_dvc_data(&definitions, project, out);
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
        out.status(format!("restored {}", path.relative_to(&project.cwd)));
    }
    for path in &done.joined {
        let path = path.relative_to(&project.cwd);
        out.status(format!("merged {path}: it has the changes made here and those of pipeline.lock"));
        out.hint(format!("pin it: lockstep commit {}", word(&path)));
    }
    advice::print_removed(&done.removed, project, out);
    next_step::print_git_add(&done.written, project, out);
    advice::warn_unlisted_data(&done.unlisted, project, out);
    let mut errors = Vec::new();
    if !done.missing.is_empty() {
        let names: Vec<String> = done.missing.iter().map(|p: &RepoPath| p.relative_to(&project.cwd)).collect();
        let error =
            Error::missing(format!("{} not in the store: {}", text::count(names.len(), "output"), names.join(", ")));
        errors.push(advice::hint_missing(error, &done.missing, &definitions, project));
    }
    errors.extend(advice::unpinned_errors(&done.never_made, "never made", &definitions, project));
    if errors.is_empty()
        && done.restored.is_empty()
        && done.joined.is_empty()
        && done.removed.is_empty()
        && definitions.broken.is_empty()
    {
        out.status(if definitions.pipelines.files.is_empty() {
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
        None if args.targets.is_empty() => Ok(advice::exit_code_of_all(0, &definitions)),
        None => Ok(0),
    }
}
