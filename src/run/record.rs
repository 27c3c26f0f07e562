//! Records finished stages on one thread, several at a time.
//!
//! The order is a promise: first the objects, then the run-cache entry, then the journal. Only then are old outputs
//! deleted and the stage reported as done. While one group is made durable, the next stages already run.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::cache::entries::{self, RunRecord};
use crate::cache::signatures::TrustPolicy;
use crate::error::Result;
use crate::event::{Event, Sink};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::stage::StageId;
use crate::plan::facts::IgnoreRules;
use crate::project::Project;
use crate::store::{Pin, Rules, TrackedPath};
use crate::workspace::Workspace;
use crate::workspace::backup::Backup;
use crate::workspace::journal::{Journal, LockChange, Record};
use crate::workspace::logs::RunLog;
use crate::workspace::preserve::discard_backup;
use crate::workspace::store_pins::store_pins;

/// At most this many stages are made durable at once.
const GROUP: usize = 64;
/// A run with more stages than this is a long one.
const FEW: usize = 8;
/// In a long run the recorder waits this long for more jobs while stages run: short stages share their syncs and one
/// pack. A kill loses at most this much time.
const WAIT: Duration = Duration::from_millis(100);
/// A result that took longer than this, in seconds, is recorded without waiting.
const SHORT: f64 = 1.0;
/// The longest time that an entry of the journal may lack durability against a power cut.
const SYNC: Duration = Duration::from_secs(1);

/// Something to record. Fields that are empty are skipped.
pub struct RecordJob {
    /// The stage; `None` for data.
    pub stage: Option<StageId>,
    /// Content to be stored.
    pub store: Vec<(RepoPath, Pin)>,
    /// A result for the run cache. The lock may have it already, if a run gave the same result again.
    pub run: Option<(Box<StageLock>, RunRecord)>,
    /// The record for the journal and, at the end, for the lock.
    pub record: Option<Record>,
    /// Old outputs that the result replaces.
    pub replaced: Vec<Backup>,
    pub log: Option<RunLog>,
}

/// A message to the recorder.
pub enum RecorderMessage {
    Record(Box<RecordJob>),
    /// No further job is expected soon: record the waiting jobs immediately.
    Flush,
}

/// The main thread's end of the recorder.
pub struct Recorder {
    /// `None` once no further job comes, which ends the recorder's thread.
    jobs: Option<Sender<RecorderMessage>>,
    /// Jobs without an answer.
    pending: usize,
    /// It panicked and does not answer.
    is_dead: bool,
}

impl Recorder {
    pub fn new(jobs: Sender<RecorderMessage>) -> Recorder {
        Recorder { jobs: Some(jobs), pending: 0, is_dead: false }
    }

    pub fn send(&mut self, job: RecordJob) {
        self.pending += 1;
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(RecorderMessage::Record(Box::new(job)));
        }
    }

    /// Asks for the answers to all pending jobs. Returns false if there is none to wait for.
    pub fn flush(&self) -> bool {
        let waits = self.pending > 0 && !self.is_dead;
        if let Some(jobs) = self.jobs.as_ref().filter(|_| waits) {
            let _ = jobs.send(RecorderMessage::Flush);
        }
        waits
    }

    /// Notes the answer to one job.
    pub fn answered(&mut self) {
        self.pending -= 1;
    }

    pub fn died(&mut self) {
        self.is_dead = true;
    }

    pub fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Ends the recorder's thread after the pending jobs.
    pub fn close(&mut self) {
        self.jobs = None;
    }
}

/// The result of a [`RecordJob`], which is returned with it.
pub struct RecordResult {
    pub job: RecordJob,
    pub result: Result<()>,
}

/// Serves orders until the sender is dropped.
pub fn serve(
    project: &Project,
    rules: &dyn Rules,
    trust: &TrustPolicy,
    sink: &dyn Sink,
    journal: &mut Journal,
    orders: Receiver<RecorderMessage>,
    answers: &Sender<impl From<RecordResult>>,
) {
    let mut unsynced: Option<Instant> = None;
    let mut count = 0;
    loop {
        let first = match orders.recv_timeout(SYNC) {
            Ok(RecorderMessage::Record(job)) => Some(*job),
            Ok(RecorderMessage::Flush) | Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Some(first) = first {
            let wait = if count < FEW || !is_short(&first) { Duration::ZERO } else { WAIT };
            let group = gather(first, &orders, wait);
            count += group.len();
            for recorded in record(project, rules, trust, sink, journal, group) {
                if answers.send(recorded.into()).is_err() {
                    return;
                }
            }
            unsynced.get_or_insert_with(Instant::now);
        }
        if unsynced.is_some_and(|since| since.elapsed() >= SYNC) {
            let _ = journal.sync();
            unsynced = None;
        }
    }
}

/// Collects the jobs that arrive within `wait`, or until there is a reason to stop waiting.
fn gather(first: RecordJob, orders: &Receiver<RecorderMessage>, wait: Duration) -> Vec<RecordJob> {
    let mut group = vec![first];
    let mut end = Instant::now() + wait;
    while group.len() < GROUP {
        match orders.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(RecorderMessage::Record(job)) => {
                if !is_short(&job) {
                    end = Instant::now();
                }
                group.push(*job);
            }
            Ok(RecorderMessage::Flush) | Err(_) => break,
        }
    }
    group
}

/// Whether the result is quickly made again if it is lost. False for a job without a run.
fn is_short(job: &RecordJob) -> bool {
    job.run.as_ref().is_some_and(|(_, run)| run.seconds < SHORT)
}

fn record(
    project: &Project,
    rules: &dyn Rules,
    trust: &TrustPolicy,
    sink: &dyn Sink,
    journal: &mut Journal,
    group: Vec<RecordJob>,
) -> Vec<RecordResult> {
    // Until a record refers to the stored objects, gc must not remove them, whatever their age.
    let hold = project.store().lock_shared_to_record(sink);
    let stored = match &hold {
        Ok(_) => store(project, sink, &group),
        Err(e) => group.iter().map(|_| Err(e.clone())).collect(),
    };
    let mut recorded: Vec<RecordResult> =
        group.into_iter().zip(stored).map(|(job, result)| RecordResult { job, result }).collect();
    let fine = || recorded.iter().filter(|r| r.result.is_ok());
    for r in fine() {
        if let Some((entry, run)) = &r.job.run
            && let Err(e) = entries::put(project.store(), entry, run, trust)
        {
            // The result goes to the lock; only its reuse is lost.
            sink.event(Event::Warning { text: &format!("the run cache could not be written: {}", e.message) });
        }
    }
    let records: Vec<Record> = fine().filter_map(|r| r.job.record.clone()).collect();
    let appended = if records.is_empty() { Ok(()) } else { journal.append(&records) };
    if appended.is_ok() {
        records.iter().for_each(|record| set_base(project, record));
    }
    if let Err(error) = appended {
        for r in recorded.iter_mut().filter(|r| r.result.is_ok() && r.job.record.is_some()) {
            r.result = Err(error.clone());
        }
    }
    for r in recorded.iter_mut().filter(|r| r.result.is_ok()) {
        discard_replaced(project, rules, sink, &mut r.job);
    }
    recorded
}

/// Sets the recorded version of data as the base that later edits are compared with.
fn set_base(project: &Project, record: &Record) {
    let LockChange::Data { path, new, .. } = &record.change else { return };
    if let Some(path) = record.lock.parent().unwrap_or_default().join(path) {
        project.index().set_base(&TrackedPath::from(&path), new);
    }
}

/// Makes the content of all jobs durable; one result per job. A job that fails does not affect the others, unless the
/// store as a whole fails.
fn store(project: &Project, sink: &dyn Sink, group: &[RecordJob]) -> Vec<Result<()>> {
    if group.iter().all(|job| job.store.is_empty()) {
        return group.iter().map(|_| Ok(())).collect();
    }
    match store_all(project, sink, group) {
        Ok(()) => group.iter().map(|_| Ok(())).collect(),
        Err(error) if group.len() == 1 => vec![Err(error)],
        // One file that changed during the batch must not fail the other stages of the group.
        Err(_) => group.iter().map(|job| store_all(project, sink, std::slice::from_ref(job))).collect(),
    }
}

fn store_all(project: &Project, sink: &dyn Sink, jobs: &[RecordJob]) -> Result<()> {
    store_pins(project, jobs.iter().flat_map(|job| &job.store).map(|(path, pin)| (path, pin)), sink)
}

/// Deletes the old outputs of a recorded result, except those without another copy.
fn discard_replaced(project: &Project, rules: &dyn Rules, sink: &dyn Sink, job: &mut RecordJob) {
    for backup in job.replaced.drain(..) {
        match (&job.log, backup.precious) {
            (Some(log), true) => {
                let (out, to) = (backup.out.clone(), log.kept(&backup.out));
                match backup.keep(&to) {
                    Ok(to) => {
                        let text = format!("the store lacks the old {out}: it is kept in {}", to.display());
                        sink.event(Event::Note { text: &text });
                    }
                    Err(e) => sink.event(Event::Warning { text: &e.message }),
                }
            }
            // A backup that could not be moved to the log folder stays where it is, so that its bytes are not lost.
            (log, _) => {
                if let Err(e) = discard_backup(project, rules, backup, log.as_ref(), sink) {
                    sink.event(Event::Warning { text: &e.message });
                }
            }
        }
    }
}

/// For commands without a recorder thread (`commit`, `add`): records immediately and returns the first error.
pub fn record_now(workspace: &Workspace, jobs: Vec<RecordJob>) -> Result<()> {
    let Workspace { project, definitions, sink, .. } = workspace;
    let trust = TrustPolicy::from_settings(project)?;
    let rules = IgnoreRules(&definitions.rules);
    let recorded = record(project, &rules, &trust, *sink, &mut workspace.journal(), jobs);
    recorded.into_iter().try_for_each(|r| r.result)
}
