//! A repository of another user is not opened unless `safe.directory` lists it.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use crate::sandbox::{Output, Sandbox, output};

/// A user that is not root.
const OTHER: u32 = 1234;

/// A project with one stage, whose settings in the clone name a shell that leaves a mark.
fn project() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let mark = sandbox.root().parent().unwrap().join("mark");
    sandbox.write("shell", format!("#!/bin/sh\ntouch '{}'\n", mark.display()));
    sandbox.git(&["add", "-A"]);
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo > o, outs: [o]}}\n");
    sandbox.write("sub/pipeline.yaml", "stages: {b: {cmd: echo > p, outs: [p]}}\n");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    (sandbox, mark)
}

fn give(path: &Path, deep: bool) {
    lchown(path, Some(OTHER), None).unwrap();
    if deep && path.symlink_metadata().unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), true));
    }
}

#[track_caller]
fn refused(sandbox: &Sandbox, out: &Output, path: &Path) {
    assert_eq!(out.code, 2, "{out}");
    let hint = format!("git config --global --add safe.directory {}", path.display());
    assert!(out.stderr.contains("belongs to another user") && out.stderr.contains(&hint), "{}", sandbox.shown(out));
}

#[test]
#[ignore = "needs root, to own files as another user"]
fn the_owner_of_each_part_counts() {
    for part in ["", ".git"] {
        let (sandbox, _) = project();
        assert_eq!(sandbox.run(&["status"]).code, 0);
        give(&sandbox.path(part), false);
        for args in [&["status"][..], &["repro"], &["config"], &["dag"], &["model", "list"], &["gc", "-w"], &["root"]] {
            refused(&sandbox, &sandbox.run(args), sandbox.root());
        }
        // Not passed over in favour of one further up, either.
        refused(&sandbox, &sandbox.run_in("sub", &["repro"]), sandbox.root());
        sandbox.git(&["config", "--file", "../home/.gitconfig", "safe.directory", sandbox.root().to_str().unwrap()]);
        assert_eq!(sandbox.run(&["status"]).code, 0);
    }
}

#[test]
#[ignore = "needs root, to own files as another user"]
fn what_safe_directory_says_counts_as_in_git() {
    let (sandbox, _) = project();
    give(&sandbox.path(".git"), false);
    let root = sandbox.root().to_str().unwrap();
    let folder = sandbox.root().parent().unwrap().to_str().unwrap();
    let with = |text: &str| {
        sandbox.write("../home/.gitconfig", text);
        let git = output(sandbox.command(Path::new("git"), "").args(["rev-parse", "HEAD"]));
        let ours = sandbox.run(&["status", "-q"]);
        assert_eq!(git.code == 0, ours.code <= 1, "{text}\n{git}\n{ours}");
        ours.code <= 1
    };
    for (text, want) in [
        ("", false),
        ("[safe]\n\tdirectory = *\n", true),
        ("[safe]\n\tdirectory = *\n\tdirectory =\n", false),
        (&format!("[safe]\n\tdirectory = {root}\n"), true),
        (&format!("[safe]\n\tdirectory = {root}/\n"), true),
        (&format!("[safe]\n\tdirectory = {folder}\n"), false),
        (&format!("[safe]\n\tdirectory = {folder}/*\n"), true),
        ("[safe]\n\tdirectory = repo\n", false),
    ] {
        assert_eq!(with(text), want, "{text}");
    }
    // Not what the repository says of itself.
    sandbox.write("../home/.gitconfig", "");
    let config = sandbox.read(".git/config");
    fs::write(sandbox.path(".git/config"), format!("{config}[safe]\n\tdirectory = *\n")).unwrap();
    refused(&sandbox, &sandbox.run(&["status"]), sandbox.root());
    let mut sudo = sandbox.lockstep("");
    assert_eq!(output(sudo.arg("status").env("SUDO_UID", OTHER.to_string())).code, 0);
}

/// Whatever opens another repository by its path asks the same.
#[test]
#[ignore = "needs root, to own files as another user"]
fn another_repository_is_judged_as_well() {
    let (there, _) = project();
    let bare = there.root().parent().unwrap().join("bare");
    there.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    give(&bare, true);
    give(there.root(), true);
    let here = Sandbox::new();
    for path in [there.root(), &bare] {
        let text = path.to_str().unwrap();
        for address in [text.to_string(), format!("file://{text}")] {
            for args in [&["list", &address][..], &["get", &address, "shell"], &["import", &address, "shell"]] {
                refused(&here, &here.run(args), path);
            }
        }
        let mut inside = here.lockstep("");
        refused(&here, &output(inside.current_dir(path).arg("model").arg("list")), path);
    }
    assert!(!here.exists("shell"));
}

#[test]
#[ignore = "needs root, to own files as another user"]
fn outside_git_the_folder_of_lockstep_counts() {
    let sandbox = Sandbox::without_git();
    assert_eq!(sandbox.run(&["init", "--no-scm"]).code, 0);
    sandbox.write("sub/pipeline.yaml", "stages: {b: {cmd: echo > p, outs: [p]}}\n");
    give(&sandbox.path(".lockstep"), false);
    refused(&sandbox, &sandbox.run_in("sub", &["repro"]), sandbox.root());
    assert!(!sandbox.exists("sub/p"));
}

/// A bare repository has only names that Git tracks, so a clone may bring one, settings included.
#[test]
fn a_bare_repository_that_a_clone_tracks_is_not_opened() {
    let (sandbox, mark) = project();
    sandbox.git(&["clone", "-q", "--bare", ".", "sub/inner"]);
    sandbox.write("sub/inner/lockstep/config.toml", format!("shell = \"{}\"\n", sandbox.path("shell").display()));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "inner"]);
    sandbox.git(&["clone", "-q", ".", "../clone"]);
    let clone = sandbox.path("../clone").canonicalize().unwrap();
    // Git does not track empty folders.
    fs::create_dir_all(clone.join("sub/inner/refs/heads")).unwrap();
    fs::create_dir_all(clone.join("sub/inner/objects/info")).unwrap();
    for (folder, args) in [
        ("sub/inner", &["config"][..]),
        ("sub/inner", &["list"]),
        ("", &["list", "sub/inner"]),
        ("", &["get", "sub/inner", "shell", "-o", "new"]),
    ] {
        let out = output(sandbox.lockstep("").current_dir(clone.join(folder)).args(args));
        let why = "a bare repository in a folder of the repository";
        assert!(out.code == 2 && out.stderr.contains(why), "{folder} {args:?} {out}");
    }
    assert!(!mark.exists());
    sandbox.write("../home/.gitconfig", "[safe]\n\tbareRepository = all\n");
    assert_eq!(output(sandbox.lockstep("").current_dir(clone).args(["list", "sub/inner"])).code, 0);
}
