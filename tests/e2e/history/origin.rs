//! Imports in a clone: their bytes come from the repository that they were imported from, if they are what is pinned.

use std::fs;

use super::{commit, project, shown};
use crate::sandbox::Sandbox;

/// A repository that uses an import of each kind (of Git, of a lock, a folder), and `clone`, a clone of it beside it.
struct Clone {
    source: Sandbox,
    origin: Sandbox,
    clone: Sandbox,
}

impl Clone {
    fn new(pipeline: &str, prepare: impl Fn(&Sandbox)) -> Clone {
        let source = project();
        source.write("data2/__pycache__/x", "ignored there and here");
        let beside = || Sandbox::within(source.root().parent().unwrap());
        let (origin, clone) = (beside(), beside());
        origin.write("pipeline.yaml", pipeline);
        for (path, to) in [("train.sh", "train.sh"), ("model", "theirs/model"), ("data", "raw")] {
            let out = origin.run(&["import", "../../repo", path, "-o", to]);
            assert_eq!(out.code, 0, "{out}");
        }
        prepare(&origin);
        origin.git(&["add", "-A"]);
        origin.git(&["commit", "-qm", "imports"]);
        clone.git(&["pull", "-q", origin.root().to_str().unwrap(), "main"]);
        // Only the clone that imported was told of the folder.
        assert_eq!(clone.run(&["remote", "trust", "../../repo", "-y"]).code, 0);
        // What came since is not what is pinned.
        commit(&source, 3);
        Clone { source, origin, clone }
    }

    fn is_complete(&self) -> bool {
        let same = |path: &str| self.clone.exists(path) && self.clone.read(path) == self.origin.read(path);
        same("train.sh") && same("theirs/model") && same("raw/s/p") && same("raw/a")
    }
}

const USES: &str = "stages:\n  use:\n    cmd: (cat raw/s/p; echo own) > o\n    deps: [raw]\n    outs: [o]\n";

#[test]
fn pull_brings_imports_from_their_origin() {
    let world = Clone::new("", |_| {});
    let clone = &world.clone;
    insta::assert_snapshot!(shown(clone, &clone.run(&["status"])), @r"
    exit 0
    --- stdout
    data train.sh: not in cache
    data theirs/model: not in cache
    data raw: not in cache
    --- stderr
    no stages here
    3 imports not here, 125 B: lockstep pull
    ");
    insta::assert_snapshot!(shown(clone, &clone.run(&["checkout"])), @r"
    exit 3
    --- stderr
    error: 3 outputs not in the store: train.sh, theirs/model, raw
      hint: fetch imports from their repositories: lockstep pull
    ");
    insta::assert_snapshot!(shown(clone, &clone.run(&["fetch", "raw"])), @r"
    exit 0
    --- stderr
    fetched raw (12 B)
    12 B in 3 objects from ../../repo
    ");
    insta::assert_snapshot!(shown(clone, &clone.run(&["pull"])), @r"
    exit 0
    --- stderr
    restored train.sh
    restored theirs/model
    restored raw
    108 B in 1 object fetched
    ");
    assert!(world.is_complete());
    assert_eq!(clone.run(&["status", "-q"]).code, 0);
    insta::assert_snapshot!(shown(clone, &clone.run(&["pull"])), @r"
    exit 0
    --- stderr
    everything is in place
    ");
    assert_eq!(clone.git(&["status", "--porcelain"]), "");
    let left = fs::read_dir(clone.path(".git/lockstep/worktree/state/root/imports")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn imports_come_though_a_remote_lacks_them() {
    let world = Clone::new(USES, |origin| {
        assert_eq!(origin.run(&["repro", "-q"]).code, 0);
        assert_eq!(origin.run(&["remote", "add", "-d", "r", "../remote"]).code, 0);
        assert_eq!(origin.run(&["push", "-q", "o"]).code, 0);
    });
    let clone = &world.clone;
    // As if it were the same remote, and then one that nobody ever pushed to.
    let remote = world.origin.path("../remote");
    assert_eq!(clone.run(&["remote", "add", "--force", "-d", "r", remote.to_str().unwrap()]).code, 0);
    let out = clone.run(&["pull", "--json"]);
    assert!(out.code == 0 && world.is_complete() && clone.exists("o"), "{out}");
    assert!(out.stdout.contains("\"remote\": \"../../repo\""), "{out}");
    for path in ["raw", "train.sh", "o", ".git/lockstep/store"] {
        clone.remove(path);
    }
    assert_eq!(clone.run(&["remote", "add", "--force", "-d", "r", "../none"]).code, 0);
    let out = clone.run(&["pull"]);
    assert!(out.code != 0 && world.is_complete() && out.stderr.contains("needed by o"), "{out}");
}

#[test]
fn a_run_pulls_the_imports_that_it_needs() {
    let world = Clone::new(USES, |_| {});
    let clone = &world.clone;
    insta::assert_snapshot!(shown(clone, &clone.run(&["repro"])), @r"
    exit 3
    --- stderr
    error: the data raw is neither in the workspace nor in the store
      hint: fetch it from the repository it was imported from: lockstep pull
    1 not run in [TIME]
    ");
    let out = clone.run(&["repro", "--pull"]);
    assert_eq!((out.code, clone.read("o")), (0, "n: 2\nown\n".into()), "{out}");
    assert!(!clone.exists("train.sh"), "what no stage needs");
    // An update of what is current brings back what is missing.
    insta::assert_snapshot!(shown(clone, &clone.run(&["update", "--rev", "HEAD", "raw"])), @r"
    exit 0
    --- stderr
    raw: +0 −0 ~1 files, pinned
    raw: [ID] → [ID] (HEAD of ../../repo)
    next: git add pipeline.lock pipeline.yaml
    ");
    clone.remove("theirs");
    let out = clone.run(&["update", "theirs/model", "train.sh"]);
    assert!(out.code == 0 && clone.read("theirs/model") == "n: 3\n" && clone.exists("train.sh"), "{out}");
    clone.remove("train.sh");
    insta::assert_snapshot!(shown(clone, &clone.run(&["update"])), @r"
    exit 0
    --- stderr
    restored train.sh: [ID] (HEAD of ../../repo)
    ");
}

/// What the other repository pushed comes from its remote, straight into the store at hand.
#[test]
fn an_import_by_url_comes_from_the_remote_of_its_repository() {
    let source = project();
    let remote = source.beside("remote");
    assert_eq!(source.run(&["remote", "add", "-d", "shared", remote.to_str().unwrap()]).code, 0);
    assert_eq!(source.run(&["push", "-q"]).code, 0);
    source.git(&["add", "-A"]);
    source.git(&["commit", "-qm", "remote"]);
    let rewrite = format!("[url \"file://{}\"]\n\tinsteadOf = https://example.org/models\n", source.root().display());
    let (origin, clone) = (Sandbox::new(), Sandbox::new());
    [&origin, &clone].iter().for_each(|sandbox| sandbox.write("../home/.gitconfig", &rewrite));
    for (path, to) in [("data", "raw"), ("params.yaml", "deep/theirs.yaml")] {
        let out = origin.run(&["import", "https://example.org/models", path, "-o", to]);
        assert_eq!(out.code, 0, "{out}");
    }
    origin.git(&["add", "-A"]);
    origin.git(&["commit", "-qm", "imports"]);
    clone.git(&["pull", "-q", origin.root().to_str().unwrap(), "main"]);
    insta::assert_snapshot!(shown(&clone, &clone.run(&["pull"])), @r"
    exit 0
    --- stderr
    restored raw
    restored deep/theirs.yaml
    12 B in 3 objects fetched
    ");
    assert_eq!((clone.read("raw/s/p"), clone.read("deep/theirs.yaml")), ("n: 2\n".into(), "n: 2\n".into()));
}

/// Other bytes than the lock pins are not stored, whatever the origin says.
#[test]
fn what_is_pinned_otherwise_is_refused() {
    let world = Clone::new("", |origin| {
        origin.write("train.sh", "changed after the import");
        assert_eq!(origin.run(&["commit", "-q"]).code, 0);
    });
    insta::assert_snapshot!(shown(&world.clone, &world.clone.run(&["pull"])), @r"
    exit 3
    --- stderr
    restored theirs/model
    restored raw
    17 B in 4 objects fetched
    error: train.sh is pinned to other bytes than train.sh of ../../repo has at [ID]
      because: it was changed after it was imported
      because: needed by train.sh
      hint: push it from where it was changed: lockstep push
    ");
    assert!(!world.clone.exists("train.sh") && world.clone.exists("raw/a"));
    fs::rename(world.source.root(), world.source.root().with_extension("away")).unwrap();
    world.clone.remove("raw");
    world.clone.remove(".git/lockstep/store");
    let away = shown(&world.clone, &world.clone.run(&["pull", "raw"]));
    insta::assert_snapshot!(away.replace(world.source.root().to_str().unwrap(), "[SOURCE]"), @r"
    exit 3
    --- stderr
    error: there is no repository [SOURCE]
      because: needed by raw
      hint: name a folder with a Git repository, or a URL that `git clone` takes
    ");
    fs::rename(world.source.root().with_extension("away"), world.source.root()).unwrap();
}
