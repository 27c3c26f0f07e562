//! Who is at work in the store: many at once, or one who takes things away.
//!
//! `lock` is held shared by whoever stores or restores, exclusively by gc; its text says who that is.
//! Whoever stores holds the lock from the first look at what is there already until all is durable, so that nothing that
//! was found present goes meanwhile; who records results holds it until something refers to them, too. What comes after that is
//! covered by the age guard of gc: whatever was written, or found and counted on, has a young mtime.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::Mode;

use super::objects::Store;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Silent, Sink, Stop};

const LOCK: &str = "lock";
/// What is read of who holds it.
const LONGEST_HOLDER: u64 = 200;
/// How long between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Held until it is dropped; the system lets go of it when the process dies.
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

impl Store {
    /// Nothing is taken away while this is held. `None` where there is no store yet, or where it may only be read or its
    /// file system knows no locks: then nobody can be kept from it, and a reader finds out by itself.
    ///
    /// Errors: the user wants an end, and somebody holds the store alone.
    pub fn hold(&self) -> Result<Option<Hold>> {
        self.hold_unless(self.stop(), &Silent)
    }

    /// The same, saying for whom it waits.
    pub fn hold_politely(&self, sink: &dyn Sink) -> Result<Option<Hold>> {
        self.hold_unless(self.stop(), sink)
    }

    /// The same for what must come to its end: says for whom it waits, and goes on waiting when the user wants an end.
    pub fn hold_for(&self, sink: &dyn Sink) -> Option<Hold> {
        self.hold_unless(Stop::never(), sink).ok().flatten()
    }

    fn hold_unless(&self, stop: Stop, sink: &dyn Sink) -> Result<Option<Hold>> {
        let _ = self.register();
        let file = match self.root().open_file(LOCK) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.is_store() => self.open_lock(),
            file => file,
        };
        let Ok(mut file) = file else { return Ok(None) };
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock_shared() {
                Ok(()) => return Ok(Some(Hold { _file: file })),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(TryLockError::Error(_)) => return Ok(None),
            }
            ended(stop)?;
            pause(&mut file, &mut waited, sink);
        }
    }

    /// Nobody else stores or restores while this is held. Waits for up to `wait`, for ever if `None`.
    pub fn hold_alone(&self, who: &str, wait: Option<Duration>, sink: &dyn Sink) -> Result<Hold> {
        self.must_be_store()?;
        let path = self.dir().join(LOCK);
        let mut file = self.open_lock().map_err(|e| self.refused("lock", &path, e))?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
                Err(TryLockError::WouldBlock) => {}
            }
            if wait.is_some_and(|wait| waited >= wait) {
                let message = format!("another lockstep is using the store {}", self.dir().display());
                return Err(Error::new(Kind::Busy, message).hint("wait for it for longer: --wait SECS"));
            }
            ended(self.stop())?;
            pause(&mut file, &mut waited, sink);
        }
        // A file with another name elsewhere is not written to.
        if file.metadata().is_ok_and(|meta| meta.nlink() == 1) {
            let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(who.as_bytes()));
        }
        Ok(Hold { _file: file })
    }

    fn open_lock(&self) -> io::Result<File> {
        let is_new = self.root().look(LOCK).is_err();
        let file = self.root().open_or_create(LOCK, 0o666)?;
        if is_new && self.is_for_a_group() {
            file.set_permissions(Permissions::from_mode(0o664))?;
        }
        Ok(file)
    }

    /// Is the store made for a group: may its group write to its folder?
    pub(super) fn is_for_a_group(&self) -> bool {
        fs::metadata(self.dir()).is_ok_and(|meta| is_for_a_group(&meta))
    }

    /// Creates a folder of the store with those above it; in a store for a group the group may write to it.
    pub(super) fn make_dir(&self, path: &Path) -> io::Result<()> {
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

fn ended(stop: Stop) -> Result<()> {
    match stop.asked() {
        Some(number) => Err(Error::new(Kind::Signal(number), "ended while waiting for the store")),
        None => Ok(()),
    }
}

/// Waits a little, and says for whom when that has taken a moment.
fn pause(lock: &mut File, waited: &mut Duration, sink: &dyn Sink) {
    if *waited == PAUSE * 15 {
        let mut other = String::new();
        // Anybody who shares the store may write there.
        let _ = lock.rewind().and_then(|()| lock.take(LONGEST_HOLDER).read_to_string(&mut other));
        let other = if other.is_empty() { "another lockstep".to_string() } else { other };
        sink.event(Event::Waiting { text: &format!("waiting for {other} to be done with the store") });
    }
    std::thread::sleep(PAUSE);
    *waited += PAUSE;
}

fn is_for_a_group(meta: &Metadata) -> bool {
    meta.permissions().mode() & 0o020 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicI32;

    use crate::store::LinkTypes;

    #[test]
    fn many_or_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), LinkTypes::default());
        assert!(store.hold().unwrap().is_none());
        store.begin().unwrap();
        let (a, b) = (store.hold().unwrap().unwrap(), store.hold().unwrap().unwrap());
        let none = Some(Duration::ZERO);
        assert_eq!(store.hold_alone("gc", none, &Silent).unwrap_err().kind, Kind::Busy);
        drop(a);
        drop(b);
        let alone = store.hold_alone("gc", none, &Silent).unwrap();
        assert_eq!(store.hold_alone("gc", none, &Silent).unwrap_err().kind, Kind::Busy);
        // Who wants an end does not wait for the other one's.
        static SIGNAL: AtomicI32 = AtomicI32::new(2);
        let impatient = Store::open(&dir.path().join("store"), LinkTypes::default()).until(Stop::by(&SIGNAL));
        assert_eq!(impatient.hold().unwrap_err().kind, Kind::Signal(2));
        drop(alone);
        assert!(store.hold().unwrap().is_some() && impatient.hold().unwrap().is_some());
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
