use std::path::PathBuf;

use super::list::{inside, open_other, split};
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::surroundings::{open, surroundings};
use crate::cli::text;
use crate::error::{Error, Result};
use crate::git::program::clone::is_url;
use crate::import::get::get;
use crate::project::Rev;
use crate::shell::word;
use crate::url::Url;

/// Copy a file or folder out of any revision or repository
///
/// Copies outputs, data and files tracked by Git as the revision has them. The copy is not tracked. `lockstep import`
/// tracks data of another repository.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep get model.bin --rev v1.0 -o old.bin       of an earlier commit
  lockstep get model.bin --rev digits@v1.2.0         of a model version
  lockstep get https://github.com/org/models model.bin --rev main
  lockstep get hf://org/name@main config.json        of the Hugging Face Hub
  lockstep get ../models data -o /tmp/data           a folder")]
pub struct Args {
    /// Another repository: a URL, or a folder
    #[arg(value_name = "URL")]
    place: String,
    /// The path in the repository
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// The revision: a branch, tag, `HEAD~3`, model version [default: HEAD]
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// The path of the copy, or a folder for it [default: the current folder]
    #[arg(short, long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Replace existing files
    #[arg(short, long)]
    force: bool,
}

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    let around = surroundings(global)?;
    let (address, path) = match &args.path {
        Some(path) => split(&around, Some(&args.place), Some(path)),
        None if is_url(&args.place) => {
            let url = Url::from(args.place.as_str()).to_string();
            return Err(Error::usage(format!("{url} is a repository: give a path in it"))
                .hint(format!("see what there is: lockstep list {}", word(&url)))
                .hint(format!("lockstep get {} PATH", word(&url))));
        }
        None => (None, args.place.clone()),
    };
    let there = address.map(|a| open_other(&around, a, args.rev.as_deref(), &path, out)).transpose()?;
    let here = if there.is_none() { Some(open(global, out)?) } else { None };
    let (project, rev) = match (&there, &here) {
        (Some(there), _) => (&there.project, Rev::Commit(there.commit)),
        (None, Some(here)) => (here, Rev::Named(args.rev.clone().unwrap_or("HEAD".into()))),
        (None, None) => return Err(Error::missing("there is no repository here")),
    };
    let snapshot = project.at(&rev)?;
    let asked = inside(project, &path)?;
    let progress = Progress::new(out, false);
    let got = get(&snapshot, &asked, &around.cwd, args.out.as_deref(), args.force, &progress);
    progress.finish();
    // Messages name paths as the user typed them.
    let here = format!("{}/", around.cwd.display());
    let got = got.map_err(|e| Error { message: e.message.replace(&here, ""), ..e })?;
    let shown = got.to.strip_prefix(&around.cwd).unwrap_or(&got.to);
    let files = text::count(got.files as usize, "file");
    out.status(format!("{}: {files}, {}, of {}", shown.display(), text::bytes(got.bytes), snapshot.name));
    Ok(0)
}
