use serde_json::json;

use super::fetch;
use crate::cli::advice;
use crate::cli::commands::data::transfer::{self, TransferArgs};
use crate::cli::next_step;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{signals, text};
use crate::error::{Error, Kind, Result};
use crate::project::Project;
use crate::remote::scope::Scope;
use crate::workspace::checkout::{self, checkout};

/// Download outputs and data into the workspace
///
/// Fetches missing objects, then restores what pipeline.lock pins. Keeps changes that are not in the store, and names
/// them.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  git pull && lockstep pull       the files of the others, and their outputs
  lockstep pull model.bin         one output
  lockstep pull --force           also over changes that are not in the store")]
pub struct Args {
    #[command(flatten)]
    transfer: TransferArgs,
    /// Overwrite changes that are not in the store
    #[arg(short, long)]
    force: bool,
    /// Warn of missing outputs instead of failing
    #[arg(long)]
    allow_missing: bool,
}

/// What helps with data that is at no remote.
const COPY_THEM: &str = "copy them from where they are";

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let definitions = project.definitions()?;
    let selected = args.transfer.select(project, &definitions, out)?;
    let progress = Progress::new(out, false);
    let mut scope = Scope::default();
    args.transfer.add_workspace(&mut scope, project, &definitions, &selected, &progress)?;
    args.transfer.add_commits(&mut scope, project, out)?;
    let fetched = signals::watched(project.around.stop, || scope.fetch(project, &args.transfer.options(), &progress));
    let fetched = fetched.inspect_err(|_| progress.finish())?;
    let options = checkout::CheckoutOptions {
        force: args.force,
        relink: false,
        clean: args.transfer.targets.is_empty(),
        merge: false,
        command: "lockstep pull".into(),
    };
    let done = checkout(project, &definitions, &selected, &options, &progress);
    progress.finish();
    let absent = fetch::print_fetched(&fetched, None, out);
    let failures = fetch::failures(&fetched, &absent, &scope);
    let done = done?;
    let restored: Vec<String> = done.restored.iter().map(|path| path.relative_to(&project.cwd)).collect();
    if args.transfer.json {
        let removed: Vec<String> = done.removed.iter().map(|path| path.relative_to(&project.cwd)).collect();
        out.json(&json!({"remotes": fetch::json(&fetched), "restored": restored, "removed": removed}));
    } else {
        advice::print_removed(&done.removed, project, out);
        advice::warn_unlisted_data(&done.unlisted, project, out);
        next_step::print_git_add(&done.written, project, out);
        for path in &restored {
            out.status(format!("restored {path}"));
        }
        let bytes: u64 = fetched.iter().map(|at| at.done.0.bytes).sum();
        let objects: usize = fetched.iter().map(|at| at.done.0.objects).sum();
        if objects > 0 {
            out.status(format!("{} in {} fetched", text::bytes(bytes), text::count(objects, "object")));
        } else if restored.is_empty()
            && done.removed.is_empty()
            && failures.is_empty()
            && done.missing.is_empty()
            && done.never_made.is_empty()
        {
            let is_empty = definitions.pipelines.files.is_empty();
            out.status(if is_empty { "nothing is tracked here" } else { "everything is in place" });
        }
    }
    let mut errors = failures;
    let missing = done.missing.iter().map(|path| path.relative_to(&project.cwd));
    let (stay, lost): (Vec<String>, Vec<String>) = missing.partition(|name| scope.is_never_pushed(name));
    if lost.is_empty() && args.transfer.targets.is_empty() {
        if !stay.is_empty() {
            let (data, outs): (Vec<&str>, Vec<&str>) = stay.iter().map(String::as_str).partition(|n| scope.is_data(n));
            for (names, what, how) in [(outs, "output", "lockstep repro makes them"), (data, "data path", COPY_THEM)] {
                if !names.is_empty() {
                    let count = text::count(names.len(), what);
                    out.status(format!("{count} not shared (`push: false`), {how}: {}", names.join(", ")));
                }
            }
        }
    } else if !done.missing.is_empty() && errors.is_empty() {
        let private = !stay.is_empty();
        let names = [lost, stay].concat();
        let error =
            Error::missing(format!("{} not in the store: {}", text::count(names.len(), "output"), names.join(", ")));
        let error = if private { error.because("what is not pushed (`push: false`) cannot be pulled") } else { error };
        let is_made = names.iter().any(|name| !scope.is_data(name));
        errors.push(error.hint(if is_made { "make them again: lockstep repro" } else { COPY_THEM }));
    }
    errors.extend(advice::unpinned_errors(&done.never_made, "never made", &definitions, project));
    if args.allow_missing {
        let missing = errors.extract_if(.., |error| error.kind == Kind::Missing);
        missing.for_each(|error| out.warn_error("left out:", &error));
    }
    match transfer::worst(errors, out) {
        Some(error) => Err(error),
        None if args.transfer.targets.is_empty() => Ok(advice::exit_code_of_all(0, &definitions)),
        None => Ok(0),
    }
}
