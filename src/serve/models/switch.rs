//! A served model: the version that answers now, and the switch to another one. A request takes the version once and
//! keeps it, so its answer is of one version, and the old version is freed with its last request.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use super::load::{LoadSettings, LoadedVersion, load};
use super::source::ModelSource;
use crate::error::{Error, Kind, Result};

/// The page shows this many switches.
const REMEMBERED: usize = 10;

/// A switch, or a version that could not be loaded.
#[derive(Clone, Debug)]
pub struct SwitchRecord {
    /// When it ended.
    pub time: SystemTime,
    /// The version that answered before; `None` at the start.
    pub from: Option<String>,
    /// The version that answers now; of a failure what is known of the version.
    pub to: String,
    /// Why the version could not be loaded.
    pub failure: Option<String>,
}

/// The result of a look at the source.
#[derive(Debug)]
pub enum SwitchOutcome {
    /// The same version is there, or one that already failed.
    Unchanged,
    /// Another version answers now; with what the user should know.
    Switched { from: Option<String>, to: String, remarks: Vec<String> },
    /// The version could not be loaded; the old one goes on.
    Failed { error: Error },
}

/// The identities of versions that need no look.
#[derive(Default)]
struct SeenVersions {
    /// The one that answers.
    loaded: Option<String>,
    /// The one that last failed; another one in between clears it.
    failed: Option<FailedVersion>,
}

/// A version that could not be loaded. What was in the way may pass: it is tried again, with longer and longer pauses.
struct FailedVersion {
    identity: String,
    error: String,
    at: Instant,
    pause: Duration,
}

/// The time until a version that failed is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A model with the version that answers.
pub struct ServedModel {
    /// Where it comes from.
    pub source: ModelSource,
    current: RwLock<Option<Arc<LoadedVersion>>>,
    history: Mutex<VecDeque<SwitchRecord>>,
    seen: Mutex<SeenVersions>,
}

impl ServedModel {
    /// A model of which nothing is loaded yet.
    pub fn new(source: ModelSource) -> ServedModel {
        let (current, history, seen) = (RwLock::new(None), Mutex::default(), Mutex::default());
        ServedModel { source, current, history, seen }
    }

    /// The version that answers; `None` until one is loaded.
    pub fn current(&self) -> Option<Arc<LoadedVersion>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest first.
    pub fn history(&self) -> Vec<SwitchRecord> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Looks at the source, and loads what is there if it is another version.
    pub fn follow(&self, settings: &LoadSettings, now: fn() -> SystemTime) -> SwitchOutcome {
        let identity = match guarded(|| self.source.identity()) {
            Ok(identity) => identity,
            // The same text for the same failure: it is reported once.
            Err(error) => return self.note_unseen(error.to_string(), || Err(error), now),
        };
        self.note_unseen(identity, || self.source.release().and_then(|release| load(release, settings)), now)
    }

    fn note_unseen(
        &self,
        identity: String,
        load: impl FnOnce() -> Result<LoadedVersion>,
        now: fn() -> SystemTime,
    ) -> SwitchOutcome {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.loaded.as_ref() == Some(&identity) {
            seen.failed = None;
            return SwitchOutcome::Unchanged;
        }
        let before = seen.failed.take().filter(|failed| failed.identity == identity);
        if let Some(failed) = before.as_ref().filter(|failed| failed.at.elapsed() < failed.pause) {
            let FailedVersion { error, at, pause, .. } = failed;
            seen.failed = Some(FailedVersion { identity, error: error.clone(), at: *at, pause: *pause });
            return SwitchOutcome::Unchanged;
        }
        let old = self.current();
        let from = old.as_ref().map(|old| old.facts.version.clone());
        let loaded = guarded(load).and_then(|new| match check_warm(old.as_deref(), &new) {
            Some(error) => Err(error),
            None => Ok(new),
        });
        match loaded {
            Ok(new) => {
                *seen = SeenVersions { loaded: Some(identity), failed: None };
                let remarks = remarks_on(old.as_deref(), &new);
                let to = new.facts.version.clone();
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(new));
                self.remember(SwitchRecord { time: now(), from: from.clone(), to: to.clone(), failure: None });
                SwitchOutcome::Switched { from, to, remarks }
            }
            Err(error) => {
                let to = identity.rsplit('/').next().unwrap_or_default().to_string();
                let text = error.to_string();
                let pause = before.as_ref().map_or(FIRST_PAUSE, |failed| (failed.pause * 2).min(LONGEST_PAUSE));
                seen.failed = Some(FailedVersion { identity, error: text.clone(), at: Instant::now(), pause });
                if before.is_some_and(|failed| failed.error == text) {
                    return SwitchOutcome::Unchanged;
                }
                self.remember(SwitchRecord { time: now(), from, to, failure: Some(text) });
                SwitchOutcome::Failed { error }
            }
        }
    }

    fn remember(&self, record: SwitchRecord) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push_front(record);
        history.truncate(REMEMBERED);
    }
}

/// A panic is a failure of this version, and must not end the thread that follows the others.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let panicked = |_| Err(Error::new(Kind::Bug, "a version cannot be loaded: lockstep panicked"));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

/// A version that does not run replaces none that does.
fn check_warm(old: Option<&LoadedVersion>, new: &LoadedVersion) -> Option<Error> {
    let why = new.cold.as_ref()?;
    let old = old.filter(|old| old.cold.is_none())?;
    let message = format!("version {} does not run, and {} goes on", new.facts.version, old.facts.version);
    Some(Error::usage(message).because(format!("on zeros: {why}")))
}

fn remarks_on(old: Option<&LoadedVersion>, new: &LoadedVersion) -> Vec<String> {
    let mut remarks = new.model.remarks.clone();
    if let Some(why) = &new.cold {
        remarks.push(format!("it does not run on zeros, which its first request may have to wait for: {why}"));
    }
    if let Some(old) = old.filter(|old| old.model.signature != new.model.signature) {
        remarks.push(format!(
            "its inputs or outputs are not those of {}: requests for that version may be refused",
            old.facts.version
        ));
    }
    remarks
}
