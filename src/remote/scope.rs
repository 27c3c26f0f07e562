//! The scope of a command on remotes: which pins, under which names, at which remote.

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use crate::cache::entries;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Sink};
use crate::git;
use crate::path::RepoPath;
use crate::plan::select::Selection;
use crate::project::origin::Origin;
use crate::project::{Definitions, Locks, Project};
use crate::remote::fetch::FetchResult;
use crate::remote::fetch::losses::Loss;
use crate::remote::push::{PushRequest, PushResult, RunEntry};
use crate::remote::{Remote, TransferCost, Wanted};
use crate::store::{ObjectId, Pin};
use crate::url::Url;

/// Outputs and data that the locks pin, with the remotes that store them.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    items: Vec<Item>,
    /// Equal bytes are one item, under any name.
    seen: BTreeSet<(ObjectId, bool, Option<String>, bool)>,
    /// Keys of the selected stages.
    keys: BTreeSet<ObjectId>,
    /// Outputs that are never pushed or have a remote of their own, as the stages spell them. An entry of the run cache
    /// does not name its project, so equal spellings are treated as the same output.
    private: BTreeSet<String>,
    elsewhere: BTreeSet<String>,
    /// Names of outputs that are never pushed, and of data.
    stay: BTreeSet<String>,
    data: BTreeSet<String>,
    /// Files of the workspace that no lock pins yet.
    pub unpinned: Vec<RepoPath>,
    /// The repositories that imports come from, by the bytes of the imports. Remotes need not have those.
    origins: BTreeMap<(ObjectId, bool), Origin>,
    /// The hashing rules for imports; those of the project that was added first, which is the workspace if it is
    /// selected.
    rules: Option<git::Rules>,
}

#[derive(Clone, Debug)]
struct Item {
    wanted: Wanted,
    /// The `remote:` of the output.
    remote: Option<String>,
    push: bool,
}

/// The options of a transfer.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `-r`: replaces the default remote.
    pub remote: Option<String>,
    /// `-j`: how many transfers run at once; `None` for the number that fits the kind of remote.
    pub jobs: Option<usize>,
    /// All entries of the run cache instead of those of the selected stages.
    pub run_cache: bool,
    /// Sends everything, even what the remote lists: something there was damaged.
    pub again: bool,
}

/// The result at one remote.
#[derive(Clone, Debug)]
pub struct RemoteResult<T> {
    /// The name in the settings.
    pub remote: String,
    /// The URL without secrets.
    pub url: String,
    /// The result of the command.
    pub done: T,
    /// The requests and bytes that it took.
    pub spent: TransferCost,
}

/// What a remote and the store lack.
#[derive(Clone, Debug, Default)]
pub struct RemoteComparison {
    /// In the store, not at the remote.
    pub not_there: Vec<Wanted>,
    /// At the remote, not in the store.
    pub not_here: Vec<Wanted>,
    /// In neither.
    pub nowhere: Vec<Wanted>,
    /// The number of items in both.
    pub both: usize,
    /// The error for a location without a marker, which may not be a remote at all.
    pub unmarked: Option<Error>,
}

impl Scope {
    /// Adds everything selected, as pinned by these locks.
    pub fn add(&mut self, definitions: &Definitions, selected: &Selection, locks: &Locks, from: &RepoPath) {
        let pipelines = &definitions.pipelines;
        self.rules.get_or_insert_with(|| definitions.rules.clone());
        for out in pipelines.stages.iter().flat_map(|stage| &stage.outs) {
            if !out.push {
                self.private.insert(out.spelled.clone());
            } else if out.remote.is_some() {
                self.elsewhere.insert(out.spelled.clone());
            }
        }
        for id in &selected.named {
            let stage = pipelines.stage(*id);
            let Some(entry) = locks.of_file(stage.file).stages.get(&stage.name) else { continue };
            for out in &stage.outs {
                let Some(locked) = entry.outs.get(&out.spelled) else { continue };
                if out.cache && selected.takes(*id, &out.path) {
                    self.item(out.path.relative_to(from), locked.pin, out.remote.clone(), out.push);
                }
            }
            if entries::is_cacheable(stage) && stage.outs.iter().all(|out| selected.takes(*id, &out.path)) {
                self.keys.insert(entry.key);
            }
        }
        for (f, file) in pipelines.files.iter().enumerate() {
            let whole = selected.files.iter().any(|id| id.0 as usize == f);
            for data in &file.data {
                let named = whole || selected.data.iter().any(|d| d.is_in(&data.path));
                if let Some(pin) = locks.all[f].data.get(&data.spelled).filter(|_| named) {
                    self.data.insert(data.path.relative_to(from));
                    self.item(data.path.relative_to(from), *pin, data.remote.clone(), data.push);
                    if let Some(origin) = Origin::of_data(&file.path, data) {
                        self.origins.entry((pin.id, pin.is_dir())).or_insert(origin);
                    }
                }
            }
        }
    }

    fn item(&mut self, name: String, pin: Pin, remote: Option<String>, push: bool) {
        if !push {
            self.stay.insert(name.clone());
        }
        if self.seen.insert((pin.id, pin.is_dir(), remote.clone(), push)) {
            self.items.push(Item { wanted: Wanted { name, pin }, remote, push });
        }
    }

    /// Returns true if nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns true if this output is never pushed.
    pub fn is_never_pushed(&self, name: &str) -> bool {
        self.stay.contains(name)
    }

    /// Returns true if this is data, which no stage makes.
    pub fn is_data(&self, name: &str) -> bool {
        self.data.contains(name)
    }

    /// The items by remote; `None` is the default remote. With `-r`, items of other remotes are left out.
    fn by_remote<'a>(&'a self, chosen: Option<&'a str>) -> BTreeMap<Option<&'a str>, Vec<Wanted>> {
        let mut all: BTreeMap<Option<&'a str>, Vec<Wanted>> = BTreeMap::new();
        for item in self.items.iter().filter(|item| item.push) {
            let remote = match (chosen, item.remote.as_deref()) {
                (Some(chosen), Some(own)) if chosen != own => continue,
                (chosen, own) => own.or(chosen),
            };
            all.entry(remote).or_default().push(item.wanted.clone());
        }
        all
    }

    /// Sends what the remotes lack, and the entries of the run cache.
    pub fn push(&self, project: &Project, options: &Options, sink: &dyn Sink) -> Result<Vec<RemoteResult<PushResult>>> {
        let mut all = self.by_remote(options.remote.as_deref());
        // Entries go to the remote of the outputs that name none.
        let main = options.remote.as_deref();
        let runs = self.runs(project, options)?;
        if !runs.is_empty() || all.is_empty() {
            all.entry(main).or_default();
        }
        let mut runs = Some(runs);
        let mut done = Vec::new();
        // All remotes have to open before the first transfer.
        let open = |(name, wanted)| Ok((name, Remote::open(project, name, options.jobs)?, wanted));
        for (name, remote, wanted) in all.into_iter().map(open).collect::<Result<Vec<_>>>()? {
            let runs = if name == main { runs.take().unwrap_or_default() } else { Vec::new() };
            let request = PushRequest { wanted, runs, again: options.again };
            let pushed = remote.push(project.store(), &request, sink)?;
            done.push(RemoteResult {
                url: remote.url().to_string(),
                spent: remote.spent(),
                remote: remote.name,
                done: pushed,
            });
        }
        Ok(done)
    }

    /// The entries of the selected stages, or all.
    fn runs(&self, project: &Project, options: &Options) -> Result<Vec<RunEntry>> {
        let mut runs = Vec::new();
        let mut add = |key: ObjectId, bytes: Vec<u8>| {
            let found = entries::parse(&bytes, &key);
            // An entry with an output that is never pushed is useless elsewhere.
            if let Some((entry, record)) =
                found.filter(|(entry, _)| !entry.outs.keys().any(|out| self.private.contains(out)))
            {
                let here = entry.outs.iter().filter(|(out, _)| !self.elsewhere.contains(*out));
                let outs = here.map(|(_, out)| out.pin).collect();
                let start = humantime::parse_rfc3339(&record.start).ok();
                let time = start.and_then(|start| start.duration_since(UNIX_EPOCH).ok()).map_or(0, |t| t.as_secs());
                runs.push(RunEntry { key, bytes, outs, time });
            }
        };
        if options.run_cache {
            for (key, bytes) in project.store().runs() {
                if let Ok(key) = key.parse() {
                    add(key, bytes);
                }
            }
        } else {
            for key in &self.keys {
                for bytes in project.store().get_runs(&key.hex())?.found {
                    add(*key, bytes);
                }
            }
        }
        Ok(runs)
    }

    /// Brings what the store lacks into it.
    pub fn fetch(
        &self,
        project: &Project,
        options: &Options,
        sink: &dyn Sink,
    ) -> Result<Vec<RemoteResult<(FetchResult, usize)>>> {
        let mut all = self.by_remote(options.remote.as_deref());
        let main = options.remote.as_deref();
        if options.run_cache {
            all.entry(main).or_default();
        }
        let mut done = Vec::new();
        for (name, wanted) in all {
            let is_here = |w: &Wanted| project.store().contains(&w.pin);
            let without = name.is_none() && !options.run_cache && project.config.remotes().is_empty();
            // A repository without remotes that lacks nothing needs none.
            if without && wanted.iter().all(is_here) {
                continue;
            }
            let imports = |w: &&Wanted| self.origin(w).is_some() && !is_here(w);
            // If only imports are missing, no remote is needed.
            if without && wanted.iter().all(|w| self.origin(w).is_some() || is_here(w)) {
                done.extend(self.fetch_origins(project, wanted.iter(), sink)?);
                continue;
            }
            match self.fetch_at(project, name, &wanted, options, options.run_cache && name == main, sink) {
                Ok(mut at) => {
                    let more = self.fetch_origins(project, wanted.iter().filter(imports), sink)?;
                    let fetched = &mut at.done.0;
                    fetched.absent.retain(|w| self.origin(w).is_none());
                    fetched.lost.iter_mut().for_each(|loss| loss.outs.retain(|w| !is_here(w)));
                    done.push(at);
                    done.extend(more);
                }
                // Imports are fetched nevertheless, and the error is reported with the result.
                Err(error) if wanted.iter().any(|w| imports(&w)) && !matches!(error.kind, Kind::Signal(_)) => {
                    let mut more = self.fetch_origins(project, wanted.iter().filter(imports), sink)?;
                    let is_lost = |w: &&Wanted| self.origin(w).is_none() && !is_here(w);
                    let outs: Vec<Wanted> = wanted.iter().filter(is_lost).cloned().collect();
                    match more.last_mut() {
                        _ if outs.is_empty() => sink.event(Event::Warning { text: &error.message }),
                        Some(at) => at.done.0.lost.push(Loss { error, outs }),
                        None => return Err(error),
                    }
                    done.extend(more);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Fetches from one remote; with `runs` also entries of the run cache.
    fn fetch_at(
        &self,
        project: &Project,
        name: Option<&str>,
        wanted: &[Wanted],
        options: &Options,
        runs: bool,
        sink: &dyn Sink,
    ) -> Result<RemoteResult<(FetchResult, usize)>> {
        let remote = Remote::open(project, name, options.jobs)?;
        let mut fetched = remote.fetch(project.store(), wanted, sink)?;
        let mut new = 0;
        if runs {
            (new, fetched.runs_lost) = remote.fetch_runs(project.store(), None)?;
        }
        let (url, spent) = (remote.url().to_string(), remote.spent());
        Ok(RemoteResult { url, spent, remote: remote.name, done: (fetched, new) })
    }

    /// Fetches missing imports from the repositories that they came from, each reported like a remote. Data that one of
    /// them lacks is a loss and does not stop the others.
    fn fetch_origins<'w>(
        &self,
        project: &Project,
        wanted: impl Iterator<Item = &'w Wanted>,
        sink: &dyn Sink,
    ) -> Result<Vec<RemoteResult<(FetchResult, usize)>>> {
        let mut done: BTreeMap<Url, FetchResult> = BTreeMap::new();
        for one in wanted.filter(|w| !project.store().contains(&w.pin)) {
            let (Some(origin), Some(rules)) = (self.origin(one), &self.rules) else { continue };
            let fetched = done.entry(origin.import.url.clone()).or_default();
            match origin.fetch(project, rules, &one.pin, sink) {
                Ok(()) => {
                    fetched.objects += one.pin.files.unwrap_or(1) as usize;
                    fetched.bytes += one.pin.size;
                    fetched.fetched.push(one.clone());
                }
                Err(error) if matches!(error.kind, Kind::Signal(_)) => return Err(error),
                Err(error) => fetched.lost.push(Loss { error, outs: vec![one.clone()] }),
            }
        }
        let at = |(url, fetched): (Url, FetchResult)| RemoteResult {
            remote: url.to_string(),
            url: url.to_string(),
            done: (fetched, 0),
            spent: TransferCost::default(),
        };
        Ok(done.into_iter().map(at).collect())
    }

    /// The source of an import.
    fn origin(&self, wanted: &Wanted) -> Option<&Origin> {
        self.origins.get(&(wanted.pin.id, wanted.pin.is_dir()))
    }

    /// Compares the remotes with the store. Transfers nothing.
    pub fn compare(&self, project: &Project, options: &Options) -> Result<Vec<RemoteResult<RemoteComparison>>> {
        let mut done = Vec::new();
        for (name, wanted) in self.by_remote(options.remote.as_deref()) {
            let remote = Remote::open(project, name, options.jobs)?;
            let known = remote.catalog()?;
            if let Some((_, error)) = known.damaged.first() {
                return Err(error.clone().hint(remote.push_again_hint()));
            }
            let unmarked = if known.has_marker { None } else { Some(remote.missing_marker_error()?) };
            let mut compared = RemoteComparison { unmarked, ..RemoteComparison::default() };
            for one in wanted {
                let is_here = project.store().contains(&one.pin);
                // Data that is marked for removal has to be pushed again, but can still be fetched.
                let there = if is_here { known.lasting_root(&one.pin) } else { known.root(&one.pin) };
                match (is_here, there.is_some()) {
                    (true, true) => compared.both += 1,
                    (true, false) => compared.not_there.push(one),
                    (false, true) => compared.not_here.push(one),
                    // A pull asks the repository that it was imported from.
                    (false, false) if self.origin(&one).is_some() => compared.not_here.push(one),
                    (false, false) => compared.nowhere.push(one),
                }
            }
            done.push(RemoteResult {
                url: remote.url().to_string(),
                spent: remote.spent(),
                remote: remote.name,
                done: compared,
            });
        }
        Ok(done)
    }
}
