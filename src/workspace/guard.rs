//! The worktree while one command writes to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::Result;
use crate::event::{Event, Sink};
use crate::path::RepoPath;
use crate::pipeline::Files;
use crate::pipeline::stage::{FileId, InputLocation};
use crate::plan::facts::FactsReader;
use crate::project::{Definitions, Locks, Project};
use crate::store::ObjectId;
use crate::workspace::backup::Backups;
use crate::workspace::journal::{Journal, LockChange, Record};
use crate::workspace::lock_update::{apply_records, has_stale_entries};
use crate::workspace::recover::{fold_journal, restore_backups, still_valid};
use crate::workspace::worktree_lock::{self, WorkspaceLock};

/// The worktree, held by one command that writes to it: no other command does, and what a killed command left is
/// cleaned up.
pub struct Workspace<'a> {
    pub project: &'a Project,
    pub definitions: &'a Definitions,
    pub sink: &'a dyn Sink,
    /// The lock files, with the results of a killed run.
    pub locks: Locks,
    pub reader: FactsReader<'a>,
    pub backups: Arc<Backups>,
    /// Outputs that a killed run had moved away, and that are back.
    pub returned: Vec<RepoPath>,
    /// Lock files that were written.
    written: Vec<RepoPath>,
    baseline: Baseline,
    _lock: HeldLock<'a>,
}

enum HeldLock<'a> {
    Own { _lock: WorkspaceLock },
    OfCaller { _lock: &'a WorkspaceLock },
}

/// The state at the beginning of a command, which shows at its end whether another program changed something.
struct Baseline {
    /// BLAKE3 of the lock of each pipeline file; `None` if it was missing.
    lock_hashes: Vec<Option<ObjectId>>,
    /// The commit that was checked out.
    head: Option<String>,
}

impl<'a> Workspace<'a> {
    /// Waits for the workspace lock and takes it. `command` is shown to others that wait for it.
    ///
    /// Errors: the command runs within a stage; what a killed command left cannot be restored.
    pub fn hold(
        project: &'a Project,
        definitions: &'a Definitions,
        command: &str,
        sink: &'a dyn Sink,
    ) -> Result<Workspace<'a>> {
        let lock = worktree_lock::take(project, command, sink)?;
        Workspace::prepare(HeldLock::Own { _lock: lock }, project, definitions, sink)
    }

    /// For a caller that holds the lock already: it wrote the pipeline files that `definitions` were read from, or its
    /// threads must have ended before the lock is released.
    pub fn within(
        lock: &'a WorkspaceLock,
        project: &'a Project,
        definitions: &'a Definitions,
        sink: &'a dyn Sink,
    ) -> Result<Workspace<'a>> {
        Workspace::prepare(HeldLock::OfCaller { _lock: lock }, project, definitions, sink)
    }

    fn prepare(
        lock: HeldLock<'a>,
        project: &'a Project,
        definitions: &'a Definitions,
        sink: &'a dyn Sink,
    ) -> Result<Workspace<'a>> {
        let backups = Backups::for_project(project);
        let returned = restore_backups(project, &backups, sink)?;
        let mut reader = FactsReader::new(project, definitions, sink);
        let mut locks = project.locks(definitions)?;
        let written = fold_journal(project, definitions, &mut locks, &mut reader, sink)?;
        let baseline = Baseline::capture(project, definitions, &locks, &written)?;
        let backups = Arc::new(backups);
        Ok(Workspace { project, definitions, sink, locks, reader, backups, returned, written, baseline, _lock: lock })
    }

    /// The journal, to which the results of this command are written first.
    pub fn journal(&self) -> Journal {
        Journal::of_project(self.project)
    }

    /// Those of `files` whose locks have entries of stages or data that the pipeline files no longer have.
    pub fn stale_locks(&self, files: &[FileId]) -> Vec<FileId> {
        files.iter().copied().filter(|file| has_stale_entries(self.definitions, &self.locks, *file)).collect()
    }

    /// Writes the records of this command into the lock files, empties the journal and saves the index. From the locks
    /// of the files in `tidy`, entries are removed that the pipeline files no longer have. Returns the lock files that
    /// were written since the workspace was taken.
    pub fn finish(self, records: Vec<Record>, tidy: &[FileId]) -> Result<Vec<RepoPath>> {
        let mut written = self.written.clone();
        written.extend(apply_records(self.project, self.definitions, &records, &self.locks, tidy, self.sink)?);
        self.journal().clear()?;
        let _ = self.project.index().save();
        Ok(written)
    }

    /// Like [`Workspace::finish`], for a command that ran for long. If another commit was checked out meanwhile, or
    /// another program wrote to a lock, only records that match the current files are written: the result of one branch
    /// must not enter the lock of another.
    pub fn finish_run(self, records: Vec<Record>, tidy: &[FileId]) -> Result<Vec<RepoPath>> {
        if records.is_empty() && tidy.is_empty() {
            return self.finish(records, tidy);
        }
        let is_current = self.project.is_current(self.definitions);
        let records = self.valid_records(records, is_current)?;
        // Entries that the edited file lacks may be those of a stage that this run recorded.
        self.finish(records, if is_current { tidy } else { &[] })
    }

    fn valid_records(&self, mut records: Vec<Record>, is_current: bool) -> Result<Vec<Record>> {
        let (project, sink) = (self.project, self.sink);
        if !is_current {
            let text = "pipeline.yaml was edited during the run: the run used the text from its beginning";
            sink.event(Event::Warning { text });
        }
        let changed = self.changed_locks(&records)?;
        if !changed.is_empty() {
            let newer = if is_current { None } else { project.definitions().ok() };
            let now = newer.as_ref().unwrap_or(self.definitions);
            let mut reader = FactsReader::new(project, now, sink);
            records.retain(|record| {
                let is_valid = !changed.contains(&record.lock) || still_valid(project, now, &mut reader, record);
                if !is_valid && let LockChange::Stage { name, .. } = &record.change {
                    let path = &record.lock;
                    let text = format!(
                        "the files changed during the run: the result of {name} is not recorded in this {path}"
                    );
                    sink.event(Event::Warning { text: &text });
                }
                is_valid
            });
        }
        Ok(records)
    }

    /// The locks of these records that are not as they were at the beginning, or that belong to another commit now.
    fn changed_locks(&self, records: &[Record]) -> Result<BTreeSet<RepoPath>> {
        let paths: BTreeSet<&RepoPath> = records.iter().map(|record| &record.lock).collect();
        if paths.is_empty() {
            return Ok(BTreeSet::new());
        }
        let is_other_commit = self.project.repo.head().ok().flatten() != self.baseline.head;
        let mut changed = BTreeSet::new();
        for (file, hash) in self.definitions.pipelines.files.iter().zip(&self.baseline.lock_hashes) {
            let lock = Project::lock_path(&file.path);
            if paths.contains(&lock) && (is_other_commit || *hash != hash_lock(self.project, &lock)?) {
                changed.insert(lock);
            }
        }
        Ok(changed)
    }
}

impl Baseline {
    /// `locks` as read from disk; the files in `written` were written after that.
    fn capture(project: &Project, definitions: &Definitions, locks: &Locks, written: &[RepoPath]) -> Result<Baseline> {
        let mut lock_hashes = Vec::with_capacity(definitions.pipelines.files.len());
        for (n, file) in definitions.pipelines.files.iter().enumerate() {
            let is_read_again = !written.is_empty() && written.contains(&Project::lock_path(&file.path));
            lock_hashes.push(match is_read_again {
                true => hash_lock(project, &Project::lock_path(&file.path))?,
                false => locks.hash_of(FileId(n as u32)),
            });
        }
        Ok(Baseline { lock_hashes, head: project.repo.head().ok().flatten() })
    }
}

fn hash_lock(project: &Project, lock: &RepoPath) -> Result<Option<ObjectId>> {
    Ok(project.files().read(&InputLocation::Repo(lock.clone()))?.map(|bytes| ObjectId::of(&bytes)))
}
