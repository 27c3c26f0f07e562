//! What to key a CI system's cache of the store with.

use crate::error::Result;
use crate::git;
use crate::pipeline::load::Files;
use crate::pipeline::stage::Place;
use crate::project::Project;
use crate::store::Digest;

/// The beginning of every key. The number changes if a store can no longer be read by an older lockstep.
const PREFIX: &str = "lockstep-1-";

/// A cache key, and the beginnings of keys that are the next best.
#[derive(Debug, PartialEq)]
pub struct CacheKey {
    pub key: String,
    pub restore: Vec<String>,
}

/// The key names the content of all locks: what a store has to hold so that nothing runs. A store of any other commit
/// is a good start, since objects are only ever added.
pub fn cache_key(project: &Project) -> Result<CacheKey> {
    let mut digest = Digest::new("lockstep ci cache key 1");
    for pipeline in git::discover(&project.repo, &[])?.pipelines {
        let path = Project::lock_path(&pipeline);
        let bytes = project.files().read(&Place::Repo(path.clone()))?.unwrap_or_default();
        digest.update(&(path.as_str().len() as u64).to_le_bytes());
        digest.update(path.as_str().as_bytes());
        digest.update(&(bytes.len() as u64).to_le_bytes());
        digest.update(&bytes);
    }
    let hash = &digest.id().hex()[..32];
    Ok(CacheKey { key: format!("{PREFIX}{hash}"), restore: vec![PREFIX.into()] })
}
