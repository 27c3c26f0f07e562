//! Replacing a small file in one step: readers see the old text or the new one, never a half, also after a crash.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// How long a writer waits for others; each of them takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long between two tries.
const PAUSE: Duration = Duration::from_millis(5);
/// What the name of a temporary file has between the name of its target and 16 hex digits.
pub const INFIX: &str = ".lockstep-new-";

/// Writes `bytes` to `path`: a temporary file beside it, fsync, rename. An existing file's mode is kept; a symlink is
/// replaced, not followed, so that nothing is written where the link leads.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    Turn::take(path)?.write(bytes)
}

/// The same for a file that is named by its content: all its writers write the same bytes, so there are no turns.
pub fn write_named(path: &Path, bytes: &[u8]) -> Result<()> {
    Turn { path: path.to_path_buf(), folder: None, private: false }.write(bytes)
}

/// The turn of one writer of a file: a writer takes it before it reads what it is going to change.
///
/// It is a lock on the folder, so that no other user can put a file in its way. The kernel releases it when the
/// process ends. Where there are no locks, writers are on their own.
pub struct Turn {
    path: PathBuf,
    /// `None` if it may not be opened.
    folder: Option<File>,
    /// For the owner alone.
    private: bool,
}

impl Turn {
    /// Waits for others who write in the folder of `path`, which must exist, but not for long.
    ///
    /// Errors ([`Kind::Busy`]): somebody holds the lock and does not let go.
    pub fn take(path: &Path) -> Result<Turn> {
        Turn::take_within(path, PATIENCE)
    }

    /// The same for a file with secrets: it has mode 0600, whatever mode the file has now.
    pub fn take_private(path: &Path) -> Result<Turn> {
        Ok(Turn { private: true, ..Turn::take(path)? })
    }

    fn take_within(path: &Path, patience: Duration) -> Result<Turn> {
        let at = folder_of(path);
        let turn = Turn { path: path.to_path_buf(), folder: File::open(at).ok(), private: false };
        let Some(folder) = &turn.folder else { return Ok(turn) };
        let mut waited = Duration::ZERO;
        loop {
            match folder.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::Error(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(fs::TryLockError::Error(_)) => return Ok(turn),
                Err(fs::TryLockError::WouldBlock) if waited >= patience => return Err(busy(path, at, folder)),
                Err(fs::TryLockError::WouldBlock) => {
                    std::thread::sleep(PAUSE);
                    waited += PAUSE;
                }
            }
        }
        // No other process writes while the lock is held: killed processes left these.
        for left in leftovers(path) {
            let _ = fs::remove_file(left);
        }
        Ok(turn)
    }

    pub fn write(self, bytes: &[u8]) -> Result<()> {
        let temp = folder_of(&self.path).join(temporary_name(&self.path));
        let written = self.put(&temp, bytes);
        if written.is_err() {
            let _ = fs::remove_file(&temp);
        }
        written.map_err(|e| Error::io("write", &self.path, e))
    }

    fn put(&self, temp: &Path, bytes: &[u8]) -> io::Result<()> {
        let old = fs::symlink_metadata(&self.path).ok().filter(|old| old.is_file());
        let mode = match old {
            _ if self.private => 0o600,
            Some(old) => old.permissions().mode() & 0o7777,
            None => usual_mode(&self.path)?,
        };
        // No other user can read or write it before it has its name.
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(temp)?;
        file.write_all(bytes)?;
        if file.metadata()?.permissions().mode() & 0o7777 != mode {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        file.sync_all()?;
        fs::rename(temp, &self.path)?;
        // The name is durable before anybody forgets where else the content was.
        self.folder.as_ref().map_or(Ok(()), File::sync_all)
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The mode that a new file gets from the system, which only making one tells.
fn usual_mode(path: &Path) -> io::Result<u32> {
    let probe = folder_of(path).join(temporary_name(path));
    let file = File::options().write(true).create_new(true).open(&probe)?;
    let mode = file.metadata().map(|meta| meta.permissions().mode() & 0o777);
    fs::remove_file(&probe)?;
    mode
}

/// A name that no other process picks, nor foresees.
fn temporary_name(path: &Path) -> OsString {
    let number = std::hash::RandomState::new().build_hasher().finish();
    let mut name = start(path);
    name.push(format!("{number:016x}"));
    name
}

fn start(path: &Path) -> OsString {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name = name.strip_prefix(b".").unwrap_or(name);
    // A long name is cut, since the temporary one must fit into 255 bytes as well.
    let mut start = OsString::from(".");
    start.push(std::ffi::OsStr::from_bytes(&name[..name.len().min(200)]));
    start.push(INFIX);
    start
}

/// The temporary files of `path` that are there, of this user.
fn leftovers(path: &Path) -> Vec<PathBuf> {
    let start = start(path);
    let is_temporary = |name: OsString| {
        let number = name.as_bytes().strip_prefix(start.as_bytes());
        number.is_some_and(|number| number.len() == 16 && number.iter().all(u8::is_ascii_hexdigit))
    };
    let user = rustix::process::geteuid().as_raw();
    let is_mine = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.uid() == user);
    let entries = fs::read_dir(folder_of(path)).into_iter().flatten().flatten();
    entries.filter(|entry| is_temporary(entry.file_name())).map(|entry| entry.path()).filter(is_mine).collect()
}

fn busy(path: &Path, at: &Path, folder: &File) -> Error {
    let holder = holder(folder).map_or("another process".to_string(), |(id, name)| format!("{name} (process {id})"));
    let seconds = PATIENCE.as_secs();
    Error::new(Kind::Busy, format!("cannot write {}: {holder} holds a lock on its folder", path.display()))
        .because(format!("waited {seconds} seconds for the lock on {}", at.display()))
        .hint("run the command again when that process has ended")
}

/// Who holds the lock, where the system tells.
fn holder(folder: &File) -> Option<(u32, String)> {
    let meta = folder.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    // `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`
    let locks = crate::document::read_system_text(Path::new("/proc/locks"))?;
    let line = locks.lines().find(|line| line.split_whitespace().nth(5) == Some(&place))?;
    let id: u32 = line.split_whitespace().nth(4)?.parse().ok()?;
    let name = crate::document::read_system_text(Path::new(&format!("/proc/{id}/comm")))?;
    Some((id, name.trim().to_string()))
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
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        fs::write(dir.path().join(".a.lockstep-new-0123456789abcdef"), "left by a killed process").unwrap();
        replace_file(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);

        symlink(&file, &link).unwrap();
        replace_file(&link, b"other").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_to_string(&link).unwrap(), "other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        // A new file gets the mode that any other would get.
        fs::write(dir.path().join("usual"), "").unwrap();
        replace_file(&dir.path().join("new"), b"").unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("new"), mode("usual"));
        replace_file(&dir.path().join("n".repeat(255)), b"").unwrap();
    }

    #[test]
    fn a_private_file_is_never_readable_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        Turn::take_private(&file).unwrap().write(b"secret").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap(), "secret");
    }

    #[test]
    fn writers_take_turns_and_no_change_is_lost() {
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

    #[test]
    fn what_others_put_there_neither_waits_nor_gets_anything() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("page");
        let bait = dir.path().join(".page.lockstep-new");
        fs::write(&bait, "").unwrap();
        let held = File::open(&bait).unwrap();
        held.lock().unwrap();
        replace_file(&file, b"mine").unwrap();
        assert_eq!((fs::read(&bait).unwrap().len(), fs::read_to_string(&file).unwrap().as_str()), (0, "mine"));
        // The lock itself is waited for, and the wait ends with a word about who holds it.
        let folder = File::open(dir.path()).unwrap();
        folder.lock().unwrap();
        let Err(error) = Turn::take_within(&file, Duration::from_millis(50)) else { panic!("it is locked") };
        assert_eq!(error.kind, Kind::Busy);
        assert!(error.message.ends_with("holds a lock on its folder"), "{error}");
        drop(folder);
        replace_file(&file, b"again").unwrap();
    }
}
