//! What is written stays where the user's own files are, whatever a pipeline, a link or a state folder says.

use std::fs;
use std::os::unix::fs::symlink;

use crate::sandbox::Sandbox;

const HOOK: &str = ".git/hooks/post-checkout";

/// The output was recorded while `lnk` was a folder; the commit has a link to Git's hooks there.
fn with_a_link_to_the_hooks(rest: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", format!("stages:\n  a:\n    cmd: mkdir -p lnk; echo x > lnk/post-checkout\n{rest}"));
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    sandbox.remove("lnk");
    symlink(".git/hooks", sandbox.path("lnk")).unwrap();
    fs::create_dir_all(sandbox.path(".git/hooks")).unwrap();
    sandbox
}

#[test]
fn a_link_into_the_git_folder_is_not_written_through() {
    let sandbox = with_a_link_to_the_hooks("    outs: [lnk/post-checkout]\n");
    for command in [&["checkout"][..], &["checkout", "--force"], &["repro"], &["repro", "-f"]] {
        let out = sandbox.run(command);
        assert!(out.code != 0 && out.stderr.contains("the symlink `lnk`"), "{command:?} {out}");
        assert!(!sandbox.exists(HOOK), "{command:?}");
    }
}

#[test]
fn scratch_and_working_folders_behind_a_link_are_left_alone() {
    for rest in [
        "    outs: [o]\n    scratch: [lnk]\n    wdir: real\n",
        "    outs: [o]\n    scratch: [lnk/hooks]\n",
        "    outs: [o]\n    wdir: lnk\n",
        "    outs: [o]\n    wdir: lnk/hooks\n",
    ] {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.path(".git/hooks")).unwrap();
        sandbox.write(".git/hooks/mine", "mine");
        sandbox.write("real/x", "");
        symlink(".git", sandbox.path("lnk")).unwrap();
        symlink("../.git", sandbox.path("real/lnk")).unwrap();
        sandbox.write("pipeline.yaml", format!("stages:\n  a:\n    cmd: echo 1 > o\n{rest}"));
        sandbox.run(&["repro"]);
        assert_eq!(sandbox.read(".git/hooks/mine"), "mine", "{rest}");
        for left in [".git/o", ".git/hooks/o", ".git/.gitignore", ".git/hooks/.gitignore"] {
            assert!(!sandbox.exists(left), "{rest} {left}");
        }
    }
}

#[test]
fn names_of_git_and_lockstep_are_refused_in_every_spelling() {
    for path in [
        ".GIT/hooks/x",
        "a/.git./x",
        "git~1/x",
        ".git::$INDEX_ALLOCATION/x",
        ".g\u{200c}it/x",
        "sub/.lockstep/x",
        ".LOCKSTEP",
        ".dvc/config",
        "Pipeline.yaml",
        ".gitIgnore",
        ".gitmodules",
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", format!("stages:\n  a:\n    cmd: touch ran\n    outs: [\"{path}\"]\n"));
        let out = sandbox.run(&["repro"]);
        assert!(out.code == 2 && out.stderr.contains(path) && !sandbox.exists("ran"), "{out}");
    }
}

/// `GIT_DIR` may lie in a folder of any name: its path counts, not its spelling.
#[test]
fn a_git_folder_of_another_name_is_one() {
    let sandbox = Sandbox::new();
    fs::rename(sandbox.path(".git"), sandbox.path("meta")).unwrap();
    sandbox.write(".git", "gitdir: meta\n");
    for (out, how) in [("meta/hooks/x", "lies in"), ("meta", "lies in")] {
        sandbox.write("pipeline.yaml", format!("stages:\n  a:\n    cmd: 'true'\n    outs: [{out}]\n"));
        let got = sandbox.run(&["repro"]);
        assert!(got.code == 2 && got.stderr.contains(how) && got.stderr.contains("Git"), "{got}");
    }
    assert!(sandbox.path("meta/HEAD").exists());
}

#[test]
fn inside_git_a_lockstep_folder_is_not_looked_at() {
    let sandbox = Sandbox::new();
    sandbox.write("sub/.lockstep/config.toml", "shell = \"/nowhere\"\n");
    sandbox.write("sub/pipeline.yaml", "stages:\n  a:\n    cmd: echo 1 > o\n    outs: [o]\n");
    for folder in [".", "sub"] {
        let out = sandbox.run_in(folder, &["repro", "-P", "-f"]);
        assert_eq!(out.code, 0, "{out}");
    }
    assert!(!sandbox.exists("sub/.lockstep/worktree") && sandbox.exists(".git/lockstep/worktree"));
}

#[test]
fn a_bare_repository_in_a_worktree_is_not_taken_for_one() {
    let sandbox = Sandbox::new();
    sandbox.git(&["init", "-q", "--bare", "sub"]);
    sandbox.write("sub/lockstep/config.toml", "shell = \"/nowhere\"\n");
    let out = sandbox.run_in("sub", &["status"]);
    assert!(out.code == 2 && out.stderr.contains("a bare repository in a folder of"), "{out}");
}

/// A state folder moves things back to the log folder and to nowhere else.
#[test]
fn notes_on_outputs_that_were_set_aside_move_nothing_elsewhere() {
    let sandbox = Sandbox::without_git();
    let outside = sandbox.beside("outside");
    fs::create_dir_all(&outside).unwrap();
    sandbox.write("pipeline.yaml", "stages:\n  a:\n    cmd: echo 1 > o\n    outs: [o]\n");
    for (n, from) in [(1, outside.join("x")), (2, sandbox.path(".lockstep/worktree/logs/../../../../outside/y"))] {
        let entry = format!(".lockstep/worktree/state/root/aside/{n}");
        sandbox.write(&format!("{entry}/it"), "planted");
        symlink(format!("f{n}"), sandbox.path(&format!("{entry}/path"))).unwrap();
        symlink(&from, sandbox.path(&format!("{entry}/from"))).unwrap();
        sandbox.write(&format!("f{n}"), "mine");
    }
    // An entry that is a link is none.
    fs::write(outside.join("it"), "theirs").unwrap();
    symlink("z", outside.join("path")).unwrap();
    symlink(&outside, sandbox.path(".lockstep/worktree/state/root/aside/3")).unwrap();
    sandbox.run(&["checkout"]);
    let mut there: Vec<_> = fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["it", "path"]);
    assert!(!sandbox.exists("z"));
}

#[test]
fn what_the_user_names_is_judged_where_it_really_is() {
    let sandbox = Sandbox::new();
    sandbox.write("f", "f");
    sandbox.write("pipeline.yaml", "stages: {}\n");
    sandbox.git(&["add", "."]);
    sandbox.git(&["commit", "-qm", "x"]);
    fs::create_dir_all(sandbox.path(".git/hooks")).unwrap();
    symlink(".git/hooks", sandbox.path("models")).unwrap();
    let before = fs::read_dir(sandbox.path(".git/hooks")).unwrap().count();
    for command in [&["get", "f", "-o", "models/post-checkout"][..], &["get", "f", "-o", "models/"]] {
        let out = sandbox.run(command);
        assert!(out.code == 2 && out.stderr.contains("belongs to Git"), "{command:?} {out}");
    }
    assert_eq!(fs::read_dir(sandbox.path(".git/hooks")).unwrap().count(), before);
    // A link to a folder of the user's is the user's word.
    sandbox.write("real/x", "");
    symlink("real", sandbox.path("in")).unwrap();
    let out = sandbox.run(&["get", "f", "-o", "in/"]);
    assert_eq!((out.code, sandbox.read("real/f").as_str()), (0, "f"), "{out}");
}
