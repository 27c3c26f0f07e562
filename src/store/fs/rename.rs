//! Moves files and folders without losing them, also where they cannot be renamed.
//!
//! overlayfs, which containers use, refuses to rename a folder of a lower layer, such as every folder of the image.
//! Such a folder is copied, and removed when the copy is complete and durable.

use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::store::fs::paths::temp_sibling;

/// Moves `from` to `to`, a free name in the same folder. If it fails and `to` does not exist, `from` is unchanged.
pub fn move_away(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => by_copy(from, to),
        done => done,
    }
}

/// Renames to a free name. A file that appears there in between is not replaced, as far as the file system can tell.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if fs::symlink_metadata(to).is_err() => fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(io::ErrorKind::AlreadyExists.into()),
        done => Ok(done?),
    }
}

fn by_copy(from: &Path, to: &Path) -> io::Result<()> {
    // The name marks it as temporary: after a kill the partial copy is worthless.
    let new = temp_sibling(from);
    copy(from, &new).and_then(|()| fs::rename(&new, to)).inspect_err(|_| drop(remove(&new)))?;
    remove(from)
}

/// Copies a file, a symlink or a whole folder to the new name `to`, durably.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    if meta.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        fs::set_permissions(to, meta.permissions())?;
        return File::open(to)?.sync_all();
    }
    if !meta.is_file() {
        return Err(io::Error::other(format!("{} is neither a file nor a folder", from.display())));
    }
    fs::copy(from, to)?;
    let copied = File::open(to)?;
    copied.set_times(FileTimes::new().set_modified(meta.modified()?))?;
    copied.sync_all()
}

/// Removes a file, a symlink or a whole folder; does not follow symlinks. Makes read-only folders writable first.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => match fs::remove_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                open_up(path)?;
                fs::remove_dir_all(path)
            }
            done => done,
        },
        Ok(_) => fs::remove_file(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Makes all folders writable for their owner.
fn open_up(folder: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(folder)?.permissions().mode();
    if mode & 0o700 != 0o700 {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o7777 | 0o700))?;
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_appeared_at_a_name_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("aside"), dir.path().join("out"));
        fs::write(&from, "old").unwrap();
        fs::write(&to, "new").unwrap();
        assert_eq!(rename_new(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (fs::read_to_string(&from).unwrap(), fs::read_to_string(&to).unwrap()),
            ("old".into(), "new".into())
        );
        fs::remove_file(&to).unwrap();
        rename_new(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
    }

    #[test]
    fn a_copy_has_all_that_was_there_and_the_original_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("out"), dir.path().join("aside"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/f"), "1").unwrap();
        fs::set_permissions(from.join("deep/f"), fs::Permissions::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink("deep/f", from.join("link")).unwrap();
        let before = fs::metadata(from.join("deep/f")).unwrap();
        by_copy(&from, &to).unwrap();
        let after = fs::metadata(to.join("deep/f")).unwrap();
        assert_eq!(after.permissions(), before.permissions());
        assert_eq!(after.modified().unwrap(), before.modified().unwrap());
        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "1");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
