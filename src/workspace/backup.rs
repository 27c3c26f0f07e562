//! Backups of a stage's last good outputs while the stage runs.
//!
//! Before a stage runs, its outs are renamed into a state folder of lockstep; a rename costs the same for a byte and
//! for a terabyte. If the stage fails, they are renamed back; if lockstep is killed, the next command that takes the
//! workspace lock does that. Each entry is a folder that describes itself, so that no separate list must stay
//! consistent with it:
//!
//! ```text
//! aside/<n>/path      the out's path, made before the rename; a symlink without a target, because after a power cut a
//!                     file may exist without its bytes, and a link cannot
//! aside/<n>/it        the out, or
//! aside/<n>/precious  exists if the out has no other copy
//! aside/<n>/sibling   if the out is on another filesystem: its name beside its place; a symlink for the same reason
//! aside/<n>/gone      `path`, once the out is being deleted
//! aside/<n>/from      the kept path from which the new content of the out's place was moved: it returns there
//! ```
//!
//! Content that is kept for good moves to a log folder. If the log folder is on another filesystem, the content stays
//! beside its place, and a symlink in the log folder points to it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::path::RepoPath;
use crate::project::Project;
use crate::store::{SiblingKind, WritableArea, WritablePath, move_away, real_path, remove};

/// The backups of one project.
pub struct Backups {
    dir: PathBuf,
    /// The log folder.
    logs: PathBuf,
    area: WritableArea,
    /// The number to try first for the next entry.
    next: AtomicU64,
}

/// One out that was moved away.
#[derive(Debug)]
pub struct Backup {
    /// The entry's own folder.
    entry: PathBuf,
    /// Where the bytes are now.
    bytes_at: PathBuf,
    pub out: RepoPath,
    /// These bytes have no other copy: they are kept, not deleted.
    pub precious: bool,
    /// The kept path from which the content that replaces the out came.
    pub replacement_from: Option<PathBuf>,
}

impl Backups {
    pub fn for_project(project: &Project) -> Backups {
        Backups::new(project.state_dir().join("aside"), project.logs_dir(), project.writable_area().clone())
    }

    fn new(dir: PathBuf, logs: PathBuf, area: WritableArea) -> Backups {
        Backups { dir, logs, area, next: AtomicU64::new(0) }
    }

    /// Moves the out away; `None` if there is nothing at its place. The mark `precious` survives a kill.
    pub fn take(&self, out: &RepoPath, precious: bool) -> Result<Option<Backup>> {
        let place = self.area.path(out)?;
        match fs::symlink_metadata(&place) {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(Error::io("look at", place.on_disk(), e)),
        }
        let entry = self.new_entry()?;
        let bytes_at = self.move_into_entry(&entry, out, &place, precious).inspect_err(|_| remove_entry(&entry))?;
        Ok(Some(Backup { entry, bytes_at, out: out.clone(), precious, replacement_from: None }))
    }

    /// Describes the entry, then moves the out. Returns the new path. On an error the out is at its place.
    fn move_into_entry(&self, entry: &Path, out: &RepoPath, place: &WritablePath, precious: bool) -> Result<PathBuf> {
        let path = entry.join("path");
        symlink(out.as_str(), &path).map_err(|e| Error::io("write", &path, e))?;
        if precious {
            let mark = entry.join("precious");
            fs::create_dir(&mark).map_err(|e| Error::io("write", &mark, e))?;
        }
        let bytes_at = entry.join("it");
        match place.rename_to(&bytes_at) {
            Ok(()) => return Ok(bytes_at),
            Err(e) if e.kind() == ErrorKind::CrossesDevices => {}
            Err(e) => return Err(Error::io("set aside", place.on_disk(), e)),
        }
        let bytes_at = SiblingKind::Backup.new_path(place);
        let note = entry.join("sibling");
        symlink(bytes_at.file_name().unwrap_or_default(), &note).map_err(|e| Error::io("write", &note, e))?;
        // Writes to two filesystems are not ordered: without a durable note the owner of the sibling would be unknown.
        for folder in [entry, &self.dir] {
            File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io("write", folder, e))?;
        }
        move_away(place, &bytes_at).map_err(|e| Error::io("set aside", place.on_disk(), e))?;
        Ok(bytes_at)
    }

    fn new_entry(&self) -> Result<PathBuf> {
        fs::create_dir_all(&self.dir).map_err(|e| Error::io("create", &self.dir, e))?;
        loop {
            let entry = self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
            match fs::create_dir(&entry) {
                Ok(()) => return Ok(entry),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("create", &entry, e)),
            }
        }
    }

    /// The backups of a killed run, oldest first.
    pub fn remaining(&self) -> Result<Vec<Backup>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(found),
            Err(e) => return Err(Error::io("read", &self.dir, e)),
        };
        let mut names: Vec<u64> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        names.sort();
        for n in names {
            let entry = self.dir.join(n.to_string());
            if !fs::symlink_metadata(&entry).is_ok_and(|meta| meta.is_dir()) {
                continue;
            }
            let path = match fs::read_link(entry.join("path")) {
                Ok(path) => path,
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    // Killed before the rename, when the out was still at its place, or while it was being deleted.
                    self.finish_deletion(&entry);
                    continue;
                }
                Err(e) => return Err(Error::io("read", entry.join("path"), e)),
            };
            let Some(out) = path.to_str().and_then(|p| RepoPath::root().join(p)) else { continue };
            let precious = entry.join("precious").exists();
            let bytes_at = sibling_of(&entry, &out.on_disk(self.area.top()))?.unwrap_or_else(|| entry.join("it"));
            let replacement_from = fs::read_link(entry.join("from")).ok().filter(|from| self.is_in_logs(from));
            if fs::symlink_metadata(&bytes_at).is_ok() {
                found.push(Backup { entry, bytes_at, out, precious, replacement_from });
            } else {
                remove_entry(&entry);
            }
        }
        Ok(found)
    }

    /// A `replacement_from` note is trusted only if it points into the log folder, because files are moved to that path.
    fn is_in_logs(&self, from: &Path) -> bool {
        let is_plain = from.components().all(|part| !matches!(part, Component::ParentDir));
        let folder = from.parent().map(real_path);
        is_plain && from.starts_with(&self.logs) && folder.is_some_and(|real| real.starts_with(real_path(&self.logs)))
    }

    /// Deletes the rest of an out that was being deleted, and its entry.
    fn finish_deletion(&self, entry: &Path) {
        let gone = fs::read_link(entry.join("gone")).ok();
        if let Some(out) = gone.as_deref().and_then(Path::to_str).and_then(|p| RepoPath::root().join(p))
            && let Ok(place) = self.area.path(&out)
            && let Ok(Some(bytes_at)) = sibling_of(entry, &place)
        {
            let _ = remove(&bytes_at);
        }
        let _ = remove(entry);
    }
}

impl Backup {
    /// Where the bytes are now.
    pub fn bytes_at(&self) -> &Path {
        &self.bytes_at
    }

    /// Notes, before the move, that the new content of the out's place comes from `kept`.
    pub fn note_replacement(&mut self, kept: &Path) -> Result<()> {
        let note = self.entry.join("from");
        symlink(kept, &note).map_err(|e| Error::io("write", &note, e))?;
        self.replacement_from = Some(kept.to_path_buf());
        Ok(())
    }

    /// Moves the bytes back to their place. Errors: another file has appeared there; it is not replaced.
    pub fn restore(self, area: &WritableArea) -> Result<()> {
        let place = area.path(&self.out)?;
        place.create_parents()?;
        place.rename_from(&self.bytes_at).map_err(|e| {
            Error::io("put back", place.on_disk(), e)
                .hint(format!("the last good output is at {}", self.bytes_at.display()))
        })?;
        remove_entry(&self.entry);
        Ok(())
    }

    /// Moves the bytes to `to` for good, or, across filesystems, to a name beside their place. Returns the path.
    pub fn keep(self, to: &Path) -> Result<PathBuf> {
        let at = move_to(&self.bytes_at, to)?;
        remove_entry(&self.entry);
        Ok(at)
    }

    /// Deletes the old output after the new one is recorded. Its note is renamed first: deleting a large folder takes
    /// long, and the rest after a kill must not be restored.
    pub fn delete(self) {
        let _ = fs::rename(self.entry.join("path"), self.entry.join("gone"));
        let _ = remove(&self.bytes_at);
        remove_entry(&self.entry);
    }
}

/// The path of the out beside its place, if the entry names one.
fn sibling_of(entry: &Path, place: &Path) -> Result<Option<PathBuf>> {
    match fs::read_link(entry.join("sibling")) {
        // Only a name that `take` creates is trusted, because its target is moved or removed.
        Ok(name) if SiblingKind::Backup.matches(name.as_os_str(), place) => Ok(Some(place.with_file_name(name))),
        Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
            Err(Error::io("read", entry.join("sibling"), e))
        }
        _ => Ok(None),
    }
}

/// Removes an entry whose bytes are elsewhere. Removes files by name, so that an entry with bytes keeps them.
fn remove_entry(entry: &Path) {
    let _ = fs::remove_file(entry.join("sibling"));
    let _ = fs::remove_file(entry.join("from"));
    let _ = fs::remove_dir(entry.join("precious"));
    let _ = fs::remove_file(entry.join("path"));
    let _ = fs::remove_file(entry.join("gone"));
    let _ = fs::remove_dir(entry);
}

/// Renames, or, if the log folder is on another filesystem, moves to a name beside the place and makes `to` a symlink
/// to it.
pub fn move_to(from: &Path, to: &Path) -> Result<PathBuf> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    // An earlier content of this link was moved back to its place.
    if is_link_to_kept(to) && kept_at(to).is_none() {
        let _ = fs::remove_file(to);
    }
    match fs::rename(from, to) {
        Ok(()) => Ok(to.to_path_buf()),
        Err(e) if e.kind() == ErrorKind::CrossesDevices => {
            let kept = SiblingKind::Preserved.new_path(&from.with_file_name(to.file_name().unwrap_or_default()));
            symlink(&kept, to).map_err(|e| Error::io("write", to, e))?;
            move_away(from, &kept).map_err(|e| Error::io("move", from, e))?;
            Ok(kept)
        }
        Err(e) => Err(Error::io("move", from, e)),
    }
}

/// The actual path of content that [`move_to`] kept at `to`; `None` if it does not exist.
pub fn kept_at(to: &Path) -> Option<PathBuf> {
    let at = if is_link_to_kept(to) { fs::read_link(to).ok()? } else { to.to_path_buf() };
    fs::symlink_metadata(&at).is_ok().then_some(at)
}

/// An out may be a symlink itself; the target of a link by lockstep has a name that only [`move_to`] gives.
fn is_link_to_kept(to: &Path) -> bool {
    let Ok(target) = fs::read_link(to) else { return false };
    let named = |name| SiblingKind::Preserved.matches(name, &target.with_file_name(to.file_name().unwrap_or_default()));
    target.is_absolute() && target.file_name().is_some_and(named)
}

/// Removes a folder of kept outputs, with the content that its links point to.
pub fn remove_kept(folder: &Path) -> std::io::Result<()> {
    remove_linked(folder)?;
    remove(folder)
}

fn remove_linked(path: &Path) -> std::io::Result<()> {
    if is_link_to_kept(path) {
        return kept_at(path).map_or(Ok(()), |kept| remove(&kept));
    }
    if fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
        for entry in fs::read_dir(path)? {
            remove_linked(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("m/d")).unwrap();
        fs::write(top.join("m/d/f"), "1").unwrap();
        fs::write(top.join("o"), "2").unwrap();
        let area = WritableArea::new(&top, &[]);
        let backups = Backups::new(dir.path().join("aside"), dir.path().join("logs"), area.clone());
        let path = |s: &str| RepoPath::root().join(s).unwrap();
        assert!(backups.take(&path("nothing"), false).unwrap().is_none());
        drop((backups.take(&path("m/d"), false).unwrap(), backups.take(&path("o"), true).unwrap()));
        assert!(!top.join("m/d").exists() && !top.join("o").exists());
        // A kill while an old output was given up leaves bytes without a name.
        fs::create_dir_all(dir.path().join("aside/6/it")).unwrap();
        // A kill between the note and the rename leaves an entry without bytes.
        fs::create_dir(dir.path().join("aside/7")).unwrap();
        symlink("x", dir.path().join("aside/7/path")).unwrap();
        fs::create_dir(dir.path().join("aside/8")).unwrap();
        // A note without content, and notes of names that `take` never creates, which must not be trusted.
        for (n, name) in [(9, ""), (10, "m"), (11, ".o.lockstep-0123456789abcdef"), (12, "../o")] {
            let entry = dir.path().join("aside").join(n.to_string());
            fs::create_dir(&entry).unwrap();
            symlink("m/o", entry.join("path")).unwrap();
            if name.is_empty() {
                fs::write(entry.join("sibling"), "").unwrap();
            } else {
                symlink(name, entry.join("sibling")).unwrap();
            }
        }
        // A kill while an out beside its place was deleted: the rest is deleted, files new_path other names stay.
        let half = SiblingKind::Backup.new_path(&top.join("o"));
        for (n, sibling) in [(13, half.clone()), (14, "m".into())] {
            let entry = dir.path().join("aside").join(n.to_string());
            fs::create_dir(&entry).unwrap();
            symlink("o", entry.join("gone")).unwrap();
            symlink(sibling.file_name().unwrap(), entry.join("sibling")).unwrap();
        }
        fs::create_dir(&half).unwrap();
        let remaining = backups.remaining().unwrap();
        assert!(!half.exists() && top.join("m").exists());
        assert_eq!(remaining.len(), 2, "{remaining:?}");
        for backup in remaining {
            backup.restore(&area).unwrap();
        }
        assert_eq!(fs::read_to_string(top.join("m/d/f")).unwrap(), "1");
        assert_eq!(fs::read_to_string(top.join("o")).unwrap(), "2");
        assert!(backups.remaining().unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path().join("aside")).unwrap().count(), 0);
    }

    #[test]
    fn a_symlink_of_the_users_is_no_link_to_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (to, real) = (dir.path().join("o"), dir.path().join("real"));
        fs::write(&real, "mine").unwrap();
        symlink(&real, &to).unwrap();
        assert_eq!(kept_at(&to), Some(to.clone()));
        remove_kept(&to).unwrap();
        assert!(real.exists() && !to.is_symlink());
        let kept = SiblingKind::Preserved.new_path(&to);
        symlink(&kept, &to).unwrap();
        assert_eq!(kept_at(&to), None);
        fs::write(&kept, "").unwrap();
        assert_eq!(kept_at(&to), Some(kept.clone()));
        remove_kept(dir.path()).unwrap();
        assert!(!kept.exists());
    }
}
