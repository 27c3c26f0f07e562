//! `gc` keeps what it promises to keep, wherever Git stores it.

use super::{LAYOUTS, commit, fine, make, repository};
use crate::sandbox::Sandbox;

/// Outputs that are pinned each by something else: the name of its input says by what.
const PINNED_BY: [&str; 13] = [
    "main",
    "branch",
    "tag",
    "annotated",
    "remote",
    "stash",
    "stash-below",
    "reset",
    "linked",
    "index",
    "fetched",
    "merging",
    "workspace",
];

fn pin_everything(sandbox: &Sandbox) {
    let aside = |name: &str| {
        sandbox.git(&["checkout", "-qf", "--detach", "main"]);
        commit(sandbox, name);
    };
    commit(sandbox, "main");
    aside("branch");
    sandbox.git(&["branch", "side"]);
    aside("tag");
    sandbox.git(&["tag", "light"]);
    aside("annotated");
    sandbox.git(&["tag", "-am", "x", "full"]);
    aside("remote");
    sandbox.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    aside("fetched");
    sandbox.git(&["init", "-q", "--bare", "../there"]);
    sandbox.git(&["push", "-q", "../there", "HEAD:refs/heads/main"]);
    aside("merging");
    sandbox.git(&["update-ref", "refs/heads/merging", "HEAD"]);
    sandbox.git(&["checkout", "-q", "main"]);
    commit(sandbox, "reset");
    sandbox.git(&["reset", "-q", "--hard", "HEAD~1"]);
    for name in ["stash-below", "stash"] {
        make(sandbox, name);
        sandbox.git(&["stash", "-q"]);
    }
    sandbox.git(&["worktree", "add", "-q", "--detach", "../linked", "main"]);
    sandbox.write("../linked/in", "linked");
    fine(&sandbox.run_in("../linked", &["repro", "-q"]));
    sandbox.git(&["-C", "../linked", "commit", "-qam", "linked"]);
    // Its reflog alone remembers the commit, and then its HEAD is elsewhere.
    sandbox.git(&["-C", "../linked", "checkout", "-qf", "--detach", "main"]);
    // Nothing but `FETCH_HEAD` and `MERGE_HEAD` are to know these two.
    sandbox.git(&["reflog", "expire", "--expire=now", "HEAD"]);
    commit(sandbox, "reset");
    sandbox.git(&["reset", "-q", "--hard", "HEAD~1"]);
    sandbox.git(&["fetch", "-q", "../there", "main"]);
    sandbox.git(&["merge", "-q", "--no-ff", "--no-commit", "merging"]);
    sandbox.git(&["branch", "-qD", "merging"]);
    make(sandbox, "index");
    sandbox.git(&["add", "-A"]);
    make(sandbox, "workspace");
}

/// Which of the outputs the store still has.
fn kept(sandbox: &Sandbox) -> Vec<&'static str> {
    fn contains(folder: &std::path::Path, text: &[u8]) -> bool {
        std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
            let path = entry.path();
            if path.is_dir() { contains(&path, text) } else { std::fs::read(&path).is_ok_and(|bytes| bytes == text) }
        })
    }
    let store = sandbox.path(".git/lockstep/store");
    PINNED_BY.into_iter().filter(|name| contains(&store, name.as_bytes())).collect()
}

#[test]
fn gc_keeps_the_same_in_every_layout() {
    for layout in LAYOUTS {
        let sandbox = repository(layout);
        pin_everything(&sandbox);
        let mut all = kept(&sandbox);
        assert_eq!(all, PINNED_BY, "{layout:?}");
        let always = ["stash", "stash-below", "index", "workspace", "merging"];
        for (scope, more) in [
            ("-A", &PINNED_BY[..]),
            ("-aT", &["main", "branch", "tag", "annotated"]),
            ("-T", &["tag", "annotated", "main"]),
            ("-w", &["main"]),
        ] {
            // A lock that is checked out by the linked worktree is that of main.
            fine(&sandbox.run(&["gc", scope, "--min-age", "0", "--force", "-q"]));
            all.retain(|name| always.contains(name) || more.contains(name));
            assert_eq!(kept(&sandbox), all, "{layout:?} {scope}");
        }
    }
}

#[test]
fn a_sparse_index_pins_what_a_full_one_does() {
    for layout in LAYOUTS {
        let sandbox = repository(layout);
        for folder in ["x", "y/deep"] {
            sandbox.write(&format!("{folder}/pipeline.yaml"), super::PIPELINE);
            sandbox.write(&format!("{folder}/in"), folder);
        }
        commit(&sandbox, "main");
        fine(&sandbox.run(&["repro", "-q", "-P"]));
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", "all"]);
        sandbox.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "x"]);
        let _ = std::fs::remove_dir_all(sandbox.path("y"));
        assert!(sandbox.git(&["ls-files", "--sparse"]).contains("y/\n"));
        fine(&sandbox.run(&["gc", "-w", "--min-age", "0", "--force", "-q"]));
        sandbox.git(&["sparse-checkout", "disable"]);
        fine(&sandbox.run(&["checkout", "-q"]));
        assert_eq!(sandbox.read("y/deep/o"), "y/deep", "{layout:?}");
    }
}

/// What cannot be read whole is no reason to delete.
#[test]
fn gc_refuses_what_it_cannot_read() {
    for layout in LAYOUTS {
        let sandbox = repository(layout);
        commit(&sandbox, "1");
        sandbox.git(&["branch", "old"]);
        commit(&sandbox, "2");
        let gc = |scope: &str| sandbox.run(&["gc", scope, "--min-age", "0", "--force"]);
        let index = std::fs::read(sandbox.path(".git/index")).unwrap();
        let mut damaged = index.clone();
        damaged[60] ^= 1;
        for bytes in [&damaged[..], &index[..index.len() / 2]] {
            std::fs::write(sandbox.path(".git/index"), bytes).unwrap();
            let out = gc("-a");
            assert!(out.code != 0 && out.stderr.contains("index"), "{layout:?} {out}");
        }
        std::fs::write(sandbox.path(".git/index"), index).unwrap();

        sandbox.write(".git/FETCH_HEAD", "cut\n");
        assert_ne!(gc("-A").code, 0, "{layout:?}");
        sandbox.remove(".git/FETCH_HEAD");

        let (refs, broken) = match layout[0] {
            "files" => (sandbox.path(".git/logs/HEAD"), "0123"),
            _ => (sandbox.path(".git/reftable/tables.list"), "gone.ref\n"),
        };
        let before = std::fs::read(&refs).unwrap();
        std::fs::write(&refs, broken).unwrap();
        assert_ne!(gc("-A").code, 0, "{layout:?}");
        std::fs::write(&refs, before).unwrap();

        // The commit of a branch is gone.
        let old = sandbox.git(&["rev-parse", "old"]);
        let object = format!(".git/objects/{}/{}", &old[..2], old[2..].trim());
        std::fs::rename(sandbox.path(&object), sandbox.path("../object")).unwrap();
        let out = gc("-a");
        assert!(out.code != 0 && out.stderr.contains("refs/heads/old"), "{layout:?} {out}");
        std::fs::rename(sandbox.path("../object"), sandbox.path(&object)).unwrap();
        fine(&gc("-A"));
        fine(&sandbox.run(&["get", ".", "o", "--rev", "old", "-o", "got", "-q"]));
    }
}
