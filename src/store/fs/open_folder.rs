//! A folder handle that stays valid when its path is renamed or replaced.
//!
//! Another user who may write to a shared folder can swap a folder for a link between two calls, so that files created
//! by path end up in the target of the link. Here the folder is opened once, and its paths go through the descriptor
//! (`/proc/self/fd/N`), so no operation on them leaves the folder. On systems without such paths, ordinary ones are
//! used.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, fstat, openat};

use super::stat::Seen;
use crate::error::{Error, Result};

/// An open folder with the path by which the user knows it.
#[derive(Debug)]
pub struct OpenFolder {
    fd: OwnedFd,
    /// A path that leads to the folder as long as it is open.
    reach: PathBuf,
    /// The path of the folder for messages.
    name: PathBuf,
}

impl OpenFolder {
    /// Wraps an open folder; `name` is its path for messages.
    pub fn of(fd: OwnedFd, name: &Path) -> OpenFolder {
        // With the dot the path is the folder itself, not a link to it.
        let reach = PathBuf::from(format!("/proc/self/fd/{}/.", fd.as_raw_fd()));
        let is_there = match (fs::symlink_metadata(&reach), fstat(&fd).map(Seen::from)) {
            (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.device, here.stat.inode),
            _ => false,
        };
        OpenFolder { fd, reach: if is_there { reach } else { name.to_path_buf() }, name: name.to_path_buf() }
    }

    /// Opens a folder that the user named, which may be a symlink.
    pub fn open(path: &Path) -> Result<OpenFolder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, path, flags, Mode::empty()).map_err(|e| Error::io("open", path, e))?;
        Ok(OpenFolder::of(folder, path))
    }

    /// Creates a folder and opens it.
    ///
    /// Errors: something other than the new folder is at `path`, before or right afterwards.
    pub fn create(path: &Path) -> Result<OpenFolder> {
        let cannot = |e: io::Error| Error::io("create", path, e);
        fs::create_dir(path).map_err(cannot)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty()).map_err(|e| cannot(e.into()))?;
        let is_dots = |name: &[u8]| name == b"." || name == b"..";
        let mut entries = Dir::read_from(&fd).map_err(|e| cannot(e.into()))?;
        let is_empty = entries.all(|entry| entry.is_ok_and(|entry| is_dots(entry.file_name().to_bytes())));
        let is_own = fstat(&fd).is_ok_and(|stat| stat.st_uid == rustix::process::geteuid().as_raw());
        if !is_empty || !is_own {
            return Err(cannot(io::Error::other("another process put something else in its place")));
        }
        Ok(OpenFolder::of(fd, path))
    }

    /// The descriptor of the folder.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// A path that leads to the folder as long as it is open.
    pub fn path(&self) -> &Path {
        &self.reach
    }

    /// Makes the entries of the folder durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// A path in the folder that is valid as long as the folder is open.
    pub fn join(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.reach.join(name.as_ref())
    }

    /// The same path for messages.
    pub fn user_path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.name.join(name.as_ref())
    }

    /// Is it the same folder?
    pub fn is(&self, other: &OpenFolder) -> bool {
        let id = |folder: &OpenFolder| fstat(&folder.fd).ok().map(|stat| (stat.st_dev, stat.st_ino));
        id(self).is_some() && id(self) == id(other)
    }

    /// Replaces descriptor paths in an error by paths that the user knows.
    pub fn with_user_paths(&self, error: Error) -> Error {
        let (reach, name) = (self.reach.to_string_lossy(), self.name.to_string_lossy());
        if reach == name {
            return error;
        }
        let (reach_in, name_in) = (format!("{reach}/"), format!("{name}/"));
        let bare = reach.trim_end_matches("/.");
        let text = |text: String| text.replace(&reach_in, &name_in).replace(bare, &name);
        Error { message: text(error.message), causes: error.causes.into_iter().map(text).collect(), ..error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_written_stays_in_the_folder_that_was_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a")).unwrap();
        fs::create_dir(at("victim")).unwrap();
        let folder = OpenFolder::open(&at("a")).unwrap();
        let built = OpenFolder::create(&folder.join("built")).unwrap();
        fs::rename(at("a"), at("b")).unwrap();
        symlink("victim", at("a")).unwrap();
        fs::write(folder.join("f"), "").unwrap();
        fs::rename(at("b/built"), at("b/moved")).unwrap();
        symlink(at("victim"), at("b/built")).unwrap();
        fs::write(built.join("g"), "").unwrap();
        assert!(at("b/f").exists() && at("b/moved/g").exists());
        assert_eq!(fs::read_dir(at("victim")).unwrap().count(), 0);
        // A folder cannot be created at a name that is taken.
        OpenFolder::create(&at("b/built")).unwrap_err();
        let error = folder.with_user_paths(Error::io("write", folder.join("x"), io::ErrorKind::NotFound));
        assert!(error.message.contains(&format!("{}:", at("a/x").display())), "{error}");
    }
}
