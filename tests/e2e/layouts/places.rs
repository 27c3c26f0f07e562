//! Where a repository is, what it has of its history, and what other processes are told of it.

use std::path::{Path, PathBuf};

use super::{LAYOUTS, PIPELINE, commit, fine, git, repository, said};
use crate::sandbox::{Sandbox, output};

fn with(sandbox: &Sandbox, folder: &str, set: &[(&str, &Path)], args: &[&str]) -> crate::sandbox::Output {
    let mut command = sandbox.lockstep(folder);
    command.envs(set.iter().map(|(name, path)| (name, path.as_os_str())));
    output(command.args(args))
}

/// A bare repository for the files of another folder, as some keep the settings of their home.
#[test]
fn git_dir_and_work_tree_name_the_repository() {
    for layout in LAYOUTS {
        let sandbox = repository(layout);
        sandbox.git(&["init", "-q", "--bare", "-b", "main", "../bare"]);
        sandbox.write("../w/pipeline.yaml", PIPELINE);
        sandbox.write("../w/in", "1");
        sandbox.write("../w/sub/x", "");
        let up = sandbox.root().parent().unwrap();
        let set: [(&str, &Path); 2] = [("GIT_DIR", &up.join("bare")), ("GIT_WORK_TREE", &up.join("w"))];
        let run = |folder: &str, args: &[&str]| with(&sandbox, folder, &set, args);
        fine(&run("../w", &["repro", "-q"]));
        let git = |args: &[&str]| {
            fine(&output(sandbox.command(Path::new("git"), "../w").envs(set.iter().copied()).args(args)));
        };
        assert!(sandbox.read("../w/.gitignore").contains("/o"));
        git(&["add", "-A"]);
        git(&["commit", "-qm", "1"]);
        sandbox.write("../w/in", "2");
        fine(&run("../w", &["repro", "-q"]));
        for folder in ["../w", "../w/sub", ""] {
            assert!(said(&run(folder, &["diff"])).contains("modified"), "{layout:?} {folder}");
        }
        // The lock on disk pins, though the bare repository does not know where it lies.
        fine(&run("../w", &["gc", "-w", "--min-age", "0", "--force", "-q"]));
        sandbox.remove("../w/o");
        fine(&run("../w", &["checkout", "-q"]));
        assert_eq!(sandbox.read("../w/o"), "2");
        // Another repository is asked for.
        commit(&sandbox, "here");
        let here = sandbox.root().display().to_string();
        assert!(said(&run("../w", &["-C", &here, "stage", "list"])).contains('a'));
        fine(&run("../w", &["-C", &here, "status", "-q"]));
        sandbox.write("o", "edited");
        assert!(said(&run("../w", &["-C", &here, "diff"])).contains("o"), "{layout:?}");
        assert_eq!(with(&sandbox, "", &[("GIT_DIR", Path::new("/nowhere"))], &["status"]).code, 3);
    }
}

/// Objects in another folder are not read: that is said wherever one is needed, and nothing counts as not there.
#[test]
fn objects_in_another_folder_are_not_overlooked() {
    for layout in LAYOUTS {
        let sandbox = repository(layout);
        commit(&sandbox, "1");
        let objects = sandbox.root().parent().unwrap().join("objects");
        std::fs::create_dir(&objects).unwrap();
        let set = [("GIT_OBJECT_DIRECTORY", objects.as_path())];
        let git = |args: &[&str]| {
            let own = sandbox.path(".git/objects");
            let mut command = sandbox.command(Path::new("git"), "");
            command.envs(set).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", own);
            fine(&output(command.args(args)));
        };
        git(&["commit", "-q", "--allow-empty", "-m", "2"]);
        git(&["tag", "-a", "-m", "m", "m@v1.0.0"]);
        for set in [set, [("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects.as_path())]] {
            for args in
                [&["diff"][..], &["diff", "HEAD"], &["model", "list"], &["gc", "-a", "-f"], &["list", "--rev", "HEAD"]]
            {
                let out = with(&sandbox, "", &set, args);
                let told = format!("{} is set, and lockstep reads objects of Git from", set[0].0);
                assert!(out.code != 0 && out.stderr.contains(&told), "{layout:?} {args:?} {out}");
            }
            // What needs no object goes on.
            fine(&with(&sandbox, "", &set, &["repro"]));
            fine(&with(&sandbox, "", &set, &["status"]));
        }
        // Its own folder is no other one, and what is here is read.
        sandbox.git(&["reset", "-q", "--soft", "HEAD@{1}"]);
        sandbox.git(&["tag", "-d", "m@v1.0.0"]);
        fine(&with(&sandbox, "", &[("GIT_OBJECT_DIRECTORY", Path::new(".git/objects"))], &["diff", "HEAD"]));
        fine(&with(&sandbox, "", &[("GIT_ALTERNATE_OBJECT_DIRECTORIES", &objects)], &["diff", "HEAD"]));
    }
}

#[test]
fn core_worktree_names_the_files() {
    let sandbox = repository(LAYOUTS[3]);
    sandbox.write("../w/pipeline.yaml", PIPELINE);
    sandbox.write("../w/in", "1");
    sandbox.git(&["config", "core.worktree", "../../w"]);
    fine(&sandbox.run(&["repro", "-q"]));
    assert_eq!(sandbox.read("../w/o"), "1");
    assert!(!sandbox.exists("o"));

    // From the Git folder, also where it lies by itself.
    sandbox.git(&["config", "core.worktree", "../w"]);
    std::fs::rename(sandbox.path(".git"), sandbox.path("../store.git")).unwrap();
    for folder in ["../store.git", "../store.git/refs"] {
        sandbox.remove("../w/o");
        fine(&sandbox.run_in(folder, &["checkout", "-q"]));
        assert_eq!(sandbox.read("../w/o"), "1");
    }
}

#[test]
fn the_search_for_a_repository_ends_at_ceilings() {
    let sandbox = repository(LAYOUTS[0]);
    sandbox.write("sub/x", "");
    let out = with(&sandbox, "sub", &[("GIT_CEILING_DIRECTORIES", sandbox.root())], &["status"]);
    assert!(out.code == 3 && out.stderr.contains("GIT_CEILING_DIRECTORIES"), "{out}");
    let up = sandbox.root().parent().unwrap();
    fine(&with(&sandbox, "sub", &[("GIT_CEILING_DIRECTORIES", up)], &["status"]));
    fine(&with(&sandbox, "", &[("GIT_CEILING_DIRECTORIES", sandbox.root())], &["status"]));
}

/// What a stage asks Git is about the repository of the stage.
#[test]
fn stages_of_another_repository_do_not_see_the_variables() {
    let sandbox = repository(LAYOUTS[0]);
    sandbox.write("pipeline.yaml", "stages:\n  a: {cmd: git rev-parse --absolute-git-dir > o, outs: [o]}\n");
    sandbox.git(&["init", "-q", "../other"]);
    let (here, other) = (sandbox.path(".git"), sandbox.path("../other").canonicalize().unwrap());
    let set: [(&str, &Path); 2] = [("GIT_DIR", &other.join(".git")), ("GIT_INDEX_FILE", &other.join(".git/index"))];
    fine(&with(&sandbox, "../other", &set, &["-C", sandbox.root().to_str().unwrap(), "repro", "-q"]));
    assert_eq!(sandbox.read("o").trim(), here.to_str().unwrap());
    let set: [(&str, &Path); 1] = [("GIT_DIR", &here)];
    fine(&with(&sandbox, "", &set, &["repro", "-qf"]));
    assert_eq!(sandbox.read("o").trim(), here.to_str().unwrap());
}

/// Git does not know where the files of such a folder are, and their lock pins.
#[test]
fn files_that_a_git_folder_does_not_lead_to_pin() {
    let sandbox = repository(LAYOUTS[0]);
    sandbox.git(&["init", "-q", "-b", "main", "--separate-git-dir", "../store.git", "../files"]);
    sandbox.write("../files/pipeline.yaml", PIPELINE);
    sandbox.write("../files/in", "1");
    let git = |folder: &str, args: &[&str]| {
        fine(&output(sandbox.command(Path::new("git"), folder).args(args)));
    };
    fine(&sandbox.run_in("../files", &["repro", "-q"]));
    git("../files", &["add", "-A"]);
    git("../files", &["commit", "-qm", "1"]);
    git("../files", &["worktree", "add", "-q", "../linked"]);
    sandbox.write("../files/in", "2");
    fine(&sandbox.run_in("../files", &["repro", "-q"]));
    let gc = ["gc", "-w", "--min-age", "0", "--force", "-q"];
    fine(&sandbox.run_in("../linked", &gc));
    sandbox.remove("../files/o");
    fine(&sandbox.run_in("../files", &["checkout", "-q"]));
    assert_eq!(sandbox.read("../files/o"), "2");
    std::fs::rename(sandbox.path("../files"), sandbox.path("../moved")).unwrap();
    let out = sandbox.run_in("../linked", &gc);
    assert!(out.code == 3 && out.stderr.contains("hint: if it is gone for good: rm "), "{out}");
}

/// Git's hooks know their repository by variables, also those of a commit of some files, which has an index of its own.
#[test]
fn hooks_see_the_index_of_their_commit() {
    for layout in [LAYOUTS[0], LAYOUTS[3]] {
        let sandbox = repository(layout);
        commit(&sandbox, "1");
        let lockstep = env!("CARGO_BIN_EXE_lockstep");
        let log = sandbox.path("../hook.log").display().to_string();
        let hook = format!(
            "#!/bin/sh\nexec > {log} 2>&1\n{lockstep} status -q || exit\n{lockstep} gc -w --min-age 0 --force -q || exit\ncd sub \
             && {lockstep} status -q && env -C ../../other {lockstep} -C ../other2 status\n"
        );
        for other in ["../other", "../other2"] {
            sandbox.git(&["init", "-q", other]);
        }
        sandbox.write("sub/x", "");
        sandbox.write(".git/hooks/pre-commit", hook);
        fine(&output(sandbox.command(Path::new("chmod"), "").args(["+x", ".git/hooks/pre-commit"])));
        sandbox.write("in", "2");
        fine(&sandbox.run(&["repro", "-q"]));
        let out = git(&sandbox, &["commit", "-qm", "2", "in", "pipeline.lock"]);
        assert_eq!(out.code, 0, "{layout:?} {out} {}", sandbox.read("../hook.log"));
        fine(&sandbox.run(&["status", "-q"]));
    }
}

/// Clones with a part of the objects fetch many with one request.
#[test]
fn a_partial_clone_gets_what_it_needs() {
    for layout in [LAYOUTS[0], LAYOUTS[3]] {
        let sandbox = repository(layout);
        for n in ["1", "2", "3", "4", "5"] {
            commit(&sandbox, n);
        }
        sandbox.git(&["config", "uploadpack.allowFilter", "true"]);
        sandbox.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let url = format!("file://{}", sandbox.root().display());
        for filter in ["blob:none", "tree:0"] {
            let to = format!("../clone-{}", filter.replace(':', "-"));
            sandbox.git(&["clone", "-q", "--filter", filter, &url, &to]);
            let packs = || std::fs::read_dir(sandbox.path(&format!("{to}/.git/objects/pack"))).unwrap().count();
            let before = packs();
            fine(&sandbox.run_in(&to, &["gc", "-A", "--dry"]));
            // A pack has two or three files; more than two requests would have left more.
            assert!(packs() - before <= 9, "{layout:?} {filter}: {before} {}", packs());
            assert!(
                said(&sandbox.run_in(&to, &["diff", "HEAD~3", "HEAD~1"])).contains("modified"),
                "{layout:?} {filter}"
            );
        }
    }
}

#[test]
fn gc_says_what_a_shallow_clone_does_not_know() {
    for layout in [LAYOUTS[0], LAYOUTS[3]] {
        let sandbox = repository(layout);
        commit(&sandbox, "1");
        commit(&sandbox, "2");
        let url = format!("file://{}", sandbox.root().display());
        sandbox.git(&["clone", "-q", "--depth", "1", &url, "../clone"]);
        let gc = |args: &[&str]| sandbox.run_in("../clone", &[&["gc", "--min-age", "0", "--force"], args].concat());
        let out = gc(&["-A"]);
        assert!(out.code == 0 && out.stderr.contains("shallow"), "{layout:?} {out}");
        let out = gc(&["-a"]);
        assert!(out.code == 0 && !out.stderr.contains("shallow"), "{layout:?} {out}");
        let remote: PathBuf = sandbox.path("../lab");
        fine(&sandbox.run_in("../clone", &["remote", "add", "-d", "lab", remote.to_str().unwrap(), "-q"]));
        // Branches and tags that such a clone lacks count at the remote, whatever was asked for.
        for scope in [&["-A"][..], &["-a"], &["-a", "-T"], &["-w"], &["--rev", "HEAD", "-n", "1"]] {
            let out = gc(&[&["-c"], scope].concat());
            assert!(out.code == 3 && out.stderr.contains("shallow"), "{layout:?} {scope:?} {out}");
        }
    }
}
