//! The last good outputs of a stage, out of its way while it runs.
//!
//! Before a stage runs its outs are renamed into a folder of lockstep's own; a rename costs the same for a byte and for
//! a terabyte. When the stage fails they are renamed back; when lockstep is killed the next command that takes the
//! workspace lock does that. Each entry is a folder that describes itself, so that no list has to be in step with it:
//!
//! ```text
//! aside/<n>/path      the out's path, made before the rename; a symlink to nowhere, because after a power cut a
//!                     file may be there without its bytes, and a link is not
//! aside/<n>/it        the out, or
//! aside/<n>/precious  if its bytes are nowhere else
//! aside/<n>/sibling   if the out lies on another filesystem: it stands beside its place, under this name
//! ```

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::path::RepoPath;

pub struct Asides {
    dir: PathBuf,
    top: PathBuf,
    /// The number that the next entry tries first.
    next: AtomicU64,
}

/// One out that was set aside.
#[derive(Debug)]
pub struct Aside {
    /// The entry's own folder.
    entry: PathBuf,
    /// Where the bytes are now.
    it: PathBuf,
    pub out: RepoPath,
    /// These bytes are nowhere else: they are kept, not given up.
    pub precious: bool,
}

impl Asides {
    pub fn new(dir: PathBuf, top: PathBuf) -> Asides {
        Asides { dir, top, next: AtomicU64::new(0) }
    }

    /// Renames the out away; `None` if there is nothing at its place.
    /// `precious` survives a kill, too.
    pub fn take(&self, out: &RepoPath, precious: bool) -> Result<Option<Aside>> {
        let place = crate::store::inside(&self.top, out)?;
        match fs::symlink_metadata(&place) {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(Error::io("look at", &place, e)),
        }
        let entry = self.new_entry()?;
        let path = entry.join("path");
        symlink(out.as_str(), &path).map_err(|e| Error::io("write", &path, e))?;
        if precious {
            let mark = entry.join("precious");
            fs::create_dir(&mark).map_err(|e| Error::io("write", &mark, e))?;
        }
        let it = entry.join("it");
        match fs::rename(&place, &it) {
            Ok(()) => Ok(Some(Aside { entry, it, out: out.clone(), precious })),
            Err(e) if e.kind() == ErrorKind::CrossesDevices => {
                let it = crate::store::sibling(&place);
                let note = entry.join("sibling");
                let name = it.file_name().unwrap_or_default().to_string_lossy().into_owned();
                fs::write(&note, &name).map_err(|e| Error::io("write", &note, e))?;
                fs::rename(&place, &it).map_err(|e| {
                    forget(&entry);
                    Error::io("set aside", &place, e)
                })?;
                Ok(Some(Aside { entry, it, out: out.clone(), precious }))
            }
            Err(e) => {
                forget(&entry);
                Err(Error::io("set aside", &place, e))
            }
        }
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

    /// What a killed run left here, oldest first.
    pub fn left(&self) -> Result<Vec<Aside>> {
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
            let path = match fs::read_link(entry.join("path")) {
                Ok(path) => path,
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    // Killed before the rename, when the out had not left its place, or while it was given up.
                    let _ = fs::remove_dir_all(&entry);
                    continue;
                }
                Err(e) => return Err(Error::io("read", entry.join("path"), e)),
            };
            let Some(out) = path.to_str().and_then(|p| RepoPath::root().join(p)) else { continue };
            let precious = entry.join("precious").exists();
            let it = match fs::read_to_string(entry.join("sibling")) {
                Ok(name) if !name.contains('/') && !entry.join("it").exists() => {
                    out.on_disk(&self.top).with_file_name(name)
                }
                _ => entry.join("it"),
            };
            if fs::symlink_metadata(&it).is_ok() {
                found.push(Aside { entry, it, out, precious });
            } else {
                forget(&entry);
            }
        }
        Ok(found)
    }
}

impl Aside {
    /// Where it is meanwhile.
    pub fn place(&self) -> &Path {
        &self.it
    }

    /// Back to its place, which must be empty.
    pub fn put_back(self, top: &Path) -> Result<()> {
        let place = crate::store::inside(top, &self.out)?;
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        }
        fs::rename(&self.it, &place).map_err(|e| {
            Error::io("put back", &place, e).hint(format!("the last good output is at {}", self.it.display()))
        })?;
        forget(&self.entry);
        Ok(())
    }

    /// Moves it to `to`, or as near as the filesystem lets, for keeps; says where it is.
    pub fn keep(self, to: &Path) -> Result<PathBuf> {
        let at = move_to(&self.it, to)?;
        forget(&self.entry);
        Ok(at)
    }

    /// The new output is recorded: the old one goes. Its name goes first, because a large folder takes its time, and
    /// what a kill leaves of it must not return.
    pub fn forget(self) {
        let _ = fs::remove_file(self.entry.join("path"));
        if self.it.is_dir() && !self.it.is_symlink() {
            let _ = fs::remove_dir_all(&self.it);
        } else {
            let _ = fs::remove_file(&self.it);
        }
        forget(&self.entry);
    }
}

/// Removes an entry whose bytes are elsewhere; by name, so that bytes which are still there keep it.
fn forget(entry: &Path) {
    let _ = fs::remove_file(entry.join("sibling"));
    let _ = fs::remove_dir(entry.join("precious"));
    let _ = fs::remove_file(entry.join("path"));
    let _ = fs::remove_dir(entry);
}

/// A rename, or beside its place where the log folder is on another filesystem.
pub fn move_to(from: &Path, to: &Path) -> Result<PathBuf> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    match fs::rename(from, to) {
        Ok(()) => Ok(to.to_path_buf()),
        Err(e) if e.kind() == ErrorKind::CrossesDevices => {
            let sibling = crate::store::sibling(from);
            fs::rename(from, &sibling).map_err(|e| Error::io("move", from, e))?;
            Ok(sibling)
        }
        Err(e) => Err(Error::io("move", from, e)),
    }
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
        let asides = Asides::new(dir.path().join("aside"), top.clone());
        let path = |s: &str| RepoPath::root().join(s).unwrap();
        assert!(asides.take(&path("nothing"), false).unwrap().is_none());
        drop((asides.take(&path("m/d"), false).unwrap(), asides.take(&path("o"), true).unwrap()));
        assert!(!top.join("m/d").exists() && !top.join("o").exists());
        // A kill while an old output was given up leaves bytes without a name.
        fs::create_dir_all(dir.path().join("aside/6/it")).unwrap();
        // A kill between the note and the rename leaves an entry without bytes.
        fs::create_dir(dir.path().join("aside/7")).unwrap();
        symlink("x", dir.path().join("aside/7/path")).unwrap();
        fs::create_dir(dir.path().join("aside/8")).unwrap();
        for aside in asides.left().unwrap() {
            aside.put_back(&top).unwrap();
        }
        assert_eq!(fs::read_to_string(top.join("m/d/f")).unwrap(), "1");
        assert_eq!(fs::read_to_string(top.join("o")).unwrap(), "2");
        assert!(asides.left().unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path().join("aside")).unwrap().count(), 0);
    }
}
