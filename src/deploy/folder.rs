//! The folder of a target: whether it may be used, its lock, its releases, and the link `current`.
//!
//! ```text
//! current -> releases/v1.1.0-4b28d43d5570     the only state that counts
//! releases/v1.1.0-4b28d43d5570/               complete before it has this name
//! .deploy/lock  journal.jsonl  output.log  staging/
//! ```
//!
//! A folder is used if it is empty or has `.deploy/lock`, the mark. Nothing in it that this module did not create is
//! ever changed or deleted.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::target::{Destination, Target, setting_of};
use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::file_lock::{self, FileLock, LockResult, Mode, Wait};
use crate::path::RepoPath;
use crate::project::{Project, Snapshot};
use crate::shell::word;
use crate::store::{self, FolderEntry, RootFolder};

/// The link to the current release.
pub const CURRENT: &str = "current";
/// The folder of the releases.
pub const RELEASES: &str = "releases";
/// Lockstep's own folder.
const OWN: &str = ".deploy";
const LOCK: &str = ".deploy/lock";
const STAGING: &str = ".deploy/staging";
/// The output of the commands of the last deployment.
pub const OUTPUT: &str = ".deploy/output.log";

/// The folder of a target, checked.
pub struct TargetFolder {
    root: RootFolder,
}

/// What a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderState {
    /// It does not exist.
    Absent,
    /// It can become a target.
    Empty,
    /// It is a target.
    Ours,
}

/// What `current` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CurrentLink {
    /// It does not exist.
    Absent,
    /// The name of the release that it leads to, which may be missing.
    Release(String),
    /// A symlink to some other place.
    Elsewhere(String),
}

impl TargetFolder {
    /// Looks at the folder and changes nothing.
    ///
    /// Errors: the folder is a symlink or a file, has content of others, or its own folders were replaced by links.
    pub fn look(folder: &Path) -> Result<(TargetFolder, FolderState)> {
        let target = TargetFolder { root: RootFolder::new(folder.to_path_buf()) };
        let state = target.state()?;
        Ok((target, state))
    }

    /// The same for a deployment: creates the folder and its parts, and takes its lock.
    ///
    /// Errors: also [`Kind::Busy`] if another process holds the lock.
    pub fn open(project: &Project, target: &Target, inside: bool, sink: &dyn Sink) -> Result<(TargetFolder, FileLock)> {
        let folder = &target.to.folder;
        let (opened, state) = TargetFolder::look(folder)?;
        if state == FolderState::Absent {
            fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        }
        if state != FolderState::Ours && inside {
            opened.ignore_in_git()?;
        }
        for part in [OWN, STAGING, RELEASES] {
            opened.root.create_folder(part, |_| Ok(())).map_err(|e| opened.cannot("create", part, e))?;
        }
        let lock = opened.lock(project, sink)?;
        opened.check_devices()?;
        opened.clean()?;
        Ok((opened, lock))
    }

    /// The folder by which its content is reached.
    pub fn root(&self) -> &RootFolder {
        &self.root
    }

    /// The path of a release.
    pub fn release(&self, name: &str) -> PathBuf {
        self.root.path().join(RELEASES).join(name)
    }

    /// The folder of what has no name yet; the next deployment empties it.
    pub fn staging_area(&self) -> PathBuf {
        self.root.path().join(STAGING)
    }

    /// The path of a new folder for a release that has no name yet.
    pub fn staging(&self) -> PathBuf {
        self.root.path().join(STAGING).join(store::random_name())
    }

    fn cannot(&self, doing: &str, below: &str, e: std::io::Error) -> Error {
        Error::io(doing, self.root.path().join(below), e)
    }

    fn state(&self) -> Result<FolderState> {
        let folder = self.root.path();
        match folder.symlink_metadata() {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(FolderState::Absent),
            Err(e) => return Err(Error::io("look at", folder, e)),
            Ok(meta) if meta.is_symlink() => {
                let real = fs::canonicalize(folder).map_or_else(|_| "its target".into(), |p| p.display().to_string());
                return Err(Error::usage(format!(
                    "{} is a symlink, and nothing is deployed through one",
                    folder.display()
                ))
                .hint(format!("name the folder itself: {real}")));
            }
            Ok(meta) if !meta.is_dir() => {
                return Err(Error::usage(format!("{} is a file, where a folder is needed", folder.display())));
            }
            Ok(_) => {}
        }
        for part in [OWN, RELEASES, STAGING] {
            self.check_part(part)?;
        }
        let is_marked = self.root.stat(LOCK).is_ok_and(|seen| seen.is_file());
        if is_marked { Ok(FolderState::Ours) } else { self.check_empty().map(|()| FolderState::Empty) }
    }

    /// A part of the layout is a real folder, or does not exist.
    fn check_part(&self, part: &str) -> Result<()> {
        match self.root.stat(part) {
            Ok(seen) if seen.is_dir() => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Ok(_) => Err(self.foreign(part, "is not a folder")),
            Err(e) => Err(self.cannot("look at", part, e)),
        }
    }

    fn foreign(&self, name: &str, why: &str) -> Error {
        Error::usage(format!("{} {why}; nothing was changed", self.root.path().join(name).display()))
            .because("nothing is deployed into a folder with content that lockstep did not put there")
            .hint("look at it, and move it away; or name another folder: --to FOLDER")
    }

    /// A folder without the mark has at most what a killed first deployment left: parts without content.
    fn check_empty(&self) -> Result<()> {
        let list = |below: &str| self.root.entries(below).map_err(|e| self.cannot("list", below, e));
        let is_own = |entry: &FolderEntry| [OWN, RELEASES, ".gitignore"].contains(&entry.text());
        if let Some(entry) = list("")?.iter().find(|entry| !is_own(entry)) {
            return Err(self.foreign(entry.text(), "is there already"));
        }
        for (part, known) in [(OWN, Some("staging")), (RELEASES, None), (STAGING, None)] {
            if let Some(entry) = list(part)?.iter().find(|entry| Some(entry.text()) != known) {
                return Err(self.foreign(&format!("{part}/{}", entry.text()), "is there already"));
            }
        }
        Ok(())
    }

    /// A target inside the repository is no work of its user.
    fn ignore_in_git(&self) -> Result<()> {
        let file = self.root.path().join(".gitignore");
        match fs::File::options().write(true).create_new(true).open(&file) {
            Ok(mut new) => std::io::Write::write_all(&mut new, b"/*\n").map_err(|e| Error::io("write", &file, e)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(Error::io("create", &file, e)),
        }
    }

    fn lock(&self, project: &Project, sink: &dyn Sink) -> Result<FileLock> {
        let file = self.root.open_or_create(LOCK, 0o600).map_err(|e| self.cannot("open", LOCK, e))?;
        let mode = self.root.path().metadata().map(|meta| file_lock::mode_within(&meta)).unwrap_or(0o600);
        file_lock::set_mode(&file, mode).map_err(|e| self.cannot("open", LOCK, e))?;
        let busy = format!("deploys to {}", self.root.path().display());
        let stop = project.around.stop;
        let wait = Wait { busy: &busy, usual: Some(Duration::ZERO), signal: &|| stop.signal(), sink };
        match file_lock::lock(file, Mode::Exclusive, &wait)? {
            LockResult::Locked(mut lock) => {
                lock.write_holder("lockstep deploy");
                Ok(lock)
            }
            LockResult::NoLocks(_, e) => Err(self
                .cannot("lock", LOCK, e)
                .because("two deployments at the same time could not be told apart without locks")),
        }
    }

    /// A release gets its name by a rename, which needs one file system.
    fn check_devices(&self) -> Result<()> {
        let device = |part: &str| {
            let path = if part.is_empty() { self.root.path().to_path_buf() } else { self.root.path().join(part) };
            path.symlink_metadata().map(|meta| meta.dev()).map_err(|e| Error::io("look at", &path, e))
        };
        let own = device("")?;
        for part in [OWN, STAGING, RELEASES] {
            if device(part)? != own {
                return Err(self.foreign(part, "is on another file system than its folder"));
            }
        }
        Ok(())
    }

    /// Deletes what killed deployments left: unnamed releases, and links that were not renamed.
    fn clean(&self) -> Result<()> {
        for left in self.root.entries(STAGING).map_err(|e| self.cannot("list", STAGING, e))? {
            store::remove(&left.path).map_err(|e| Error::io("remove", &left.path, e))?;
        }
        for left in self.root.entries("").map_err(|e| self.cannot("list", "", e))? {
            let number = left.text().strip_prefix(".current.").unwrap_or_default();
            let is_ours = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            if is_ours && self.root.is_link(&left.name) {
                self.root.remove_file(&left.name).map_err(|e| Error::io("remove", &left.path, e))?;
            }
        }
        Ok(())
    }

    /// What `current` is.
    ///
    /// Errors: it is not a symlink; it is not replaced then.
    pub fn current(&self) -> Result<CurrentLink> {
        match self.root.stat(CURRENT) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(CurrentLink::Absent),
            Err(e) => return Err(self.cannot("look at", CURRENT, e)),
            Ok(seen) if !seen.is_link() => return Err(self.foreign(CURRENT, "is not a symlink")),
            Ok(_) => {}
        }
        let path = self.root.path().join(CURRENT);
        let text = fs::read_link(&path).map_err(|e| Error::io("read", &path, e))?;
        let name = text.strip_prefix(RELEASES).ok().and_then(Path::to_str).filter(|name| is_name(name));
        Ok(match name {
            Some(name) => CurrentLink::Release(name.to_string()),
            None => CurrentLink::Elsewhere(text.display().to_string()),
        })
    }

    /// Lets `current` lead to a release, in one step, durably; `None` removes it.
    pub fn switch(&self, release: Option<&str>) -> Result<()> {
        self.current()?;
        let Some(release) = release else {
            return match self.root.remove_file(CURRENT) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(self.cannot("remove", CURRENT, e)),
                _ => self.root.sync("").map_err(|e| self.cannot("sync", CURRENT, e)),
            };
        };
        let new = format!(".current.{}", std::process::id());
        let path = self.root.path().join(&new);
        std::os::unix::fs::symlink(Path::new(RELEASES).join(release), &path)
            .map_err(|e| Error::io("create", &path, e))?;
        let renamed = self.root.rename(&new, CURRENT);
        if renamed.is_err() {
            let _ = self.root.remove_file(&new);
        }
        renamed.and_then(|()| self.root.sync("")).map_err(|e| self.cannot("switch", CURRENT, e))
    }

    /// Gives a complete folder of `staging/` its name.
    pub fn name(&self, staged: &Path, name: &str) -> Result<()> {
        let to = self.release(name);
        if to.symlink_metadata().is_ok() {
            return Err(self.foreign(&format!("{RELEASES}/{name}"), "is there already"));
        }
        let from = self.root.below(staged).map_err(|e| Error::io("name", staged, e))?;
        let renamed = self.root.rename(from, Path::new(RELEASES).join(name));
        let synced = renamed.and_then(|()| self.root.sync(RELEASES)).and_then(|()| self.root.sync(STAGING));
        synced.map_err(|e| Error::io("create", &to, e))
    }

    /// The entries of `releases/`.
    pub fn releases(&self) -> Result<Vec<FolderEntry>> {
        self.root.entries(RELEASES).map_err(|e| self.cannot("list", RELEASES, e))
    }

    /// Deletes a release: it loses its name first, so that no half of it is ever found.
    pub fn remove_release(&self, name: &str) -> Result<()> {
        let staged = self.staging();
        let path = self.release(name);
        let moved = self.root.below(&staged).and_then(|to| self.root.rename(Path::new(RELEASES).join(name), to));
        moved.and_then(|()| store::remove(&staged)).map_err(|e| Error::io("remove", &path, e))
    }

    /// Writes the output of the commands, for a later look.
    pub fn keep_output(&self, text: &str) {
        let Ok(mut file) = self.root.open_or_create(OUTPUT, 0o644) else { return };
        let _ = file.set_len(0).and_then(|()| std::io::Write::write_all(&mut file, text.as_bytes()));
    }
}

/// One ordinary component.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !["..", "."].contains(&name) && !name.contains('\0')
}

/// Checks that the user allows the folder. Returns whether it lies inside the repository.
///
/// Errors: only a file of the repository names a folder outside of it, or a folder inside holds data, outputs, or
/// belongs to Git or lockstep.
pub fn check_place(project: &Project, now: &Snapshot<'_>, target: &Target) -> Result<bool> {
    let Destination { folder, shown, is_users, registry } = &target.to;
    if registry.is_some() {
        return if *is_users { Ok(false) } else { Err(unconfirmed(target)) };
    }
    let real = store::real_path(folder);
    let what = format!("the folder of the target {}", target.name);
    let area = project.writable_area();
    area.check_folder(folder, &what)?;
    area.check_outside_git(folder, &what)?;
    let Some(inside) = RepoPath::from_absolute(project.top(), &real) else {
        return match is_users {
            true => Ok(false),
            false => Err(unconfirmed(target)),
        };
    };
    if !is_users {
        area.check_committed_folder(folder, &what)?;
    }
    let owners = now.with_graph()?.graph.owners_of(&inside);
    let is_pipeline = |file: &crate::pipeline::stage::PipelineFile| file.path.is_in(&inside);
    if !owners.is_empty() || now.definitions.pipelines.files.iter().any(is_pipeline) {
        return Err(Error::usage(format!("{what} cannot be {shown}: outputs, data or a pipeline.yaml are there"))
            .hint("name a folder of its own"));
    }
    Ok(true)
}

/// The error for a folder that only a file of the repository names.
fn unconfirmed(target: &Target) -> Error {
    let folder = target.to.place();
    let key = setting_of(&target.name);
    let mut error = Error::usage(format!(
        "{} is outside of this repository, and only a file of the repository says that {} goes there",
        folder, target.name
    ))
    .because("a file that others can change does not choose where this machine is written to")
    .hint(format!("if you want it there: lockstep config --local {} {}", word(&key), word(&folder)))
    .hint(format!("or for this time: lockstep deploy {} --to {}", target.name, word(&folder)));
    error.kind = Kind::Usage;
    error
}

/// Whether [`check_place`] fails only since the user has not confirmed the folder: a terminal may ask.
pub fn needs_confirmation(project: &Project, target: &Target) -> bool {
    let real = store::real_path(&target.to.folder);
    let is_outside = || target.to.registry.is_some() || RepoPath::from_absolute(project.top(), &real).is_none();
    !target.to.is_users && is_outside()
}

/// Makes all folders below and including `top` readable for others, whatever the umask is.
pub fn open_folders(top: &Path) -> Result<()> {
    let cannot = |e| Error::io("write", top, e);
    let mut open = vec![top.to_path_buf()];
    while let Some(folder) = open.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).map_err(cannot)?;
        for entry in fs::read_dir(&folder).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            if entry.file_type().map_err(cannot)?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(())
}
