//! The key of a CI system's cache of the store.
//!
//! The key covers what the stages of a commit read: commands, params, files that no stage makes, pinned data. So it is
//! the same before and after a run, whether or not the lock was committed, and a commit that changes none of it (the
//! README, say) finds the store of its parent under its own key. Outputs are not part of it: they follow from the rest.
//! A folder that is partly made by a stage is covered by its name only; a key that is too coarse finds an older store,
//! and missing objects are made as usual.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::event::Sink;
use crate::lock::manifest;
use crate::path::RepoPath;
use crate::pipeline::stage::{InputLocation, Stage};
use crate::plan::facts::{FactsReader, env_values};
use crate::plan::reasons::{self, Facts};
use crate::project::{Definitions, Project};
use crate::store::{Digest, ObjectId, Pin};

/// The prefix of every key. The number changes if an older lockstep can no longer read a store.
const PREFIX: &str = "lockstep-1-";
/// Enough digits to distinguish all commits of a repository.
const DIGITS: usize = 32;
const NOTHING: Pin = Pin { id: ObjectId([0; 32]), size: 0, files: None, executable: false };

/// A cache key, and its fallbacks.
#[derive(Debug, PartialEq)]
pub struct CacheKey {
    /// The prefix and a hash of what the stages read.
    pub key: String,
}

impl CacheKey {
    /// The prefix of the keys of all stores that this lockstep can use.
    pub fn prefix(&self) -> &'static str {
        PREFIX
    }

    /// Prefixes of the next best keys, the best first: what a failed run of the same inputs finished, then the store of
    /// any commit, since objects are only ever added.
    pub fn restore(&self) -> [String; 2] {
        [format!("{}-", self.key), PREFIX.into()]
    }
}

/// The key for the current state of the workspace.
pub fn cache_key(project: &Project, definitions: &Definitions, sink: &dyn Sink) -> Result<CacheKey> {
    let mut reader = FactsReader::new(project, definitions, sink);
    let ids: Vec<_> = definitions.pipelines.ids().collect();
    reader.sweep(&ids);
    let mut inputs: BTreeMap<String, String> = BTreeMap::new();
    for id in ids {
        let stage = definitions.pipelines.stage(id);
        // A missing or unreadable input: the run will report it.
        let mut facts = reader.facts(id).unwrap_or_else(|_| unknown(project, stage));
        for (dep, pin) in stage.deps.iter().zip(&mut facts.deps) {
            let is_made = |path: &RepoPath| {
                definitions.graph.owner(path).is_some() || !definitions.graph.owners_of(path).is_empty()
            };
            if matches!(&dep.place, InputLocation::Repo(path) if is_made(path)) {
                *pin = Some(NOTHING);
            }
        }
        let entry = reasons::entry(stage, &project.shell(), &facts, &[]);
        inputs.insert(definitions.pipelines.address(id, &RepoPath::root()), manifest(&entry));
    }
    for (file, lock) in definitions.pipelines.files.iter().zip(&project.locks(definitions)?.all) {
        for data in &file.data {
            let pinned = lock.data.get(&data.spelled).map(|pin| pin.id.hex()).unwrap_or_default();
            inputs.insert(format!("data {}", data.path), pinned);
        }
    }
    let mut digest = Digest::new("lockstep ci cache key 1");
    for text in inputs.iter().flat_map(|(name, text)| [name, text]) {
        digest.update(&(text.len() as u64).to_le_bytes());
        digest.update(text.as_bytes());
    }
    Ok(CacheKey { key: format!("{PREFIX}{}", &digest.id().hex()[..DIGITS]) })
}

fn unknown(project: &Project, stage: &Stage) -> Facts {
    Facts { deps: vec![None; stage.deps.len()], env: env_values(project, stage), ..Facts::default() }
}
