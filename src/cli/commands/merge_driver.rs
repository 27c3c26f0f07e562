use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cli::args::Global;
use crate::cli::commands::merge::{conflict_error, sentence};
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

/// Merge a pipeline.lock for Git (see `lockstep install`)
///
/// Git merges file by file, so nothing but the three locks is looked at, and the store where folders of data have to be
/// joined. Data that cannot be joined is a conflict. What cannot be read as a lock is merged as text, and is a conflict.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  git config merge.lockstep.driver 'lockstep merge-driver %O %A %B %P %X %Y'")]
pub struct Args {
    /// The common ancestor's version
    base: PathBuf,
    /// Ours, which the result is written to
    ours: PathBuf,
    /// Theirs
    theirs: PathBuf,
    /// Where the lock lies in the repository
    path: String,
    /// What Git calls our side
    ours_name: Option<String>,
    /// What Git calls their side
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
    let around = crate::cli::surroundings(global)?;
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
    let repo = Repo::at_hand(&around.cwd, &around.git).ok();
    let (ours, theirs) = (side_name(labels.ours, repo.as_ref()), side_name(labels.theirs, repo.as_ref()));
    for choice in merged.choices.iter().filter(|choice| choice.why != ChoiceReason::OnlyChange) {
        out.say(format!("{}: {}", args.path, sentence(choice, &ours, &theirs)));
    }
    if merged.conflicts.is_empty() {
        return Ok(0);
    }
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    Err(conflict_error(&args.path, &folder, &merged.conflicts))
}

/// The surroundings of a lock, whose folder says which project it belongs to, and may not be there.
fn at_lock(around: &Surroundings, lock: &str) -> Surroundings {
    let path = around.cwd.join(lock);
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir());
    Surroundings { cwd: folder.unwrap_or(&around.cwd).to_path_buf(), ..around.clone() }
}

/// What Git calls a side. An older Git leaves the placeholder as it is.
fn label<'a>(name: &'a Option<String>, word: &'a str) -> &'a str {
    name.as_deref().filter(|name| !name.is_empty() && !name.starts_with('%')).unwrap_or(word)
}

/// A side as people know it: what Git calls it, and its commit.
fn side_name(label: &str, repo: Option<&Repo>) -> String {
    match repo.and_then(|repo| repo.describe(label).ok().flatten()) {
        Some(commit) => format!("{label}, {commit}"),
        None => label.to_string(),
    }
}
