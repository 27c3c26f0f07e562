//! A store and a remote are folders that say so: lockstep fills and cleans no others.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::sandbox::Sandbox;

const PIPELINE: &str = "stages:\n  a:\n    cmd: echo 1 > o\n    outs: [o]\n";

/// Where case is ignored `store` would be the store itself. Once there is one, its identity tells.
#[test]
fn a_new_store_shares_its_name_with_no_output_in_another_case() {
    let sandbox = Sandbox::new();
    sandbox.write("lockstep.toml", "cache.dir = 'Sub/Store'\n");
    for written in ["outs: [sub/store]", "outs: [SUB]", "outs: [o], scratch: [sub/STORE/objects]"] {
        sandbox.write("pipeline.yaml", format!("stages: {{a: {{cmd: 'mkdir -p sub; echo 1 > o', {written}}}}}\n"));
        let out = sandbox.run(&["repro"]);
        assert!(out.code == 2 && out.stderr.contains("one would contain the other"), "{written} {out}");
        assert!(!sandbox.exists("Sub") && !sandbox.exists("sub"), "{written} {out}");
    }
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: 'echo 1 > o', outs: [o]}}\n");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    assert!(sandbox.exists("Sub/Store/objects"));
}

#[test]
fn gc_deletes_nothing_in_a_folder_that_is_no_store() {
    let sandbox = Sandbox::new();
    let home = sandbox.beside("documents");
    fs::create_dir_all(home.join("tmp")).unwrap();
    let old = home.join("tmp/letter");
    fs::write(&old, "dear").unwrap();
    let year = SystemTime::now() - Duration::from_secs(400 * 24 * 3600);
    fs::File::options().write(true).open(&old).unwrap().set_modified(year).unwrap();
    sandbox.write("pipeline.yaml", PIPELINE);
    let dir = home.to_str().unwrap();
    for command in [&["repro"][..], &["gc", "-w"], &["gc", "-wf"], &["cache", "drop", "a"]] {
        let mut run = sandbox.lockstep(".");
        let out = crate::sandbox::output(run.env("LOCKSTEP_CACHE_DIR", dir).args(command));
        assert!(out.code != 0, "{command:?} {out}");
        let names: Vec<_> = fs::read_dir(&home).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(old.exists() && names == ["tmp"], "{command:?} {out}");
    }
}

#[test]
fn a_store_is_made_in_a_new_or_empty_folder() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    fs::create_dir(sandbox.beside("empty")).unwrap();
    for name in ["new", "empty"] {
        let dir = sandbox.beside(name);
        let mut run = sandbox.lockstep(".");
        let out = crate::sandbox::output(run.env("LOCKSTEP_CACHE_DIR", &dir).args(["repro", "-f"]));
        assert!(out.code == 0 && dir.join("lockstep-store").is_file(), "{out}");
    }
}

/// A store of an earlier version, at the place that is lockstep's own.
#[test]
fn an_older_store_gets_the_file_that_says_so() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let marker = ".git/lockstep/store/lockstep-store";
    sandbox.remove(marker);
    sandbox.remove("o");
    let out = sandbox.run(&["checkout"]);
    assert!(out.code == 0 && sandbox.exists("o"), "{out}");
    let out = sandbox.run(&["repro", "-f"]);
    assert!(out.code == 0 && sandbox.exists(marker), "{out}");
}

#[test]
fn a_store_is_no_part_of_what_stages_write() {
    for (dir, rest) in [
        (".", "    outs: [o]\n"),
        ("..", "    outs: [o]\n"),
        (".git/mine", "    outs: [o]\n"),
        ("o/store", "    outs: [o]\n"),
        ("store", "    outs: [store/o]\n"),
        ("work/store", "    outs: [o]\n    scratch: [work]\n"),
        ("new/deep/store", "    outs: [o]\ndata:\n- path: new\n"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write(".git/lockstep/config.toml", format!("[cache]\ndir = \"{dir}\"\n"));
        sandbox.write("pipeline.yaml", format!("stages:\n  a:\n    cmd: touch ran; echo 1 > o\n{rest}"));
        let out = sandbox.run(&["repro"]);
        assert!(out.code == 2 && out.stderr.contains("cache.dir") && !sandbox.exists("ran"), "{dir} {out}");
    }
}

#[test]
fn a_remote_is_made_in_a_new_or_empty_folder() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let home = sandbox.beside("documents");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("letter"), "dear").unwrap();
    fs::create_dir_all(sandbox.beside("started/tmp")).unwrap();
    fs::create_dir(sandbox.beside("new")).unwrap();
    fs::write(sandbox.beside("started/tmp").join("ab".repeat(16)), "").unwrap();
    let push = |url: &str| {
        sandbox.run(&["remote", "add", "--force", "-d", "lab", url]);
        sandbox.run(&["push"])
    };
    let out = push(home.to_str().unwrap());
    assert!(out.code == 4 && out.stderr.contains("lockstep-remote"), "{out}");
    assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
    let out = push(".git/lab");
    assert!(out.code == 2 && !sandbox.exists(".git/lab"), "{out}");
    // A push that was killed at once leaves temporary files.
    for name in ["new/lab", "started"] {
        let dir = sandbox.beside(name);
        let out = push(dir.to_str().unwrap());
        assert!(out.code == 0 && dir.join("lockstep-remote").is_file(), "{out}");
    }
}
