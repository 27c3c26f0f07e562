//! A folder remote that `lockstep.toml` names: made on the user's word, and nowhere where a commit leads to.

use std::fs;
use std::os::unix::fs::symlink;

use crate::sandbox::{Sandbox, output};

fn project(url: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "data: [{path: d}]\n");
    sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = \"{url}\"\n"));
    sandbox.write("d", "1");
    assert_eq!(sandbox.run(&["commit"]).code, 0);
    sandbox
}

#[test]
fn a_new_one_of_the_repository_is_made_after_a_grant() {
    let sandbox = project("../lab");
    for command in ["push", "remote check"] {
        let out = sandbox.run(&command.split(' ').collect::<Vec<_>>());
        assert!(out.code == 2 && out.stderr.contains("lockstep remote trust lab"), "{command} {out}");
    }
    assert!(!sandbox.path("../lab").exists());
    let out = sandbox.run(&["remote", "trust", "lab", "--yes"]);
    assert!(out.code == 0 && out.stderr.contains("/lab  (lockstep.toml)"), "{out}");
    assert_eq!(sandbox.run(&["push"]).code, 0);
    // One that is there is a team's, and needs no grant.
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "1"]);
    sandbox.git(&["clone", "-q", ".", "../colleague"]);
    fs::write(sandbox.path("../colleague/d"), "2").unwrap();
    for command in ["pull", "commit", "push"] {
        let out = sandbox.run_in("../colleague", &[command]);
        assert!(out.code == 0 || command == "pull", "{command} {out}");
    }
    // Another folder asks again.
    sandbox.write("lockstep.toml", "[remote.lab]\nurl = \"../other\"\n");
    assert_eq!(sandbox.run(&["push"]).code, 2);
    let out = output(sandbox.lockstep("").env("LOCKSTEP_TRUST_REMOTES", "lab").arg("push"));
    assert!(out.code == 0 && sandbox.path("../other/lockstep-remote").is_file(), "{out}");
}

#[test]
fn one_that_the_user_types_needs_no_grant() {
    for args in [&["remote", "add", "-d", "lab", "../lab"][..], &["remote", "add", "--local", "lab", "../lab"]] {
        let sandbox = project("../unused");
        sandbox.write("lockstep.toml", "");
        assert_eq!(sandbox.run(args).code, 0);
        let out = sandbox.run(&["push"]);
        assert!(out.code == 0 && sandbox.path("../lab").is_dir(), "{out}");
    }
}

#[test]
fn none_is_made_in_a_folder_of_git_or_behind_a_committed_link() {
    for (url, link) in [
        ("../victim/.git/hooks/z", None),
        ("../victim/.git", None),
        ("../victim/.GIT/z", None),
        ("../bare/hooks/z", None),
        ("../bare", None),
        ("rem", Some(("rem", "../documents"))),
        ("rem/z", Some(("rem", "../documents"))),
        ("rem/../z", Some(("rem", "../documents"))),
        ("sub/rem", Some(("sub/rem", "../../documents"))),
        ("rem", Some(("rem", ".git/hooks"))),
        ("rem/z", Some(("rem", "../victim/.git"))),
    ] {
        let sandbox = project(url);
        sandbox.git(&["init", "-q", "../victim"]);
        sandbox.git(&["init", "-q", "--bare", "../bare"]);
        fs::create_dir_all(sandbox.path("../documents")).unwrap();
        if let Some((at, to)) = link {
            fs::create_dir_all(sandbox.path(at).parent().unwrap()).unwrap();
            symlink(to, sandbox.path(at)).unwrap();
        }
        // Even where the user says yes.
        let out = output(sandbox.lockstep("").env("LOCKSTEP_TRUST_REMOTES", "lab").arg("push"));
        assert!(out.code == 2 && out.stderr.contains("cannot be"), "{url} {link:?} {out}");
        for folder in ["documents", "victim/.git/hooks", "bare/hooks"] {
            let mut names =
                fs::read_dir(sandbox.path("..").join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(names.all(|name| name.to_string_lossy().ends_with(".sample")), "{url} {folder}");
        }
    }
}

/// A commit brings a remote, with the file that says so, and links in it.
#[test]
fn a_committed_remote_with_links_writes_nowhere_else() {
    for (at, to) in [("packs", "../.git/hooks"), ("index", "../../documents"), ("tmp", "../../documents")] {
        let sandbox = project("rem");
        fs::create_dir_all(sandbox.path("../documents")).unwrap();
        let old = sandbox.path("../documents").join("ab".repeat(16));
        fs::write(&old, "dear").unwrap();
        let year = std::time::SystemTime::now() - std::time::Duration::from_secs(400 * 24 * 3600);
        fs::File::options().write(true).open(&old).unwrap().set_modified(year).unwrap();
        assert_eq!(sandbox.run(&["remote", "trust", "--yes", "lab"]).code, 0);
        assert_eq!(sandbox.run(&["push"]).code, 0);
        let link = sandbox.path("rem").join(at);
        fs::remove_dir_all(&link).unwrap();
        symlink(to, &link).unwrap();
        sandbox.write("d", "2");
        assert_eq!(sandbox.run(&["commit"]).code, 0);
        let out = sandbox.run(&["push"]);
        assert!(out.code != 0 && out.stderr.contains("is a symlink"), "{at} {out}");
        assert_eq!(fs::read_dir(sandbox.path("../documents")).unwrap().count(), 1, "{at}");
        let mut hooks = fs::read_dir(sandbox.path(".git/hooks")).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(old.exists() && hooks.all(|name| name.to_string_lossy().ends_with(".sample")), "{at}");
    }
}
