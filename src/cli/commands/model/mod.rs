//! `lockstep model …`: one file a command.

pub mod check;
mod contents;
mod context;
mod demote;
mod deprecate;
mod diff;
mod history;
mod inspect;
mod list;
mod promote;
mod provenance;
mod register;
mod resolve;
mod show;
mod tag_args;

use clap::Subcommand;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::surroundings::open;
use crate::error::Result;

/// Inspect, compare, register and promote models
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
    Check(check::Args),
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
        Sub::Check(args) => check::run(args, &open(global, out)?, out),
    }
}
