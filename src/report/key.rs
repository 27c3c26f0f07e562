//! What to key a CI system's cache of the store with.
//!
//! The key names what the stages of a commit read: commands, params, files that no stage makes, pinned data. So it is
//! the same before and after a run, whether or not anybody committed the lock, and a commit that touches nothing of it
//! (the README, say) finds the store of its parent under its own key. Outputs do not count: they follow from the rest.
//! A folder of which a stage makes a part counts by its name alone; too coarse a key finds an older store, in which
//! whatever is missing is made as ever.

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

/// The beginning of every key. The number changes if a store can no longer be read by an older lockstep.
const PREFIX: &str = "lockstep-1-";
/// So many digits tell all commits of a repository apart.
const DIGITS: usize = 32;
const NOTHING: Pin = Pin { id: ObjectId([0; 32]), size: 0, files: None, executable: false };

#[derive(Debug, PartialEq)]
pub struct CacheKey {
    pub key: String,
}

impl CacheKey {
    /// The beginning of the keys of all stores that this lockstep can use.
    pub fn prefix(&self) -> &'static str {
        PREFIX
    }

    /// Beginnings of keys that are the next best, the best first: what a failed run of the same inputs got done, then
    /// the store of any commit, since objects are only ever added.
    pub fn restore(&self) -> [String; 2] {
        [format!("{}-", self.key), PREFIX.into()]
    }
}

pub fn cache_key(project: &Project, definitions: &Definitions, sink: &dyn Sink) -> Result<CacheKey> {
    let mut reader = FactsReader::new(project, definitions, sink);
    let ids: Vec<_> = definitions.pipelines.ids().collect();
    reader.sweep(&ids);
    let mut inputs: BTreeMap<String, String> = BTreeMap::new();
    for id in ids {
        let stage = definitions.pipelines.stage(id);
        // Something is missing or cannot be read: the run will say so.
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
