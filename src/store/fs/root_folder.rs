//! A root folder that lockstep manages, a store or a remote, whose content is reached without following symlinks.
//!
//! A commit, or another writer of a shared folder, can put a symlink where a folder of a store or a remote belongs
//! (`tmp -> ~/documents`), and writes and deletions below it would hit another folder. So each folder on the way is
//! opened from the one above it without following symlinks, and the last step happens in the folder that was opened: a
//! name that is replaced by a symlink later changes nothing. The root itself may be behind a symlink, since the user
//! names it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};

use super::stat::Seen;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

/// The root, which may be missing. It is opened for each operation.
#[derive(Clone, Debug)]
pub struct RootFolder {
    path: PathBuf,
}

/// A name in a folder, with its path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderEntry {
    /// One component.
    pub name: OsString,
    /// The path of the root, of the folder and the name, joined.
    pub path: PathBuf,
}

impl FolderEntry {
    /// Empty for a name that is not UTF-8, which lockstep never creates.
    pub fn text(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }
}

impl RootFolder {
    /// A root at `path`, which may be missing.
    pub fn new(path: PathBuf) -> RootFolder {
        RootFolder { path }
    }

    /// The path as given to [`RootFolder::new`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder below the root; `""` is the root.
    ///
    /// Errors: those of the system, or a symlink on the way.
    pub fn open_folder(&self, below: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.walk(below.as_ref(), |_, _| Err(ErrorKind::NotFound.into()))
    }

    /// Opens a folder and creates missing ones. Calls `made` for each new folder.
    pub fn create_folder(
        &self,
        below: impl AsRef<Path>,
        made: impl Fn(&OwnedFd) -> io::Result<()>,
    ) -> io::Result<OwnedFd> {
        self.walk(below.as_ref(), |above, name| {
            match rustix::fs::mkdirat(above, name, Mode::from_bits_retain(0o777)) {
                Ok(()) => {
                    let new = rustix::fs::openat(above, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
                    made(&new)?;
                    Ok(new)
                }
                // Another process was faster.
                Err(rustix::io::Errno::EXIST) => {
                    Ok(rustix::fs::openat(above, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?)
                }
                Err(e) => Err(e.into()),
            }
        })
    }

    fn walk(&self, below: &Path, missing: impl Fn(&OwnedFd, &OsStr) -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
        let mut folder = rustix::fs::open(&self.path, FOLDER, Mode::empty())?;
        let mut path = PathBuf::new();
        for component in below.components() {
            let Component::Normal(name) = component else {
                return Err(io::Error::new(ErrorKind::InvalidInput, "the path leaves its folder"));
            };
            path.push(name);
            folder = match rustix::fs::openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(next) => next,
                Err(rustix::io::Errno::NOENT) => missing(&folder, name)?,
                Err(_) if is_link(&folder, name) => return Err(link_error(&path)),
                Err(e) => return Err(e.into()),
            };
        }
        Ok(folder)
    }

    /// The parent folder of a path below the root, and the last name.
    fn parent<'p>(&self, below: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let name = below.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the path has no name"))?;
        Ok((self.open_folder(below.parent().unwrap_or(Path::new("")))?, name))
    }

    /// Converts a path of the file system to one relative to the root.
    pub fn below<'p>(&self, path: &'p Path) -> io::Result<&'p Path> {
        path.strip_prefix(&self.path)
            .map_err(|_| io::Error::new(ErrorKind::InvalidInput, "it lies outside of the folder"))
    }

    /// The entries of a folder, sorted; none if the folder does not exist.
    pub fn entries(&self, below: impl AsRef<Path>) -> io::Result<Vec<FolderEntry>> {
        Ok(self.entries_up_to(below, usize::MAX)?.unwrap_or_default())
    }

    /// The same; `None` if there are more than `most`.
    pub fn entries_up_to(&self, below: impl AsRef<Path>, most: usize) -> io::Result<Option<Vec<FolderEntry>>> {
        let below = below.as_ref();
        let folder = match self.open_folder(below) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some(Vec::new())),
            folder => folder?,
        };
        let mut entries = Vec::new();
        for entry in Dir::new(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let name = OsStr::from_bytes(name).to_os_string();
                let path = self.path.join(below).join(&name);
                entries.push(FolderEntry { name, path });
            }
            if entries.len() > most {
                return Ok(None);
            }
        }
        entries.sort_unstable();
        Ok(Some(entries))
    }

    /// The stat of a path, without following a symlink.
    pub fn stat(&self, below: impl AsRef<Path>) -> io::Result<Seen> {
        let (folder, name) = self.parent(below.as_ref())?;
        Ok(Seen::from(rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Opens a regular file for reading.
    pub fn open_file(&self, below: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(below.as_ref(), OFlags::RDONLY, 0)
    }

    /// Creates a file for writing.
    pub fn create_new(&self, below: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(below.as_ref(), OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, 0o666)
    }

    /// Opens a file for reading and writing; creates it if it is missing.
    pub fn open_or_create(&self, below: impl AsRef<Path>, mode: u32) -> io::Result<File> {
        self.open_with(below.as_ref(), OFlags::RDWR | OFlags::CREATE, mode)
    }

    fn open_with(&self, below: &Path, flags: OFlags, mode: u32) -> io::Result<File> {
        let (folder, name) = self.parent(below)?;
        let file = match rustix::fs::openat(&folder, name, FILE | flags, Mode::from_bits_retain(mode as _)) {
            Err(_) if is_link(&folder, name) => return Err(link_error(below)),
            file => File::from(file?),
        };
        let meta = file.metadata()?;
        if meta.is_file() {
            return Ok(file);
        }
        let kind = if meta.is_dir() { ErrorKind::IsADirectory } else { ErrorKind::Unsupported };
        Err(io::Error::new(kind, format!("{} is not a regular file", below.display())))
    }

    /// Removes a file or a symlink.
    pub fn remove_file(&self, below: impl AsRef<Path>) -> io::Result<()> {
        let (folder, name) = self.parent(below.as_ref())?;
        Ok(rustix::fs::unlinkat(&folder, name, AtFlags::empty())?)
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, below: impl AsRef<Path>) -> io::Result<()> {
        let (folder, name) = self.parent(below.as_ref())?;
        Ok(rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR)?)
    }

    /// Renames within the root; replaces a file at `to`.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let (from_folder, from) = self.parent(from.as_ref())?;
        let (to_folder, to) = self.parent(to.as_ref())?;
        Ok(rustix::fs::renameat(&from_folder, from, &to_folder, to)?)
    }

    /// Makes the entries of a folder durable.
    pub fn sync(&self, below: impl AsRef<Path>) -> io::Result<()> {
        File::from(self.open_folder(below)?).sync_all()
    }

    /// Is there a symlink in place of this folder? The path is relative to the root.
    pub fn is_link(&self, below: impl AsRef<Path>) -> bool {
        self.stat(below).is_ok_and(|seen| seen.is_link())
    }
}

fn is_link(folder: &OwnedFd, name: &OsStr) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| Seen::from(stat).is_link())
}

/// An error of a kind that callers do not take for "not found".
fn link_error(below: &Path) -> io::Error {
    io::Error::other(format!("{} in it is a symlink, and links are not followed there; remove it", below.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_happens_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (store, other) = (dir.path().join("store"), dir.path().join("other"));
        for folder in ["store/runs/ab", "store/tmp", "other/deep"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        fs::write(other.join("file"), "mine").unwrap();
        fs::write(other.join("deep/file"), "mine").unwrap();
        fs::write(store.join("tmp/file"), "new").unwrap();
        symlink("../../../other", store.join("runs/ab/key")).unwrap();
        symlink(&other, store.join("packs")).unwrap();
        symlink("../../other/file", store.join("tmp/link")).unwrap();
        let root = RootFolder::new(store.clone());
        let none = |_: &OwnedFd| Ok(());
        for below in ["packs", "packs/deep", "runs/ab/key", "runs/ab/key/deep"] {
            let file = Path::new(below).join("file");
            assert!(root.open_folder(below).is_err() && root.entries(below).is_err(), "{below}");
            assert!(root.create_folder(Path::new(below).join("new"), none).is_err(), "{below}");
            assert!(root.create_folder(below, none).is_err(), "{below}");
            assert!(root.remove_file(&file).is_err() && root.remove_folder(&file).is_err(), "{below}");
            assert!(root.open_file(&file).is_err() && root.create_new(Path::new(below).join("n")).is_err(), "{below}");
            assert!(root.rename("tmp/file", &file).is_err() && root.rename(&file, "tmp/x").is_err(), "{below}");
        }
        assert!(root.open_file("tmp/link").is_err() && root.open_or_create("tmp/link", 0o600).is_err());
        assert!(root.open_file("../other/file").is_err() && root.remove_file("../other/file").is_err());
        assert!(root.is_link("packs") && !root.is_link("runs"));
        // A link itself may be moved and removed.
        root.rename("packs", "tmp/packs").unwrap();
        root.remove_file("tmp/packs").unwrap();
        assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "mine");
        assert_eq!(fs::read_dir(&other).unwrap().count(), 2);
        assert_eq!(fs::read_to_string(store.join("tmp/file")).unwrap(), "new");
    }

    #[test]
    fn folders_are_made_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let root = RootFolder::new(dir.path().to_path_buf());
        assert!(root.entries("a/b").unwrap().is_empty());
        root.create_folder("a/b", |_| Ok(())).unwrap();
        root.create_folder("a/b", |_| Ok(())).unwrap();
        root.create_new("a/b/two").unwrap();
        root.open_or_create("a/b/one", 0o600).unwrap();
        let names: Vec<_> = root.entries("a/b").unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["one", "two"]);
        root.rename("a/b/one", "a/one").unwrap();
        assert_eq!(root.stat("a/one").unwrap().stat.size, 0);
        root.remove_file("a/b/two").unwrap();
        root.remove_folder("a/b").unwrap();
        assert_eq!(root.open_folder("a/b").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
