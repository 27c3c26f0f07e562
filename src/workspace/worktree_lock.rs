//! The exclusive lock of a worktree, which every command that writes holds.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::error::{Error, Kind, Result};
use crate::event::Sink;
use crate::file_lock::{self, FileLock, LockResult, Mode, Wait};
use crate::project::Project;

/// Held until dropped; the system releases it when the process dies.
#[derive(Debug)]
pub struct WorkspaceLock {
    _lock: FileLock,
}

/// Takes the workspace lock, waiting as [`file_lock`] does.
pub fn take(project: &Project, command: &str, sink: &dyn Sink) -> Result<WorkspaceLock> {
    take_unless(&AtomicI32::new(0), project, command, sink)
}

/// Like [`take`], for commands that catch signals: stops waiting when `signal` becomes a signal number.
pub fn take_unless(signal: &AtomicI32, project: &Project, command: &str, sink: &dyn Sink) -> Result<WorkspaceLock> {
    project.with_files()?;
    let dir = project.state_dir();
    fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
    let lock = dir.join("lock");
    refuse_within_a_stage(project, command, &lock)?;
    let mut lock = hold(&lock, signal, sink)?;
    // The watchdog of a killed run may still be ending commands that write outputs.
    drop(hold(&dir.join("watchdog"), signal, sink)?);
    project.repo.record_worktree()?;
    lock.write_holder(command);
    Ok(WorkspaceLock { _lock: lock })
}

/// Errors: the command runs inside a stage. It would wait for the run, which waits for the stage.
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
        .hint("remove the call from the stage, and list what it needs in its deps"))
}

/// Held only while a pipeline file is read, changed and written. A separate lock, so that a stage can be added while
/// others run or while data is stored.
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
