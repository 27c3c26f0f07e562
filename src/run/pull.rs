//! Results and bytes from remotes, while a run goes on (`repro --pull`).
//!
//! A remote is a help, never a need: one that cannot be asked, or that has something damaged, is a warning and a miss,
//! and the stage runs. Everything of a stage is in the store and verified before its workspace is touched. Workers ask,
//! so fetches of independent stages overlap.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::cache::entries::{self, RunRecord};
use crate::cache::signatures::Trust;
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

/// A remote that failed so often in a row is not asked again in this run.
const PATIENCE: u32 = 2;

/// The remotes of a run, opened when one is first asked.
pub struct Pull<'a> {
    project: &'a Project,
    definitions: &'a Definitions,
    trust: &'a Trust,
    /// May the local run cache be written?
    keeps: bool,
    sink: &'a dyn Sink,
    /// By name; `None` is the one that counts where none is named.
    opened: Mutex<HashMap<Option<String>, State>>,
    /// Held while inputs are brought into the workspace: two stages may need the same.
    bringing: Mutex<()>,
}

#[derive(Clone)]
enum State {
    Open(Arc<Remote>, u32),
    /// It cannot be asked, which was said.
    Down,
}

/// Something to be brought: where it belongs, what it is, the remote that its output names.
#[derive(Clone, Debug)]
pub struct Input {
    pub path: RepoPath,
    pub pin: Pin,
    pub remote: Option<String>,
    /// The repository that it was imported from.
    pub origin: Option<Origin>,
}

impl<'a> Pull<'a> {
    pub fn new(
        project: &'a Project,
        definitions: &'a Definitions,
        trust: &'a Trust,
        keeps: bool,
        sink: &'a dyn Sink,
    ) -> Pull<'a> {
        Pull { project, definitions, trust, keeps, sink, opened: Mutex::default(), bringing: Mutex::default() }
    }

    /// A result for a stage whose outputs are in the store when this returns: what the lock says, or else the newest
    /// fitting entry of the remote.
    pub fn result(
        &self,
        stage: &Stage,
        address: &str,
        facts: &Facts,
        locked: Option<StageLock>,
        key: Option<&ObjectId>,
    ) -> Option<(StageLock, Option<RunRecord>)> {
        if self.project.around.stop.asked().is_some() {
            return None;
        }
        if let Some(entry) = locked
            && self.have_outputs(stage, address, facts, &entry)
        {
            return Some((entry, None));
        }
        for (entry, record, bytes) in self.entries(key?).into_iter().filter(|(entry, ..)| entries::fits(entry, facts)) {
            if self.have_outputs(stage, address, facts, &entry) {
                // The next run finds it here. That it cannot be kept costs another question.
                if self.keeps {
                    let _ = self.project.store().put_run(&entry.key.hex(), &bytes);
                }
                return Some((entry, Some(record)));
            }
        }
        None
    }

    /// The entries of a key at the remote that the settings trust, the newest first.
    fn entries(&self, key: &ObjectId) -> Vec<(StageLock, RunRecord, Vec<u8>)> {
        let Some(remote) = self.remote(None) else { return Vec::new() };
        let found = match remote.find_runs(key) {
            Ok((found, damaged)) => {
                damaged.iter().for_each(|error| self.warn("an earlier result is passed over: ", error));
                found
            }
            Err(error) => {
                self.failed(None, &error, "");
                return Vec::new();
            }
        };
        self.fine(None);
        let trusted = |(_, bytes): (_, Vec<u8>)| {
            let (entry, record) = entries::trusted(&bytes, key, self.trust)?;
            Some((entry, record, bytes))
        };
        found.into_iter().filter_map(trusted).collect()
    }

    /// Fetches what of a result is neither in its place nor in the store. False if not all of it can be had.
    fn have_outputs(&self, stage: &Stage, address: &str, facts: &Facts, entry: &StageLock) -> bool {
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
                self.fine(name);
                // Whose outputs these are is a miss; the remote is as good as before.
                let what = format!("what {address} needs cannot be fetched: ");
                let lost = fetched.lost.iter().filter(|loss| !loss.outs.is_empty());
                lost.clone().for_each(|loss| self.warn(&what, &loss.error));
                fetched.absent.is_empty() && lost.count() == 0
            }
            Err(error) => {
                self.failed(name, &error, &format!("what {address} needs cannot be fetched: "));
                false
            }
        }
    }

    /// Brings inputs that are missing into the workspace. What cannot be had stays missing, which the stage will say.
    pub fn bring(&self, inputs: &[Input], address: &str) -> Result<()> {
        let _one = lock(&self.bringing);
        let is_missing = |input: &&Input| std::fs::symlink_metadata(input.path.on_disk(self.project.top())).is_err();
        let missing: Vec<&Input> = inputs.iter().filter(is_missing).collect();
        let lacking = || missing.iter().filter(|input| !self.project.store().contains(&input.pin));
        let mut wanted: BTreeMap<Option<&str>, Vec<Wanted>> = BTreeMap::new();
        let no_remote = self.project.config.remotes().is_empty();
        for input in lacking().filter(|input| !(no_remote && input.origin.is_some())) {
            let one = Wanted { name: input.path.to_string(), pin: input.pin };
            wanted.entry(input.remote.as_deref()).or_default().push(one);
        }
        for (remote, wanted) in wanted {
            self.fetch(remote, &wanted, address);
        }
        for (input, origin) in lacking().filter_map(|input| Some((input, input.origin.as_ref()?))) {
            if let Err(error) = origin.fetch(self.project, &self.definitions.rules, &input.pin, self.sink) {
                self.warn(&format!("what {address} needs cannot be fetched: "), &error);
            }
        }
        if self.project.around.stop.asked().is_some() {
            return Ok(());
        }
        for input in missing.iter().filter(|input| self.project.store().contains(&input.pin)) {
            self.project.writable(&input.path)?;
            restore(self.project, self.definitions, &input.path, &input.pin, self.sink)?;
        }
        Ok(())
    }

    /// Brings what tells of the content of folders, without the content. What cannot be had stays unknown.
    pub fn list(&self, folders: &[Input], address: &str) {
        for folder in folders {
            let name = folder.remote.as_deref();
            let Some(remote) = self.remote(name) else { continue };
            match remote.fetch_listing(self.project.store(), &folder.pin, self.sink) {
                Ok(()) => self.fine(name),
                Err(error) => self.failed(name, &error, &format!("what {address} reads cannot be listed: ")),
            }
        }
    }

    fn remote(&self, name: Option<&str>) -> Option<Arc<Remote>> {
        let mut opened = lock(&self.opened);
        match opened.get(&name.map(str::to_string)) {
            Some(State::Open(remote, _)) => return Some(Arc::clone(remote)),
            Some(State::Down) => return None,
            None => {}
        }
        let opening = Remote::open(self.project, name, None);
        let state = match opening {
            Ok(remote) => State::Open(Arc::new(remote), 0),
            Err(error) => {
                self.sink.event(Event::Warning { text: &format!("nothing is pulled: {}", error.message) });
                State::Down
            }
        };
        opened.insert(name.map(str::to_string), state.clone());
        match state {
            State::Open(remote, _) => Some(remote),
            State::Down => None,
        }
    }

    fn fine(&self, name: Option<&str>) {
        if let Some(State::Open(_, failures)) = lock(&self.opened).get_mut(&name.map(str::to_string)) {
            *failures = 0;
        }
    }

    fn warn(&self, what: &str, error: &Error) {
        self.sink.event(Event::Warning { text: &words(what, error) });
    }

    /// Says what failed. A remote that could not even say what it has is down at once.
    fn failed(&self, name: Option<&str>, error: &Error, what: &str) {
        if matches!(error.kind, Kind::Signal(_)) {
            return;
        }
        let mut opened = lock(&self.opened);
        let Some(state) = opened.get_mut(&name.map(str::to_string)) else { return };
        let State::Open(remote, failures) = state else { return };
        *failures += 1;
        let told = words(what, error);
        if *failures < PATIENCE && remote.has_catalog() {
            return self.sink.event(Event::Warning { text: &told });
        }
        let text = format!("{told}; the remote {} is not asked again in this run", remote.name);
        self.sink.event(Event::Warning { text: &text });
        *state = State::Down;
    }
}

fn words(what: &str, error: &Error) -> String {
    let why = error.causes.first().map(|cause| format!(" ({cause})")).unwrap_or_default();
    format!("{what}{}{why}", error.message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
