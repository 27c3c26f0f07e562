//! `lockstep model …`: one file a verb.

pub mod act;
mod demote;
mod deprecate;
mod desk;
mod diff;
mod history;
mod inspect;
mod list;
mod promote;
mod provenance;
mod register;
mod resolve;
mod show;

use clap::Subcommand;

use crate::cli::args::Global;
use crate::cli::output::Output;
use crate::cli::{open, surroundings};
use crate::error::Result;
use crate::model::formats::{self, Contents};
use crate::model::registry::find;
use crate::model::script;
use crate::model::source::Source;
use crate::project::Project;

/// Look into models, compare them, give them versions
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    Inspect(inspect::Args),
    Diff(diff::Args),
    List(list::Args),
    Show(show::Args),
    Register(register::Args),
    Promote(promote::Args),
    Demote(demote::Args),
    Deprecate(deprecate::Args),
    History(history::Args),
    Resolve(resolve::Args),
    Provenance(provenance::Args),
}

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Inspect(args) => inspect::run(args, global, out),
        Sub::Diff(args) => diff::run(args, global, out),
        Sub::List(args) => list::run(args, &open(global, out)?, out),
        Sub::Show(args) => show::run(args, &open(global, out)?, out),
        Sub::Register(args) => register::run(args, &open(global, out)?, out),
        Sub::Promote(args) => promote::run(args, &open(global, out)?, out),
        Sub::Demote(args) => demote::run(args, &open(global, out)?, out),
        Sub::Deprecate(args) => deprecate::run(args, &open(global, out)?, out),
        Sub::History(args) => history::run(args, &open(global, out)?, out),
        Sub::Resolve(args) => resolve::run(args, &open(global, out)?, out),
        Sub::Provenance(args) => provenance::run(args, &open(global, out)?, out),
    }
}

/// The bytes of `PATH` or `PATH@REVISION`. A repository is opened only for a revision.
fn source(spec: &str, global: &Global) -> Result<Source> {
    let around = surroundings(global)?;
    if let Some(source) = find::on_disk(&around.cwd, spec)? {
        return Ok(source);
    }
    if !spec.contains(['@', '#']) {
        return match Project::open(around) {
            // What would be in the workspace is in `HEAD`.
            Ok(project) if project.repo.is_bare() => find::at_revision(&project, &format!("{spec}@HEAD")),
            _ => Err(find::absent(spec)),
        };
    }
    find::at_revision(&Project::open(around)?, spec)
}

/// The source and what its header tells; with `torch` a TorchScript module is loaded by libtorch.
fn contents(spec: &str, torch: bool, global: &Global) -> Result<(Source, Contents)> {
    let source = source(spec, global)?;
    let mut contents = formats::read(&source)?;
    if torch {
        script::load(&source, &mut contents)?;
    }
    Ok((source, contents))
}
