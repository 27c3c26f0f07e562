//! What happens after a stage was decided, run, restored or recorded: updates of the outcome, the schedule and the
//! recorder.

use std::collections::BTreeMap;

use crate::cache::entries;
use crate::error::{Error, Kind};
use crate::event::{Event, StageResult};
use crate::pipeline::stage::StageId;
use crate::plan::reasons::Reason;
use crate::plan::schedule::StageState;
use crate::project::Project;
use crate::run::execute::{FinishedStage, Provenance, StageFailure, move_to_log};
use crate::run::local::Exit;
use crate::run::outcome::StageOutcome;
use crate::run::record::{self, RecordResult};
use crate::run::state::Run;
use crate::workspace::gitignore;
use crate::workspace::journal::{LockChange, Record};

impl<'s, 'a: 's> Run<'s, '_, 'a> {
    pub(super) fn finished(&mut self, id: StageId, result: Result<FinishedStage, StageFailure>) {
        self.workspace.reader.forget();
        let (reasons, is_withdrawn) = match self.schedule.state(id) {
            Some(StageState::Running(reasons)) => (reasons.clone(), false),
            Some(StageState::Withdrawn(reasons)) => (reasons.clone(), true),
            _ => (Vec::new(), false),
        };
        let stage = self.stage(id);
        // Later stages that read such a folder must see its final content, and the output of a failed stage must stay
        // out of Git.
        match gitignore::write_missing(self.project(), &mut self.pending_ignore_lines, stage) {
            Ok(written) => self.outcome.written.extend(written),
            Err(error) => self.sink().event(Event::Warning { text: &error.message }),
        }
        let finished = match result {
            Ok(finished) => finished,
            Err(failure) => {
                if is_withdrawn {
                    // The failure belongs to the upstream stage, and was already reported.
                    return self.block(id, StageResult::Blocked, reasons, failure.seconds);
                }
                let tail = failure.log.as_ref().map(|log| log.tail(20)).unwrap_or_default();
                self.fail(id, reasons, *failure.error, failure.exit, failure.seconds);
                if let Some(last) = self.outcome.stages.iter_mut().rfind(|s| s.id == id) {
                    last.tail = tail;
                }
                return;
            }
        };
        let file = &self.definitions().pipelines.file(stage.file).path;
        let old = self.entry(id).cloned();
        let versions = match &finished.how {
            Provenance::Ran => self.programs.record_run(stage, finished.entry.key),
            Provenance::Restored(..) => BTreeMap::new(),
        };
        let run = match &finished.how {
            Provenance::Ran
                if !self.options.no_commit && self.options.modes.local.write && entries::is_cacheable(stage) =>
            {
                let project = self.project();
                let commit = self.head_commit.get_or_insert_with(|| project.repo.head().ok().flatten());
                Some((
                    Box::new(finished.entry.clone()),
                    entries::record_now(project, finished.seconds, commit, versions),
                ))
            }
            _ => None,
        };
        let store = if self.options.no_commit {
            Vec::new()
        } else {
            stage.outs.iter().zip(&finished.pins).filter_map(|(o, pin)| Some((o.path.clone(), (*pin)?))).collect()
        };
        let record = (old.as_ref() != Some(&finished.entry) && !stage.frozen).then(|| Record {
            lock: Project::lock_path(file),
            change: LockChange::Stage {
                name: stage.name.clone(),
                old: old.map(Box::new),
                new: Box::new(finished.entry.clone()),
            },
        });
        if !stage.frozen {
            self.workspace.locks.all[stage.file.0 as usize].stages.insert(stage.name.clone(), finished.entry.clone());
        }
        let (result, saved, from) = match &finished.how {
            Provenance::Ran => (StageResult::Ran, 0.0, None),
            Provenance::Restored(record, from) => {
                let saved = record.as_ref().map_or(0.0, |record| (record.seconds - finished.seconds).max(0.0));
                (StageResult::Restored, saved, Some(*from))
            }
        };
        if self.options.force_downstream {
            self.forced.extend(self.definitions().graph.all_downstream(id));
        }
        self.close(id, result, reasons, finished.seconds);
        if let Some(last) = self.outcome.stages.last_mut() {
            (last.saved, last.from) = (saved, from);
        }
        self.send(record::RecordJob {
            stage: Some(id),
            store,
            run,
            record,
            replaced: finished.replaced,
            log: finished.log,
        });
    }

    pub(super) fn send(&mut self, job: record::RecordJob) {
        if let Some(record) = &job.record {
            self.records.push(record.clone());
        }
        self.recorder.send(job);
    }

    /// Handles the recorder's answer to a job. If it failed, no record refers to the result: the stage counts as
    /// failed, and its old outputs are restored.
    pub(super) fn recorded(&mut self, recorded: RecordResult) {
        self.recorder.answered();
        let RecordResult { job, result } = recorded;
        let Err(mut error) = result else { return };
        self.stopping = true;
        if let Some(record) = &job.record {
            self.records.retain(|r| r != record);
        }
        for backup in job.replaced {
            let out = backup.out.clone();
            if let Some(log) = &job.log
                && let Err(e) = move_to_log(self.project(), &out, log)
            {
                error = error.because(e.message);
                continue;
            }
            match backup.restore(self.project().writable_area()) {
                Ok(()) => error = error.hint(format!("the last good {out} is back")),
                Err(e) => error = error.because_of(e),
            }
        }
        match job.stage {
            Some(id) => {
                self.schedule.withdraw_downstream(id);
                let address = self.address(id);
                let mut reported =
                    Error::new(error.kind, format!("the result of stage {address} could not be recorded"));
                reported.causes.push(error.message);
                reported.causes.extend(error.causes);
                reported.hints = error.hints;
                if let Some(outcome) = self.outcome.stages.iter_mut().rfind(|s| s.id == id) {
                    outcome.result = StageResult::Failed;
                    outcome.error = Some(reported);
                }
            }
            None => self.outcome.errors.push(error),
        }
    }

    /// Fails a stage that cannot run as written; stages that do not need it continue.
    pub(super) fn refuse(&mut self, id: StageId, error: Error) {
        let stopping = self.stopping;
        self.fail(id, Vec::new(), error, None, 0.0);
        self.stopping = stopping;
    }

    pub(super) fn fail(&mut self, id: StageId, reasons: Vec<Reason>, error: Error, exit: Option<Exit>, seconds: f64) {
        match self.options.ignore_errors {
            true => self.close(id, StageResult::Failed, reasons, seconds),
            false => self.block(id, StageResult::Failed, reasons, seconds),
        }
        let stopped = self.outcome.interrupted.is_some();
        if let Some(last) = self.outcome.stages.iter_mut().rfind(|stage| stage.id == id) {
            last.stopped = stopped && (exit.is_some() || matches!(error.kind, Kind::Signal(_)));
            last.exit = match exit {
                Some(Exit::Code(n)) => Some(n),
                Some(Exit::Signal(n)) => Some(128 + n),
                _ => None,
            };
            last.error = Some(error);
        }
        if !self.options.keep_going && !self.options.ignore_errors {
            self.stopping = true;
        }
    }

    /// Finishes a stage; stages that need it go on.
    pub(super) fn close(&mut self, id: StageId, result: StageResult, reasons: Vec<Reason>, seconds: f64) {
        self.schedule.finish(id, result);
        self.report(id, result, reasons, seconds);
    }

    /// Finishes a stage without a result; stages that need it are blocked.
    pub(super) fn block(&mut self, id: StageId, result: StageResult, reasons: Vec<Reason>, seconds: f64) {
        let blocked = self.schedule.fail(id, result);
        self.report(id, result, reasons, seconds);
        for id in blocked {
            self.report(id, StageResult::Blocked, Vec::new(), 0.0);
        }
    }

    fn report(&mut self, id: StageId, result: StageResult, reasons: Vec<Reason>, seconds: f64) {
        let quiet = matches!(result, StageResult::UpToDate);
        if !quiet {
            let address = self.address(id);
            self.sink().event(Event::StageFinished { stage: &address, result, seconds });
        } else {
            self.sink().event(Event::StageFinished { stage: "", result, seconds });
        }
        self.outcome.stages.push(StageOutcome {
            id,
            result,
            reasons,
            seconds,
            saved: 0.0,
            from: None,
            error: None,
            exit: None,
            stopped: false,
            tail: Vec::new(),
        });
    }
}
