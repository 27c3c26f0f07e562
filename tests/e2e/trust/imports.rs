//! An import of a pipeline file may name any folder of the user's disk: its files are not read before the user says so.

use std::process::Command;

use crate::sandbox::{Sandbox, output};

fn private(s: &Sandbox) {
    let folder = s.path("../private");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("secret.txt"), "PRIVATE").unwrap();
    for args in [&["init", "-q"][..], &["add", "-A"], &["commit", "-qm", "0"]] {
        let mut git = Command::new("git");
        git.current_dir(&folder).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args);
        assert!(git.output().unwrap().status.success());
    }
}

#[test]
fn a_folder_that_only_a_file_names_is_not_imported_from() {
    let s = Sandbox::new();
    private(&s);
    let commit = "0".repeat(40);
    let real = s.path("../private").canonicalize().unwrap().display().to_string();
    std::os::unix::fs::symlink("../private", s.path("inside")).unwrap();
    for url in ["../private", &real, &format!("file://{real}"), "inside", "./x/../../private"] {
        let import = format!("{{url: '{url}', path: secret.txt, rev: HEAD, commit: '{commit}'}}");
        s.write("pipeline.yaml", format!("data: [{{path: d, import: {import}}}]\n"));
        for args in [&["update"][..], &["update", "d"]] {
            let out = s.run(args);
            assert!(out.code == 2 && out.stderr.contains(&format!("lockstep remote trust {real}")), "{url}: {out}");
            assert!(!s.exists("d"), "{url}");
        }
    }
    // The line that is named does it, and it can be taken back.
    assert_eq!(s.run(&["remote", "trust", &real, "-y"]).code, 0);
    assert_eq!(s.run(&["update"]).code, 0);
    assert_eq!(s.read("d"), "PRIVATE");
    assert_eq!(s.run(&["remote", "trust", "../private", "--revoke"]).code, 0);
    assert_eq!(s.run(&["update"]).code, 2);
    let granted = output(s.lockstep("").arg("update").env("LOCKSTEP_TRUST_REMOTES", &real));
    assert_eq!(granted.code, 0, "{granted}");
}

#[test]
fn an_import_that_the_user_typed_is_granted_here_and_not_in_a_clone() {
    let s = Sandbox::new();
    private(&s);
    s.write("lockstep.toml", "core.remote = \"r\"\n[remote.r]\nurl = \"../r\"\n");
    assert_eq!(s.run(&["import", "../private", "secret.txt", "-o", "d"]).code, 0);
    assert_eq!(s.run(&["update"]).code, 0);
    s.git(&["add", "-A"]);
    s.git(&["commit", "-qm", "0"]);
    let clone = s.path("../clone");
    assert!(Command::new("git").args(["clone", "-q"]).arg(s.path("")).arg(&clone).status().unwrap().success());
    let run = |args: &[&str]| output(s.lockstep("").current_dir(&clone).args(args));
    for args in [&["pull"][..], &["update"], &["fetch"]] {
        let out = run(args);
        assert!(out.code != 0 && format!("{out}").contains("remote trust"), "{args:?}: {out}");
        assert!(!clone.join("d").exists());
    }
    assert_eq!(run(&["remote", "trust", "../private", "-y"]).code, 0);
    let pulled = run(&["pull"]);
    assert_eq!(pulled.code, 0, "{pulled}");
    assert_eq!(std::fs::read_to_string(clone.join("d")).unwrap(), "PRIVATE");
}
