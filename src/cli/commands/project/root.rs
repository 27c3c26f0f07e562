use crate::cli::output::Output;
use crate::error::Result;
use crate::project::Project;

/// Print the root of the project, relative to this folder
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The root is the nearest folder upwards with a lockstep.toml, else that of the Git repository.

Examples:
  lockstep root             `.` in the root, `../..` two folders below it
  cd \"$(lockstep root)\"")]
pub struct Args {}

pub fn run(_: &Args, project: &Project, out: &Output) -> Result<u8> {
    out.line(project.repo.project_root.relative_to(&project.cwd));
    Ok(0)
}
