//! A folder that another user swaps for a link, again and again, while lockstep writes below it: nothing lies where the
//! link leads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::sandbox::{Sandbox, output};

/// Swaps `shared/out` and a link to the folder `victim`, which lies outside, while `work` runs.
fn while_swapped(s: &Sandbox, work: impl Fn()) {
    let (folder, link) = (s.path("shared/out"), s.path("shared/link"));
    fs::create_dir_all(s.path("../victim")).unwrap();
    let _ = fs::remove_file(&link);
    symlink(s.path("../victim").canonicalize().unwrap(), &link).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE);
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    let is_link = |path: &Path| path.symlink_metadata().unwrap().is_symlink();
    if is_link(&folder) {
        renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
    }
    let found: Vec<_> = fs::read_dir(s.path("../victim")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_is_restored_never_lies_where_a_link_leads() {
    let s = Sandbox::new();
    s.write(".gitignore", "*.note\n");
    for n in 0..20 {
        s.write(&format!("shared/out/dd/{n}"), format!("{n}"));
    }
    s.write("shared/out/f", "file");
    assert_eq!(s.run(&["add", "shared/out/dd", "shared/out/f"]).code, 0);
    while_swapped(&s, || {
        for n in 0..15 {
            let _ = fs::write(s.path("shared/out/dd/1"), format!("changed {n}"));
            let out = s.run(&["checkout", "--force"]);
            assert!(out.code != 101, "{out}");
        }
    });
    assert_eq!(s.run(&["checkout", "--force"]).code, 0);
    assert_eq!((s.read("shared/out/dd/1"), s.read("shared/out/f")), ("1".into(), "file".into()));
}

#[test]
fn what_is_got_and_imported_never_lies_where_a_link_leads() {
    let s = Sandbox::new();
    let other = s.path("../other");
    fs::create_dir_all(other.join("d")).unwrap();
    for n in 0..20 {
        fs::write(other.join(format!("d/{n}")), "x").unwrap();
    }
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        let done = git.current_dir(&other).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).output();
        assert!(done.unwrap().status.success(), "{args:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "0"]);
    s.write("shared/out/keep", "");
    assert_eq!(s.run(&["import", "../other", "d", "-o", "shared/out/d"]).code, 0);
    while_swapped(&s, || {
        for n in 0..8 {
            fs::write(other.join("d/1"), format!("{n}")).unwrap();
            git(&["commit", "-qam", "n"]);
            assert!(output(s.lockstep("").args(["update", "shared/out/d"])).code != 101);
        }
    });
}
