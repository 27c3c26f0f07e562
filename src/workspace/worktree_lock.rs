//! One writer a worktree: the exclusive lock that every command which writes holds.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::file_lock::{self, FileLock, LockResult, Mode, Wait};
use crate::project::Project;

/// Held until it is dropped; the system lets go of it when the process dies.
#[derive(Debug)]
pub struct WorkspaceLock {
    _lock: FileLock,
}

/// Takes the workspace lock, waiting as [`file_lock`] does.
pub fn take(project: &Project, command: &str, sink: &dyn Sink) -> Result<WorkspaceLock> {
    take_unless(&AtomicI32::new(0), project, command, sink)
}

/// The same for commands that catch signals: waiting ends when `signal` becomes the number of one.
pub fn take_unless(signal: &AtomicI32, project: &Project, command: &str, sink: &dyn Sink) -> Result<WorkspaceLock> {
    project.with_files()?;
    let dir = project.state_dir();
    fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
    let lock = dir.join("lock");
    refuse_within_a_stage(project, command, &lock)?;
    let mut lock = hold(&lock, signal, sink)?;
    // A killed run's watchdog may still be ending its commands: outputs are theirs until it is gone.
    drop(hold(&dir.join("watchdog"), signal, sink)?);
    project.repo.record_worktree()?;
    lock.write_holder(command);
    Ok(WorkspaceLock { _lock: lock })
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
pub fn take_for_edit(project: &Project, command: &str, sink: &dyn Sink) -> Result<WorkspaceLock> {
    project.with_files()?;
    let dir = project.state_dir();
    fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
    let mut lock = hold(&dir.join("edit"), &AtomicI32::new(0), sink)?;
    lock.write_holder(command);
    Ok(WorkspaceLock { _lock: lock })
}

fn hold(path: &Path, signal: &AtomicI32, sink: &dyn Sink) -> Result<FileLock> {
    let fail = |e: std::io::Error| Error::io("lock", path, e);
    let file = file_lock::open(path).map_err(fail)?;
    let signal = || Some(signal.load(Ordering::SeqCst) & 0x7f).filter(|number| *number != 0);
    let wait = Wait { busy: "is working in this workspace", usual: None, signal: &signal, sink };
    match file_lock::lock(file, Mode::Exclusive, &wait)? {
        LockResult::Locked(lock) => Ok(lock),
        LockResult::NoLocks(_, e) => Err(fail(e)),
    }
}
