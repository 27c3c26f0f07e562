use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{project, shown};
use crate::sandbox::Sandbox;

#[test]
fn get_writes_what_was_pinned() {
    let sandbox = project();
    fs::set_permissions(sandbox.path("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.git(&["commit", "-qam", "x"]);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["get", "model", "--rev", "v1", "-o", "old"])), @r"
    exit 0
    --- stderr
    old: 1 file, 5 B, of v1
    ");
    assert_eq!(sandbox.read("old"), "n: 1\n");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["get", "data", "--rev", "v1", "-o", "deep/er/d"])), @r"
    exit 0
    --- stderr
    deep/er/d: 3 files, 12 B, of v1
    ");
    assert_eq!(sandbox.read("deep/er/d/s/p"), "n: 1\n");
    sandbox.write("deep/er/d/s/p", "mine, and not the store's\n");
    assert_eq!(sandbox.run(&["get", "data/s/p", "--rev", "v1", "-o", "p"]).code, 0);
    assert_eq!(sandbox.read("p"), "n: 1\n");
    // Git's files with the outputs between them.
    assert_eq!(sandbox.run(&["get", ".", "-o", "all"]).code, 0);
    assert_eq!(sandbox.read("all/data/s/p"), "n: 2\n");
    assert_eq!(fs::metadata(sandbox.path("all/run.sh")).unwrap().permissions().mode() & 0o100, 0o100);
}

#[test]
fn get_overwrites_nothing_unasked() {
    let sandbox = project();
    sandbox.write("old", "mine");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["get", "model", "--rev", "v1", "-o", "old"])), @r"
    exit 1
    --- stderr
    error: old exists already; it was not touched
      hint: replace it: add --force
      hint: or write elsewhere: -o PATH
    ");
    assert_eq!(sandbox.read("old"), "mine");
    assert_eq!(sandbox.run(&["get", "model", "--rev", "v1", "-o", "old", "--force"]).code, 0);
    assert_eq!(sandbox.read("old"), "n: 1\n");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["get", "modle", "--rev", "v1"])), @r"
    exit 3
    --- stderr
    error: v1 has neither a file modle in Git nor one that is pinned
      hint: see what there is: lockstep list --rev v1 -R
    ");
}

#[test]
fn get_leaves_nothing_half() {
    let sandbox = project();
    sandbox.remove(".git/lockstep/store/objects");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["get", "data", "--rev", "v1", "-o", "d"])), @r"
    exit 3
    --- stderr
    error: data of v1 is not in the store
      hint: there is no remote to fetch it from: lockstep remote add -d NAME URL
    ");
    let left: Vec<_> = fs::read_dir(sandbox.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|n| n == "d" || n.to_string_lossy().contains(".lockstep-")), "{left:?}");
}

/// A commit whose link and pinned path together would lead out writes nothing there.
#[test]
fn a_hostile_commit_writes_only_below_its_place() {
    let sandbox = Sandbox::new();
    let victim = sandbox.beside("victim");
    fs::create_dir(&victim).unwrap();
    sandbox.write("pipeline.yaml", "stages: {s: {cmd: 'mkdir -p sub/dir && echo x > sub/dir/f', outs: [sub/dir/f]}}\n");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    sandbox.remove("sub");
    std::os::unix::fs::symlink(&victim, sandbox.path("sub")).unwrap();
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    let out = sandbox.run(&["get", ".", "-o", "all"]);
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "{out}");
    assert!(out.code == 2 && out.stderr.contains("sub is not written"), "{out}");
    assert!(!sandbox.exists("all"));
}

#[test]
fn another_repository() {
    let source = project();
    let sandbox = Sandbox::new();
    let there = source.root().to_str().unwrap();
    insta::assert_snapshot!(shown(&source, &sandbox.run(&["list", there, "--rev", "v1"])), @r"
    exit 0
    --- stdout
    .gitignore
    data/
    m.json
    model
    params.yaml
    pipeline.lock
    pipeline.yaml
    run.sh
    train.sh
    ");
    insta::assert_snapshot!(shown(&source, &sandbox.run(&["list", there, "data"])), @r"
    exit 0
    --- stdout
    a
    s/
    same
    ");
    assert_eq!(sandbox.run(&["get", there, "model", "--rev", "v1"]).code, 0);
    assert_eq!(sandbox.read("model"), "n: 1\n");
    insta::assert_snapshot!(shown(&source, &sandbox.run(&["get", there, "model", "--rev", "v2", "-o", "x"])), @r"
    exit 3
    --- stderr
    error: [ROOT]: there is no revision `v2`
      hint: if it was pushed from another clone: git fetch --tags
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["get", "./none", "model"])), @r"
    exit 3
    --- stderr
    error: there is no repository ./none
      hint: name a folder with a Git repository, or a URL that `git clone` takes
    ");
    // A bare clone has no objects of lockstep, and lists them all the same.
    let bare = sandbox.path("../bare.git");
    source.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["list", "../bare.git", "--rev", "v1", "--dvc-only"])), @r"
    exit 0
    --- stdout
    data/
    m.json
    model
    ");
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["get", "../bare.git", "model", "-o", "x"])), @r"
    exit 3
    --- stderr
    error: model of [ID] is not in the store
      hint: in that repository, so that it can be had from its remote: lockstep push
    ");
}

/// What needs no repository works without one.
#[test]
fn outside_any_repository() {
    let source = project();
    let sandbox = Sandbox::without_git();
    let there = source.root().to_str().unwrap();
    assert_eq!(sandbox.run(&["list", there]).code, 0);
    assert_eq!(sandbox.run(&["get", there, "data", "--rev", "v1"]).code, 0);
    assert_eq!(sandbox.read("data/s/p"), "n: 1\n");
    assert_eq!(sandbox.run(&["list"]).code, 3);
}

/// A repository that is cloned: Git's own rewriting of addresses makes a local one of it.
#[test]
fn a_clone_is_kept_and_renewed() {
    let source = project();
    let sandbox = Sandbox::new();
    let rewrite = format!("[url \"file://{}\"]\n\tinsteadOf = https://example.org/models\n", source.root().display());
    sandbox.write("../home/.gitconfig", rewrite);
    let url = "https://example.org/models";
    assert_eq!(sandbox.run(&["list", url, "--dvc-only"]).stdout, "data/\nm.json\nmodel\n");
    assert_eq!(sandbox.run(&["get", url, "params.yaml", "--rev", "v1"]).code, 0);
    assert_eq!(sandbox.read("params.yaml"), "n: 1\n");
    let clones = || fs::read_dir(sandbox.path(".git/lockstep/repos")).unwrap().count();
    assert_eq!(clones(), 1);
    // What is pinned there is in the store of that machine, unless it was pushed to a remote.
    insta::assert_snapshot!(shown(&sandbox, &sandbox.run(&["get", url, "model"])), @r"
    exit 3
    --- stderr
    error: model of [ID] is not in the store
      hint: in that repository, so that it can be had from its remote: lockstep push
    ");

    let out = sandbox.run(&["import", url, "params.yaml", "-o", "theirs.yaml"]);
    assert_eq!(out.code, 0, "{out}");
    super::commit(&source, 3);
    assert_eq!(sandbox.run(&["update", "-q"]).code, 0);
    assert_eq!(sandbox.read("theirs.yaml"), "n: 3\n");
    assert_eq!(clones(), 1);

    // Offline, what is known has to do.
    fs::rename(source.root(), source.root().with_extension("away")).unwrap();
    let out = sandbox.run(&["list", url, "--dvc-only"]);
    assert_eq!(out.stdout, "data/\nm.json\nmodel\n");
    assert!(out.stderr.contains("warning: the repository https://example.org/models cannot be had"), "{out}");
    fs::rename(source.root().with_extension("away"), source.root()).unwrap();
}

/// What was pushed to a remote comes from there: into a clone of one's own, and out of somebody else's repository.
#[test]
fn what_was_pushed_is_fetched() {
    let source = project();
    let remote = source.beside("remote");
    assert_eq!(source.run(&["remote", "add", "-d", "shared", remote.to_str().unwrap()]).code, 0);
    for commit in ["v1", "main"] {
        source.git(&["checkout", "-q", commit]);
        assert_eq!(source.run(&["checkout", "-q"]).code, 0);
        let out = source.run(&["push", "-q"]);
        assert_eq!(out.code, 0, "{out}");
    }
    // The remote is named after v1: what the repository says of remotes today counts.
    source.git(&["add", "-A"]);
    source.git(&["commit", "-qm", "remote"]);

    let sandbox = Sandbox::new();
    let rewrite = format!("[url \"file://{}\"]\n\tinsteadOf = https://example.org/models\n", source.root().display());
    sandbox.write("../home/.gitconfig", rewrite);
    let url = "https://example.org/models";
    let out = sandbox.run(&["get", url, "data/s/p", "--rev", "v1"]);
    assert_eq!((out.code, sandbox.read("p")), (0, "n: 1\n".into()), "{out}");
    let out = sandbox.run(&["get", url, ".", "--rev", "v1", "-o", "all"]);
    assert_eq!((out.code, sandbox.read("all/model")), (0, "n: 1\n".into()), "{out}");
    let out = sandbox.run(&["import", url, "data", "--rev", "v1", "-o", "theirs"]);
    assert_eq!((out.code, sandbox.read("theirs/s/p")), (0, "n: 1\n".into()), "{out}");
    let out = sandbox.run(&["update", "theirs", "--rev", "main"]);
    assert_eq!((out.code, sandbox.read("theirs/s/p")), (0, "n: 2\n".into()), "{out}");

    source.remove(".git/lockstep/store");
    let out = source.run(&["get", "model", "--rev", "v1", "-o", "old"]);
    assert_eq!((out.code, source.read("old")), (0, "n: 1\n".into()), "{out}");
    fs::remove_dir_all(remote.join("packs")).unwrap();
    let out = source.run(&["get", "data", "--rev", "v1", "-o", "d"]);
    assert!(out.code != 0 && !source.exists("d"), "{out}");
}
