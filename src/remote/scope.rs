//! What a command about remotes is about: which pins, by which names, at which remote.

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use crate::error::Result;
use crate::event::Sink;
use crate::path::RepoPath;
use crate::project::{Definitions, Locks, Project};
use crate::remote::fetch::Fetched;
use crate::remote::push::{Pushed, Request, Run};
use crate::remote::{Remote, Spent, Wanted};
use crate::run::cache;
use crate::run::select::Selected;
use crate::store::{ObjectId, Pin};

/// Outputs and data, as the locks pin them, with where they are to be kept.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    items: Vec<Item>,
    /// The same bytes are one item, by whichever name.
    seen: BTreeSet<(ObjectId, bool, Option<String>, bool)>,
    /// Stage keys of the stages that are meant.
    keys: BTreeSet<ObjectId>,
    /// Outputs that are never pushed, and those that go to a remote of their own, as the stages spell them. An entry of
    /// the run cache does not say whose it is, so what is spelled alike is held to be the same.
    private: BTreeSet<String>,
    elsewhere: BTreeSet<String>,
    /// Names of what is never pushed.
    stay: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Item {
    wanted: Wanted,
    /// The `remote:` of the output.
    remote: Option<String>,
    push: bool,
}

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `-r`: instead of the remote that counts where none is named.
    pub remote: Option<String>,
    pub jobs: Option<usize>,
    /// All entries of the run cache, not those of the stages at hand alone.
    pub run_cache: bool,
    pub again: bool,
}

/// What came of it at one remote.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub remote: String,
    pub url: String,
    pub done: T,
    pub spent: Spent,
}

/// What a remote and the store lack.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// Here and not there.
    pub not_there: Vec<Wanted>,
    /// There and not here.
    pub not_here: Vec<Wanted>,
    /// Neither here nor there.
    pub nowhere: Vec<Wanted>,
    /// Here and there.
    pub both: usize,
}

impl Scope {
    /// Everything that was selected, as these locks say.
    pub fn add(&mut self, definitions: &Definitions, selected: &Selected, locks: &Locks, from: &RepoPath) {
        let pipelines = &definitions.pipelines;
        for out in pipelines.stages.iter().flat_map(|stage| &stage.outs) {
            if !out.push {
                self.private.insert(out.spelled.clone());
            } else if out.remote.is_some() {
                self.elsewhere.insert(out.spelled.clone());
            }
        }
        for id in &selected.named {
            let stage = pipelines.stage(*id);
            let Some(entry) = locks.of(stage.file).stages.get(&stage.name) else { continue };
            for out in &stage.outs {
                let Some(locked) = entry.outs.get(&out.spelled) else { continue };
                if out.cache && selected.takes(*id, &out.path) {
                    self.item(out.path.relative_to(from), locked.pin, out.remote.clone(), out.push);
                }
            }
            if cache::is_cacheable(stage) && stage.outs.iter().all(|out| selected.takes(*id, &out.path)) {
                self.keys.insert(entry.key);
            }
        }
        for (f, file) in pipelines.files.iter().enumerate() {
            let whole = selected.files.iter().any(|id| id.0 as usize == f);
            for data in &file.data {
                let named = whole || selected.data.iter().any(|d| d.is_in(&data.path));
                if let Some(pin) = locks.all[f].data.get(&data.spelled).filter(|_| named) {
                    self.item(data.path.relative_to(from), *pin, data.remote.clone(), data.push);
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

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Is this an output that is never pushed?
    pub fn stays(&self, name: &str) -> bool {
        self.stay.contains(name)
    }

    /// The items by remote; `None` is the one that counts where none is named. With `-r` those that belong to another
    /// remote are left out.
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

    /// Sends what the remotes lack, and with it the entries of the run cache.
    pub fn push(&self, project: &Project, options: &Options, sink: &dyn Sink) -> Result<Vec<At<Pushed>>> {
        let mut all = self.by_remote(options.remote.as_deref());
        // Entries go where what names no remote goes.
        let main = options.remote.as_deref();
        let runs = self.runs(project, options)?;
        if !runs.is_empty() || all.is_empty() {
            all.entry(main).or_default();
        }
        let mut runs = Some(runs);
        let mut done = Vec::new();
        // Before anything moves, all of them must make sense.
        let open = |(name, wanted)| Ok((name, Remote::open(project, name, options.jobs)?, wanted));
        for (name, remote, wanted) in all.into_iter().map(open).collect::<Result<Vec<_>>>()? {
            let runs = if name == main { runs.take().unwrap_or_default() } else { Vec::new() };
            let request = Request { wanted, runs, again: options.again };
            let pushed = remote.push(project.store(), &request, sink)?;
            done.push(At { url: remote.url().to_string(), spent: remote.spent(), remote: remote.name, done: pushed });
        }
        Ok(done)
    }

    /// The entries of the stages at hand, or all.
    fn runs(&self, project: &Project, options: &Options) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        let mut add = |key: ObjectId, bytes: Vec<u8>| {
            let found = cache::parse(&bytes, &key);
            // One with an output that stays is of no use elsewhere.
            if let Some((entry, record)) =
                found.filter(|(entry, _)| !entry.outs.keys().any(|out| self.private.contains(out)))
            {
                let here = entry.outs.iter().filter(|(out, _)| !self.elsewhere.contains(*out));
                let outs = here.map(|(_, out)| out.pin).collect();
                let start = humantime::parse_rfc3339(&record.start).ok();
                let time = start.and_then(|start| start.duration_since(UNIX_EPOCH).ok()).map_or(0, |t| t.as_secs());
                runs.push(Run { key, bytes, outs, time });
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

    /// Brings what is not here into the store.
    pub fn fetch(&self, project: &Project, options: &Options, sink: &dyn Sink) -> Result<Vec<At<(Fetched, usize)>>> {
        let mut all = self.by_remote(options.remote.as_deref());
        let main = options.remote.as_deref();
        if options.run_cache {
            all.entry(main).or_default();
        }
        let mut done = Vec::new();
        for (name, wanted) in all {
            if name.is_none() && !options.run_cache && wanted.iter().all(|w| project.store().contains(&w.pin)) {
                // A repository without remotes that lacks nothing is fine as it is.
                if project.config.remotes().is_empty() {
                    continue;
                }
            }
            let remote = Remote::open(project, name, options.jobs)?;
            let mut fetched = remote.fetch(project.store(), &wanted, sink)?;
            let mut runs = 0;
            if options.run_cache && name == main {
                let (new, damaged) = remote.fetch_runs(project.store(), None)?;
                runs = new;
                fetched.runs_lost = damaged;
            }
            done.push(At {
                url: remote.url().to_string(),
                spent: remote.spent(),
                remote: remote.name,
                done: (fetched, runs),
            });
        }
        Ok(done)
    }

    /// What the remotes have of it, and what is here. Nothing is moved.
    pub fn compare(&self, project: &Project, options: &Options) -> Result<Vec<At<Compared>>> {
        let mut done = Vec::new();
        for (name, wanted) in self.by_remote(options.remote.as_deref()) {
            let remote = Remote::open(project, name, options.jobs)?;
            let known = remote.known()?;
            if let Some((_, error)) = known.damaged.first() {
                return Err(error.clone().hint(remote.again()));
            }
            let mut compared = Compared::default();
            for one in wanted {
                let is_here = project.store().contains(&one.pin);
                // What is about to go there has to be pushed again; it can still be had.
                let there = if is_here { known.lasting_root(&one.pin) } else { known.root(&one.pin) };
                match (is_here, there.is_some()) {
                    (true, true) => compared.both += 1,
                    (true, false) => compared.not_there.push(one),
                    (false, true) => compared.not_here.push(one),
                    (false, false) => compared.nowhere.push(one),
                }
            }
            done.push(At { url: remote.url().to_string(), spent: remote.spent(), remote: remote.name, done: compared });
        }
        Ok(done)
    }
}
