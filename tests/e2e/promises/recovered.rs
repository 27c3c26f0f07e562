//! What a killed or refused run set aside, where renaming to lockstep's own folders is not possible: an output on
//! another filesystem, in a container's lower layers, behind a folder that became a symlink.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::promises::disk::Mount;
use crate::promises::{files, stale};
use crate::sandbox::Sandbox;
use crate::sandbox::process::{Signal, wait_for};

const STATE: &str = ".git/lockstep/worktree/state/root";

/// `data/` is another filesystem, as long as the mount is there.
fn with_mounted_data(pipeline: &str) -> (Sandbox, Mount) {
    let sandbox = Sandbox::new();
    let mount = Mount::tmpfs(&sandbox.path("data"), "8m");
    sandbox.write("pipeline.yaml", pipeline);
    sandbox.write("in", "1");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    (sandbox, mount)
}

/// What lies in a folder under a name of lockstep's.
fn beside(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().contains(".lockstep-")).collect()
}

#[test]
#[ignore = "needs root, to mount a file system"]
fn a_note_that_a_power_cut_emptied_moves_and_removes_nothing() {
    let copy = "stages:\n  s:\n    cmd: cp in data/out\n    deps: [in]\n    outs: [data/out]\n";
    let (sandbox, _mount) = with_mounted_data(copy);
    sandbox.write("data/photos/1.jpg", "irreplaceable");
    let entry = sandbox.path(STATE).join("aside/0");
    for empty in [true, false] {
        fs::create_dir_all(&entry).unwrap();
        symlink("data/out", entry.join("path")).unwrap();
        // Also one that names what is not its own.
        if empty { fs::write(entry.join("sibling"), "") } else { symlink("photos", entry.join("sibling")) }.unwrap();
        let out = sandbox.run(&["repro"]);
        assert_eq!(out.code, 0, "{out}");
        assert!(!entry.exists(), "{out}");
        assert_eq!((sandbox.read("data/photos/1.jpg"), sandbox.read("data/out")), ("irreplaceable".into(), "1".into()));
    }
}

#[test]
#[ignore = "needs root, to mount a file system"]
fn an_edit_that_was_set_aside_on_another_filesystem_outlives_the_cleaning_after_a_kill() {
    let pipeline = format!(
        "stages:\n  s:\n    cmd: cp in data/out; [ $(cat in) = 1 ] || {{ {}; }}\n    deps: [in]\n    outs: [data/out]\n",
        wait_for("go")
    );
    let (sandbox, _mount) = with_mounted_data(&pipeline);
    sandbox.write("data/out", "my edit, nowhere else");
    sandbox.write("in", "2");
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    run.signal(Signal::KILL);
    assert_eq!(run.end().code, 137);
    sandbox.await_nobody();
    // As if a restore of the very same place had been killed too, which left something half built.
    fs::create_dir_all(sandbox.path(STATE).join("restoring")).unwrap();
    fs::write(sandbox.path(STATE).join("restoring/note"), "data/out").unwrap();
    sandbox.write("data/.out.lockstep-0123456789abcdef", "half");
    let out = sandbox.run(&["commit", "-f"]);
    assert_eq!(out.code, 1, "{out}");
    assert_eq!(sandbox.read("data/out"), "my edit, nowhere else", "{out}");
    assert!(!sandbox.exists("data/.out.lockstep-0123456789abcdef"));
    // What the killed run left is kept, and the log folder leads to it.
    let kept = sandbox.path(".git/lockstep/worktree/logs/%recovered/1/kept/data/out");
    assert_eq!(fs::read_to_string(kept).unwrap(), "2");
}

const REFUSED: &str = "stages:
  a:
    cmd: cat in > data/m; if [ -e slow ]; then echo changed > in; fi
    deps: [in]
    outs: [data/m]
  b:
    cmd: ls data > list
    deps: [data]
    outs: [list]
";

#[test]
#[ignore = "needs root, to mount a file system"]
fn what_a_refused_run_left_on_another_filesystem_can_be_recorded() {
    let (sandbox, _mount) = with_mounted_data(REFUSED);
    sandbox.write("slow", "");
    sandbox.write("in", "2");
    let out = sandbox.run(&["repro", "a"]);
    assert_eq!(out.code, 6, "{out}");
    assert_eq!(sandbox.read("data/m"), "1");
    assert_eq!(beside(&sandbox.path("data")).len(), 1, "{out}");
    // It lies in a folder that another stage reads, and is no part of it.
    sandbox.write("in", "1");
    assert_eq!(stale(&sandbox), [""; 0]);
    let out = sandbox.run(&["commit", "--kept", "--force", "a"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("data/m"), "2", "{out}");
    assert_eq!(beside(&sandbox.path("data")), [""; 0].map(PathBuf::from));
    assert_eq!(stale(&sandbox), ["a", "b"]);
}

#[test]
#[ignore = "needs root, to mount a file system"]
fn kept_outputs_on_another_filesystem_go_with_their_log() {
    let (sandbox, _mount) = with_mounted_data(REFUSED);
    sandbox.write("slow", "");
    sandbox.write("in", "2");
    assert_eq!(sandbox.run(&["repro", "a"]).code, 6);
    assert_eq!(beside(&sandbox.path("data")).len(), 1);
    let out = sandbox.run(&["logs", "--prune", "--all"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(beside(&sandbox.path("data")), [""; 0].map(PathBuf::from));
    assert_eq!(sandbox.read("data/m"), "1");
}

#[test]
fn recording_kept_outputs_can_be_done_again_after_a_kill_in_its_middle() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  a:\n    cmd: cat in > m1; cat in > m2; if [ -e slow ]; then echo changed > in; fi\n    \
         deps: [in]\n    outs: [m1, m2]\n",
    );
    sandbox.write("in", "1");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.write("slow", "");
    sandbox.write("in", "2");
    assert_eq!(sandbox.run(&["repro"]).code, 6);
    // The first of two outputs is in its place already, with the notes that are written before it gets there.
    let kept = sandbox.path(".git/lockstep/worktree/logs/a/2/kept/m1");
    let entry = sandbox.path(STATE).join("aside/0");
    fs::create_dir_all(&entry).unwrap();
    symlink("m1", entry.join("path")).unwrap();
    fs::rename(sandbox.path("m1"), entry.join("it")).unwrap();
    symlink(&kept, entry.join("from")).unwrap();
    fs::rename(&kept, sandbox.path("m1")).unwrap();
    let out = sandbox.run(&["commit", "--kept", "--force", "a"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!((sandbox.read("m1"), sandbox.read("m2")), ("2".into(), "2".into()));
    assert!(!entry.exists());
}

#[test]
fn a_folder_that_leads_out_now_is_not_touched_by_the_recovery() {
    let sandbox = Sandbox::new();
    let wait = wait_for("go");
    sandbox.write(
        "pipeline.yaml",
        format!(
            "stages:\n  s:\n    cmd: mkdir -p out/model; cp in out/model/x; [ $(cat in) = 1 ] || {{ {wait}; }}\n    \
             deps: [in]\n    outs: [out/model]\n"
        ),
    );
    sandbox.write("in", "1");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.write("in", "2");
    let run = sandbox.start(&["repro"]);
    sandbox.await_sign("go.here");
    run.signal(Signal::KILL);
    assert_eq!(run.end().code, 137);
    sandbox.await_nobody();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("model")).unwrap();
    fs::write(outside.path().join("model/x"), "foreign").unwrap();
    sandbox.remove("out");
    symlink(outside.path(), sandbox.path("out")).unwrap();
    let before = files(outside.path());
    let out = sandbox.run(&["checkout", "--force"]);
    assert!(out.stderr.contains("the last good out/model is kept in"), "{out}");
    assert_eq!(files(outside.path()), before, "{out}");
    let kept = sandbox.path(".git/lockstep/worktree/logs/%recovered/1/kept/out/model/x");
    assert_eq!(fs::read_to_string(kept).unwrap(), "1");
    // And nothing waits for it for ever.
    let _ = fs::remove_file(sandbox.path("out"));
    let out = sandbox.run(&["checkout", "--force"]);
    assert_eq!((out.code, sandbox.read("out/model/x").as_str()), (0, "1"), "{out}");
}

/// An overlay with these folders, gone when dropped; `None`, with a printed reason, where that cannot be.
struct Overlay(PathBuf);

impl Overlay {
    fn mount(lower: &Path, space: &Path, at: &Path) -> Overlay {
        let (upper, work) = (space.join("upper"), space.join("work"));
        for folder in [&upper, &work] {
            fs::create_dir_all(folder).unwrap();
        }
        let layers = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &format!("{layers},redirect_dir=off")]).arg(at);
        let out = mount.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Overlay(at.to_path_buf())
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
#[ignore = "needs root, to mount a file system"]
fn a_folder_of_a_containers_image_can_be_set_aside() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  s:\n    cmd: mkdir o; cp in o/f; test $(cat in) != 3\n    deps: [in]\n    outs: [o]\n",
    );
    sandbox.write("in", "1");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let space = tempfile::tempdir().unwrap();
    let _disk = Mount::tmpfs(space.path(), "64m");
    let lower = space.path().join("lower");
    assert!(Command::new("cp").arg("-a").arg(sandbox.root()).arg(&lower).status().unwrap().success());
    let _overlay = Overlay::mount(&lower, space.path(), sandbox.root());
    sandbox.write("in", "3");
    let out = sandbox.run(&["repro"]);
    assert_eq!((out.code, sandbox.read("o/f").as_str()), (6, "1"), "{out}");
    sandbox.write("in", "2");
    let out = sandbox.run(&["repro"]);
    assert_eq!((out.code, sandbox.read("o/f").as_str()), (0, "2"), "{out}");
    assert_eq!(beside(sandbox.root()), [""; 0].map(PathBuf::from));
}
