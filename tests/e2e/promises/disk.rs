//! A disk that is full, a store that cannot be written: nothing is lost, and the message says what to do.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::promises::stale;
use crate::sandbox::Sandbox;

/// A small file system of its own, gone when dropped.
pub struct Mount(PathBuf);

impl Mount {
    pub fn tmpfs(at: &Path, size: &str) -> Mount {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "lockstep-test"]).arg(at);
        let out = mount.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Mount(at.to_path_buf())
    }

    pub fn read_only(&self) {
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

const PIPELINE: &str = "stages:
  big:
    cmd: head -c $(cat bytes) /dev/zero | tr '\\0' x > big.bin; cat bytes > small.txt
    deps: [bytes]
    outs: [big.bin, small.txt]
  after:
    cmd: wc -c < big.bin > n.txt
    deps: [big.bin]
    outs: [n.txt]
";

fn project(store: &Path) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.use_store("", store);
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("bytes", "1000");
    sandbox
}

#[test]
#[ignore = "needs root, to mount a file system"]
fn a_store_that_is_full_loses_nothing_and_converges_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let _mount = Mount::tmpfs(&folder.path().join("disk"), "8m");
    let store = folder.path().join("disk/store");
    let sandbox = project(&store);
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    let before = sandbox.read("pipeline.lock");
    let ballast = folder.path().join("disk/ballast");
    std::fs::write(&ballast, vec![0; 4 << 20]).unwrap();
    sandbox.write("bytes", "6000000");
    for _ in 0..2 {
        let out = sandbox.run(&["repro"]);
        assert_eq!(out.code, 7, "{out}");
        assert!(out.stderr.contains("No space left") && out.stderr.contains("free some space"), "{out}");
        assert_eq!(sandbox.read("small.txt"), "1000", "{out}");
        assert_eq!(sandbox.read("big.bin").len(), 1000);
        assert_eq!(crate::promises::kept(&sandbox, "big", "big.bin").map(|b| b.len()), Some(6_000_000));
        assert_eq!(crate::promises::lock(&sandbox).stages["big"].deps, lock_of(&before, "big"));
    }
    std::fs::remove_file(&ballast).unwrap();
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("n.txt").trim(), "6000000");
    assert_eq!(stale(&sandbox), [""; 0]);
    sandbox.remove("big.bin");
    assert_eq!(sandbox.run(&["checkout"]).code, 0);
    assert_eq!(sandbox.read("big.bin").len(), 6_000_000);
}

fn lock_of(text: &str, stage: &str) -> lockstep::lock::ByName<lockstep::store::Pin> {
    lockstep::lock::read("before", text).unwrap().stages[stage].deps.clone()
}

#[test]
#[ignore = "needs root, to mount a file system"]
fn a_workspace_that_is_full_keeps_its_outputs_and_converges_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let _mount = Mount::tmpfs(&folder.path().join("disk"), "8m");
    let sandbox = Sandbox::within(&folder.path().join("disk"));
    sandbox.write("pipeline.yaml", PIPELINE.replace("; cat", " && cat"));
    sandbox.write("bytes", "1000");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    let before = sandbox.read("pipeline.lock");
    sandbox.write("bytes", "20000000");
    let out = sandbox.run(&["repro"]);
    assert!(matches!(out.code, 6 | 7), "{out}");
    assert_eq!(sandbox.read("pipeline.lock"), before);
    assert_eq!((sandbox.read("big.bin").len(), sandbox.read("small.txt").as_str()), (1000, "1000"), "{out}");
    // What the failed run left fills the disk; a run that needs less can be had after it is cleared away.
    std::fs::remove_dir_all(sandbox.path(".git/lockstep/worktree/logs")).unwrap();
    sandbox.write("bytes", "2000");
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(stale(&sandbox), [""; 0]);
}

#[test]
#[ignore = "needs root, to mount a file system"]
fn a_store_that_cannot_be_written_is_named_and_what_needs_no_writing_works() {
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount::tmpfs(&folder.path().join("disk"), "8m");
    let store = folder.path().join("disk/store");
    let sandbox = project(&store);
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    mount.read_only();
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 0, "{out}");
    assert!(out.stderr.contains("2 up to date"), "{out}");
    sandbox.remove("small.txt");
    let out = sandbox.run(&["checkout"]);
    assert_eq!((out.code, sandbox.read("small.txt").as_str()), (0, "1000"), "{out}");
    let before = sandbox.read("pipeline.lock");
    sandbox.write("bytes", "2000");
    sandbox.write("pipeline.yaml", PIPELINE.replace("head", "echo big >> $CONF_LOG; head"));
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 7, "{out}");
    // It is told before hours of work, not after.
    assert_eq!(sandbox.ran(), [""; 0]);
    assert!(out.stderr.contains(store.to_str().unwrap()), "{out}");
    assert!(out.stderr.contains("Read-only file system"), "{out}");
    assert_eq!((sandbox.read("small.txt"), sandbox.read("pipeline.lock")), ("1000".to_string(), before));
}
