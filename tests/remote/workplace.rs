//! What the suite pushes and pulls, and clones of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::sandbox::{Output, Sandbox};
use crate::target::Target;

/// A data folder of small files (one executable, one empty), a stage output of 3 MiB and small ones beside it: packs, an
/// object of its own and a run-cache entry at the remote. All is recorded and committed, nothing pushed.
pub fn workplace(target: &Target, seed: u64) -> Sandbox {
    let sandbox = Sandbox::new().with(&target.env);
    for n in 0..FILES {
        sandbox.write(&format!("data/{}/{n:03}.bin", n % 3), noise(seed + n, 3000 + n as usize));
    }
    sandbox.write("data/empty", "");
    sandbox.write("data/tool.sh", format!("#!/bin/sh\n: {seed}\n"));
    fs::set_permissions(sandbox.path("data/tool.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write("seed.bin", noise(seed, 3 << 20));
    sandbox.write("pipeline.yaml", PIPELINE);
    must(&sandbox, &["add", "data"]);
    must(&sandbox, &["repro"]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "work"]);
    target.add_to(&sandbox);
    sandbox
}

const FILES: u64 = 120;
const PIPELINE: &str = "stages:
  train:
    cmd: cp seed.bin model.bin && mkdir -p parts && for n in 1 2 3; do cp data/0/00$((n * 3)).bin parts/$n; done &&
      echo train >> $CONF_LOG
    deps: [seed.bin, data]
    outs: [model.bin, parts]
";
/// What a clone lacks until it pulls.
pub const PULLED: [&str; 3] = ["data", "model.bin", "parts"];

/// A clone of a workplace, with the same remote and nothing pulled.
pub fn clone(from: &Sandbox, target: &Target) -> Sandbox {
    let sandbox = Sandbox::without_git().with(&target.env);
    sandbox.git(&["clone", "-q", from.root().to_str().unwrap(), "."]);
    target.add_to(&sandbox);
    sandbox
}

/// Runs lockstep, which must succeed.
pub fn must(sandbox: &Sandbox, args: &[&str]) -> Output {
    let out = sandbox.run(args);
    assert_eq!(out.code, 0, "{args:?}: {out}");
    out
}

/// Everything that pulls brings: bytes and executable bits by path.
pub fn contents(sandbox: &Sandbox) -> BTreeMap<String, (bool, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for part in PULLED.iter().map(|part| sandbox.path(part)).filter(|part| part.exists()) {
        for entry in walkdir::WalkDir::new(part).into_iter().map(|e| e.unwrap()).filter(|e| e.file_type().is_file()) {
            let executable = entry.metadata().unwrap().mode() & 0o100 != 0;
            found.insert(name(sandbox, entry.path()), (executable, fs::read(entry.path()).unwrap()));
        }
    }
    found
}

fn name(sandbox: &Sandbox, path: &Path) -> String {
    path.strip_prefix(sandbox.root()).unwrap().to_str().unwrap().to_string()
}

/// The clone holds what the original does. Says which files differ, not their bytes.
pub fn assert_same(original: &Sandbox, clone: &Sandbox) {
    assert_same_in("", original, clone);
}

/// The same of what lies in one of the parts.
pub fn assert_same_in(part: &str, original: &Sandbox, clone: &Sandbox) {
    let [want, got] = [original, clone].map(|sandbox| {
        let mut contents = contents(sandbox);
        contents.retain(|path, _| path.starts_with(part));
        contents
    });
    let wrong: Vec<_> = want.iter().filter(|(path, content)| got.get(*path) != Some(content)).map(|(p, _)| p).collect();
    assert_eq!(wrong, Vec::<&String>::new(), "missing or different");
    assert_eq!(got.len(), want.len());
}

/// What is there of the original is right: nothing half a file, nothing of other bytes.
pub fn assert_nothing_wrong(original: &Sandbox, clone: &Sandbox) {
    let want = contents(original);
    for (path, content) in contents(clone) {
        assert!(want.get(&path) == Some(&content), "{path} is not what was pushed");
    }
}

/// Bytes that do not compress and are the same for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let numbers = (0..bytes.div_ceil(8) as u64).map(|n| crate::weather::dice(seed, n).to_le_bytes());
    let mut noise: Vec<u8> = numbers.flatten().collect();
    noise.truncate(bytes);
    noise
}
