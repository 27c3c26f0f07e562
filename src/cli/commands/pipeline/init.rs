use std::path::{Path, PathBuf};

use crate::cli::example::{self, FirstCommit};
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::surroundings::surroundings;
use crate::error::{Error, Kind, Result};
use crate::git::Repo;
use crate::shell::word;

/// Create a project outside Git, or an example project
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Inside a Git repository there is nothing to set up: a pipeline.yaml is enough.

Examples:
  lockstep init --example digits    a small project to play with, as a fresh Git repository
  lockstep init --no-scm            a project in this folder, without Git")]
pub struct Args {
    /// Create a project without Git: creates the folder .lockstep here
    #[arg(long, conflicts_with = "example")]
    no_scm: bool,
    /// Create the example project in DIR, as a new Git repository
    #[arg(long, value_name = "DIR")]
    example: Option<PathBuf>,
}

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    let around = surroundings(global)?;
    let cwd = around.cwd;
    match (&args.example, Repo::find_current(&cwd, &around.git)) {
        (Some(dir), _) => lay_out(dir, &cwd, out)?,
        (None, Ok(repo)) if args.no_scm && repo.is_git() => {
            return Err(Error::usage(format!(
                "{} is a Git repository: --no-scm is for folders without one",
                shown(&repo.top)
            ))
            .hint("a project in a folder of a repository: create a lockstep.toml there, it may be empty"));
        }
        (None, Ok(repo)) if repo.is_git() => {
            out.status("nothing to create: in a Git repository a pipeline.yaml is enough");
            out.hint("write one (see `lockstep init --example DIR` for a project to copy from), then: lockstep repro");
        }
        (None, Ok(repo)) if repo.top == std::fs::canonicalize(&cwd).unwrap_or_default() => {
            out.status("this is a project already");
        }
        (None, _) if args.no_scm => {
            let own = cwd.join(".lockstep");
            std::fs::create_dir(&own).map_err(|e| Error::io("create", &own, e))?;
            out.status(format!("created {}: a project without Git", shown(&own)));
            out.hint("write a pipeline.yaml, then: lockstep repro");
        }
        (None, Ok(repo)) => {
            out.status(format!("this folder belongs to the project {}", shown(&repo.top)));
        }
        (None, Err(e)) if e.kind == Kind::Missing => {
            return Err(e.hint("lockstep init --example DIR — creates a repository with an example project"));
        }
        (None, Err(e)) => return Err(e),
    }
    Ok(0)
}

fn lay_out(dir: &Path, cwd: &Path, out: &Output) -> Result<()> {
    let committed = example::lay_out(&cwd.join(dir))?;
    out.status(format!("created the example in {}", shown(dir)));
    match committed {
        FirstCommit::Yes => out.status("its files are committed"),
        FirstCommit::NoName => {
            out.status("its files are not committed: Git does not know your name");
            out.hint("git config --global user.name NAME && git config --global user.email MAIL");
        }
        FirstCommit::No(why) => out.warn(format!("its files are not committed: {why}")),
    }
    out.status(match shown(dir).as_str() {
        "." => "next: lockstep repro".to_string(),
        dir => format!("next: cd {} && lockstep repro", word(dir)),
    });
    Ok(())
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
