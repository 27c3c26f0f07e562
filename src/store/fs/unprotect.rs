//! Makes a path safe to write to.
//!
//! With hard links the workspace and the store share an inode: a stage that writes in place, as it does to continue a
//! `persist` output, would write into the store.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::writable::WritablePath;
use crate::error::{Error, Result};
use crate::store::fs::paths::temp_sibling;

/// Replaces every file at or below a path that has further hard links by a writable copy. Follows no symlink, and works
/// in the folders that it opened: a folder that is swapped for a link leads nowhere else.
pub fn unprotect(place: &WritablePath) -> Result<()> {
    if std::fs::symlink_metadata(place).is_err() {
        return Ok(());
    }
    let name = place.file_name().unwrap_or_default();
    unprotect_in(&place.open_parent()?, name, place)
        .map_err(|(path, e)| Error::io("make a copy of its own of", path, e))
}

fn unprotect_in(folder: &OwnedFd, name: &OsStr, shown: &Path) -> std::result::Result<(), (PathBuf, Errno)> {
    let at = |e: Errno| (shown.to_path_buf(), e);
    let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        stat => stat.map_err(at)?,
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = openat(folder, name, flags, Mode::empty()).map_err(at)?;
            for entry in Dir::read_from(&inner).map_err(at)? {
                let entry = entry.map_err(at)?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name != "." && name != ".." {
                    unprotect_in(&inner, name, &shown.join(name))?;
                }
            }
            Ok(())
        }
        FileType::RegularFile if stat.st_nlink > 1 => {
            let copy = temp_sibling(Path::new(name));
            copy_in(folder, name, copy.as_os_str()).map_err(|e| {
                let _ = unlinkat(folder, &copy, AtFlags::empty());
                (shown.to_path_buf(), Errno::from_io_error(&e).unwrap_or(Errno::IO))
            })
        }
        _ => Ok(()),
    }
}

fn copy_in(folder: impl AsFd, name: &OsStr, copy: &OsStr) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = OFlags::RDONLY | OFlags::NONBLOCK | flags;
    let mut from = File::from(openat(&folder, name, from, Mode::empty())?);
    let meta = from.metadata()?;
    if !meta.is_file() {
        return Err(Errno::INVAL.into());
    }
    let to = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | flags;
    let mut to = File::from(openat(&folder, copy, to, 0o600.into())?);
    io::copy(&mut from, &mut to)?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions());
    fchmod(&to, Mode::from(mode & 0o7777 | 0o200))?;
    Ok(renameat(&folder, copy, &folder, name)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use crate::path::RepoPath;
    use crate::store::WritableArea;

    #[test]
    fn what_is_written_afterwards_stays_here() {
        let dir = tempfile::tempdir().unwrap();
        let (object, folder) = (dir.path().join("object"), dir.path().join("d/e"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&object, "1").unwrap();
        fs::set_permissions(&object, fs::Permissions::from_mode(0o555)).unwrap();
        fs::hard_link(&object, folder.join("f")).unwrap();
        let top = dir.path().canonicalize().unwrap();
        let place = WritableArea::new(&top, &[]).path(&RepoPath::root().join("d").unwrap()).unwrap();
        unprotect(&place).unwrap();
        fs::write(folder.join("f"), "2").unwrap();
        assert_eq!(fs::read_to_string(&object).unwrap(), "1");
        assert_eq!(fs::metadata(folder.join("f")).unwrap().mode() & 0o777, 0o755);
    }
    #[test]
    fn a_folder_that_is_swapped_for_a_link_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().join("top");
        let victim = dir.path().join("victim");
        for folder in [&top.join("a/d"), &victim.join("d")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(victim.join("d/f"), "1").unwrap();
        fs::hard_link(victim.join("d/f"), victim.join("other")).unwrap();
        let place = WritableArea::new(&top, &[]).path(&RepoPath::root().join("a/d").unwrap()).unwrap();
        fs::rename(top.join("a"), top.join("b")).unwrap();
        std::os::unix::fs::symlink(&victim, top.join("a")).unwrap();
        unprotect(&place).unwrap_err();
        place.create_folder().unwrap_err();
        place.remove_folder().unwrap_err();
        assert_eq!(fs::metadata(victim.join("d/f")).unwrap().nlink(), 2);
        // A link at the path itself is neither followed nor removed as a folder.
        fs::remove_file(top.join("a")).unwrap();
        fs::create_dir(top.join("a")).unwrap();
        std::os::unix::fs::symlink(victim.join("d"), top.join("a/d")).unwrap();
        unprotect(&place).unwrap();
        assert!(place.remove_folder().is_err() && place.create_folder().is_err());
        assert_eq!(fs::metadata(victim.join("d/f")).unwrap().nlink(), 2);
    }
}
