//! A symlink where a folder of a store or a remote belongs, brought by a commit or planted by another writer of a shared
//! folder: what lies behind it is neither deleted, moved nor written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::sandbox::Sandbox;

const DAY: u64 = 24 * 3600;

fn key() -> String {
    "ab".repeat(32)
}

/// A folder of the user's with old files in it, under names that lockstep gives to its own files, too.
fn documents(sandbox: &Sandbox) -> PathBuf {
    let folder = sandbox.beside("documents");
    let object = "cd".repeat(31);
    for name in
        ["letter".into(), "0000000001-0123abcd".into(), "ab".repeat(16), object, format!("{}.pack", key()), key()]
    {
        let path = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, "dear").unwrap();
        age(&path);
    }
    folder
}

fn age(path: &Path) {
    let year = SystemTime::now() - Duration::from_secs(400 * DAY);
    fs::File::options().write(true).open(path).unwrap().set_modified(year).unwrap();
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// Replaces what is at `path` by a symlink.
fn plant(path: &Path, to: &Path) {
    let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(to, path).unwrap();
}

/// A project with one result and some data, in a store of its own beside it.
fn project(store: &Path) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.use_store("", store);
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: 'cat in > o', deps: [in], outs: [o]}}\ndata: [{path: d}]\n");
    sandbox.write("in", "1");
    sandbox.write("d", "22");
    for command in ["repro", "commit"] {
        let out = sandbox.run(&[command]);
        assert_eq!(out.code, 0, "{out}");
    }
    sandbox
}

const PLACES: &[&str] = &[
    "tmp",
    "packs",
    "objects",
    "runs",
    "projects",
    "quarantine",
    "objects/cd",
    "objects/ab",
    "runs/ab",
    "runs/ab/KEY",
    "lock",
    "generation",
];

#[test]
fn nothing_behind_a_link_of_a_store_goes_or_is_written() {
    for place in PLACES {
        let shared = tempfile::tempdir().unwrap();
        let store = shared.path().join("store");
        let sandbox = project(&store);
        let documents = documents(&sandbox);
        let before = contents(&documents);
        let to = if ["lock", "generation"].contains(place) { documents.join("letter") } else { documents.clone() };
        plant(&store.join(place.replace("KEY", &key())), &to);
        for command in [
            &["gc", "-w", "--min-age", "0", "--force"][..],
            &["cache", "drop", "a"],
            &["verify", "--read-data"],
            &["commit"],
            &["checkout"],
            &["gc", "-w"],
            &["verify", "--repair"],
            &["repro", "-f"],
            &["gc", "-w", "--min-age", "0", "--force"],
        ] {
            sandbox.write("d", format!("{command:?}"));
            let out = sandbox.run(command);
            assert!(out.code < 100 && contents(&documents) == before, "{place} {command:?} {out}");
        }
    }
}

#[test]
fn a_link_in_a_store_is_damage_and_goes_aside() {
    for place in ["runs/ab/KEY", "objects/ab", "runs/ab", "tmp", "packs"] {
        let shared = tempfile::tempdir().unwrap();
        let store = shared.path().join("store");
        let sandbox = project(&store);
        let documents = documents(&sandbox);
        let link = store.join(place.replace("KEY", &key()));
        plant(&link, &documents);
        let out = sandbox.run(&["verify"]);
        assert!(out.code == 1 && out.stdout.contains("it is a symlink"), "{place} {out}");
        let out = sandbox.run(&["verify", "--repair"]);
        assert!(out.stdout.contains("it is a symlink") && !link.is_symlink(), "{place} {out}");
        let out = sandbox.run(&["repro", "-f"]);
        assert_eq!(out.code, 0, "{place} {out}");
        assert_eq!(sandbox.run(&["verify"]).code, 0, "{place}");
    }
}

/// A clone with a store in it, which its `lockstep.toml` names.
#[test]
fn a_committed_store_with_links_costs_nothing() {
    for (at, to) in
        [("runs/ab/KEY", "../../../../documents"), ("runs/ab/KEY", "../../../.git"), ("objects/ab", "../..")]
    {
        let sandbox = Sandbox::new();
        let documents = documents(&sandbox);
        sandbox.write("lockstep.toml", "[cache]\ndir = \"st\"\n");
        sandbox.write("pipeline.yaml", "data: [{path: f}]\n");
        sandbox.write("f", "1");
        assert_eq!(sandbox.run(&["commit"]).code, 0);
        plant(&sandbox.path("st").join(at.replace("KEY", &key())), Path::new(to));
        let (before, head) = (contents(&documents), sandbox.path(".git/HEAD"));
        age(&head);
        age(&sandbox.path(".git/config"));
        for command in [&["gc", "-w"][..], &["verify", "--repair"], &["gc", "-w"]] {
            let out = sandbox.run(command);
            assert!(contents(&documents) == before && head.exists() && sandbox.exists(".git/config"), "{at} {out}");
        }
    }
}

#[test]
fn nothing_behind_a_link_of_a_folder_remote_goes_or_is_written() {
    for place in ["tmp", "packs", "index", "objects", "marks", "gone", "index/all", "lockstep-remote", "objects/ab"] {
        let sandbox = Sandbox::new();
        let (lab, documents) = (sandbox.beside("lab"), documents(&sandbox));
        sandbox.write("pipeline.yaml", "data: [{path: d}]\n");
        sandbox.write("d", "1");
        assert_eq!(sandbox.run(&["remote", "add", "-d", "lab", lab.to_str().unwrap()]).code, 0);
        assert_eq!(sandbox.run(&["commit"]).code, 0);
        assert_eq!(sandbox.run(&["push"]).code, 0);
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", "1"]);
        let before = contents(&documents);
        let is_file = ["index/all", "lockstep-remote"].contains(&place);
        plant(&lab.join(place), &if is_file { documents.join("letter") } else { documents.clone() });
        for command in [
            &["push"][..],
            &["push", "--again"],
            &["remote", "check"],
            &["gc", "-c", "-r", "lab", "-w", "--min-age", "0", "--force"],
            &["verify", "-c"],
            &["pull"],
        ] {
            sandbox.write("d", format!("{command:?}{}", "x".repeat(2_000_000)));
            assert_eq!(sandbox.run(&["commit"]).code, 0);
            let out = sandbox.run(command);
            assert!(out.code < 100 && contents(&documents) == before, "{place} {command:?} {out}");
        }
    }
}

/// A symlink under the name of an object or a pack is none, and the times of what it leads to stay.
#[test]
fn a_link_under_the_name_of_an_object_is_not_one() {
    for place in ["objects", "packs"] {
        let shared = tempfile::tempdir().unwrap();
        let store = shared.path().join("store");
        let sandbox = Sandbox::new();
        sandbox.use_store("", &store);
        sandbox.write("pipeline.yaml", "data: [{path: d}]\n");
        // Small files in a crowd go into a pack, one alone does not.
        for n in 0..if place == "packs" { 300 } else { 1 } {
            sandbox.write(&format!("d/{n}"), format!("{n}"));
        }
        assert_eq!(sandbox.run(&["commit"]).code, 0);
        let mut moved = Vec::new();
        for (path, _) in crate::promises::files(&store.join(place)) {
            let (from, to) = (store.join(place).join(&path), shared.path().join(path.replace('/', "-")));
            fs::rename(&from, &to).unwrap();
            age(&to);
            symlink(&to, &from).unwrap();
            moved.push((to.clone(), fs::metadata(&to).unwrap().modified().unwrap()));
        }
        assert!(!moved.is_empty(), "{place}");
        for args in [&["gc", "-w", "--min-age", "0", "--force"][..], &["verify"], &["verify", "--repair"], &["commit"]]
        {
            sandbox.write("d/more", format!("{args:?}"));
            let out = sandbox.run(args);
            let is_as_it_was =
                |(path, time): &(PathBuf, _)| fs::metadata(path).is_ok_and(|meta| meta.modified().unwrap() == *time);
            assert!(out.code < 100 && moved.iter().all(is_as_it_was), "{place} {args:?} {out}");
        }
        assert_eq!(sandbox.run(&["commit"]).code, 0, "{place}");
        fs::remove_dir_all(sandbox.path("d")).unwrap();
        let out = sandbox.run(&["checkout"]);
        assert!(out.code == 0 && sandbox.read("d/0") == "0", "{place} {out}");
    }
}
