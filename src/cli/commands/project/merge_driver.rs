use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cli::commands::project::merge::{conflict_error, sentence};
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::document;
use crate::error::{Error, Result};
use crate::event::Silent;
use crate::git::{Repo, merge_as_text};
use crate::lock::conflict::{Labels, write_merged};
use crate::lock::merge::{ChoiceReason, MergedInputs, Sides, merge};
use crate::lock::{self, markers};
use crate::path::RepoPath;
use crate::project::{Project, Surroundings};
use crate::store::Store;
use crate::workspace::join_data::{DataJoiner, Picks};

/// Merge a pipeline.lock for Git (see `lockstep hooks install`)
///
/// Git merges one file at a time, so this reads only the three versions of the lock, and the store to merge folders of
/// data. Data that cannot be merged is a conflict. A file that is not a valid lock is merged as text, and is a conflict.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  git config merge.lockstep.driver 'lockstep merge-driver %O %A %B %P %X %Y'")]
pub struct Args {
    /// The common ancestor's version
    base: PathBuf,
    /// Our version, which the result is written to
    ours: PathBuf,
    /// Their version
    theirs: PathBuf,
    /// The path of the lock in the repository
    path: String,
    /// Git's name of our side
    ours_name: Option<String>,
    /// Git's name of their side
    theirs_name: Option<String>,
}

pub fn run(args: &Args, global: &Global, out: &Output) -> Result<u8> {
    let text = |file: &Path| -> Result<String> {
        let text = document::read_text(file, document::MOST)?;
        text.ok_or_else(|| Error::missing(format!("{} does not exist", file.display())))
    };
    let read = |file: &Path| lock::read(&args.path, &text(file)?);
    let base = || markers::read_base(&args.path, &text(&args.base)?);
    let sides = (|| Ok(Sides { base: base()?, ours: read(&args.ours)?, theirs: read(&args.theirs)? }))();
    let sides = match sides {
        Ok(sides) => sides,
        Err(error) => {
            merge_as_text(&args.ours, &args.base, &args.theirs)?;
            let error: Error = error;
            out.error(&error);
            return Ok(1);
        }
    };
    let around = crate::cli::surroundings::surroundings(global)?;
    let (picks, used, project) = (Picks::default(), RefCell::default(), OnceCell::new());
    let store = || -> Result<&Store> {
        let opened = project.get_or_init(|| Project::open(at_lock(&around, &args.path)));
        opened.as_ref().map(Project::store).map_err(Clone::clone)
    };
    let folder = args.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let joiner = DataJoiner {
        folder: RepoPath::root().join(folder).unwrap_or_default(),
        picks: &picks,
        used: &used,
        settled: BTreeMap::new(),
        store: &store,
        sink: &Silent,
    };
    let merged = merge(&sides, &MergedInputs::default(), &|name, versions| joiner.join(name, versions));
    let labels = Labels { ours: label(&args.ours_name, "ours"), theirs: label(&args.theirs_name, "theirs") };
    let text = write_merged(&merged, labels);
    std::fs::write(&args.ours, text).map_err(|e| Error::io("write", &args.ours, e))?;
    let repo = Repo::find_current(&around.cwd, &around.git).ok();
    let (ours, theirs) = (side_name(labels.ours, repo.as_ref()), side_name(labels.theirs, repo.as_ref()));
    for choice in merged.choices.iter().filter(|choice| choice.why != ChoiceReason::OnlyChange) {
        out.status(format!("{}: {}", args.path, sentence(choice, &ours, &theirs)));
    }
    if merged.conflicts.is_empty() {
        return Ok(0);
    }
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    Err(conflict_error(&args.path, &folder, &merged.conflicts))
}

/// The surroundings of a lock, from the nearest existing folder above it, which determines the project.
fn at_lock(around: &Surroundings, lock: &str) -> Surroundings {
    let path = around.cwd.join(lock);
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
    Surroundings { cwd: folder.unwrap_or(&around.cwd).to_path_buf(), ..around.clone() }
}

/// Git's name of a side. An older Git passes the placeholder as it is.
fn label<'a>(name: &'a Option<String>, word: &'a str) -> &'a str {
    name.as_deref().filter(|name| !name.is_empty() && !name.starts_with('%')).unwrap_or(word)
}

/// A side in words: Git's name, and its commit.
fn side_name(label: &str, repo: Option<&Repo>) -> String {
    match repo.and_then(|repo| repo.describe(label).ok().flatten()) {
        Some(commit) => format!("{label}, {commit}"),
        None => label.to_string(),
    }
}
