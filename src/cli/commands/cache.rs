use clap::Subcommand;

use crate::cli::output::Output;
use crate::error::Result;
use crate::project::Project;

/// The store: where it is, and what it remembers
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Print the folder of the store
    Dir,
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    match &args.command {
        Sub::Dir => out.line(project.store_dir().to_string_lossy()),
    }
    Ok(0)
}
