//! The lock of a store: shared by many processes, or exclusive for gc.
//!
//! A process that stores or restores holds `lock` shared, gc holds it exclusively; see `file_lock` for the wait. A
//! process that stores holds the lock from its first presence check until all objects are durable, so that gc deletes
//! none of the objects found; a process that records results holds it until a lock refers to them. After that the age
//! guard of gc applies: objects that were written, or found and freshened, have a recent mtime.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Mode;

use crate::error::{Error, Result};
use crate::event::{Sink, StopSignal};
use crate::file_lock::{self, FileLock, LockResult, Wait};
use crate::store::objects::Store;

const LOCK: &str = "lock";

/// Held until it is dropped; the system releases it when the process dies.
#[derive(Debug)]
pub struct StoreLock {
    _lock: FileLock,
}

impl Store {
    /// Takes the shared lock: gc deletes nothing while it is held. `None` if there is no store yet, if it is read-only,
    /// or if its file system has no locks: then gc is not excluded, and a reader notices missing objects itself.
    ///
    /// Errors: the wait timed out, or the user interrupted it, while gc holds the store.
    pub fn lock_shared(&self, sink: &dyn Sink) -> Result<Option<StoreLock>> {
        self.lock_shared_until(self.stop(), sink)
    }

    /// The same for recording results of stages: an interrupted run still records finished stages, so only `--wait`
    /// ends this wait.
    pub fn lock_shared_to_record(&self, sink: &dyn Sink) -> Result<Option<StoreLock>> {
        self.lock_shared_until(StopSignal::never(), sink)
    }

    fn lock_shared_until(&self, stop: StopSignal, sink: &dyn Sink) -> Result<Option<StoreLock>> {
        let _ = self.register();
        let file = match self.root().open_file(LOCK) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.is_store() => self.open_lock(),
            // From an earlier version.
            Ok(file) if file_lock::is_open_to_others(&file) => self.open_lock().or(Ok(file)),
            file => file,
        };
        let Ok(file) = file else { return Ok(None) };
        match self.lock(file, file_lock::Mode::Shared, stop, sink)? {
            LockResult::Locked(lock) => Ok(Some(StoreLock { _lock: lock })),
            LockResult::NoLocks(..) => Ok(None),
        }
    }

    /// Takes the exclusive lock: no other process stores or restores while it is held.
    ///
    /// Errors: [`Kind::Busy`](crate::error::Kind::Busy) if another process holds the lock for too long; the file system
    /// has no locks.
    pub fn lock_exclusive(&self, command: &str, sink: &dyn Sink) -> Result<StoreLock> {
        self.check_is_store()?;
        let path = self.dir().join(LOCK);
        let file = self.open_lock().map_err(|e| self.refused("lock", &path, e))?;
        match self.lock(file, file_lock::Mode::Exclusive, self.stop(), sink)? {
            LockResult::Locked(mut lock) => {
                lock.write_holder(command);
                Ok(StoreLock { _lock: lock })
            }
            LockResult::NoLocks(_, e) => Err(Error::io("lock", &path, e)),
        }
    }

    fn lock(&self, file: File, mode: file_lock::Mode, stop: StopSignal, sink: &dyn Sink) -> Result<LockResult> {
        let busy = format!("is using the store {}", self.dir().display());
        file_lock::lock(file, mode, &Wait { busy: &busy, usual: None, signal: &|| stop.signal(), sink })
    }

    fn open_lock(&self) -> io::Result<File> {
        let mode = file_lock::mode_within(&fs::metadata(self.dir())?);
        let file = self.root().open_or_create(LOCK, mode)?;
        file_lock::set_mode(&file, mode)?;
        Ok(file)
    }

    /// The mode of a file of the store that is rewritten: users who may read and write the folder of the store may do
    /// the same with the file.
    pub(in crate::store) fn file_mode(&self) -> io::Result<Permissions> {
        Ok(Permissions::from_mode(fs::metadata(self.dir())?.permissions().mode() & 0o664 | 0o600))
    }

    /// May the group of the store write to its folder?
    pub(in crate::store) fn is_for_a_group(&self) -> bool {
        fs::metadata(self.dir()).is_ok_and(|meta| is_for_a_group(&meta))
    }

    /// Creates a folder of the store with its parents; in a group store the group may write to it.
    pub(in crate::store) fn make_dir(&self, path: &Path) -> io::Result<()> {
        if path == self.dir() {
            return fs::create_dir_all(path);
        }
        let share = |new: &OwnedFd| match self.is_for_a_group() {
            true => Ok(rustix::fs::fchmod(new, Mode::from_bits_retain(0o2775))?),
            false => Ok(()),
        };
        let below = self.root().below(path)?;
        match self.root().create_folder(below, share) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(self.dir())?;
                self.root().create_folder(below, share).map(drop)
            }
            made => made.map(drop),
        }
    }
}

fn is_for_a_group(meta: &Metadata) -> bool {
    meta.permissions().mode() & 0o020 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicI32;

    use crate::error::Kind;
    use crate::event::Silent;
    use crate::store::LinkTypes;

    /// Runs in a thread of its own, since a thread never waits for itself. The stop signal is set from the beginning.
    fn is_refused(dir: &Path, ask: impl Fn(&Store) -> Result<()> + Sync) -> bool {
        static SIGNAL: AtomicI32 = AtomicI32::new(2);
        let store = Store::open(dir, LinkTypes::default()).with_stop_signal(StopSignal::from_flag(&SIGNAL));
        let asked = std::thread::scope(|scope| scope.spawn(|| ask(&store)).join().unwrap());
        asked.map_err(|e| assert_eq!(e.kind, Kind::Signal(2))).is_err()
    }

    #[test]
    fn many_or_one() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("store");
        let store = Store::open(&dir, LinkTypes::default());
        let lock_shared = |store: &Store| store.lock_shared(&Silent).map(drop);
        let lock_exclusive = |store: &Store| store.lock_exclusive("gc", &Silent).map(drop);
        assert!(store.lock_shared(&Silent).unwrap().is_none());
        store.begin().unwrap();
        let (a, b) = (store.lock_shared(&Silent).unwrap().unwrap(), store.lock_shared(&Silent).unwrap().unwrap());
        assert!(!is_refused(&dir, lock_shared) && is_refused(&dir, lock_exclusive));
        drop(a);
        drop(b);
        let alone = store.lock_exclusive("gc", &Silent).unwrap();
        assert!(is_refused(&dir, lock_shared) && is_refused(&dir, lock_exclusive));
        assert_eq!(store.lock_shared(&Silent).unwrap_err().kind, Kind::Bug);
        drop(alone);
        assert!(!is_refused(&dir, lock_shared) && !is_refused(&dir, lock_exclusive));
    }

    #[test]
    fn a_store_for_a_group_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("store");
        fs::create_dir(&at).unwrap();
        fs::set_permissions(&at, Permissions::from_mode(0o2775)).unwrap();
        let store = Store::open(&at, LinkTypes::default());
        let mut batch = store.batch();
        batch.add_bytes(crate::store::ObjectKind::Content, b"x".to_vec());
        batch.commit(&Silent).unwrap();
        store.put_run(&"ab".repeat(32), b"run").unwrap();
        let mut folders = vec![at.clone()];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
                let is_object = entry.path().starts_with(at.join("objects"));
                let want = if entry.path().is_dir() {
                    0o2775
                } else if is_object {
                    0o444
                } else if entry.path() == at.join(LOCK) {
                    0o660
                } else {
                    0o664
                };
                assert_eq!(mode, want, "{}", entry.path().display());
                seen += 1;
                if entry.path().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        assert!(seen > 6, "{seen}");
    }
}
