//! What lies at the remote is not what was put there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;
use crate::target::Target;
use crate::workplace::{assert_nothing_wrong, assert_same, clone, must, workplace};

pub fn damaged_objects_never_reach_the_workspace(target: &Target) {
    each_file_harmed(target, 20, 4, |file, bytes| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    });
}

pub fn truncated_objects_never_reach_the_workspace(target: &Target) {
    each_file_harmed(target, 21, 4, |file, bytes| fs::write(file, &bytes[..bytes.len() / 3]).unwrap());
}

pub fn lost_objects_are_named(target: &Target) {
    each_file_harmed(target, 22, 3, |file, _| fs::remove_file(file).unwrap());
}

/// Harms every pack and object in turn: a pull fails with the code and the name of what is wrong, and leaves the
/// workspace right; what nothing needs is told all the same; when it is mended, the same clone gets everything.
fn each_file_harmed(target: &Target, seed: u64, code: i32, harm: fn(&Path, &[u8])) {
    let work = workplace(target, seed);
    must(&work, &["push"]);
    let files = target.files();
    let content = |file: &&PathBuf| file.to_str().is_some_and(|f| f.contains("/packs/") || f.contains("/objects/"));
    let files: Vec<_> = files.iter().filter(content).collect();
    assert!(files.len() >= 2, "{files:?}");
    let mut told = 0;
    for file in files {
        let bytes = fs::read(file).unwrap();
        harm(file, &bytes);
        let other = clone(&work, target);
        let out = other.run(&["pull"]);
        if out.code == 0 {
            // It was an entry of the run cache that was hit.
            assert_same(&work, &other);
        } else {
            assert_eq!(out.code, code, "{}: {out}", file.display());
            told += 1;
        }
        assert!(out.stderr.contains(name(file)), "it does not name {}: {out}", file.display());
        assert_nothing_wrong(&work, &other);
        fs::write(file, bytes).unwrap();
        must(&other, &["pull"]);
        assert_same(&work, &other);
        is_sound(&other);
    }
    assert!(told >= 2);
}

/// The beginning of the hash that the file is called by.
fn name(file: &Path) -> &str {
    &file.file_name().unwrap().to_str().unwrap()[..8]
}

/// Its store gives everything back.
fn is_sound(sandbox: &Sandbox) {
    sandbox.remove("data");
    sandbox.remove("model.bin");
    must(sandbox, &["checkout"]);
}

/// A disk of the server that is not mounted.
pub fn a_remote_that_is_not_there_any_more_is_refused(target: &Target) {
    let work = workplace(target, 9);
    must(&work, &["push"]);
    let data = target.data.as_ref().unwrap();
    let aside = data.with_file_name("aside");
    std::fs::rename(data, &aside).unwrap();
    for verb in [&["push"][..], &["push", "--again"], &["status", "-c"], &["verify", "--remote"], &["remote", "check"]]
    {
        let out = work.run(verb);
        assert!(out.code == 4 && out.stderr.contains("is not there"), "{verb:?}: {out}");
        assert!(!data.join("lockstep-remote").exists() && !data.join("index").exists(), "{verb:?}");
    }
    work.remove(".git/lockstep/store");
    for verb in ["fetch", "pull"] {
        let out = work.run(&[verb]);
        assert!(out.code == 4 && out.stderr.contains("is not there"), "{verb}: {out}");
    }
    let _ = std::fs::remove_dir_all(data);
    std::fs::rename(&aside, data).unwrap();
    must(&work, &["fetch"]);
}
