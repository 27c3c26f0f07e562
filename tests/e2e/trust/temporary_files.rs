//! What others put beside a file, or lock, neither gets what lockstep writes nor makes it wait for ever.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

#[test]
fn a_name_that_was_made_before_is_not_used() {
    for name in ["pipeline.lock", "lockstep.toml", ".gitignore", "plots.html"] {
        let sandbox = Sandbox::new();
        sandbox.write("m.csv", "a,b\n1,2\n");
        sandbox.write("pipeline.yaml", "stages: {a: {cmd: 'echo 1 > o', outs: [o]}}\nplots: [m.csv]\n");
        let bait = sandbox.path(&format!(".{}.lockstep-new", name.trim_start_matches('.')));
        fs::write(&bait, "").unwrap();
        fs::set_permissions(&bait, fs::Permissions::from_mode(0o666)).unwrap();
        let held = File::open(&bait).unwrap();
        held.lock().unwrap();
        for command in [&["repro"][..], &["config", "jobs", "2"], &["plots", "show"]] {
            let began = Instant::now();
            let out = sandbox.run(command);
            assert!(out.code == 0 && began.elapsed() < Duration::from_secs(8), "{name} {command:?} {out}");
        }
        assert_eq!(fs::read(&bait).unwrap().len(), 0, "{name}");
        assert!(sandbox.exists(name), "{name}");
    }
}

#[test]
fn a_wait_for_a_writer_ends_and_names_him() {
    let sandbox = Sandbox::new();
    let folder = File::open(sandbox.root()).unwrap();
    folder.lock().unwrap();
    let began = Instant::now();
    let out = sandbox.run(&["config", "jobs", "2"]);
    assert_eq!(out.code, 5, "{out}");
    assert!(out.stderr.contains("lockstep.toml") && out.stderr.contains("holds a lock on its folder"), "{out}");
    assert!(began.elapsed() < Duration::from_secs(20), "{out}");
    drop(folder);
    assert_eq!(sandbox.run(&["config", "jobs", "2"]).code, 0);
}

#[test]
fn what_a_killed_process_left_goes() {
    let sandbox = Sandbox::new();
    sandbox.write(".lockstep.toml.lockstep-new-0123456789abcdef", "jobs = ");
    symlink("/dev/zero", sandbox.path(".lockstep.toml.lockstep-new-0123456789abcde0")).unwrap();
    assert_eq!(sandbox.run(&["config", "jobs", "2"]).code, 0);
    assert!(!sandbox.exists(".lockstep.toml.lockstep-new-0123456789abcdef"));
}

/// What is written gets the mode of the store once it is whole.
#[test]
fn files_of_the_store_have_its_mode() {
    for (folder, want) in [(0o700, 0o600), (0o755, 0o644), (0o2775, 0o664)] {
        let sandbox = Sandbox::new();
        let store = sandbox.beside("store");
        fs::create_dir(&store).unwrap();
        fs::set_permissions(&store, fs::Permissions::from_mode(folder)).unwrap();
        sandbox.use_store("", &store);
        sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo 1 > o, outs: [o]}}\n");
        let out = sandbox.run(&["repro"]);
        assert_eq!(out.code, 0, "{out}");
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.join("generation")), want, "{folder:o}");
        let runs = crate::promises::files(&store.join("runs"));
        assert!(!runs.is_empty());
        for (name, _) in runs {
            assert_eq!(mode(&store.join("runs").join(&name)), want, "{folder:o} {name}");
        }
        assert_eq!(fs::read_dir(store.join("tmp")).map_or(0, Iterator::count), 0);
    }
}

/// A folder of the repository is listed for them once a process, not once a write.
#[test]
fn what_a_killed_process_left_goes_whatever_file_it_was_for() {
    let sandbox = Sandbox::new();
    sandbox.write(".other.lockstep-new-0123456789abcdef", "half");
    sandbox.write(".mine.lockstep-new-notes", "mine");
    assert_eq!(sandbox.run(&["config", "jobs", "2"]).code, 0);
    assert!(!sandbox.exists(".other.lockstep-new-0123456789abcdef") && sandbox.exists(".mine.lockstep-new-notes"));
}
