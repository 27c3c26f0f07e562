pub mod act;
mod demote;
mod deprecate;
mod desk;
mod history;
mod list;
mod promote;
mod provenance;
mod register;
mod resolve;
mod show;

use clap::Subcommand;

use crate::cli::args::Global;
use crate::cli::open;
use crate::cli::output::Output;
use crate::error::Result;

/// Versions of models: register, promote, trace
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
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
        Sub::List(args) => list::run(args, &open(global)?, out),
        Sub::Show(args) => show::run(args, &open(global)?, out),
        Sub::Register(args) => register::run(args, &open(global)?, out),
        Sub::Promote(args) => promote::run(args, &open(global)?, out),
        Sub::Demote(args) => demote::run(args, &open(global)?, out),
        Sub::Deprecate(args) => deprecate::run(args, &open(global)?, out),
        Sub::History(args) => history::run(args, &open(global)?, out),
        Sub::Resolve(args) => resolve::run(args, &open(global)?, out),
        Sub::Provenance(args) => provenance::run(args, &open(global)?, out),
    }
}
