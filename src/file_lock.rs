//! Locks on files and folders: the only way to wait for another process.
//!
//! A wait reports the process that holds the lock after a short time, ends when the user interrupts, and ends after
//! `--wait` with [`Kind::Busy`] and the name of the holder. The kernel releases a lock when its process ends.
//!
//! A lock belongs to an open file, so a thread that requests it twice would wait for itself. This process therefore
//! records which of its threads holds which lock, and such a request is an error at once ([`Kind::Bug`]).
//!
//! The holder's name comes from the system's table of locks. If that lacks it (another machine on a network file
//! system, a system without the table), it comes from the text that an exclusive holder writes into its lock file.

use std::collections::HashMap;
use std::fs::{File, Metadata, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

use crate::document;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};

/// The longest text that names a holder.
const LONGEST_HOLDER: u64 = 200;
/// A wait is reported after this time.
const MOMENT: Duration = Duration::from_millis(300);
/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// `--wait` of the command line.
static LIMIT: OnceLock<Duration> = OnceLock::new();

/// Sets the limit of every wait of this process. Called once, before the work begins.
pub fn set_limit(limit: Duration) {
    let _ = LIMIT.set(limit);
}

/// The mode of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Several processes may hold it.
    Shared,
    /// One process holds it, and excludes shared locks.
    Exclusive,
}

/// The parameters of a wait for a lock.
pub struct Wait<'a> {
    /// The activity of the holder, after its name: `is working in this workspace`.
    pub busy: &'a str,
    /// The limit of the wait if the user gave no `--wait`; `None`: no limit.
    pub usual: Option<Duration>,
    /// The number of the signal with which the user interrupted.
    pub signal: &'a dyn Fn() -> Option<i32>,
    /// Gets [`Event::Waiting`] when the wait gets long.
    pub sink: &'a dyn Sink,
}

/// The result of a request.
#[derive(Debug)]
pub enum LockResult {
    /// The lock is held.
    Locked(FileLock),
    /// The file system refuses locks.
    NoLocks(File, io::Error),
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    key: (u64, u64),
    mode: Mode,
    /// Does the file hold the name of this process?
    is_named: bool,
}

/// The locks of this process: by device and inode, the thread, the mode and the count.
type LockTable = HashMap<(u64, u64), Vec<(ThreadId, Mode)>>;

fn table() -> MutexGuard<'static, LockTable> {
    static TABLE: OnceLock<Mutex<LockTable>> = OnceLock::new();
    TABLE.get_or_init(Mutex::default).lock().unwrap_or_else(|e| e.into_inner())
}

/// Opens a lock file that only users with write access to its folder can open: any other user who can read it could
/// hold it for ever.
pub fn open(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mode = mode_within(&folder.metadata()?);
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(mode).open(path)?;
    set_mode(&file, mode)?;
    Ok(file)
}

/// The mode of a lock file in a folder.
pub fn mode_within(folder: &Metadata) -> u32 {
    let writers = folder.mode() & 0o022;
    0o600 | writers | writers << 1
}

/// Gives a lock file its mode, if it belongs to this user.
pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    let meta = file.metadata()?;
    if meta.mode() & 0o777 != mode && meta.uid() == rustix::process::geteuid().as_raw() {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Can users without write access to its folder read it?
pub fn is_open_to_others(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.mode() & 0o044 & !(meta.mode() << 1) != 0)
}

/// Locks an open file or folder.
///
/// Errors: [`Kind::Busy`] when the wait times out, [`Kind::Signal`] when the user interrupts, [`Kind::Bug`] if this
/// thread holds the lock already.
pub fn lock(file: File, mode: Mode, wait: &Wait) -> Result<LockResult> {
    let limit = LIMIT.get().copied().or(wait.usual);
    lock_within(file, mode, wait, limit)
}

/// The same with its own limit.
pub fn lock_within(mut file: File, mode: Mode, wait: &Wait, limit: Option<Duration>) -> Result<LockResult> {
    let key = match file.metadata() {
        Ok(meta) => (meta.dev(), meta.ino()),
        Err(e) => return Ok(LockResult::NoLocks(file, e)),
    };
    let (mut waited, mut pause, mut said) = (Duration::ZERO, Duration::from_millis(1), false);
    loop {
        let tried = match mode {
            Mode::Shared => file.try_lock_shared(),
            Mode::Exclusive => file.try_lock(),
        };
        match tried {
            Ok(()) => {
                table().entry(key).or_default().push((std::thread::current().id(), mode));
                return Ok(LockResult::Locked(FileLock { file, key, mode, is_named: false }));
            }
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(TryLockError::Error(e)) => return Ok(LockResult::NoLocks(file, e)),
            Err(TryLockError::WouldBlock) => {}
        }
        if is_held_by_this_thread(key) {
            return Err(Error::new(Kind::Bug, "a thread waits for a lock that it holds itself"));
        }
        if limit.is_some_and(|limit| waited >= limit) {
            let message = format!("{} {}", holder(&mut file), wait.busy);
            let seconds = limit.unwrap_or_default().as_secs_f64();
            return Err(Error::new(Kind::Busy, message)
                .because(format!("waited {seconds} seconds for its lock"))
                .hint("wait for it for longer: --wait SECS, or --wait for ever"));
        }
        if let Some(number) = (wait.signal)() {
            let message = format!("ended while waiting for {}", holder(&mut file));
            return Err(Error::new(Kind::Signal(number), message));
        }
        if !said && waited >= MOMENT {
            said = true;
            let text = format!("waiting for {}, which {}", holder(&mut file), wait.busy);
            wait.sink.event(Event::Waiting { text: &text });
        }
        let next = limit.map_or(pause, |limit| pause.min(limit - waited));
        std::thread::sleep(next);
        waited += next;
        pause = (pause * 2).min(PAUSE);
    }
}

fn is_held_by_this_thread(key: (u64, u64)) -> bool {
    let this = std::thread::current().id();
    table().get(&key).is_some_and(|held| held.iter().any(|(thread, _)| *thread == this))
}

impl FileLock {
    /// The locked file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The device and inode of its file.
    pub fn key(&self) -> (u64, u64) {
        self.key
    }

    /// Writes the holder into the file, for processes that wait on another machine. Called by an exclusive holder.
    pub fn write_holder(&mut self, command: &str) {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let text = format!("{command} (process {} on {host})", std::process::id());
        let file = &mut self.file;
        // A file with a second link may belong to the user.
        if !file.metadata().is_ok_and(|meta| meta.nlink() == 1) {
            return;
        }
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        self.is_named = written.is_ok();
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.is_named {
            // A name that stays would be taken for that of a later holder.
            let _ = self.file.set_len(0);
        }
        let mut table = table();
        let Some(held) = table.get_mut(&self.key) else { return };
        let this = std::thread::current().id();
        let at = held.iter().position(|entry| *entry == (this, self.mode));
        // The lock may have been handed to another thread.
        if let Some(at) = at.or_else(|| held.iter().position(|(_, mode)| *mode == self.mode)) {
            held.swap_remove(at);
        }
        if held.is_empty() {
            table.remove(&self.key);
        }
    }
}

/// The name of the process that holds the lock.
fn holder(file: &mut File) -> String {
    let mut written = String::new();
    // Any user of a shared store may write there.
    let read = file.rewind().and_then(|()| file.take(LONGEST_HOLDER).read_to_string(&mut written));
    let written = read.ok().map(|_| written).filter(|text| !text.is_empty());
    let Some(id) = process_of(file) else {
        return written.unwrap_or_else(|| "another process".to_string());
    };
    // The text has the whole command; one of an earlier holder is ignored.
    match written.filter(|text| text.contains(&format!("(process {id} "))) {
        Some(text) => text,
        None if id == std::process::id() => format!("another thread of this command (process {id})"),
        None => format!("{} (process {id})", command_of(id).unwrap_or_else(|| "another program".to_string())),
    }
}

/// The process that holds the lock, if the system reports it. This process comes last: a shared lock may have many
/// holders.
fn process_of(file: &File) -> Option<u32> {
    let meta = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    holder_in(&document::read_system_text(Path::new("/proc/locks"))?, &place, std::process::id())
}

/// From lines such as `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`.
fn holder_in(locks: &str, place: &str, this: u32) -> Option<u32> {
    let id_of = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next() == Some("FLOCK") && words.nth(3) == Some(place)).then_some(())?;
        line.split_whitespace().nth(4)?.parse::<u32>().ok().filter(|id| *id > 0)
    };
    let ids: Vec<u32> = locks.lines().filter_map(id_of).collect();
    ids.iter().find(|id| **id != this).or(ids.first()).copied()
}

/// The program of a process and its first argument: `lockstep repro`.
fn command_of(id: u32) -> Option<String> {
    let words = document::read_system_text(Path::new(&format!("/proc/{id}/cmdline"))).unwrap_or_default();
    let mut words = words.split('\0').filter(|word| !word.is_empty());
    let Some(program) = words.next() else {
        let name = document::read_system_text(Path::new(&format!("/proc/{id}/comm")))?;
        return Some(name.trim().to_string());
    };
    let program = program.rsplit('/').next().unwrap_or(program);
    // A word that looks like an option or a path is not a subcommand.
    let is_verb = |word: &&str| word.len() <= 20 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let verb = words.next().filter(is_verb).filter(|word| program == "lockstep" && !word.starts_with('-'));
    let program: String = program.chars().take(100).collect();
    Some(verb.map_or(program.clone(), |verb| format!("{program} {verb}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    fn wait(signal: &dyn Fn() -> Option<i32>) -> Wait<'_> {
        Wait { busy: "is at it", usual: None, signal, sink: &Silent }
    }

    fn take(path: &Path, mode: Mode, limit: Option<Duration>) -> Result<FileLock> {
        let file = File::options().read(true).write(true).open(path).unwrap();
        match lock_within(file, mode, &wait(&|| None), limit)? {
            LockResult::Locked(lock) => Ok(lock),
            LockResult::NoLocks(_, e) => panic!("{e}"),
        }
    }

    #[test]
    fn the_system_names_the_holder() {
        let locks = "1: FLOCK  ADVISORY  WRITE 7 fe:01:5678 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 8 fe:01:5678 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 9 fe:01:11 0 EOF\n3: FLOCK  ADVISORY  READ 5 00:2a:99 0 EOF\n\
                     4: FLOCK  ADVISORY  READ 6 00:2a:99 0 EOF\n5: FLOCK  ADVISORY  WRITE 0 fe:01:12 0 EOF\n\
                     6: FLOCK ADVISORY\n\n7: FLOCK  ADVISORY  WRITE -1 fe:01:13 0 EOF\n";
        for (place, this, want) in [
            ("fe:01:5678", 1, Some(7)),
            ("fe:01:5678", 7, Some(7)),
            ("fe:01:11", 1, None),
            ("00:2a:99", 5, Some(6)),
            ("00:2a:99", 1, Some(5)),
            ("fe:01:12", 1, None),
            ("fe:01:13", 1, None),
            ("fe:01:567", 1, None),
        ] {
            assert_eq!(holder_in(locks, place, this), want, "{place} {this}");
        }
    }

    #[test]
    fn a_thread_never_waits_for_itself() {
        use Mode::{Exclusive, Shared};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "").unwrap();
        for (first, second) in [(Exclusive, Exclusive), (Exclusive, Shared), (Shared, Exclusive)] {
            let held = take(&path, first, None).unwrap();
            assert_eq!(take(&path, second, None).unwrap_err().kind, Kind::Bug, "{first:?} {second:?}");
            drop(held);
        }
        let held = (take(&path, Shared, None).unwrap(), take(&path, Shared, None).unwrap());
        assert_eq!(take(&path, Exclusive, None).unwrap_err().kind, Kind::Bug);
        drop(held);
        let key = take(&path, Exclusive, None).unwrap().key();
        assert!(!table().contains_key(&key));
    }

    #[test]
    fn a_wait_for_another_thread_ends_and_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "lockstep repro (process 1 on elsewhere)").unwrap();
        let mut held = take(&path, Mode::Exclusive, None).unwrap();
        let in_thread = |limit| std::thread::scope(|s| s.spawn(|| take(&path, Mode::Shared, limit)).join().unwrap());
        let error = in_thread(Some(Duration::from_millis(30))).unwrap_err();
        assert_eq!(error.kind, Kind::Busy);
        assert!(error.message.ends_with(" is at it") && !error.message.contains("elsewhere"), "{error}");
        held.write_holder("lockstep store gc");
        let error = in_thread(Some(Duration::ZERO)).unwrap_err();
        let want = format!("lockstep store gc (process {} on ", std::process::id());
        assert!(error.message.starts_with(&want), "{error}");
        let file = File::open(&path).unwrap();
        let signalled =
            std::thread::scope(|s| s.spawn(|| lock(file, Mode::Shared, &wait(&|| Some(2)))).join().unwrap());
        assert_eq!(signalled.unwrap_err().kind, Kind::Signal(2));
        drop(held);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }
}
