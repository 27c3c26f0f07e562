//! Stores that several projects share, and projects below the root.

use std::fs;

use crate::sandbox::Sandbox;
use crate::verify::{PIPELINE, fine, flip};

/// Two projects, one store: damage is told with the commits of both.
#[test]
fn a_shared_store() {
    let sandbox = Sandbox::new();
    sandbox.git(&["init", "-q", "-b", "main", "../other"]);
    for folder in ["", "../other"] {
        let at = |name: &str| sandbox.path(folder).join(name);
        fs::write(at("pipeline.yaml"), PIPELINE).unwrap();
        sandbox.use_store(folder, &sandbox.path("../shared"));
        fs::write(at("n"), "1").unwrap();
        fine(&sandbox.run_in(folder, &["repro", "-q"]));
    }
    for args in [&["add", "-A"][..], &["commit", "-qm", "1"]] {
        sandbox.git(&[&["-C", "../other"], args].concat());
    }
    fine(&sandbox.run(&["verify", "--read-data"]));
    let all = crate::verify::files(&sandbox.path("../shared/objects"));
    let big = all.into_iter().find(|path| fs::read(path).unwrap().len() == 200_000).unwrap();
    flip(&big, 8);
    let out = sandbox.run(&["verify"]);
    assert!(out.code == 1 && out.stdout.contains("needed by d of gen: workspace, "), "{out}");
    assert!(out.stdout.contains("/other") && out.stdout.contains(" of another project"), "{out}");
    // A list that does not say who uses the store is told, and stays: a person has to look.
    let list = crate::verify::files(&sandbox.path("../shared/projects")).remove(0);
    let good = fs::read(&list).unwrap();
    fs::write(&list, "rubbish").unwrap();
    let out = sandbox.run(&["verify", "--repair"]);
    assert!(out.code == 1 && out.stdout.contains("left: repair it by hand"), "{out}");
    fs::write(&list, good).unwrap();
    flip(&big, 8);
    // One that is gone is told, and hides nothing.
    fs::rename(sandbox.path("../other"), sandbox.path("../away")).unwrap();
    let out = sandbox.run(&["verify", "--repair"]);
    assert!(out.code == 0 && out.stdout.contains("repaired: restored from the workspace"), "{out}");
    assert!(out.stderr.contains("which uses this store, is not there"), "{out}");
}

#[test]
fn a_project_in_a_folder() {
    let sandbox = Sandbox::new();
    sandbox.write("a/lockstep.toml", "");
    sandbox.write("a/b/pipeline.yaml", PIPELINE);
    sandbox.write("a/b/n", "1");
    fine(&sandbox.run_in("a/b", &["repro", "-q"]));
    flip(&crate::verify::files(&sandbox.path(".git/lockstep/store/objects"))[0], 8);
    let out = sandbox.run_in("a", &["verify"]);
    assert!(out.stdout.contains("of a/b/pipeline.yaml:"), "{out}");
    fine(&sandbox.run_in("a", &["verify", "--repair"]));
}
