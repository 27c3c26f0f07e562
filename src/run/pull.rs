//! Fetches results and bytes from remotes during a run (`repro --pull`).
//!
//! A remote is optional: one that cannot be reached, or that has damaged objects, causes a warning and a miss, and the
//! stage runs. All objects of a stage are in the store and verified before its workspace is changed. Workers fetch, so
//! fetches of independent stages overlap.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::cache::entries::{self, RunRecord};
use crate::cache::signatures::TrustPolicy;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::lock::StageLock;
use crate::path::RepoPath;
use crate::pipeline::stage::Stage;
use crate::plan::reasons::Facts;
use crate::project::origin::Origin;
use crate::project::{Definitions, Project};
use crate::remote::{Remote, Wanted};
use crate::store::{ObjectId, Pin};
use crate::workspace::restore::restore;

/// After this many consecutive failures a remote is not used again in this run.
const PATIENCE: u32 = 2;

/// The remotes of a run, each opened at its first use.
pub struct RunRemotes<'a> {
    project: &'a Project,
    definitions: &'a Definitions,
    trust: &'a TrustPolicy,
    /// Whether the local run cache may be written.
    writes_local_cache: bool,
    sink: &'a dyn Sink,
    /// By name; `None` is the default remote.
    opened: Mutex<HashMap<Option<String>, RemoteState>>,
    /// Held while inputs are written to the workspace: two stages may need the same input.
    restore_lock: Mutex<()>,
}

#[derive(Clone)]
enum RemoteState {
    Open(Arc<Remote>, u32),
    /// The remote cannot be used; the warning was printed.
    Down,
}

/// An object to fetch: its path, its pin and the remote that its output names.
#[derive(Clone, Debug)]
pub struct MissingInput {
    pub path: RepoPath,
    pub pin: Pin,
    pub remote: Option<String>,
    /// The repository that it was imported from.
    pub origin: Option<Origin>,
}

impl<'a> RunRemotes<'a> {
    pub fn new(
        project: &'a Project,
        definitions: &'a Definitions,
        trust: &'a TrustPolicy,
        writes_local_cache: bool,
        sink: &'a dyn Sink,
    ) -> RunRemotes<'a> {
        RunRemotes {
            project,
            definitions,
            trust,
            writes_local_cache,
            sink,
            opened: Mutex::default(),
            restore_lock: Mutex::default(),
        }
    }

    /// A result for a stage, whose outputs are in the store on return: the lock's entry, or else the newest fitting
    /// entry of the remote.
    pub fn result(
        &self,
        stage: &Stage,
        address: &str,
        facts: &Facts,
        locked: Option<StageLock>,
        key: Option<&ObjectId>,
    ) -> Option<(StageLock, Option<RunRecord>)> {
        if self.project.around.stop.signal().is_some() {
            return None;
        }
        if let Some(entry) = locked
            && self.fetch_outputs(stage, address, facts, &entry)
        {
            return Some((entry, None));
        }
        for (entry, record, bytes) in
            self.entries(key?).into_iter().filter(|(entry, ..)| entries::same_param_types(entry, facts))
        {
            if self.fetch_outputs(stage, address, facts, &entry) {
                // Later runs find the entry locally. If it cannot be saved, they ask the remote again.
                if self.writes_local_cache {
                    let _ = self.project.store().put_run(&entry.key.hex(), &bytes);
                }
                return Some((entry, Some(record)));
            }
        }
        None
    }

    /// The remote's entries for a key that the settings trust, newest first.
    fn entries(&self, key: &ObjectId) -> Vec<(StageLock, RunRecord, Vec<u8>)> {
        let Some(remote) = self.remote(None) else { return Vec::new() };
        let found = match remote.find_runs(key) {
            Ok((found, damaged)) => {
                damaged.iter().for_each(|error| self.warn("an earlier result is skipped: ", error));
                found
            }
            Err(error) => {
                self.note_failure(None, &error, "");
                return Vec::new();
            }
        };
        self.note_success(None);
        let trusted = |(_, bytes): (_, Vec<u8>)| {
            let (entry, record) = entries::parse_trusted(&bytes, key, self.trust)?;
            Some((entry, record, bytes))
        };
        found.into_iter().filter_map(trusted).collect()
    }

    /// Fetches the outputs of a result that are neither in their place nor in the store. False if one of them cannot be
    /// fetched.
    fn fetch_outputs(&self, stage: &Stage, address: &str, facts: &Facts, entry: &StageLock) -> bool {
        let mut wanted: BTreeMap<Option<&str>, Vec<Wanted>> = BTreeMap::new();
        for (out, now) in stage.outs.iter().zip(&facts.outs) {
            let Some(locked) = entry.outs.get(&out.spelled) else { return false };
            let here = now.is_some_and(|now| now.same_content(&locked.pin));
            if !here && !self.project.store().contains(&locked.pin) {
                let one = Wanted { name: out.path.to_string(), pin: locked.pin };
                wanted.entry(out.remote.as_deref()).or_default().push(one);
            }
        }
        wanted.into_iter().all(|(remote, wanted)| self.fetch(remote, &wanted, address))
    }

    fn fetch(&self, name: Option<&str>, wanted: &[Wanted], address: &str) -> bool {
        let Some(remote) = self.remote(name) else { return false };
        match remote.fetch(self.project.store(), wanted, self.sink) {
            Ok(fetched) => {
                self.note_success(name);
                // Missing outputs of one stage are a miss; the remote stays in use.
                let what = format!("what {address} needs cannot be fetched: ");
                let lost = fetched.lost.iter().filter(|loss| !loss.outs.is_empty());
                lost.clone().for_each(|loss| self.warn(&what, &loss.error));
                fetched.absent.is_empty() && lost.count() == 0
            }
            Err(error) => {
                self.note_failure(name, &error, &format!("what {address} needs cannot be fetched: "));
                false
            }
        }
    }

    /// Restores missing inputs into the workspace. What cannot be fetched stays missing; the stage reports it.
    pub fn fetch_inputs(&self, inputs: &[MissingInput], address: &str) -> Result<()> {
        let _one = lock(&self.restore_lock);
        let is_missing =
            |input: &&MissingInput| std::fs::symlink_metadata(input.path.on_disk(self.project.top())).is_err();
        let missing: Vec<&MissingInput> = inputs.iter().filter(is_missing).collect();
        let missing_inputs = || missing.iter().filter(|input| !self.project.store().contains(&input.pin));
        let mut wanted: BTreeMap<Option<&str>, Vec<Wanted>> = BTreeMap::new();
        let no_remote = self.project.config.remotes().is_empty();
        for input in missing_inputs().filter(|input| !(no_remote && input.origin.is_some())) {
            let one = Wanted { name: input.path.to_string(), pin: input.pin };
            wanted.entry(input.remote.as_deref()).or_default().push(one);
        }
        for (remote, wanted) in wanted {
            self.fetch(remote, &wanted, address);
        }
        for (input, origin) in missing_inputs().filter_map(|input| Some((input, input.origin.as_ref()?))) {
            if let Err(error) = origin.fetch(self.project, &self.definitions.rules, &input.pin, self.sink) {
                self.warn(&format!("what {address} needs cannot be fetched: "), &error);
            }
        }
        if self.project.around.stop.signal().is_some() {
            return Ok(());
        }
        for input in missing.iter().filter(|input| self.project.store().contains(&input.pin)) {
            self.project.writable(&input.path)?;
            restore(self.project, self.definitions, &input.path, &input.pin, self.sink)?;
        }
        Ok(())
    }

    /// Fetches the listings of folders, without their content. What cannot be fetched stays unknown.
    pub fn fetch_listings(&self, folders: &[MissingInput], address: &str) {
        for folder in folders {
            let name = folder.remote.as_deref();
            let Some(remote) = self.remote(name) else { continue };
            match remote.fetch_listing(self.project.store(), &folder.pin, self.sink) {
                Ok(()) => self.note_success(name),
                Err(error) => self.note_failure(name, &error, &format!("what {address} reads cannot be listed: ")),
            }
        }
    }

    fn remote(&self, name: Option<&str>) -> Option<Arc<Remote>> {
        let mut opened = lock(&self.opened);
        match opened.get(&name.map(str::to_string)) {
            Some(RemoteState::Open(remote, _)) => return Some(Arc::clone(remote)),
            Some(RemoteState::Down) => return None,
            None => {}
        }
        let opening = Remote::open(self.project, name, None);
        let state = match opening {
            Ok(remote) => RemoteState::Open(Arc::new(remote), 0),
            Err(error) => {
                self.sink.event(Event::Warning { text: &format!("nothing is pulled: {}", error.message) });
                RemoteState::Down
            }
        };
        opened.insert(name.map(str::to_string), state.clone());
        match state {
            RemoteState::Open(remote, _) => Some(remote),
            RemoteState::Down => None,
        }
    }

    fn note_success(&self, name: Option<&str>) {
        if let Some(RemoteState::Open(_, failures)) = lock(&self.opened).get_mut(&name.map(str::to_string)) {
            *failures = 0;
        }
    }

    fn warn(&self, what: &str, error: &Error) {
        self.sink.event(Event::Warning { text: &describe(what, error) });
    }

    /// Reports a failure. A remote that cannot even list its content is not used again.
    fn note_failure(&self, name: Option<&str>, error: &Error, what: &str) {
        if matches!(error.kind, Kind::Signal(_)) {
            return;
        }
        let mut opened = lock(&self.opened);
        let Some(state) = opened.get_mut(&name.map(str::to_string)) else { return };
        let RemoteState::Open(remote, failures) = state else { return };
        *failures += 1;
        let message = describe(what, error);
        if *failures < PATIENCE && remote.has_catalog() {
            return self.sink.event(Event::Warning { text: &message });
        }
        let text = format!("{message}; the remote {} is not asked again in this run", remote.name);
        self.sink.event(Event::Warning { text: &text });
        *state = RemoteState::Down;
    }
}

fn describe(what: &str, error: &Error) -> String {
    let why = error.causes.first().map(|cause| format!(" ({cause})")).unwrap_or_default();
    format!("{what}{}{why}", error.message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
