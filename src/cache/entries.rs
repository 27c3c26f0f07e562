//! The run cache: results of earlier runs, by stage key.
//!
//! An entry holds the lock entry of a successful run and its run record: user, host, time, lockstep version. A key may
//! have several entries, if runs differed; the newest is first. Entries are only added, or removed by `cache drop`. The
//! settings say whose entries are accepted, and whether they must be signed (see `signatures`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cache::signatures::TrustPolicy;
use crate::error::Result;
use crate::lock::{self, Lock, StageLock};
use crate::pipeline::stage::{Stage, StageId};
use crate::plan::facts::FactsReader;
use crate::plan::reasons::{self, Facts, always_runs};
use crate::project::{Definitions, Project};
use crate::store::{ObjectId, Store};
use crate::value::Value;

/// The version of the entries.
pub const VERSION: u32 = 1;

/// When, where and by which user a stage was run. Never part of the lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// RFC 3339, UTC.
    pub start: String,
    /// How long it ran, to the millisecond.
    pub seconds: f64,
    /// The host name, by `uname`.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// Operating system and architecture: `linux-x86_64`.
    pub platform: String,
    /// The version of lockstep.
    pub lockstep: String,
    /// The commit that was checked out.
    pub commit: Option<String>,
    /// The versions of the programs that its commands start with, if known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct EntryFile {
    version: u32,
    record: RunRecord,
    /// The entry, spelled as in a lock file that has only this stage.
    lock: String,
    /// The text that the key was computed from, for debugging.
    manifest: String,
    /// The signature over [`signed_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

/// Whether results of this stage may be reused by key: not if it runs each time, has no result, or builds on its old
/// one.
pub fn is_cacheable(stage: &Stage) -> bool {
    !stage.outs.is_empty() && !always_runs(stage) && !stage.outs.iter().any(|o| o.persist)
}

/// Stores a result, signed if the settings ask for it.
pub fn put(store: &Store, entry: &StageLock, record: &RunRecord, trust: &TrustPolicy) -> Result<()> {
    let lock = Lock { stages: [("stage".to_string(), entry.clone())].into(), ..Lock::default() };
    let lock = lock::write(&lock);
    let signature = trust.sign(&signed_bytes(&entry.key, &lock, record));
    let (record, manifest) = (record.clone(), lock::manifest(entry));
    let file = EntryFile { version: VERSION, record, lock, manifest, signature };
    let bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
    store.put_run(&entry.key.hex(), &bytes)
}

/// Accepted results of a key, newest first. Entries that cannot be read are skipped.
pub fn get(store: &Store, key: &ObjectId, trust: &TrustPolicy) -> Vec<(StageLock, RunRecord)> {
    let runs = store.get_runs(&key.hex()).unwrap_or_default();
    runs.found.iter().filter_map(|bytes| parse_trusted(bytes, key, trust)).collect()
}

/// Parses an entry. `None` if it is malformed, of another version, stored under a key that is not its own, or not
/// accepted by the trust settings.
pub fn parse_trusted(bytes: &[u8], key: &ObjectId, trust: &TrustPolicy) -> Option<(StageLock, RunRecord)> {
    let file: EntryFile = serde_json::from_slice(bytes).ok()?;
    let writer = format!("{}@{}", file.record.user, file.record.host);
    let is_accepted = trust.accepts(&writer, &signed_bytes(key, &file.lock, &file.record), file.signature.as_deref());
    is_accepted.then(|| read(file, key)).flatten()
}

/// The bytes that a signature covers: everything except the manifest, which follows from the rest. Lengths precede
/// contents, so that no byte can move from one part to the next.
fn signed_bytes(key: &ObjectId, lock: &str, record: &RunRecord) -> Vec<u8> {
    let record = serde_json::to_string(record).unwrap_or_default();
    let mut message = key.0.to_vec();
    for part in [lock, &record] {
        message.extend((part.len() as u64).to_le_bytes());
        message.extend(part.as_bytes());
    }
    message
}

/// The current key of a stage, and the key of its lock entry if that differs.
pub fn keys_of(
    project: &Project,
    definitions: &Definitions,
    id: StageId,
    reader: &mut FactsReader,
) -> Result<Vec<ObjectId>> {
    let stage = definitions.pipelines.stage(id);
    let locked = project.locks(definitions)?.of_file(stage.file).stages.get(&stage.name).map(|entry| entry.key);
    let now = reasons::entry(stage, &project.shell(), &reader.facts(id)?, &[]).key;
    Ok(std::iter::once(now).chain(locked.filter(|key| *key != now)).collect())
}

/// The content of an entry; `None` if it has another key.
pub fn parse(bytes: &[u8], key: &ObjectId) -> Option<(StageLock, RunRecord)> {
    read(serde_json::from_slice(bytes).ok()?, key)
}

/// Whether a later lockstep wrote it.
pub fn is_newer(bytes: &[u8]) -> bool {
    let entry: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    entry.and_then(|entry| entry.get("version")?.as_u64()).is_some_and(|version| version > u64::from(VERSION))
}

fn read(file: EntryFile, key: &ObjectId) -> Option<(StageLock, RunRecord)> {
    if file.version != VERSION {
        return None;
    }
    let entry = lock::read("run cache entry", &file.lock).ok()?.stages.remove("stage")?;
    // An entry under a foreign key would put a wrong result into the lock.
    (entry.key == *key && lock::key(&entry) == *key).then_some((entry, file.record))
}

/// Whether that run had params of the same types as the current ones. 1 and 1.0 are one number, and so one key and not
/// a reason to run; but a command that reads the file may treat them differently, so a result is reused only for the
/// same type.
pub fn same_param_types(entry: &StageLock, now: &Facts) -> bool {
    entry.params.iter().all(|(file, values)| {
        let now = now.params.get(file).and_then(Option::as_ref);
        now.is_some_and(|now| values.iter().all(|(key, v)| now.get(key).is_some_and(|w| same_types(v, w))))
    })
}

fn same_types(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(_), Value::Float(_)) | (Value::Float(_), Value::Int(_)) => false,
        (Value::List(a), Value::List(b)) => a.iter().zip(b).all(|(a, b)| same_types(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.iter().all(|(key, v)| b.iter().find(|(k, _)| k == key).is_none_or(|(_, w)| same_types(v, w)))
        }
        _ => true,
    }
}

/// The record of a run that took `seconds` and ended now.
pub fn record_now(
    project: &Project,
    seconds: f64,
    commit: &Option<String>,
    programs: BTreeMap<String, String>,
) -> RunRecord {
    let start = (project.around.now)() - std::time::Duration::from_secs_f64(seconds.max(0.0));
    let uname = rustix::system::uname();
    RunRecord {
        start: humantime::format_rfc3339_seconds(start).to_string(),
        seconds: (seconds * 1000.0).round() / 1000.0,
        host: uname.nodename().to_string_lossy().into_owned(),
        user: (project.around.user)(&project.around.env),
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        lockstep: env!("CARGO_PKG_VERSION").into(),
        commit: commit.clone(),
        programs,
    }
}
