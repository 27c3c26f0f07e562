//! Folders from elsewhere, with names and links that lead where they must not.

use std::fs;
use std::os::unix::fs::symlink;

use lockstep::event::Silent;
use lockstep::lock::{self, Lock};
use lockstep::store::trees::{Entry, EntryKind, Tree};
use lockstep::store::{LinkTypes, ObjectKind, Pin, Store};

use crate::sandbox::Sandbox;

/// A store with trees that lockstep does not write itself.
struct Planted {
    store: Store,
}

impl Planted {
    fn content(&self, bytes: &[u8]) -> Pin {
        self.put(ObjectKind::Content, bytes, None)
    }

    fn put(&self, kind: ObjectKind, bytes: &[u8], files: Option<u64>) -> Pin {
        let mut batch = self.store.batch();
        let id = batch.add_bytes(kind, bytes.to_vec());
        batch.commit(&Silent).unwrap();
        Pin { id, size: bytes.len() as u64, files, executable: false }
    }

    /// `name`, `name/` with a file in it, or `name -> target`.
    fn tree(&self, entries: &[&str]) -> Pin {
        let mut tree = Tree::default();
        for entry in entries {
            let (path, target) = entry.split_once(" -> ").map_or((*entry, None), |(path, to)| (path, Some(to)));
            let (name, kind, pin) = match (path.split_once('/'), target) {
                (Some((name, "")), _) => (name, EntryKind::Tree, self.tree(&["f"])),
                (Some((name, _)), _) => (name, EntryKind::Tree, self.tree(&[&entry[name.len() + 1..]])),
                (None, Some(to)) => (path, EntryKind::Symlink, self.content(to.as_bytes())),
                (None, None) => (path, EntryKind::File, self.content(b"planted")),
            };
            let files = pin.files.unwrap_or(1);
            tree.entries.push(Entry { name: name.into(), kind, id: pin.id, size: pin.size, files });
        }
        tree.entries.sort_by(|a, b| a.name.cmp(&b.name));
        self.put(ObjectKind::Tree, &tree.encode(), None);
        tree.pin()
    }
}

fn pinned(entries: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    let planted = Planted { store: Store::open(&sandbox.path(".git/lockstep/store"), LinkTypes::default()) };
    let pin = planted.tree(entries);
    sandbox.write("pipeline.yaml", "data:\n- path: d\n");
    let mut lock = Lock::default();
    lock.data.insert("d".into(), pin);
    sandbox.write("pipeline.lock", lock::write(&lock));
    sandbox
}

#[test]
fn a_tree_with_names_or_links_of_no_good_is_not_laid_out() {
    for (entries, want) in [
        (&["f", ".git/"][..], "`.git` belongs to Git"),
        (&[".GIT"], "`.GIT` belongs to Git"),
        (&["sub/git~1"], "`git~1` belongs to Git"),
        (&[".lockstep/"], "belongs to lockstep"),
        (&["l -> /etc/passwd"], "is absolute"),
        (&["l -> ../x"], "leads out"),
        (&["sub/l -> ../../x"], "leads out"),
        (&["l -> sub/../../x", "sub/"], "has `..` after a name"),
        (&["l -> .git/hooks"], "belongs to Git"),
        (&["S -> sub", "s/", "sub/"], "one name"),
    ] {
        let sandbox = pinned(entries);
        for command in [&["checkout"][..], &["checkout", "--force"]] {
            let out = sandbox.run(command);
            assert!(out.code == 2 && out.stderr.contains(want), "{entries:?} {command:?} {out}");
            assert!(sandbox.path("d").symlink_metadata().is_err(), "{entries:?}");
        }
        sandbox.git(&["add", "pipeline.yaml", "pipeline.lock"]);
        sandbox.git(&["commit", "-qm", "x"]);
        let out = sandbox.run(&["get", "d", "-o", "copy"]);
        assert!(out.code == 2 && out.stderr.contains(want), "{entries:?} {out}");
        assert!(sandbox.path("copy").symlink_metadata().is_err(), "{entries:?}");
    }
}

#[test]
fn links_that_stay_and_names_that_differ_by_case_are_laid_out() {
    let sandbox = pinned(&["S", "s", "Train/", "train/", "l -> Train/f", "sub/l -> ../S", "gone -> nowhere"]);
    let out = sandbox.run(&["checkout"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(fs::read_link(sandbox.path("d/sub/l")).unwrap().to_str(), Some("../S"));
    assert_eq!(sandbox.read("d/l"), "planted");
}

#[test]
fn what_could_not_be_laid_out_is_not_stored() {
    let sandbox = Sandbox::new();
    let out = sandbox.run(&["add", ".git/config"]);
    assert!(out.code == 2 && out.stderr.contains("belongs to Git"), "{out}");
    sandbox.write("d/clone/.git/config", "[remote \"x\"]\n\turl = https://token@example.com\n");
    sandbox.write("d/f", "f");
    let out = sandbox.run(&["add", "d"]);
    assert!(out.code == 2 && out.stderr.contains("d/clone") && out.stderr.contains("`.git`"), "{out}");
    assert!(!sandbox.exists("pipeline.yaml"));
    // As a stage makes it.
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  a:\n    cmd: mkdir -p o/sub/.git; echo x > o/sub/.git/config\n    outs: [o]\n",
    );
    let out = sandbox.run(&["repro"]);
    assert!(out.code != 0 && out.stderr.contains("o/sub") && out.stderr.contains("`.git`"), "{out}");
    // What is ignored is no part of it.
    sandbox.write(".lockstepignore", ".git/\n");
    let out = sandbox.run(&["add", "d"]);
    assert_eq!(out.code, 0, "{out}");
    symlink("f", sandbox.path("d/F")).unwrap();
    let out = sandbox.run(&["add", "d"]);
    assert!(out.code == 2 && out.stderr.contains("one name"), "{out}");
    sandbox.remove("d/F");
    symlink("../../gone", sandbox.path("d/l")).unwrap();
    let out = sandbox.run(&["add", "d"]);
    assert!(out.code == 2 && out.stderr.contains("d/l"), "{out}");
}

#[test]
fn what_a_link_brings_out_of_the_git_folder_is_not_stored() {
    let sandbox = Sandbox::new();
    sandbox.write("x", "x");
    for (link, target, add) in
        [("g", ".git", "g"), ("c", ".git/config", "c"), ("d/c", "../.git/config", "d"), ("d/h", "../.git/hooks", "d")]
    {
        sandbox.write("d/f", "f");
        fs::create_dir_all(sandbox.path(".git/hooks")).unwrap();
        sandbox.write(".git/hooks/pre-push", "secret");
        symlink(target, sandbox.path(link)).unwrap();
        let out = sandbox.run(&["add", add]);
        assert!(out.code == 2 && out.stderr.contains(link), "{link} {out}");
        assert!(!sandbox.exists("pipeline.yaml"), "{link}");
        sandbox.remove(link);
    }
}

/// `git mktree` makes trees that `git add` refuses.
#[test]
fn trees_of_git_are_judged_by_the_same_rules() {
    let sandbox = Sandbox::new();
    let evil = sandbox.beside("evil");
    let made = std::process::Command::new("sh")
        .args(["-ec", "git init -q \"$0\"; cd \"$0\"
            b=$(echo '[core]' | git hash-object -w --stdin)
            l=$(printf ../../.git/hooks | git hash-object -w --stdin)
            c=$(printf '100644 blob %s\\tconfig\\n' $b | git mktree)
            git_folder=$(printf '040000 tree %s\\t.git\\n' $c | git mktree)
            upper=$(printf '040000 tree %s\\t.GIT\\n' $c | git mktree)
            link=$(printf '120000 blob %s\\tl\\n' $l | git mktree)
            fine=$(printf '100644 blob %s\\tS\\n100644 blob %s\\ts\\n' $b $b | git mktree)
            top=$(printf '040000 tree %s\\tfine\\n040000 tree %s\\tgit\\n040000 tree %s\\tlink\\n040000 tree %s\\tupper\\n' $fine $git_folder $link $upper | git mktree)
            git update-ref HEAD $(git -c user.name=t -c user.email=t@example.com commit-tree -m x $top)"])
        .arg(&evil)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status();
    assert!(made.unwrap().success());
    let evil = evil.to_str().unwrap();
    for (path, want) in [("git", "`.git` belongs to Git"), ("upper", "`.GIT`"), ("link", "belongs to Git")] {
        for verb in ["get", "import"] {
            let out = sandbox.run(&[verb, evil, path]);
            assert!(out.code == 2 && out.stderr.contains(want), "{verb} {path} {out}");
            assert!(sandbox.path(path).symlink_metadata().is_err(), "{verb} {path}");
        }
    }
    let out = sandbox.run(&["get", evil, "fine"]);
    assert!(out.code == 0 && sandbox.exists("fine/S") && sandbox.exists("fine/s"), "{out}");
}
