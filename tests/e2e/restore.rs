//! `docs/restore.py` restores outputs from a store, or a remote that is a folder, without lockstep.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::sandbox::{Output, Sandbox, output};

/// A small and a large file, a folder of many files that is packed, tracked data, names that need quotes.
const PIPELINE: &str = r#"data:
- path: raw
- path: "odd: näme"
stages:
  make:
    cmd: |
      mkdir -p many/deep
      for i in $(seq 300); do echo $i > many/$i; done
      echo outs:
      echo deep > many/deep/x; ln -s x many/deep/link; : > many/empty
      printf '#!/bin/sh\n' > many/run; chmod +x many/run
      head -c 3000000 /dev/zero > large; cp large many/large
      printf hello > small; chmod +x small
      echo '{"files": 3}' > metrics.json
    deps: [raw]
    outs: [many, large, small]
    metrics: [metrics.json]
"#;
const OUTPUTS: [&str; 6] = ["many", "large", "small", "metrics.json", "raw", "odd: näme"];

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("raw/a", "a\n");
    sandbox.write("raw/b c", "b\n");
    sandbox.write("odd: näme", "odd\n");
    let out = sandbox.run(&["repro", "-q"]);
    assert_eq!(out.code, 0, "{out}");
    sandbox
}

fn restore(sandbox: &Sandbox, args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/restore.py");
    output(sandbox.command(Path::new("python3"), "").arg(script).args(args))
}

/// All that is at a path: kind and content by path below it.
fn content(path: &Path) -> BTreeMap<String, (String, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = BTreeMap::new();
    let mut paths = vec![path.to_path_buf()];
    while let Some(at) = paths.pop() {
        let name = at.strip_prefix(path).unwrap().to_str().unwrap().to_string();
        let meta = at.symlink_metadata().unwrap();
        if meta.is_symlink() {
            found.insert(name, ("link".into(), fs::read_link(&at).unwrap().to_str().unwrap().into()));
        } else if meta.is_dir() {
            paths.extend(fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
            found.insert(name, ("folder".into(), Vec::new()));
        } else {
            let kind = if meta.permissions().mode() & 0o100 == 0 { "file" } else { "executable" };
            found.insert(name, (kind.into(), fs::read(&at).unwrap()));
        }
    }
    found
}

#[test]
fn every_output_comes_back_from_the_store() {
    let sandbox = project();
    let packs = fs::read_dir(sandbox.path(".git/lockstep/store/packs")).unwrap();
    assert!(packs.count() > 0, "the many small files are in a pack");
    for (number, name) in OUTPUTS.iter().enumerate() {
        let target = format!("../restored-{number}");
        let out = restore(&sandbox, &[".git/lockstep/store", "pipeline.lock", name, &target]);
        assert_eq!(out.code, 0, "{name}: {out}");
        assert!(content(&sandbox.path(&target)) == content(&sandbox.path(name)), "{name}");
    }
}

#[test]
fn a_remote_that_is_a_folder_is_read_too() {
    let sandbox = project();
    for args in [["remote", "add", "lab", "../lab"].as_slice(), &["push", "-q"]] {
        let out = sandbox.run(args);
        assert_eq!(out.code, 0, "{out}");
    }
    for (number, name) in OUTPUTS.iter().enumerate() {
        let target = format!("../restored-{number}");
        let out = restore(&sandbox, &["../lab", "pipeline.lock", name, &target]);
        assert_eq!(out.code, 0, "{name}: {out}");
        assert!(content(&sandbox.path(&target)) == content(&sandbox.path(name)), "{name}");
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_is_guessed() {
    let sandbox = project();
    sandbox.write("../target", "mine\n");
    let out = restore(&sandbox, &[".git/lockstep/store", "pipeline.lock", "small", "../target"]);
    assert!(out.code != 0 && sandbox.read("../target") == "mine\n", "{out}");
    let out = restore(&sandbox, &[".git/lockstep/store", "pipeline.lock", "smal", "../new"]);
    assert!(out.code == 1 && out.stderr.contains("has no output smal") && !sandbox.exists("../new"), "{out}");
    let out = restore(&sandbox, &["..", "pipeline.lock", "small", "../new"]);
    assert!(out.code == 1 && out.stderr.contains("the store has no object") && !sandbox.exists("../new"), "{out}");
}

#[test]
fn the_script_stays_short() {
    let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/restore.py")).unwrap();
    assert!(script.lines().count() <= 60, "{} lines", script.lines().count());
}
