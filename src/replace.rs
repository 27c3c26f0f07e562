//! Replacing a small file in one step: readers see the old text or the new one, never a half, also after a crash.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes `bytes` to `path`: a temporary file beside it, fsync, rename. An existing file's mode is kept; a symlink is
/// replaced, not followed, so that nothing is written where the link leads.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    Turn::take(path)?.write(bytes)
}

/// The turn of one writer of a file: whoever changes what a file says takes it before reading.
///
/// It is a lock on the temporary file, which has one fixed name a target: what a killed process left behind is taken
/// over by the next writer, and its lock goes with the process. Where there are no locks, writers are on their own.
pub struct Turn {
    path: PathBuf,
    temp: PathBuf,
    file: File,
    /// For the owner alone.
    private: bool,
    done: bool,
}

impl Turn {
    /// Waits for others who write to `path`; its folder must exist.
    pub fn take(path: &Path) -> Result<Turn> {
        Turn::take_with(path, false)
    }

    /// The same for a file with secrets: it has mode 0600, whatever mode the file has now.
    pub fn take_private(path: &Path) -> Result<Turn> {
        Turn::take_with(path, true)
    }

    fn take_with(path: &Path, private: bool) -> Result<Turn> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temp = path.with_file_name(format!(".{}.lockstep-new", name.trim_start_matches('.')));
        let file = wait_for(&temp, private).map_err(|e| Error::io("write", path, e))?;
        Ok(Turn { path: path.to_path_buf(), temp, file, private, done: false })
    }

    pub fn write(mut self, bytes: &[u8]) -> Result<()> {
        self.put(bytes).map_err(|e| Error::io("write", &self.path, e))?;
        self.done = true;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        if self.private {
            self.file.set_permissions(Permissions::from_mode(0o600))?;
        }
        self.file.write_all(bytes)?;
        if let Ok(old) = fs::symlink_metadata(&self.path)
            && old.is_file()
            && !self.private
        {
            self.file.set_permissions(old.permissions())?;
        }
        self.file.sync_all()?;
        fs::rename(&self.temp, &self.path)?;
        // The name is durable before anybody forgets where else the content was.
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // After the rename the name is the next writer's.
        if !self.done && is_at(&self.file, &self.temp) {
            let _ = fs::remove_file(&self.temp);
        }
    }
}

/// The temporary file, locked.
fn wait_for(temp: &Path, private: bool) -> io::Result<File> {
    loop {
        if fs::symlink_metadata(temp).is_ok_and(|m| !m.is_file()) {
            fs::remove_file(temp)?;
        }
        let mode = if private { 0o600 } else { 0o666 };
        let file = match File::options().write(true).create(true).truncate(false).mode(mode).open(temp) {
            // Another user's, who was killed.
            Err(e) if e.kind() == ErrorKind::PermissionDenied && fs::remove_file(temp).is_ok() => continue,
            file => file?,
        };
        let is_locked = file.lock().is_ok();
        // Who had it before may have renamed or removed it while we waited.
        if is_locked && !is_at(&file, temp) {
            continue;
        }
        // Others may have it open already, and would read what is written to it.
        if private && file.metadata()?.mode() & 0o077 != 0 {
            fs::remove_file(temp)?;
            continue;
        }
        return Ok(file);
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let id = |m: fs::Metadata| (m.dev(), m.ino());
    fs::symlink_metadata(path).map(id).ok().is_some_and(|at| file.metadata().map(id).is_ok_and(|own| own == at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

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

    #[test]
    fn a_private_file_is_never_readable_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let (file, temp) = (dir.path().join("a"), dir.path().join(".a.lockstep-new"));
        fs::write(&file, "old").unwrap();
        fs::write(&temp, "").unwrap();
        for path in [&file, &temp] {
            fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
        }
        let mut opened_before = File::open(&temp).unwrap();
        let turn = Turn::take_private(&file).unwrap();
        assert_eq!(fs::metadata(&temp).unwrap().mode() & 0o777, 0o600);
        turn.write(b"secret").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let mut read = String::new();
        io::Read::read_to_string(&mut opened_before, &mut read).unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), read.as_str()), ("secret", ""));
    }

    #[test]
    fn writers_take_turns_and_nobodys_change_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("n");
        fs::write(&file, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let turn = Turn::take(&file).unwrap();
                        let n: u32 = fs::read_to_string(&file).unwrap().parse().unwrap();
                        turn.write((n + 1).to_string().as_bytes()).unwrap();
                        // Who has second thoughts leaves nothing behind.
                        drop(Turn::take(&file).unwrap());
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&file).unwrap(), "40");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
