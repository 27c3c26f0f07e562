//! Definitions and locks of the worktree or of any commit, without checking it out.
//!
//! All readers (params, metrics, plots, listings, graphs) work on a [`Snapshot`] of either kind. A file of a snapshot
//! is looked up in Git first; if Git does not have it, it may be an output or data, whose pinned bytes are in the
//! store. Definitions are loaded once for all commits with the same pipeline files.

mod cache;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use self::cache::SnapshotCache;
use super::{Definitions, Locks, Project, Worktree};
use crate::document;
use crate::error::{Error, Kind, Result};
use crate::git::{self, Commit, GitId, History, Repo};
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::stage::{InputLocation, StageId};
use crate::shell::{word, words};
use crate::store::trees::EntryKind;
use crate::store::{ObjectKind, Pin};
use crate::url::form::AddressForm;

/// The maximum number of symlinks that one path inside a tree may cross.
const MOST_LINKS: usize = 40;

/// A state of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rev {
    /// The current files.
    Worktree,
    /// A name that Git or the registry resolves.
    Named(String),
    /// This commit.
    Commit(GitId),
}

impl Rev {
    /// Parses the value of a `--rev`; `None` means the worktree.
    pub fn of(given: Option<&str>) -> Rev {
        given.map_or(Rev::Worktree, |name| Rev::Named(name.to_string()))
    }
}

/// One state of the repository.
pub struct Snapshot<'p> {
    /// The project that the snapshot belongs to.
    pub project: &'p Project,
    /// The name that the user gave; `workspace` for the worktree.
    pub name: String,
    /// `None` for the worktree.
    pub commit: Option<GitId>,
    /// The definitions at that state; shared by states with the same pipeline files.
    pub definitions: Rc<Definitions>,
    /// The error of an invalid graph; the graph of the definitions is empty then.
    pub wrong: Option<Error>,
    files: SnapshotSource<'p>,
    locks: OnceCell<Locks>,
    pinned: OnceCell<HashMap<RepoPath, PinnedPath>>,
    cache: Rc<SnapshotCache>,
}

/// Where the bytes of a file of a snapshot are.
#[derive(Clone, Debug, PartialEq)]
pub enum FileSource {
    /// On disk.
    Disk,
    /// In this blob.
    Git(GitId),
    /// In the store, or at a remote.
    Store(Pin),
}

enum SnapshotSource<'p> {
    Worktree(Worktree<'p>),
    Commit(CommitFiles<'p>),
}

/// A path that a lock pins.
#[derive(Clone, Debug, PartialEq)]
pub struct PinnedPath {
    /// Relative to the root of the repository.
    pub path: RepoPath,
    /// The content that the lock pins.
    pub pin: Pin,
    /// Lockstep stores it (else Git does).
    pub cache: bool,
    /// `None` for data.
    pub stage: Option<StageId>,
}

/// Opens snapshots of one project, with a shared cache.
pub struct Snapshots<'p> {
    project: &'p Project,
    history: OnceCell<History>,
    cache: Rc<SnapshotCache>,
}

impl Snapshots<'_> {
    /// The repository of the project.
    pub fn repo(&self) -> &Repo {
        &self.project.repo
    }
}

impl Project {
    /// A snapshot of a revision. For many revisions use [`Project::snapshots`].
    pub fn at(&self, rev: &Rev) -> Result<Snapshot<'_>> {
        self.snapshots().at(rev)
    }

    /// An opener for many snapshots, which share a cache.
    pub fn snapshots(&self) -> Snapshots<'_> {
        Snapshots { project: self, history: OnceCell::new(), cache: Rc::default() }
    }
}

impl<'p> Snapshots<'p> {
    /// The history, opened at the first call. Errors: there is no Git repository.
    pub fn history(&self) -> Result<&History> {
        if self.history.get().is_none() {
            let _ = self.history.set(self.project.repo.history_from(&self.project.cwd)?);
        }
        self.history.get().ok_or_else(|| Error::new(Kind::Bug, "the history was just opened"))
    }

    /// A snapshot of a revision. In a bare repository, the worktree means `HEAD`.
    ///
    /// Errors: [`Kind::Missing`] for an unknown revision. Pipeline files that cannot be read are listed in the
    /// definitions.
    pub fn at(&self, rev: &Rev) -> Result<Snapshot<'p>> {
        match rev {
            Rev::Worktree if self.project.repo.is_bare() => self.at(&Rev::Named("HEAD".into())),
            Rev::Worktree => {
                let (definitions, wrong) = self.project.load()?;
                Ok(Snapshot {
                    project: self.project,
                    name: "workspace".into(),
                    commit: None,
                    definitions: Rc::new(definitions),
                    wrong,
                    files: SnapshotSource::Worktree(self.project.files()),
                    locks: OnceCell::new(),
                    pinned: OnceCell::new(),
                    cache: self.cache.clone(),
                })
            }
            Rev::Named(name) => self.of_commit(self.history()?.resolve(name)?, name),
            Rev::Commit(id) => self.of_commit(self.history()?.commit(*id)?, &id.short()),
        }
    }

    /// A snapshot of an open commit; `name` is how the user named it.
    ///
    /// Errors: the commit cannot be read. Pipeline files that cannot be read are listed in the definitions.
    pub fn of_commit(&self, commit: Commit, name: &str) -> Result<Snapshot<'p>> {
        let files = CommitFiles { top: &self.project.repo.top, commit };
        let cached = self.cache.load(&files, &self.project.repo.project_root)?;
        Ok(Snapshot {
            project: self.project,
            name: name.to_string(),
            commit: Some(files.commit.id),
            definitions: cached.definitions,
            wrong: cached.wrong,
            files: SnapshotSource::Commit(files),
            locks: OnceCell::new(),
            pinned: OnceCell::new(),
            cache: self.cache.clone(),
        })
    }
}

impl<'p> Snapshot<'p> {
    /// The files of the commit in Git, or of the worktree.
    pub fn files(&self) -> &dyn Files {
        match &self.files {
            SnapshotSource::Worktree(files) => files,
            SnapshotSource::Commit(files) => files,
        }
    }

    /// The open commit; `None` for the worktree.
    pub fn git(&self) -> Option<&Commit> {
        match &self.files {
            SnapshotSource::Worktree(_) => None,
            SnapshotSource::Commit(files) => Some(&files.commit),
        }
    }

    /// The definitions. Errors: the graph is invalid.
    pub fn with_graph(&self) -> Result<&Definitions> {
        match &self.wrong {
            Some(error) => Err(error.clone()),
            None => Ok(&self.definitions),
        }
    }

    /// The locks beside the pipeline files, read at the first call.
    pub fn locks(&self) -> Result<&Locks> {
        if let Some(locks) = self.locks.get() {
            return Ok(locks);
        }
        let locks = match &self.files {
            SnapshotSource::Worktree(_) => self.project.locks(&self.definitions)?,
            SnapshotSource::Commit(files) => {
                let paths = self.definitions.pipelines.files.iter().map(|f| Project::lock_path(&f.path));
                Locks::of_commit(paths.map(|path| self.cache.lock(&files.commit, &path)).collect::<Result<_>>()?)
            }
        };
        Ok(self.locks.get_or_init(|| locks))
    }

    /// Reads the locks of many snapshots of one [`Snapshots`] at once.
    pub fn locks_ahead(&self, all: &[&Snapshot<'_>]) -> Result<()> {
        let mut wanted = Vec::new();
        for snapshot in all {
            let Some(commit) = snapshot.git() else { continue };
            let paths = snapshot.definitions.pipelines.files.iter().map(|f| Project::lock_path(&f.path));
            paths.for_each(|path| wanted.push((commit, path)));
        }
        self.cache.read_ahead(&wanted)
    }

    /// All outs and data that the locks pin, in the order of the files, without those that were never pinned.
    ///
    /// Errors: a lock cannot be read.
    pub fn pinned(&self) -> Result<Vec<PinnedPath>> {
        let locks = self.locks()?;
        let pipelines = &self.definitions.pipelines;
        let mut all = Vec::new();
        for id in pipelines.ids() {
            let stage = pipelines.stage(id);
            let Some(entry) = locks.of_file(stage.file).stages.get(&stage.name) else { continue };
            for out in &stage.outs {
                let Some(locked) = entry.outs.get(&out.spelled) else { continue };
                all.push(PinnedPath { path: out.path.clone(), pin: locked.pin, cache: out.cache, stage: Some(id) });
            }
        }
        for (file, lock) in pipelines.files.iter().zip(&locks.all) {
            for data in &file.data {
                let Some(pin) = lock.data.get(&data.spelled) else { continue };
                all.push(PinnedPath { path: data.path.clone(), pin: *pin, cache: true, stage: None });
            }
        }
        Ok(all)
    }

    /// The pin at a path: of an out, data, or a path inside one (whose tree is read from the store).
    ///
    /// Errors: [`Kind::Missing`] if a tree on the way is not in the store.
    pub fn pin(&self, path: &RepoPath) -> Result<Option<Pin>> {
        if self.pinned.get().is_none() {
            let _ = self.pinned.set(self.pinned()?.into_iter().map(|p| (p.path.clone(), p)).collect());
        }
        let pinned = self.pinned.get();
        let mut at = Some(path.clone());
        while let Some(here) = at {
            match pinned.and_then(|all| all.get(&here)) {
                Some(owner) if here == *path => return Ok(Some(owner.pin)),
                Some(owner) => return self.inside(owner, path),
                None => at = here.parent(),
            }
        }
        Ok(None)
    }

    /// Finds a file without reading it: first in Git (for the worktree: on disk), else among the pins. `None` if it
    /// does not exist.
    pub fn locate(&self, path: &RepoPath) -> Result<Option<FileSource>> {
        let Some(commit) = self.git() else {
            return match std::fs::metadata(path.on_disk(self.project.top())) {
                Ok(meta) if meta.is_dir() => Err(Error::usage(format!("{path} is a folder"))),
                Ok(_) => Ok(Some(FileSource::Disk)),
                Err(e) if is_nothing(&e) => self.pinned_out(path),
                Err(e) => Err(Error::io("look at", path.as_str(), e)),
            };
        };
        match commit.find(path)? {
            Some((git::EntryKind::Folder, _)) => Err(Error::usage(format!("{path} is a folder"))),
            Some((git::EntryKind::File | git::EntryKind::Executable, id)) => Ok(Some(FileSource::Git(id))),
            _ => match self.pin(path)? {
                Some(pin) if pin.is_dir() => Err(Error::usage(format!("{path} is a folder"))),
                pin => Ok(pin.map(FileSource::Store)),
            },
        }
    }

    /// An output that lockstep stores and that is missing from the worktree: its pin is used.
    fn pinned_out(&self, path: &RepoPath) -> Result<Option<FileSource>> {
        let is_kept = self
            .definitions
            .pipelines
            .stages
            .iter()
            .flat_map(|stage| &stage.outs)
            .any(|out| out.cache && path.is_in(&out.path));
        match if is_kept { self.pin(path)? } else { None } {
            Some(pin) if pin.is_dir() => Err(Error::usage(format!("{path} is a folder"))),
            pin => Ok(pin.map(FileSource::Store)),
        }
    }

    /// The bytes of a small file: from Git (for the worktree: from disk), else as pinned. `None` if it does not exist.
    ///
    /// Errors: [`Kind::Missing`] if it is pinned and not in the store.
    pub fn read_file(&self, path: &RepoPath) -> Result<Option<Vec<u8>>> {
        match self.locate(path)? {
            Some(FileSource::Store(pin)) if pin.size > document::MOST => {
                let most = document::MOST >> 20;
                Err(Error::usage(format!("{path} is larger than {most} MiB, too large to be read whole")))
            }
            Some(FileSource::Store(pin)) => self
                .project
                .store()
                .read(&pin.id, ObjectKind::Content)
                .map(Some)
                .map_err(|e| self.missing_object(path, e)),
            Some(_) => self.files().read(&InputLocation::Repo(path.clone())),
            None => Ok(None),
        }
    }

    /// The error for an object that this snapshot pins and that is not in the store.
    pub fn missing_object(&self, path: &RepoPath, cause: Error) -> Error {
        if cause.kind != Kind::Missing {
            return cause;
        }
        let of = if self.commit.is_some() { format!(" of {}", self.name) } else { String::new() };
        let error = Error::missing(format!("{path}{of} is not in the store"));
        let error = cause.causes.into_iter().fold(error, |e, why| e.because(why));
        let mut data = self.definitions.pipelines.files.iter().flat_map(|file| &file.data);
        let is_data = data.any(|data| path.is_in(&data.path));
        let path = path.relative_to(&self.project.cwd);
        let folder = self.project.address.as_ref().map(|address| match address.form() {
            Ok(AddressForm::Folder(path)) => path.into_owned(),
            _ => address.to_string(),
        });
        let folder = folder.as_deref();
        match self.commit {
            Some(_) if self.project.repo.is_bare() && folder.is_some() => {
                error.hint("in that repository, so that it can be had from its remote: lockstep push")
            }
            Some(_) if self.project.config.remotes().is_empty() => error.hint(match folder {
                Some(_) => "that clone has no remote: push it from a clone that has it: lockstep push",
                None => "there is no remote to fetch it from: lockstep remote add -d NAME URL",
            }),
            Some(_) => {
                let there = folder.map_or(Vec::new(), |folder| vec!["-C", folder]);
                let words = words(there.into_iter().chain(["fetch", "--rev", &self.name, &path]));
                // With `-C` the settings of that clone are used as the user's.
                let if_own = if self.project.repo.is_other { "if that clone is yours: " } else { "" };
                error.hint(format!("{if_own}lockstep {words}"))
            }
            // Data cannot be made by a run.
            None => match (self.project.config.remotes().is_empty(), is_data) {
                (false, true) => error.hint(format!("lockstep fetch {}", word(&path))),
                (false, false) => {
                    error.hint(format!("lockstep fetch {}", word(&path))).hint("or make it again: lockstep repro")
                }
                (true, true) => error.hint("there is no remote to fetch it from: put a copy of it back there"),
                (true, false) => error.hint("make it again: lockstep repro"),
            },
        }
    }

    /// Looks up a path inside a pinned folder, following symlinks inside it.
    fn inside(&self, owner: &PinnedPath, path: &RepoPath) -> Result<Option<Pin>> {
        let mut rest = path.relative_to(&owner.path);
        for _ in 0..MOST_LINKS {
            let mut pin = owner.pin;
            let mut at = RepoPath::root();
            let parts: Vec<String> = rest.split('/').map(str::to_string).collect();
            let mut linked = None;
            for (n, name) in parts.iter().enumerate() {
                if !pin.is_dir() {
                    return Ok(None);
                }
                let tree =
                    self.project.store().read_tree(&pin.id, n).map_err(|e| self.missing_object(&owner.path, e))?;
                let Ok(found) = tree.entries.binary_search_by(|e| e.name.as_slice().cmp(name.as_bytes())) else {
                    return Ok(None);
                };
                let entry = &tree.entries[found];
                if entry.kind == EntryKind::Symlink {
                    let text = self.project.store().read(&entry.id, ObjectKind::Content);
                    let text = text.map_err(|e| self.missing_object(path, e))?;
                    let to = at.join(&String::from_utf8_lossy(&text)).and_then(|to| to.join(&parts[n + 1..].join("/")));
                    linked = Some(to);
                    break;
                }
                pin = entry.pin();
                at = at.join(name).unwrap_or_default();
            }
            match linked {
                None => return Ok(Some(pin)),
                Some(Some(to)) if to.is_root() => return Ok(Some(owner.pin)),
                Some(Some(to)) => rest = to.to_string(),
                Some(None) => return Ok(None),
            }
        }
        Err(Error::usage(format!("{path} leads over too many symlinks")))
    }
}

/// The files of a commit. Paths outside of the repository do not exist in a commit.
struct CommitFiles<'p> {
    /// The top folder of the repository, to make absolute paths into it relative.
    top: &'p Path,
    commit: Commit,
}

impl Files for CommitFiles<'_> {
    fn top(&self) -> &Path {
        self.top
    }

    fn read(&self, place: &InputLocation) -> Result<Option<Vec<u8>>> {
        match place {
            InputLocation::Repo(path) => self.commit.read(path),
            InputLocation::Outside(_) => Ok(None),
            InputLocation::Url(url) => {
                Err(Error::new(Kind::Usage, format!("{url} is not a file that can be read here")))
            }
        }
    }
}

#[cfg(test)]
mod tests;

fn is_nothing(error: &std::io::Error) -> bool {
    [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory].contains(&error.kind())
}
