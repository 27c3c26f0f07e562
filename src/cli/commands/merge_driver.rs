use std::path::{Path, PathBuf};

use crate::cli::args::Global;
use crate::cli::commands::merge::sentence;
use crate::cli::output::Output;
use crate::document;
use crate::error::{Error, Result};
use crate::git::{Repo, merge_as_text};
use crate::lock::merge::{Known, Sides, Why, merge};
use crate::lock::{self, Lock};

/// Merge a pipeline.lock for Git (see `lockstep install`)
///
/// Git merges file by file, so nothing but the three locks is looked at. What cannot be read as a lock is merged as
/// text, and is a conflict.
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
    let read = |file: &Path| -> Result<Lock> {
        let text = document::read_text(file, document::MOST)?;
        let text = text.ok_or_else(|| Error::missing(format!("{} does not exist", file.display())))?;
        lock::read(&args.path, &text)
    };
    let sides =
        (|| Ok(Sides { base: Some(read(&args.base)?), ours: read(&args.ours)?, theirs: read(&args.theirs)? }))();
    let sides = match sides {
        Ok(sides) => sides,
        Err(error) => {
            merge_as_text(&args.ours, &args.base, &args.theirs)?;
            let error: Error = error;
            out.error(&error);
            return Ok(1);
        }
    };
    let merged = merge(&sides, &Known::default());
    std::fs::write(&args.ours, lock::write(&merged.lock)).map_err(|e| Error::io("write", &args.ours, e))?;
    let around = crate::cli::surroundings(global)?;
    let repo = Repo::at_hand(&around.cwd, &around.git).ok();
    let ours = side_name(args.ours_name.as_deref(), "ours", repo.as_ref());
    let theirs = side_name(args.theirs_name.as_deref(), "theirs", repo.as_ref());
    for choice in merged.choices.iter().filter(|choice| choice.why != Why::OnlyChange) {
        out.say(format!("{}: {}", args.path, sentence(choice, &ours, &theirs)));
    }
    Ok(0)
}

/// A side as people know it: its commit, and what Git calls it. An older Git leaves the placeholder as it is.
fn side_name(label: Option<&str>, word: &str, repo: Option<&Repo>) -> String {
    let Some(label) = label.filter(|label| !label.is_empty() && !label.starts_with('%')) else { return word.into() };
    match repo.and_then(|repo| repo.describe(label).ok().flatten()) {
        Some(commit) => format!("{label}, {commit}"),
        None => label.to_string(),
    }
}
