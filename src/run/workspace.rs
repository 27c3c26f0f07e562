//! One writer a worktree: the exclusive lock that every command which writes holds.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::project::Project;

/// What is read of who holds the lock.
const LONGEST_HOLDER: u64 = 200;

/// Held until it is dropped; the system lets go of it when the process dies.
#[derive(Debug)]
pub struct WorkspaceLock {
    _file: File,
}

/// Takes the workspace lock, waiting for up to `wait` (for ever if `None`) and saying for whom.
pub fn take(project: &Project, command: &str, wait: Option<Duration>, sink: &dyn Sink) -> Result<WorkspaceLock> {
    take_unless(&AtomicI32::new(0), project, command, wait, sink)
}

/// The same for commands that catch signals: waiting ends when `signal` becomes the number of one.
pub fn take_unless(
    signal: &AtomicI32,
    project: &Project,
    command: &str,
    wait: Option<Duration>,
    sink: &dyn Sink,
) -> Result<WorkspaceLock> {
    project.with_files()?;
    let dir = project.state_dir();
    fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
    let lock = dir.join("lock");
    refuse_within_a_stage(project, command, &lock)?;
    let mut lock = hold(&lock, signal, wait, sink)?;
    // A killed run's watchdog may still be ending its commands: outputs are theirs until it is gone.
    drop(hold(&dir.join("watchdog"), signal, wait, sink)?);
    project.repo.note_place()?;
    say_who(&mut lock, command);
    Ok(WorkspaceLock { _file: lock })
}

/// A stage that calls lockstep would wait for the very run that waits for the stage.
fn refuse_within_a_stage(project: &Project, command: &str, lock: &Path) -> Result<()> {
    let given = |name: &str| project.around.env.get(name);
    let root = project.repo.project_root.on_disk(project.top());
    let is_here = |given: &String| fs::canonicalize(given).ok() == fs::canonicalize(&root).ok();
    let Some(stage) = given("LOCKSTEP_STAGE").filter(|_| given("LOCKSTEP_ROOT").is_some_and(is_here)) else {
        return Ok(());
    };
    let is_held = File::open(lock).is_ok_and(|f| matches!(f.try_lock_shared(), Err(fs::TryLockError::WouldBlock)));
    if !is_held {
        return Ok(());
    }
    Err(Error::new(Kind::Busy, format!("stage {stage} calls `{command}`, which has to wait until the stage is over"))
        .because("the run of the stage holds this workspace, and only one lockstep writes to it at a time")
        .hint("take the call out of the stage; what it needs belongs into its deps"))
}

/// Held while a pipeline file is read, changed and written, and no longer. Not the workspace lock: a stage may be added
/// while others run, or while data is stored.
pub fn take_for_edit(
    project: &Project,
    command: &str,
    wait: Option<Duration>,
    sink: &dyn Sink,
) -> Result<WorkspaceLock> {
    project.with_files()?;
    let dir = project.state_dir();
    fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
    let mut lock = hold(&dir.join("edit"), &AtomicI32::new(0), wait, sink)?;
    say_who(&mut lock, command);
    Ok(WorkspaceLock { _file: lock })
}

/// For those who wait.
fn say_who(lock: &mut File, command: &str) {
    let who = format!("{command} (process {})", std::process::id());
    let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(who.as_bytes()));
}

fn hold(path: &Path, signal: &AtomicI32, wait: Option<Duration>, sink: &dyn Sink) -> Result<File> {
    let fail = |e: std::io::Error| Error::io("lock", path, e);
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
    let started = Instant::now();
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(e)) => return Err(fail(e)),
            Err(fs::TryLockError::WouldBlock) => {}
        }
        let mut who = String::new();
        let _ = file.rewind().and_then(|()| (&mut file).take(LONGEST_HOLDER).read_to_string(&mut who));
        let who = if who.is_empty() { "another lockstep".to_string() } else { who };
        if wait.is_some_and(|wait| started.elapsed() >= wait) {
            return Err(Error::new(Kind::Busy, format!("{who} is working in this workspace"))
                .hint("wait for it for longer: --wait SECS, or --wait for ever"));
        }
        let number = signal.load(Ordering::SeqCst) & 0x7f;
        if number != 0 {
            return Err(Error::new(Kind::Signal(number), format!("ended while waiting for {who}")));
        }
        if !said && started.elapsed() > Duration::from_millis(300) {
            said = true;
            sink.event(Event::Waiting { text: &format!("waiting for {who}") });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
