//! Making a path safe to write to.
//!
//! With hard links the workspace and the store share an inode: whoever writes in place, as stages do that continue a
//! `persist` output, would write into the store.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::place::sibling;
use crate::error::{Error, Result};

/// Replaces every file at or below `path` that has another name somewhere by a writable copy. Follows no symlink.
pub fn unprotect(path: &Path) -> Result<()> {
    let Ok(kind) = fs::symlink_metadata(path) else { return Ok(()) };
    if kind.is_dir() {
        for entry in fs::read_dir(path).map_err(|e| Error::io("read", path, e))? {
            unprotect(&entry.map_err(|e| Error::io("read", path, e))?.path())?;
        }
        return Ok(());
    }
    if !kind.is_file() || kind.nlink() < 2 {
        return Ok(());
    }
    let copy = sibling(path);
    let copied = fs::copy(path, &copy)
        .and_then(|_| fs::set_permissions(&copy, fs::Permissions::from_mode(kind.mode() | 0o200)))
        .and_then(|()| fs::rename(&copy, path));
    copied.map_err(|e| {
        let _ = fs::remove_file(&copy);
        Error::io("make a copy of its own of", path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_afterwards_stays_here() {
        let dir = tempfile::tempdir().unwrap();
        let (object, folder) = (dir.path().join("object"), dir.path().join("d/e"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&object, "1").unwrap();
        fs::set_permissions(&object, fs::Permissions::from_mode(0o555)).unwrap();
        fs::hard_link(&object, folder.join("f")).unwrap();
        unprotect(&dir.path().join("d")).unwrap();
        fs::write(folder.join("f"), "2").unwrap();
        assert_eq!(fs::read_to_string(&object).unwrap(), "1");
        assert_eq!(fs::metadata(folder.join("f")).unwrap().mode() & 0o777, 0o755);
    }
}
