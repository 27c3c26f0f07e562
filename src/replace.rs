//! Replaces a small file in one step: readers see the old text or the new one, never a part, also after a crash.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::event::Silent;
use crate::file_lock::Mode::{Exclusive, Shared};
use crate::file_lock::{self, FileLock, LockResult, Mode as LockMode, Wait};

/// The limit of a wait for other writers if the user gave no `--wait`; each of them takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// The text between the target name and the 16 hex digits in the name of a temporary file.
pub const INFIX: &str = ".lockstep-new-";

/// Writes `bytes` to `path`: a temporary file beside it, fsync, rename. The mode of an existing file is kept; a symlink
/// is replaced, not followed, so that the target of the link is never written.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    FileWriter::lock(path)?.write(bytes)
}

/// The same for a file that is named by its content: all its writers write the same bytes, and may do so at once.
pub fn write_named(path: &Path, bytes: &[u8]) -> Result<()> {
    FileWriter::lock_as(path, Shared, Some(PATIENCE))?.write(bytes)
}

/// The exclusive right to write a file: a writer takes it before it reads the content that it will change.
///
/// It is a lock on the folder, so that no other user can block it with a file. The kernel releases it when the process
/// ends. On a file system without locks, writers are not coordinated.
pub struct FileWriter {
    path: PathBuf,
    folder: Option<FolderHandle>,
    /// Readable only by the owner.
    private: bool,
}

/// The folder of the file, if it can be opened.
enum FolderHandle {
    Locked(FileLock),
    Open(File),
}

impl FileWriter {
    /// Waits a short time for other writers in the folder of `path`, which must exist.
    ///
    /// Errors ([`Kind::Busy`](crate::error::Kind)): another process holds the lock longer.
    pub fn lock(path: &Path) -> Result<FileWriter> {
        FileWriter::lock_as(path, Exclusive, Some(PATIENCE))
    }

    /// The same in a folder that the caller opened; `path` gives the name of the file, and is used in messages.
    pub fn lock_in(folder: File, path: &Path) -> Result<FileWriter> {
        FileWriter::lock_folder(folder, path, Exclusive, Some(PATIENCE))
    }

    /// The same for a file with secrets: its mode becomes 0600.
    pub fn lock_private(path: &Path) -> Result<FileWriter> {
        Ok(FileWriter { private: true, ..FileWriter::lock(path)? })
    }

    fn lock_as(path: &Path, mode: LockMode, patience: Option<Duration>) -> Result<FileWriter> {
        match File::open(folder_of(path)) {
            Ok(folder) => FileWriter::lock_folder(folder, path, mode, patience),
            Err(_) => Ok(FileWriter { path: path.to_path_buf(), folder: None, private: false }),
        }
    }

    fn lock_folder(folder: File, path: &Path, mode: LockMode, patience: Option<Duration>) -> Result<FileWriter> {
        let wait = Wait { busy: "holds a lock on its folder", usual: patience, signal: &|| None, sink: &Silent };
        let answer = file_lock::lock(folder, mode, &wait)
            .map_err(|e| Error { message: format!("cannot write {}: {}", path.display(), e.message), ..e })?;
        let folder = match answer {
            LockResult::Locked(lock) => FolderHandle::Locked(lock),
            LockResult::NoLocks(folder, _) => FolderHandle::Open(folder),
        };
        if mode == Exclusive
            && let FolderHandle::Locked(lock) = &folder
        {
            remove_leftovers(lock);
        }
        Ok(FileWriter { path: path.to_path_buf(), folder: Some(folder), private: false })
    }

    /// Replaces the content of the file, durably.
    pub fn write(self, bytes: &[u8]) -> Result<()> {
        let temp = temporary_name(&self.path);
        let written = match &self.folder {
            Some(FolderHandle::Locked(lock)) => self.put(lock.file(), &temp, bytes),
            Some(FolderHandle::Open(folder)) => self.put(folder, &temp, bytes),
            None => {
                rustix::fs::open(folder_of(&self.path), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, 0.into())
                    .map_err(io::Error::from)
                    .and_then(|folder| self.put(&File::from(folder), &temp, bytes))
            }
        };
        written.map_err(|e| Error::io("write", &self.path, e))
    }

    /// Removes the file, which may be absent.
    pub fn remove(self) -> Result<()> {
        let name = self.path.file_name().unwrap_or_default();
        let removed = match &self.folder {
            Some(FolderHandle::Locked(lock)) => unlinkat(lock.file(), name, AtFlags::empty()),
            Some(FolderHandle::Open(folder)) => unlinkat(folder, name, AtFlags::empty()),
            None => unlinkat(CWD, &self.path, AtFlags::empty()),
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(Error::io("remove", &self.path, e)),
        }
    }

    /// All steps happen in the folder that was opened, even if its path is replaced.
    fn put(&self, folder: &File, temp: &OsStr, bytes: &[u8]) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default();
        let old = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let old = old.filter(|old| FileType::from_raw_mode(old.st_mode) == FileType::RegularFile);
        let mode = match old {
            _ if self.private => Mode::from(0o600),
            Some(old) => Mode::from(old.st_mode & 0o7777),
            None => usual_mode(folder, &self.path)?,
        };
        // No other user can read or write it before the rename.
        let written = create(folder, temp, 0o600.into()).and_then(|mut file| {
            file.write_all(bytes)?;
            if file.metadata()?.permissions().mode() & 0o7777 != mode.bits() {
                rustix::fs::fchmod(&file, mode)?;
            }
            file.sync_all()?;
            Ok(rustix::fs::renameat(folder, temp, folder, name)?)
        });
        if written.is_err() {
            let _ = unlinkat(folder, temp, AtFlags::empty());
        }
        written?;
        // The name is durable before the caller deletes another copy of the content.
        self.folder.as_ref().map_or(Ok(()), |_| folder.sync_all())
    }
}

fn create(folder: &File, name: &OsStr, mode: Mode) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(folder, name, flags, mode)?))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The mode that the system gives to a new file, found by creating one.
fn usual_mode(folder: &File, path: &Path) -> io::Result<Mode> {
    let probe = temporary_name(path);
    let file = create(folder, &probe, 0o666.into())?;
    let mode = file.metadata().map(|meta| Mode::from(meta.permissions().mode() & 0o777));
    unlinkat(folder, &probe, AtFlags::empty())?;
    mode
}

/// A name that no other process picks, and that cannot be predicted.
fn temporary_name(path: &Path) -> OsString {
    let number = std::hash::RandomState::new().build_hasher().finish();
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name = name.strip_prefix(b".").unwrap_or(name);
    // A long name is cut, since the temporary one must fit into 255 bytes as well.
    let mut temporary = OsString::from(".");
    temporary.push(OsStr::from_bytes(&name[..name.len().min(200)]));
    temporary.push(INFIX);
    temporary.push(format!("{number:016x}"));
    temporary
}

fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let Some((start, number)) = name.len().checked_sub(16).map(|at| name.split_at(at)) else { return false };
    name.starts_with(b".") && start.ends_with(INFIX.as_bytes()) && number.iter().all(u8::is_ascii_hexdigit)
}

/// Removes the temporary files of this user that killed processes left in a folder, once per process: while the lock is
/// held, no other process writes there.
fn remove_leftovers(lock: &FileLock) {
    static CLEAN: OnceLock<Mutex<HashSet<(u64, u64)>>> = OnceLock::new();
    let clean = CLEAN.get_or_init(Mutex::default);
    if !clean.lock().unwrap_or_else(|e| e.into_inner()).insert(lock.key()) {
        return;
    }
    let user = rustix::process::geteuid().as_raw();
    let folder = lock.file();
    for entry in rustix::fs::Dir::read_from(folder).into_iter().flatten().flatten() {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let is_mine = || {
            rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_uid == user)
        };
        if is_temporary(name) && is_mine() {
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, symlink};

    use crate::error::Kind;

    #[test]
    fn keeps_the_mode_and_replaces_links() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        replace_file(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);

        symlink(&file, &link).unwrap();
        replace_file(&link, b"other").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_to_string(&link).unwrap(), "other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        // A new file gets the usual mode.
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
        FileWriter::lock_private(&file).unwrap().write(b"secret").unwrap();
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
                        let turn = FileWriter::lock(&file).unwrap();
                        let n: u32 = fs::read_to_string(&file).unwrap().parse().unwrap();
                        turn.write((n + 1).to_string().as_bytes()).unwrap();
                        // A writer that changes nothing leaves no file behind.
                        drop(FileWriter::lock(&file).unwrap());
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
        // The wait for the lock ends with the name of the holder.
        let folder = File::open(dir.path()).unwrap();
        folder.lock().unwrap();
        let taken = FileWriter::lock_as(&file, Exclusive, Some(Duration::from_millis(50)));
        let Err(error) = taken else { panic!("it is locked") };
        assert_eq!(error.kind, Kind::Busy);
        assert!(error.message.ends_with("holds a lock on its folder"), "{error}");
        drop(folder);
        replace_file(&file, b"again").unwrap();
    }

    #[test]
    fn what_is_written_lands_in_the_folder_that_was_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, moved, victim) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("victim"));
        for folder in [&folder, &victim] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("f"), "old").unwrap();
        }
        for (remove, want) in [(false, Some("new")), (true, None)] {
            let turn = FileWriter::lock_in(File::open(&folder).unwrap(), &folder.join("f")).unwrap();
            fs::rename(&folder, &moved).unwrap();
            symlink(&victim, &folder).unwrap();
            if remove {
                turn.remove().unwrap()
            } else {
                turn.write(b"new").unwrap()
            }
            assert_eq!(fs::read_to_string(moved.join("f")).ok().as_deref(), want);
            fs::remove_file(&folder).unwrap();
            fs::rename(&moved, &folder).unwrap();
        }
        assert_eq!(fs::read_to_string(victim.join("f")).unwrap(), "old");
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    }

    #[test]
    fn two_turns_of_one_thread_in_one_folder_are_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = FileWriter::lock(&dir.path().join("a")).unwrap();
        let Err(error) = FileWriter::lock(&dir.path().join("b")) else { panic!("it would wait for itself") };
        assert_eq!(error.kind, Kind::Bug);
        drop(first);
        FileWriter::lock(&dir.path().join("b")).unwrap().write(b"1").unwrap();
    }

    #[test]
    fn only_temporary_files_are_leftovers() {
        for (name, want) in [
            (".a.lockstep-new-0123456789abcdef", true),
            ("..lockstep-new-0123456789abcdef", true),
            ("a.lockstep-new-0123456789abcdef", false),
            (".a.lockstep-new-0123456789abcdeg", false),
            (".a.lockstep-new-0123456789abcde", false),
            (".a.lockstep-new-0123456789abcdef0", false),
            (".lockstep-new", false),
            ("", false),
        ] {
            assert_eq!(is_temporary(OsStr::new(name)), want, "{name}");
        }
        assert!(is_temporary(&temporary_name(Path::new(&"x".repeat(255)))));
    }
}
