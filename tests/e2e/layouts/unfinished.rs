//! `gc -w` in the middle of something: whatever Git goes on with, gives up or brings back can be checked out.

use super::{LAYOUTS, commit, fine, git, make, repository};
use crate::sandbox::Sandbox;

/// Which of these outputs the store has.
fn kept(sandbox: &Sandbox, names: &[&str]) -> String {
    fn contains(folder: &std::path::Path, text: &[u8]) -> bool {
        std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
            let path = entry.path();
            if path.is_dir() { contains(&path, text) } else { std::fs::read(&path).is_ok_and(|bytes| bytes == text) }
        })
    }
    let store = sandbox.path(".git/lockstep/store");
    names.iter().copied().filter(|name| contains(&store, name.as_bytes())).collect::<Vec<_>>().join(" ")
}

fn gc(sandbox: &Sandbox, scope: &str) -> crate::sandbox::Output {
    // Reflogs do not count for these scopes, and hide nothing.
    sandbox.git(&["reflog", "expire", "--expire=now", "HEAD"]);
    sandbox.run(&["gc", scope, "--min-age", "0", "--force"])
}

/// `main` with `base` and `main`, and a branch `side` with `f1` to `f3`, which conflicts with it.
fn forked(layout: [&str; 2]) -> Sandbox {
    let sandbox = repository(layout);
    commit(&sandbox, "base");
    sandbox.git(&["checkout", "-qb", "side"]);
    ["f1", "f2", "f3"].into_iter().for_each(|name| commit(&sandbox, name));
    sandbox.git(&["checkout", "-q", "main"]);
    commit(&sandbox, "main");
    commit(&sandbox, "old");
    sandbox.git(&["reset", "-q", "--hard", "HEAD~1"]);
    sandbox.git(&["update-ref", "-d", "ORIG_HEAD"]);
    make(&sandbox, "main");
    sandbox
}

const NAMES: [&str; 6] = ["base", "f1", "f2", "f3", "main", "old"];

#[test]
fn the_stash_holds_an_index() {
    for layout in LAYOUTS {
        let sandbox = repository(layout);
        commit(&sandbox, "base");
        make(&sandbox, "staged");
        sandbox.git(&["add", "-A"]);
        make(&sandbox, "worktree");
        std::fs::create_dir(sandbox.path("new")).unwrap();
        sandbox.write("new/pipeline.yaml", super::PIPELINE);
        sandbox.write("new/in", "untracked");
        fine(&sandbox.run_in("new", &["repro", "-q"]));
        sandbox.git(&["stash", "-q", "-u"]);
        commit(&sandbox, "later");
        fine(&gc(&sandbox, "-w"));
        let names = ["base", "staged", "worktree", "untracked", "later"];
        assert_eq!(kept(&sandbox, &names), names.join(" "), "{layout:?}");
        sandbox.git(&["reset", "-q", "--hard", "HEAD~1"]);
        sandbox.git(&["stash", "pop", "-q", "--index"]);
        sandbox.git(&["restore", "."]);
        fine(&sandbox.run(&["checkout", "-q"]));
        assert_eq!(sandbox.read("o"), "staged", "{layout:?}");
        // Until then `AUTO_MERGE` has what was popped.
        sandbox.git(&["commit", "-qam", "popped"]);
        fine(&gc(&sandbox, "-w"));
        assert_eq!(kept(&sandbox, &names), "staged untracked", "{layout:?}");
    }
}

#[test]
fn picks_that_are_left() {
    for layout in LAYOUTS {
        let sandbox = forked(layout);
        assert_ne!(git(&sandbox, &["cherry-pick", "main..side"]).code, 0);
        sandbox.git(&["branch", "-qD", "side"]);
        // Neither the conflict nor the index knows of them.
        sandbox.git(&["checkout", "-q", "--ours", "."]);
        sandbox.git(&["add", "-A"]);
        fine(&gc(&sandbox, "-w"));
        assert_eq!(kept(&sandbox, &NAMES), "base f1 f2 f3 main", "{layout:?}");
        let _ = git(&sandbox, &["-c", "core.editor=true", "cherry-pick", "--skip"]);
        sandbox.git(&["checkout", "-q", "--theirs", "."]);
        fine(&sandbox.run(&["checkout", "-q"]));
        assert_eq!(sandbox.read("o"), "f2", "{layout:?}");

        let todo = sandbox.read(".git/sequencer/todo");
        sandbox.write(".git/sequencer/todo", format!("{todo}pick 0123456789 # gone\n"));
        let out = gc(&sandbox, "-w");
        assert!(out.code == 3 && out.stderr.contains("cherry-pick --abort"), "{layout:?} {out}");
        sandbox.git(&["cherry-pick", "--quit"]);
        sandbox.git(&["reset", "-q", "--hard"]);
        fine(&sandbox.run(&["checkout", "-q"]));
        fine(&gc(&sandbox, "-w"));
        assert_eq!(kept(&sandbox, &NAMES), "main", "{layout:?}");
    }
}

#[test]
fn steps_of_a_rebase() {
    for layout in LAYOUTS {
        for backend in ["--merge", "--apply"] {
            let sandbox = forked(layout);
            sandbox.git(&["checkout", "-qf", "side"]);
            make(&sandbox, "staged");
            sandbox.git(&["add", "-A"]);
            make(&sandbox, "worktree");
            assert_ne!(git(&sandbox, &["rebase", "-q", "--autostash", backend, "main"]).code, 0);
            sandbox.git(&["update-ref", "refs/heads/side", "main"]);
            sandbox.git(&["checkout", "-q", "--ours", "."]);
            sandbox.git(&["add", "-A"]);
            fine(&gc(&sandbox, "-w"));
            let names = [&NAMES[..], &["staged", "worktree"]].concat();
            assert_eq!(kept(&sandbox, &names), "base f1 f2 f3 main staged worktree", "{layout:?} {backend}");
        }
    }
}

#[test]
fn patches_that_are_left() {
    for layout in [LAYOUTS[0], LAYOUTS[3]] {
        for format in [&[][..], &["--attach"], &["-U0"], &["--binary", "--full-index"]] {
            let sandbox = forked(layout);
            if format.contains(&"--binary") {
                sandbox.write(".git/info/attributes", "pipeline.lock binary\n");
            }
            sandbox.git(&[&["format-patch", "-q", "-o", "../patches", "main..side"], format].concat());
            let mut patches: Vec<String> = std::fs::read_dir(sandbox.path("../patches"))
                .unwrap()
                .map(|entry| entry.unwrap().path().display().to_string())
                .collect();
            patches.sort();
            let patches: Vec<&str> = patches.iter().map(String::as_str).collect();
            assert_ne!(git(&sandbox, &[&["am", "-q"], &patches[..]].concat()).code, 0);
            sandbox.git(&["branch", "-qD", "side"]);
            fine(&gc(&sandbox, "-w"));
            assert_eq!(kept(&sandbox, &NAMES), "base f1 f2 f3 main", "{layout:?} {format:?}");
        }
    }
}

#[test]
fn what_is_given_up_goes_back() {
    for layout in LAYOUTS {
        let sandbox = forked(layout);
        // Not committed: the merged lock is theirs, and `--abort` brings ours back.
        sandbox.git(&["merge", "-q", "--no-commit", "-s", "ours", "side"]);
        sandbox.git(&["checkout", "-q", "side", "--", "."]);
        sandbox.git(&["branch", "-qD", "side"]);
        fine(&sandbox.run(&["checkout", "-q"]));
        fine(&gc(&sandbox, "-w"));
        assert_eq!(kept(&sandbox, &NAMES), "base f2 f3 main", "{layout:?}");
        sandbox.git(&["merge", "--abort"]);
        fine(&sandbox.run(&["checkout", "-q"]));
        assert_eq!(sandbox.read("o"), "main", "{layout:?}");

        let sandbox = forked(layout);
        assert_ne!(git(&sandbox, &["revert", "--no-edit", "side~2", "side~1"]).code, 0);
        sandbox.git(&["branch", "-qD", "side"]);
        sandbox.git(&["checkout", "-q", "--ours", "."]);
        sandbox.git(&["add", "-A"]);
        fine(&gc(&sandbox, "-w"));
        assert_eq!(kept(&sandbox, &NAMES), "base f1 f2 main", "{layout:?}");

        let sandbox = forked(layout);
        sandbox.git(&["bisect", "start", "side", "main~1"]);
        sandbox.git(&["branch", "-qD", "side"]);
        fine(&sandbox.run(&["checkout", "-q"]));
        fine(&gc(&sandbox, "-w"));
        assert_eq!(kept(&sandbox, &NAMES), "base f1 f2 f3 main", "{layout:?}");
    }
}

/// `git replace` and grafts: what Git shows counts, and what the objects say.
#[test]
fn what_is_replaced_counts_both_ways() {
    for layout in LAYOUTS {
        let sandbox = forked(layout);
        let [from, to] = ["main", "side"].map(|name| sandbox.git(&["rev-parse", name]).trim().to_string());
        sandbox.git(&["tag", "old", "main"]);
        commit(&sandbox, "tip");
        sandbox.git(&["replace", &from, &to]);
        sandbox.git(&["branch", "-qD", "side"]);
        fine(&gc(&sandbox, "-T"));
        let names = ["main", "tip", "base", "f1", "f2", "f3"];
        assert_eq!(kept(&sandbox, &names), "main tip f3", "{layout:?}");

        let sandbox = forked(layout);
        let id = |rev: &str| sandbox.git(&["rev-parse", rev]).trim().to_string();
        sandbox.write(".git/info/grafts", format!("{} {}\n", id("main"), id("side~1")));
        sandbox.git(&["branch", "-qD", "side"]);
        let out = sandbox.run(&["gc", "--rev", "main", "-n", "2", "--min-age", "0", "--force"]);
        fine(&out);
        assert_eq!(kept(&sandbox, &NAMES), "base f2 main", "{layout:?}");
        sandbox.write(".git/info/grafts", format!("{} zzz\n", id("main")));
        let out = gc(&sandbox, "-A");
        assert!(out.code != 0 && out.stderr.contains("grafts"), "{layout:?} {out}");
    }
}

/// A file that was cut is no reason to delete.
#[test]
fn what_is_empty_or_cut_is_unknown() {
    for layout in LAYOUTS {
        let sandbox = forked(layout);
        let all = kept(&sandbox, &NAMES);
        let refused = |scope: &str, part: &str| {
            let out = sandbox.run(&["gc", scope, "--min-age", "0", "--force"]);
            assert!(out.code != 0 && out.stderr.contains(part), "{layout:?} {part} {out}");
            assert_eq!(kept(&sandbox, &NAMES), all);
        };
        let lock = sandbox.read("pipeline.lock");
        sandbox.write("pipeline.lock", "");
        refused("-w", "it is empty");
        let out = sandbox.run(&["checkout"]);
        assert!(out.code == 2 && out.stderr.contains("it is empty"), "{layout:?} {out}");
        sandbox.git(&["add", "-A"]);
        sandbox.write("pipeline.lock", &lock);
        refused("-w", "it is empty (of Git's index)");
        sandbox.git(&["checkout", "-qb", "cut"]);
        sandbox.git(&["commit", "-qm", "cut"]);
        sandbox.git(&["checkout", "-qf", "main"]);
        refused("-a", "it is empty (of the commit");

        if layout[0] == "files" {
            sandbox.git(&["pack-refs", "--all"]);
            let packed = sandbox.read(".git/packed-refs");
            let lines: Vec<&str> = packed.lines().collect();
            for bad in
                [&[&lines[..2], &["zzz"], &lines[3..], &[""]].concat().join("\n"), "", &packed[..packed.len() - 5]]
            {
                sandbox.write(".git/packed-refs", bad);
                refused("-T", "packed-refs");
            }
            sandbox.write(".git/packed-refs", &packed);
        } else {
            let list = sandbox.read(".git/reftable/tables.list");
            sandbox.write(".git/reftable/tables.list", "");
            refused("-T", "tables.list");
            sandbox.write(".git/reftable/tables.list", list);
        }
        // Earlier commits count as well: nothing is lost by it.
        fine(&gc(&sandbox, "-A"));
        assert_eq!(kept(&sandbox, &NAMES), all, "{layout:?}");
    }
}
