use serde_json::json;

use crate::cli::advice;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::surroundings::{open, surroundings};
use crate::cli::text;
use crate::error::{Error, Kind, Result};
use crate::git;
use crate::path::RepoPath;
use crate::project::listing::{Browser, BrowserItem, ItemKind};
use crate::project::{OpenedRepository, Project, Rev, Surroundings, open_repository};
use crate::url::Url;

/// List files, outputs and data of a repository
///
/// Lists files tracked by Git together with outputs and data. Without --rev, lists the workspace of this repository, or
/// HEAD of another one.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep list                                    this folder
  lockstep list data -R --size                     all files in data/, with their sizes
  lockstep list --rev v1.0                         as of a commit
  lockstep list https://github.com/org/models      another repository
  lockstep list ../models checkpoints --rev main   a folder of one on this disk")]
pub struct Args {
    /// A repository (a URL, or a folder with one), or a path of this repository
    #[arg(value_name = "URL|PATH")]
    place: Option<String>,
    /// A path of that repository
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// List a revision: a branch, tag, `HEAD~3`, model version
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// List all files in folders, recursively
    #[arg(short = 'R', long)]
    recursive: bool,
    /// List only outputs and data
    #[arg(long)]
    dvc_only: bool,
    /// Show sizes
    #[arg(long)]
    size: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    let around = surroundings(global)?;
    let (address, path) = split(&around, args.place.as_deref(), args.path.as_deref());
    let opened = address.map(|a| open_other(&around, a, args.rev.as_deref(), &path, out)).transpose()?;
    let here = if opened.is_none() { Some(open(global, out)?) } else { None };
    let (project, rev) = match (&opened, &here) {
        (Some(opened), _) => (&opened.project, Rev::Commit(opened.commit)),
        (None, Some(here)) => (here, Rev::of(args.rev.as_deref())),
        (None, None) => return Err(Error::missing("there is no repository here")),
    };
    let snapshot = project.at(&rev)?;
    if let Err(error) = advice::refuse_dvc_only(&snapshot.definitions) {
        // The files of Git are listed nevertheless.
        match args.dvc_only {
            true => return Err(error),
            false => out.warn_error("only Git's files are listed:", &error),
        }
    }
    advice::warn_broken_pipelines_of(&snapshot, out);
    let asked = inside(project, &path)?;
    // A broken pipeline file here makes the list incomplete, which is a failure. A commit cannot be fixed.
    let concerns = |path: &RepoPath| path.parent().is_some_and(|folder| folder.is_in(&asked) || asked.is_in(&folder));
    let is_partial = snapshot.commit.is_none() && snapshot.definitions.broken.iter().any(|(path, _)| concerns(path));
    let code = if is_partial { Kind::Usage.exit_code() } else { 0 };
    let browser = Browser::new(&snapshot)?;
    let name = opened.as_ref().map_or(snapshot.name.as_str(), |t| t.rev.as_str());
    let found = browser.find(&asked)?.ok_or_else(|| Error::missing(format!("there is no {path} in {name}")))?;
    let mut items = if found.what.is_folder() { browser.list(&found, args.recursive)? } else { vec![found.clone()] };
    if args.dvc_only {
        items.retain(|item| item.what.is_pinned());
    }
    if args.size {
        browser.prefetch(&items);
    }
    let is_file = !found.what.is_folder();
    let shown = |item: &BrowserItem| {
        if is_file { item.path.name().to_string() } else { item.path.relative_to(&found.path) }
    };
    let size = |item: &BrowserItem| if args.size { browser.size(item) } else { Ok(None) };
    if args.json {
        let one = |item: &BrowserItem| {
            let mut entry = json!({
                "path": shown(item),
                "isdir": item.what.is_folder(),
                "isexec": item.what.is_executable(),
                "isout": item.what.is_pinned(),
            });
            if let (true, Some(entry)) = (args.size, entry.as_object_mut()) {
                entry.insert("size".into(), json!(size(item)?));
            }
            if let (ItemKind::Pinned(pin), Some(entry)) = (&item.what, entry.as_object_mut()) {
                entry.insert("blake3".into(), json!(pin.id.hex()));
            }
            Ok(entry)
        };
        out.json(&items.iter().map(one).collect::<Result<Vec<_>>>()?.into());
        return Ok(code);
    }
    for item in &items {
        let slash = if item.what.is_folder() { "/" } else { "" };
        let size = match (args.size, size(item)?) {
            (true, size) => format!("{:>10}  ", size.map_or("-".into(), text::bytes)),
            _ => String::new(),
        };
        out.line(format!("{size}{}{slash}", shown(item)));
    }
    Ok(code)
}

/// The repository (`None`: this one) and the path in it. A single argument is a repository if it is a URL or the root
/// folder of another one.
pub(super) fn split<'a>(
    around: &Surroundings,
    place: Option<&'a str>,
    path: Option<&str>,
) -> (Option<&'a str>, String) {
    let place = place.filter(|p| !(path.is_some() && *p == "."));
    match (place, path) {
        (Some(place), Some(path)) => (Some(place), path.to_string()),
        (Some(place), None) if git::program::clone::is_url(place) || is_other(around, place) => {
            (Some(place), ".".into())
        }
        (place, path) => (None, path.or(place).unwrap_or(".").to_string()),
    }
}

fn is_other(around: &Surroundings, place: &str) -> bool {
    let Ok(Some(folder)) = git::program::clone::folder(&place.into(), &around.cwd, around.home.as_deref()) else {
        return false;
    };
    let here = || {
        git::Repo::find_current(&around.cwd, &around.git).is_ok_and(|r| folder.canonicalize().is_ok_and(|f| f == r.top))
    };
    folder.is_dir() && git::program::clone::is_repository(&folder) && !here()
}

pub(super) fn open_other(
    around: &Surroundings,
    address: &str,
    rev: Option<&str>,
    path: &str,
    out: &Output,
) -> Result<OpenedRepository> {
    let progress = Progress::new(out, false);
    let opened = open_repository(around, &Url::from(address), rev, path, &progress);
    progress.finish();
    opened
}

/// A typed path, relative to the current folder; in another repository relative to its root.
pub(super) fn inside(project: &Project, path: &str) -> Result<RepoPath> {
    project.typed(path).ok_or_else(|| Error::missing(format!("`{path}` is outside the repository")))
}
