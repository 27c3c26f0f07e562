//! Objects that Git names outside of refs, reflogs and the index: in the files of an unfinished merge, rebase,
//! cherry-pick, revert, `git am` or bisection in the Git folder of a worktree, and in files with earlier positions.
//!
//! ```text
//! MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD …     one id per line
//! sequencer/  rebase-merge/                     lists of steps (`todo.rs`), and files that name commits
//! rebase-apply/                                 patches (`mail.rs`), and files that name commits
//! BISECT_START BISECT_LOG, refs/bisect/         the start of a bisection, and its results
//! refs/rewritten/                               labels of a rebase
//! ```
//!
//! Git needs these objects to continue or to abort, so a name with a missing target is an error.

pub(super) mod mail;
pub(super) mod todo;
pub(super) mod unmerged;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::history::{History, unreadable};
use super::id::GitId;
use super::program;
use super::repo::Repo;
use crate::document;
use crate::error::{Error, Kind, Result};
use crate::shell::word;

/// Files with one id per line, or with the name of a ref; Git needs each of them.
const HEADS: [&str; 6] =
    ["BISECT_HEAD", "CHERRY_PICK_HEAD", "MERGE_AUTOSTASH", "MERGE_HEAD", "REBASE_HEAD", "REVERT_HEAD"];
/// Files in which all ids count whose objects exist.
const NOTES: [&str; 4] = ["AUTO_MERGE", "BISECT_ANCESTORS_OK", "BISECT_EXPECTED_REV", "BISECT_LOG"];
/// The start of a bisection: a branch or a commit.
const BISECT_START: &str = "BISECT_START";
/// Files with earlier positions.
const PAST: [&str; 2] = ["FETCH_HEAD", "ORIG_HEAD"];
/// Folders of unfinished operations, and the commands that end them.
const FOLDERS: [(&str, &str); 3] = [
    ("rebase-apply", "git am --abort, or git rebase --abort — or --continue, ends what Git is in the middle of"),
    ("rebase-merge", "git rebase --abort, or --continue — ends what Git is in the middle of"),
    ("sequencer", "git cherry-pick --abort, or git revert --abort — or --continue, ends what Git is in the middle of"),
];
/// Files in these folders with the one commit that Git needs.
const OF_ONE_COMMIT: [&str; 7] = ["amend", "autostash", "head", "onto", "orig-head", "squash-onto", "stopped-sha"];
/// Lists of steps, and whether Git needs the objects that they name.
const LISTS: [(&str, bool); 4] =
    [("done", false), ("git-rebase-todo", true), ("git-rebase-todo.backup", false), ("todo", true)];
/// Refs of a worktree that other worktrees do not see.
const PRIVATE: &str = "refs/worktree/";
const BISECT: &str = "refs/bisect/";
const REWRITTEN: &str = "refs/rewritten/";

/// The objects that Git needs to continue or abort the operation in progress.
#[derive(Debug, Default, PartialEq)]
pub struct OperationObjects {
    /// With their parents: a step applies the difference of its commit to its parent.
    pub commits: BTreeSet<GitId>,
    /// Folders that are in no commit: the result of a merge, conflicts included.
    pub trees: BTreeSet<GitId>,
    /// Versions of a file that a patch changes.
    pub blobs: BTreeSet<GitId>,
    /// Patches, with their file paths.
    pub patches: Vec<(PathBuf, Vec<u8>)>,
}

impl Repo {
    /// The objects that this worktree needs to continue or abort the operation in progress; `file_name` selects files
    /// in patches. `history` finds the objects.
    ///
    /// Errors: a file cannot be read, or names a missing object.
    pub fn operation_objects(&self, history: &History, file_name: &str) -> Result<OperationObjects> {
        let Some(git_dir) = &self.git_dir else { return Ok(OperationObjects::default()) };
        let own = self.history()?;
        let found = OperationObjects::default();
        let mut search = Search { repo: self, git_dir, own, history, file_name, found };
        let mut is_underway = false;
        for (folder, hint) in FOLDERS {
            is_underway |= search.read_folder(&git_dir.join(folder), hint)?;
        }
        is_underway |= search.read_heads()?;
        is_underway |= search.read_bisection()?;
        for (_, id) in search.own.refs(REWRITTEN)? {
            search.add(id.0)?;
        }
        if is_underway {
            // The commit that an abort returns to.
            search.read_notes(&["ORIG_HEAD"])?;
        }
        search.read_notes(&NOTES)?;
        Ok(search.found)
    }

    /// Other commits that only this worktree knows: its earlier positions, its last fetch, private refs.
    pub fn private_commits(&self) -> Result<BTreeSet<GitId>> {
        let Some(git_dir) = &self.git_dir else { return Ok(BTreeSet::new()) };
        let history = self.history()?;
        let mut ids = BTreeSet::new();
        for name in PAST {
            ids.extend(read_ids(&git_dir.join(name))?);
        }
        let at_root = history.root_refs()?;
        ids.extend(at_root.into_iter().filter(|(name, _)| PAST.contains(&name.as_str())).map(|(_, id)| id));
        let mut commits: BTreeSet<GitId> = history.refs(PRIVATE)?.into_iter().map(|(_, id)| id).collect();
        for id in ids {
            // A tag may have been fetched; Git does not need missing objects.
            if history.0.repo.try_find_header(id).map_err(unreadable)?.is_none() {
                continue;
            }
            let id = history.peel(id)?;
            if history.is_commit(id)? {
                commits.insert(GitId(id));
            }
        }
        Ok(commits)
    }

    pub(super) fn has_root_refs(&self) -> bool {
        self.format.refs == crate::git::repo::format::RefStorage::Reftable
    }

    /// Is there a ref of this name beside `HEAD`, in a file or in other storage?
    pub(super) fn has_root_ref(&self, name: &str) -> bool {
        let Some(git_dir) = &self.git_dir else { return false };
        let is_ref = || self.history().and_then(|history| history.root_refs());
        git_dir.join(name).exists()
            || (self.has_root_refs() && is_ref().is_ok_and(|refs| refs.iter().any(|(found, _)| found == name)))
    }
}

struct Search<'s> {
    repo: &'s Repo,
    git_dir: &'s Path,
    /// Refs as this worktree sees them.
    own: History,
    history: &'s History,
    file_name: &'s str,
    found: OperationObjects,
}

impl Search<'_> {
    /// Adds an object, if it exists: a commit with its parents.
    fn add(&mut self, id: ObjectId) -> Result<bool> {
        let is_of_other_hash = id.kind() != self.history.0.repo.object_hash();
        if id.is_null() || is_of_other_hash || self.history.0.repo.try_find_header(id).map_err(unreadable)?.is_none() {
            return Ok(false);
        }
        let id = self.history.peel(id)?;
        match self.history.0.repo.find_header(id).map_err(unreadable)?.kind() {
            gix::object::Kind::Commit => self.found.commits.extend(self.history.with_parents([GitId(id)])?),
            gix::object::Kind::Tree => drop(self.found.trees.insert(GitId(id))),
            _ => {}
        }
        Ok(true)
    }

    /// Adds the object of a word: an id, an abbreviated one, a revision.
    fn add_named(&mut self, named: &str, file: &Path, hint: &str) -> Result<()> {
        if let Some(id) = self.resolve(named)
            && self.add(id)?
        {
            return Ok(());
        }
        let what = format!("{} names {named}, which is not in this repository", file.display());
        Err(Error::missing(what).because("Git needs it to continue the operation in progress").hint(hint))
    }

    fn resolve(&self, named: &str) -> Option<ObjectId> {
        if let Ok(id) = ObjectId::from_hex(named.as_bytes()) {
            return Some(id);
        }
        let commit = self.own.parse_revision(&format!("{named}^{{commit}}"));
        // Git takes an abbreviated id for a commit if several objects share the prefix.
        commit.map(|(id, _)| id).or_else(|| {
            let mut command = program::question(self.git_dir);
            let named = format!("{named}^{{commit}}");
            command.args(["rev-parse", "--quiet", "--verify", "--end-of-options", &named]);
            ObjectId::from_hex(program::run(&mut command).ok()?.trim()).ok()
        })
    }

    /// Reads `MERGE_HEAD` and similar files. Returns whether there is one.
    fn read_heads(&mut self) -> Result<bool> {
        let at_root = self.own.root_refs()?;
        let mut is_there = false;
        for name in HEADS {
            let file = self.git_dir.join(name);
            let hint = format!("git status — says what Git is in the middle of; if nothing: rm {}", shown(&file));
            if let Some((_, id)) = at_root.iter().find(|(found, _)| found == name) {
                is_there = true;
                self.add_named(&id.to_string(), Path::new(name), &hint)?;
            }
            let Some(bytes) = document::read(&file, document::MOST)? else { continue };
            is_there = true;
            let mut names = bytes.lines().map(|line| line.trim()).filter(|line| !line.is_empty()).peekable();
            if names.peek().is_none() {
                return Err(Error::new(Kind::Io, format!("{} is empty: it was cut", file.display())).hint(hint));
            }
            for line in names {
                let line = line.to_str_lossy();
                let named = line.strip_prefix("ref:").unwrap_or(&line).trim();
                self.add_named(named, &file, &hint)?;
                if name == "MERGE_HEAD" {
                    self.add_merge_base(named)?;
                }
            }
        }
        Ok(is_there)
    }

    /// `git checkout -m` merges a file again.
    fn add_merge_base(&mut self, theirs: &str) -> Result<()> {
        let (Some(ours), Some(theirs)) = (self.own.head_id()?, self.resolve(theirs)) else { return Ok(()) };
        match self.repo.merge_base(GitId(ours), GitId(theirs))? {
            Some(base) => self.add(base.0).map(drop),
            None => Ok(()),
        }
    }

    /// Reads the files of a rebase, of `git am`, or of several picks. Returns whether the folder exists.
    fn read_folder(&mut self, folder: &Path, hint: &str) -> Result<bool> {
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            entries => entries.map_err(|e| Error::io("read", folder, e))?,
        };
        for entry in entries {
            let file = entry.map_err(|e| Error::io("read", folder, e))?.path();
            if file.is_dir() {
                self.read_folder(&file, hint)?;
            } else if let Some(bytes) = document::read(&file, document::MOST)? {
                self.read_file(&file, bytes, hint)?;
            }
        }
        Ok(true)
    }

    fn read_file(&mut self, file: &Path, bytes: Vec<u8>, hint: &str) -> Result<()> {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some((_, is_needed)) = LISTS.iter().find(|(list, _)| *list == name) {
            return self.read_list(file, &bytes, *is_needed, hint);
        }
        if name == "patch" || name.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.read_patch(file, bytes, hint);
        }
        if OF_ONE_COMMIT.contains(&name.as_str()) {
            let text = bytes.to_str_lossy();
            let is_of_no_commit = ObjectId::from_hex(text.trim().as_bytes()).is_ok_and(|id| id.is_null());
            return if is_of_no_commit { Ok(()) } else { self.add_named(text.trim(), file, hint) };
        }
        self.add_ids(&bytes)
    }

    fn read_list(&mut self, file: &Path, bytes: &[u8], is_needed: bool, hint: &str) -> Result<()> {
        let text = bytes.to_str_lossy();
        let config = self.own.0.repo.config_snapshot();
        let comment = config.string("core.commentString").or_else(|| config.string("core.commentChar"));
        let comment = comment.map_or("#".to_string(), |comment| comment.to_str_lossy().into_owned());
        let list = match todo::parse(&text, &comment) {
            Ok(list) => list,
            Err(line) if is_needed => {
                let what = format!("{} has a line that is not a step of Git: {line}", file.display());
                return Err(Error::new(Kind::Io, what).hint(hint));
            }
            Err(_) => return self.add_ids(bytes),
        };
        let is_label = |place: &&&str| {
            list.labels.contains(*place) || matches!(self.own.find_ref(&format!("{REWRITTEN}{place}")), Ok(Some(_)))
        };
        let places: Vec<&str> = list.places.iter().filter(|place| !is_label(place)).copied().collect();
        for named in list.commits.into_iter().chain(places) {
            match self.add_named(named, file, hint) {
                Err(e) if is_needed => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_patch(&mut self, file: &Path, bytes: Vec<u8>, hint: &str) -> Result<()> {
        let text = mail::decode(self.git_dir, file, bytes)?;
        let patch = mail::parse(&text, self.file_name);
        if let Some(id) = patch.commit.and_then(|id| ObjectId::from_hex(id.as_bytes()).ok()) {
            self.add(id)?;
        }
        for blob in patch.blobs {
            match self.own.parse_revision(&format!("{}^{{blob}}", blob.id)) {
                Some((id, _)) => drop(self.found.blobs.insert(GitId(id))),
                None if blob.is_needed => {
                    let what = format!("the binary patch {} is for {}", file.display(), blob.id);
                    return Err(Error::missing(format!("{what}, which is not in this repository")).hint(hint));
                }
                None => {}
            }
        }
        self.found.patches.push((file.to_path_buf(), text));
        Ok(())
    }

    /// Reads the start of a bisection, its results, and the commits between, any of which Git may check out. Returns
    /// whether there is one.
    fn read_bisection(&mut self) -> Result<bool> {
        let start = self.git_dir.join(BISECT_START);
        let bytes = document::read(&start, document::MOST)?;
        if let Some(bytes) = &bytes {
            self.add_named(bytes.to_str_lossy().trim(), &start, "git bisect reset COMMIT — ends the bisection")?;
        }
        let is_good = |name: &str| {
            let (term, id) = name.strip_prefix(BISECT).unwrap_or(name).rsplit_once('-').unwrap_or_default();
            term != "skip" && ObjectId::from_hex(id.as_bytes()).is_ok()
        };
        let refs = self.own.refs(BISECT)?;
        let (good, bad): (Vec<_>, Vec<_>) = refs.into_iter().partition(|(name, _)| is_good(name));
        for (_, id) in good.iter().chain(&bad) {
            self.add(id.0)?;
        }
        if !good.is_empty() {
            let between = self.history.between(bad.iter().map(|(_, id)| id.0), good.iter().map(|(_, id)| id.0))?;
            self.found.commits.extend(between);
        }
        Ok(bytes.is_some())
    }

    fn read_notes(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            let bytes = document::read(&self.git_dir.join(name), document::MOST)?.unwrap_or_default();
            self.add_ids(&bytes)?;
        }
        for (_, id) in self.own.root_refs()?.into_iter().filter(|(name, _)| names.contains(&name.as_str())) {
            self.add(id)?;
        }
        Ok(())
    }

    /// Adds all ids in a text whose objects exist.
    fn add_ids(&mut self, text: &[u8]) -> Result<()> {
        let length = self.own.0.repo.object_hash().len_in_hex();
        let words = text.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() == length);
        for id in words.filter_map(|word| ObjectId::from_hex(word).ok()) {
            self.add(id)?;
        }
        Ok(())
    }
}

fn shown(file: &Path) -> String {
    word(&file.display().to_string()).into_owned()
}

/// The ids at the beginnings of lines, as in `FETCH_HEAD` and in files of one line.
fn read_ids(file: &Path) -> Result<Vec<ObjectId>> {
    let bytes = document::read(file, document::MOST)?.unwrap_or_default();
    let one = |line: &[u8]| {
        let id = line.split(|byte| b" \t".contains(byte)).next().unwrap_or_default();
        ObjectId::from_hex(id).map_err(|e| {
            Error::new(Kind::Io, format!("{} does not name a commit", file.display()))
                .because(e)
                .hint(format!("git fetch — writes FETCH_HEAD again; if it is not needed: rm {}", shown(file)))
        })
    };
    bytes.lines().filter(|line| !line.trim().is_empty()).map(one).collect()
}

#[cfg(test)]
mod tests;
