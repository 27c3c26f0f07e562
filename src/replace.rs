//! Replacing a small file in one step: readers see the old text or the new one, never a half, also after a crash.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `bytes` to `path`: a temporary file beside it, fsync, rename. An existing file's mode is kept; a symlink is
/// replaced, not followed, so that nothing is written where the link leads. The temporary file has one fixed name a
/// target, so that what a killed process left behind goes with the next write; writers of one file take turns (the
/// workspace lock sees to that).
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = path.with_file_name(format!(".{}.lockstep-new", name.trim_start_matches('.')));
    let _ = fs::remove_file(&temp);
    let written = (|| {
        let mut file = File::create_new(&temp)?;
        file.write_all(bytes)?;
        if let Ok(old) = fs::symlink_metadata(path)
            && old.is_file()
        {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&temp, path)?;
        // The name is durable before anybody forgets where else the content was.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    })();
    written.map_err(|e| {
        let _ = fs::remove_file(&temp);
        Error::io("write", path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn keeps_the_mode_and_replaces_links() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(dir.path().join(".a.lockstep-new"), "left by a killed process").unwrap();
        replace_file(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);

        symlink(&file, &link).unwrap();
        replace_file(&link, b"other").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_to_string(&link).unwrap(), "other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
