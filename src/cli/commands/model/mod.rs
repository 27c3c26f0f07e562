//! `lockstep model …`: one file a verb.

mod diff;
mod inspect;

use clap::Subcommand;

use crate::cli::args::Global;
use crate::cli::output::Output;
use crate::cli::{open, surroundings};
use crate::error::Result;
use crate::model::formats::{self, Contents};
use crate::model::source::Source;
use crate::model::{find, script};

/// Look into models and compare them
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    Inspect(inspect::Args),
    Diff(diff::Args),
}

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Inspect(args) => inspect::run(args, global, out),
        Sub::Diff(args) => diff::run(args, global, out),
    }
}

/// The bytes of `PATH` or `PATH@REVISION`. A repository is opened only for a revision.
fn source(spec: &str, global: &Global) -> Result<Source> {
    let around = surroundings(global)?;
    if let Some(source) = find::on_disk(&around.cwd, spec)? {
        return Ok(source);
    }
    if !spec.contains('@') {
        return Err(find::absent(spec));
    }
    find::at_revision(&open(global)?, spec)
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
