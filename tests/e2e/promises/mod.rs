//! The promises, each proved by a test that can fail: what lockstep guards against is done to it here. By their numbers in
//! `src/lib.rs`: 1 `edited`, `meanwhile`; 2 `failed`, `killed`, `recovered`, `disk`; 3 and 4 `beside`, `together`;
//! 5 `unsaved`, `ignored`, `kept`; 6 `found_damaged`, `packs`, `swept`; 7 `hostile`; 8 and 9 `mutated`, `broken`.

mod beside;
mod branches;
mod broken;
mod disk;
mod edited;
mod failed;
mod found_damaged;
mod hostile;
mod ignored;
mod kept;
mod killed;
mod meanwhile;
mod mutated;
mod orphans;
mod output;
mod packs;
mod pointers;
mod programs;
mod recorder;
mod recovered;
mod shells;
mod swept;
mod together;
mod unsaved;

use std::collections::BTreeMap;
use std::path::Path;

use crate::sandbox::Sandbox;
use lockstep::lock::{Lock, StageLock};
use lockstep::store::ObjectId;

/// The lock in the root, which must be whole.
pub fn lock(sandbox: &Sandbox) -> Lock {
    lockstep::lock::read("pipeline.lock", &sandbox.read("pipeline.lock")).unwrap()
}

pub fn entry(sandbox: &Sandbox, stage: &str) -> StageLock {
    lock(sandbox).stages.remove(stage).unwrap_or_else(|| panic!("no {stage} in\n{}", sandbox.read("pipeline.lock")))
}

pub fn id(text: impl AsRef<[u8]>) -> ObjectId {
    ObjectId::of(text.as_ref())
}

/// `status --json` must work, and this is what it says.
pub fn status(sandbox: &Sandbox) -> serde_json::Value {
    let out = sandbox.run(&["status", "--json"]);
    assert_eq!(out.code, 0, "{out}");
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out}"))
}

pub fn stale(sandbox: &Sandbox) -> Vec<String> {
    status(sandbox)["stages"].as_object().unwrap().keys().cloned().collect()
}

/// Every file below a folder with its bytes, but for `.git`; links with what they point to.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_string();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_symlink() {
                found.insert(name, std::fs::read_link(&path).unwrap().to_str().unwrap().into());
            } else if kind.is_file() {
                found.insert(name, std::fs::read(&path).unwrap());
            } else if name != ".git" {
                folders.push(path);
            }
        }
    }
    found
}

/// What the failed runs of a stage left, as the newest kept version of a path.
pub fn kept(sandbox: &Sandbox, stage: &str, path: &str) -> Option<String> {
    let logs = sandbox.path(".git/lockstep/worktree/logs").join(stage);
    let mut runs: Vec<u64> = std::fs::read_dir(&logs)
        .into_iter()
        .flatten()
        .filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    runs.sort();
    let kept = runs.iter().rev().map(|n| logs.join(n.to_string()).join("kept").join(path)).find(|p| p.exists())?;
    Some(std::fs::read_to_string(kept).unwrap())
}

/// A generator of numbers that are the same for the same seed (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }
}

/// A number from the environment, for tests that can work harder than by default.
pub fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}
