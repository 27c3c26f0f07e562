//! Pins a stage's inputs and outputs: inputs are read again after the run, outputs for the first time.

use std::fs;
use std::sync::atomic::Ordering;

use super::{Context, Task};
use crate::error::{Error, Kind, Result};
use crate::lock::{self, Lock, StageLock};
use crate::pipeline::params::{ParamsCache, read_params};
use crate::pipeline::stage::{EnvironmentSource, InputLocation, Stage};
use crate::plan::facts::{read_out_pins, read_pins, resolve_environment, spot};
use crate::plan::reasons;
use crate::project::Project;
use crate::shell::word;
use crate::store::{ObjectId, Pin, TrackedPath};
use crate::workspace::logs::RunLog;

impl Context<'_> {
    /// The names of the inputs that changed since the stage began.
    pub(super) fn changed_inputs(&self, task: &Task) -> Option<String> {
        let asks: Vec<TrackedPath> = task.stage.deps.iter().map(|d| spot(&d.place, self.project.top())).collect();
        let now = read_pins(self.project, self.definitions, &asks, self.sink);
        let mut changed: Vec<String> = Vec::new();
        for ((dep, before), now) in task.stage.deps.iter().zip(&task.facts.deps).zip(now) {
            let same = match (before, now) {
                (Some(a), Ok(Some(b))) => a.same_content(&b),
                _ => false,
            };
            if !same {
                changed.push(match &dep.place {
                    InputLocation::Repo(path) => path.to_string(),
                    InputLocation::Outside(path) => path.clone(),
                    InputLocation::Url(url) => url.to_string(),
                });
            }
        }
        match read_params(&self.project.files(), task.stage, &mut ParamsCache::default()) {
            Ok(params) => {
                for (file, before) in &task.facts.params {
                    let same = match (before, params.get(file).and_then(Option::as_ref)) {
                        (Some(a), Some(b)) => {
                            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| v.same(w)))
                        }
                        (None, None) => true,
                        _ => false,
                    };
                    if !same {
                        changed.push(file.clone());
                    }
                }
            }
            Err(_) => changed.push("a params file".into()),
        }
        // The commands of a `files` environment may read its files while the stage runs; others run from a folder of
        // their own.
        if let Some(environment) = &task.facts.environment
            && matches!(environment.spec.source, EnvironmentSource::Files { .. })
        {
            let now = resolve_environment(self.project, self.definitions, &environment.spec, self.sink);
            if !now.is_ok_and(|now| now.lock == environment.lock) {
                changed.push(format!("environment {}", environment.spec.name));
            }
        }
        if changed.is_empty() { None } else { Some(changed.join(", ")) }
    }

    /// Reads inputs again, and outputs for the first time.
    pub(super) fn pin(&self, task: &Task, log: &RunLog) -> Result<(StageLock, Vec<Option<Pin>>)> {
        let stage = task.stage;
        for out in &stage.outs {
            self.project.writable(&out.path)?;
        }
        let asks: Vec<TrackedPath> = stage.outs.iter().map(|o| TrackedPath::from(&o.path)).collect();
        let pins =
            read_out_pins(self.project, self.definitions, &asks, self.sink).into_iter().collect::<Result<Vec<_>>>()?;
        if let Some((out, _)) = stage.outs.iter().zip(&pins).find(|(_, pin)| pin.is_none()) {
            let wrote = "its commands succeeded, but wrote no such file or folder";
            return Err(Error::new(
                Kind::Stage,
                format!("stage {} did not make its output {}", task.address, out.path),
            )
            .because(wrote)
            .hint(format!("see what it did: lockstep logs {}", word(&task.address))));
        }
        let mut entry = reasons::entry(stage, &self.project.shell(), &task.facts, &pins);
        record_metrics(self.project, stage, &mut entry);
        if let Some(refusal) = self.refusal(&task.address, || self.changed_inputs(task)) {
            let lock = Lock { stages: [(stage.name.clone(), entry)].into(), ..Lock::default() };
            let _ = fs::write(log.inputs(), lock::write(&lock));
            return Err(refusal);
        }
        Ok((entry, pins))
    }

    /// The error if a result must not be recorded although its commands succeeded.
    fn refusal(&self, address: &str, changed: impl Fn() -> Option<String>) -> Option<Error> {
        // A command that catches a signal to save its state may exit with success.
        let typed = word(address);
        let signal = self.signal.load(Ordering::SeqCst) & 0x7f;
        if signal != 0 {
            let error = Error::new(Kind::Signal(signal), format!("stage {address} was asked to stop, and did"));
            return Some(
                error
                    .because("its outputs may be incomplete, so nothing was recorded")
                    .hint(format!("if its outputs are complete, record them: lockstep commit --kept --force {typed}")),
            );
        }
        let changed = changed()?;
        let error = Error::new(Kind::Stage, format!("stage {address} failed: {changed} changed while it ran"));
        let why = "its result may belong to the old content or to the new, so nothing was recorded";
        Some(
            error.because(why).hint(format!("run it again: lockstep repro {typed}")).hint(format!(
                "or record what it made against the old content: lockstep commit --kept --force {typed}"
            )),
        )
    }
}

/// Copies scalars of small metrics files into the lock entry.
pub fn record_metrics(project: &Project, stage: &Stage, entry: &mut StageLock) {
    for out in stage.outs.iter().filter(|o| o.metric) {
        let Some(locked) = entry.outs.get_mut(&out.spelled) else { continue };
        if locked.pin.is_dir() || locked.pin.size > 64 * 1024 {
            continue;
        }
        let bytes = project.bounds().read(&out.path.on_disk(project.top())).ok().flatten().unwrap_or_default();
        // A file that was written after it was pinned does not match the pin.
        if ObjectId::of(&bytes) != locked.pin.id {
            continue;
        }
        if let Ok(value) = crate::value::read(out.path.as_str(), &bytes) {
            locked.metrics = lock::scalars(&value);
        }
    }
}
