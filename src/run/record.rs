//! Records finished stages, on one thread, several at a time.
//!
//! The order is the promise: objects, then the run-cache entry, then the journal, and only then are old outputs given
//! up and is the stage called done. While one group is being made durable, the next stages already run.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::cache::entries::{self, RunRecord};
use crate::cache::signatures::Trust;
use crate::error::{Error, Result};
use crate::event::{Event, Sink};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::stage::StageId;
use crate::project::Project;
use crate::store::{Pin, Rules, TrackedPath};
use crate::workspace::backup::Aside;
use crate::workspace::journal::{Change, Journal, Record};
use crate::workspace::logs::RunLog;
use crate::workspace::preserve::give_up_aside;
use crate::workspace::store_pins::store_pins;

/// No more stages than this are made durable at once.
const GROUP: usize = 64;
/// A run of more stages than this is a long one.
const FEW: usize = 8;
/// In a long run the recorder waits for more while stages run: short ones share their syncs, and become one pack. A kill
/// takes no more than this time with it.
const WAIT: Duration = Duration::from_millis(100);
/// A result that took longer than this, in seconds, is not kept waiting.
const SHORT: f64 = 1.0;
/// How long an entry of the journal may lack durability against a power cut.
const SYNC: Duration = Duration::from_secs(1);

/// Something to be recorded; what a field leaves out is not done.
pub struct Job {
    /// The stage, unless it is data.
    pub stage: Option<StageId>,
    /// Content to be stored.
    pub store: Vec<(RepoPath, Pin)>,
    /// A result for the run cache. The lock may have it already: a run that gave the same again.
    pub run: Option<(Box<StageLock>, RunRecord)>,
    /// The fact for the journal, and at the end for the lock.
    pub record: Option<Record>,
    /// Old outputs that the result replaces.
    pub replaced: Vec<Aside>,
    pub log: Option<RunLog>,
}

/// What the recorder is told.
pub enum Order {
    Record(Box<Job>),
    /// Nothing more comes soon: what is there is to be recorded without a wait.
    Flush,
}

/// What became of a [`Job`], which comes back.
pub struct Recorded {
    pub job: Job,
    pub result: Result<()>,
}

/// Works until the sender is gone.
pub fn serve(
    project: &Project,
    rules: &dyn Rules,
    trust: &Trust,
    sink: &dyn Sink,
    journal: &mut Journal,
    orders: Receiver<Order>,
    answers: &Sender<impl From<Recorded>>,
) {
    let mut unsynced: Option<Instant> = None;
    let mut count = 0;
    loop {
        let first = match orders.recv_timeout(SYNC) {
            Ok(Order::Record(job)) => Some(*job),
            Ok(Order::Flush) | Err(RecvTimeoutError::Timeout) => None,
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

/// The jobs that come within a while, or until there is a reason not to wait.
fn gather(first: Job, orders: &Receiver<Order>, wait: Duration) -> Vec<Job> {
    let mut group = vec![first];
    let mut end = Instant::now() + wait;
    while group.len() < GROUP {
        match orders.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Order::Record(job)) => {
                if !is_short(&job) {
                    end = Instant::now();
                }
                group.push(*job);
            }
            Ok(Order::Flush) | Err(_) => break,
        }
    }
    group
}

/// Is it soon made again, should it be lost? Of a job without a run nothing is known.
fn is_short(job: &Job) -> bool {
    job.run.as_ref().is_some_and(|(_, run)| run.seconds < SHORT)
}

fn record(
    project: &Project,
    rules: &dyn Rules,
    trust: &Trust,
    sink: &dyn Sink,
    journal: &mut Journal,
    group: Vec<Job>,
) -> Vec<Recorded> {
    // Until something refers to what is stored, nobody takes it away, however young or old it is.
    let hold = project.store().lock_shared_to_record(sink);
    let stored = match &hold {
        Ok(_) => store(project, sink, &group),
        Err(e) => group.iter().map(|_| Err(e.clone())).collect(),
    };
    let mut recorded: Vec<Recorded> =
        group.into_iter().zip(stored).map(|(job, result)| Recorded { job, result }).collect();
    let fine = || recorded.iter().filter(|r| r.result.is_ok());
    for r in fine() {
        if let Some((entry, run)) = &r.job.run
            && let Err(e) = entries::put(project.store(), entry, run, trust)
        {
            // The lock will have the result; only its reuse is lost.
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
        give_up_old(project, rules, sink, &mut r.job);
    }
    recorded
}

/// What was recorded of data is the version that later edits are measured by.
fn set_base(project: &Project, record: &Record) {
    let Change::Data { path, new, .. } = &record.change else { return };
    if let Some(path) = record.lock.parent().unwrap_or_default().join(path) {
        project.index().set_base(&TrackedPath::from(&path), new);
    }
}

/// Makes the content of all jobs durable; one answer each. A job that fails does not hinder the others, unless the
/// store as a whole does.
fn store(project: &Project, sink: &dyn Sink, group: &[Job]) -> Vec<Result<()>> {
    if group.iter().all(|job| job.store.is_empty()) {
        return group.iter().map(|_| Ok(())).collect();
    }
    match store_all(project, sink, group) {
        Ok(()) => group.iter().map(|_| Ok(())).collect(),
        Err(error) if group.len() == 1 => vec![Err(error)],
        // One file that changed meanwhile must not fail the stages that finished with it.
        Err(_) => group.iter().map(|job| store_all(project, sink, std::slice::from_ref(job))).collect(),
    }
}

fn store_all(project: &Project, sink: &dyn Sink, jobs: &[Job]) -> Result<()> {
    store_pins(project, jobs.iter().flat_map(|job| &job.store).map(|(path, pin)| (path, pin)), sink)
}

/// The result is recorded: old outputs go, but for those that exist nowhere else.
fn give_up_old(project: &Project, rules: &dyn Rules, sink: &dyn Sink, job: &mut Job) {
    for aside in job.replaced.drain(..) {
        match (&job.log, aside.precious) {
            (Some(log), true) => {
                let (out, to) = (aside.out.clone(), log.kept(&aside.out));
                match aside.keep(&to) {
                    Ok(to) => {
                        let text = format!("the store lacks the old {out}: it is kept in {}", to.display());
                        sink.event(Event::Note { text: &text });
                    }
                    Err(e) => sink.event(Event::Warning { text: &e.message }),
                }
            }
            // What could not be kept elsewhere stays where it was set aside: no bytes go with it.
            (log, _) => {
                if let Err(e) = give_up_aside(project, rules, aside, log.as_ref(), sink) {
                    sink.event(Event::Warning { text: &e.message });
                }
            }
        }
    }
}

/// For callers without a thread of their own (`commit`, `add`): records now, and gives the first error. `rules` say what is
/// ignored in outputs that are replaced.
pub fn record_now(
    project: &Project,
    rules: &dyn Rules,
    sink: &dyn Sink,
    journal: &mut Journal,
    jobs: Vec<Job>,
) -> Result<(), Error> {
    let trust = Trust::of(project)?;
    record(project, rules, &trust, sink, journal, jobs).into_iter().try_for_each(|r| r.result)
}
