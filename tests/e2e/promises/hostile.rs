//! A path from a file, whatever it says, never makes lockstep write outside of the repository.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use lockstep::lock::{self, StageLock};

use crate::promises::files;
use crate::sandbox::Sandbox;

/// A repository, and `outside/` beside it with a file `precious`.
fn project(pipeline: &str) -> (Sandbox, std::path::PathBuf) {
    let sandbox = Sandbox::new();
    let outside = sandbox.beside("outside");
    std::fs::create_dir_all(outside.join("sub")).unwrap();
    std::fs::write(outside.join("precious"), "precious\n").unwrap();
    std::fs::write(outside.join(".gitignore"), "/mine\n/x\n").unwrap();
    sandbox.write("pipeline.yaml", pipeline);
    sandbox.write("in.txt", "in\n");
    (sandbox, outside)
}

fn untouched(outside: &std::path::Path, what: &str) {
    let mut want: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    want.insert("precious".into(), b"precious\n".to_vec());
    want.insert(".gitignore".into(), b"/mine\n/x\n".to_vec());
    assert!(files(outside) == want, "{what}: {:?}", files(outside));
    assert!(outside.join("sub").is_dir(), "{what}");
}

fn stage(rest: &str) -> String {
    format!("stages:\n  s:\n    cmd: touch $CONF_LOG.ran; echo x > out.txt\n    deps: [in.txt]\n{rest}")
}

#[test]
fn a_spelling_that_leads_out_is_a_mistake_in_the_file() {
    for rest in [
        "    outs: [../outside/x]\n",
        "    outs: [a/../../x]\n",
        "    outs: [/tmp/x]\n",
        "    outs: [.]\n",
        "    outs: ['..']\n",
        "    outs: [.git/config]\n",
        "    wdir: ..\n    outs: [x]\n",
        "    wdir: /tmp\n    outs: [x]\n",
        "    scratch: [../x]\n    outs: [x]\n",
        "    outs: [x]\ndata:\n- path: ../outside\n",
        "    outs: [x]\ndata:\n- path: /etc\n",
    ] {
        let (sandbox, outside) = project(&stage(rest));
        for command in [&["repro"][..], &["checkout"], &["commit", "-f"], &["status"]] {
            let out = sandbox.run(command);
            // A broken file is a warning for commands about the whole repository.
            assert!(
                matches!(out.code, 2 | 3) || (out.code == 0 && out.stderr.contains("is left out")),
                "{command:?} {out}"
            );
            assert!(command[0] != "repro" || out.code == 2, "{out}");
        }
        untouched(&outside, rest);
        assert!(!sandbox.beside("ran").exists(), "{rest}");
    }
}

#[test]
fn a_folder_that_is_a_symlink_to_the_outside_is_refused_before_anything_is_written() {
    for rest in [
        "    outs: [link/x]\n",
        "    outs: [link/precious]\n",
        "    outs: [link/sub/deep/x]\n",
        "    outs: [link/x: {cache: false}]\n",
        "    outs: [out.txt]\n    scratch: [link/x]\n",
        "    wdir: link\n    outs: [x]\n",
        "    wdir: link/sub\n    outs: [x]\n",
        "    wdir: link\n",
        "    wdir: link/sub\n",
        "    outs: [out.txt]\ndata:\n- path: link/precious\n",
    ] {
        let (sandbox, outside) = project(&stage(rest).replace("    deps: [in.txt]\n", ""));
        symlink(&outside, sandbox.path("link")).unwrap();
        let out = sandbox.run(&["repro"]);
        assert!(out.code != 0 && out.code != 101, "{rest} {out}");
        untouched(&outside, rest);
        assert!(out.stderr.contains("link"), "{rest} {out}");
        for command in [&["checkout"][..], &["checkout", "--force"], &["commit", "-f"]] {
            let out = sandbox.run(command);
            assert!(out.code != 101, "{rest} {command:?} {out}");
            untouched(&outside, rest);
        }
    }
}

/// Everything was recorded well; then a folder becomes a link, as `git checkout` of a hostile branch can make it.
#[test]
fn a_folder_that_becomes_a_symlink_later_is_refused_too() {
    let (sandbox, outside) =
        project("stages:\n  s:\n    cmd: mkdir -p dir; echo x > dir/x\n    deps: [in.txt]\n    outs: [dir/x]\n");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.remove("dir");
    symlink(&outside, sandbox.path("dir")).unwrap();
    for command in [&["checkout"][..], &["checkout", "--force"], &["repro"], &["repro", "-f"], &["commit", "-f"]] {
        let out = sandbox.run(command);
        assert!(out.code != 0 && out.code != 101, "{command:?} {out}");
        untouched(&outside, &format!("{command:?}"));
    }
}

#[test]
fn an_ignore_file_that_is_a_symlink_is_not_written_through() {
    let (sandbox, outside) = project(&stage("    outs: [out.txt]\n"));
    symlink(outside.join(".gitignore"), sandbox.path(".gitignore")).unwrap();
    let out = sandbox.run(&["repro"]);
    assert!(out.code != 101, "{out}");
    untouched(&outside, "an ignore file");
}

#[test]
fn a_lock_that_is_a_symlink_is_not_written_through() {
    let (sandbox, outside) = project(&stage("    outs: [out.txt]\n"));
    std::fs::write(sandbox.beside("lock"), "").unwrap();
    symlink(sandbox.beside("lock"), sandbox.path("pipeline.lock")).unwrap();
    let out = sandbox.run(&["repro"]);
    assert!(out.code != 101, "{out}");
    assert_eq!(std::fs::read(sandbox.beside("lock")).unwrap(), b"");
    untouched(&outside, "a lock");
}

#[test]
fn keys_of_a_lock_that_lead_out_make_nothing_there() {
    let (sandbox, outside) = project(&stage("    outs: [out.txt]\n"));
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let absolute = outside.join("new").to_str().unwrap().to_string();
    let mut read = crate::promises::lock(&sandbox);
    let good: StageLock = read.stages["s"].clone();
    for key in ["../outside/new", "../../x", &absolute, "a/../../../x", "/x", "..", ".", ""] {
        let mut bad = good.clone();
        bad.outs.insert(key.to_string(), good.outs["out.txt"].clone());
        for wdir in [None, Some("../outside".to_string()), Some(absolute.clone())] {
            bad.wdir = wdir;
            bad.key = lock::key(&bad);
            read.stages.insert("s".into(), bad.clone());
            read.stages.insert("gone".into(), bad.clone());
            read.data.insert(key.to_string(), good.outs["out.txt"].pin);
            sandbox.write("pipeline.lock", lock::write(&read));
            sandbox.remove("out.txt");
            for command in [&["checkout", "--force"][..], &["status", "--json"], &["repro"]] {
                let out = sandbox.run(command);
                assert!(matches!(out.code, 0 | 2 | 3), "{key} {command:?} {out}");
                untouched(&outside, key);
            }
            assert!(!sandbox.root().parent().unwrap().join("x").exists());
            if !sandbox.exists("out.txt") {
                sandbox.write("pipeline.lock", "");
                assert_eq!(sandbox.run(&["repro"]).code, 0);
            }
        }
        read.data.clear();
    }
}

/// It would run before the stage that makes it, and be up to date when that one is stale.
#[test]
fn a_link_inside_of_a_dep_hides_no_edge() {
    let sandbox = Sandbox::new();
    let pipeline = |deps: &str| {
        format!(
            "stages:\n  b:\n    cmd: cat src/l/o > p\n    deps: [{deps}]\n    outs: [p]\n  a:\n    cmd: mkdir -p real && cp i real/o\n    deps: [i]\n    outs: [real/o]\n"
        )
    };
    sandbox.write("i", "1");
    sandbox.write("real/.keep", "");
    sandbox.write("src/x", "");
    std::os::unix::fs::symlink("../real", sandbox.path("src/l")).unwrap();
    sandbox.write("pipeline.yaml", pipeline("src"));
    let out = sandbox.run(&["repro"]);
    assert_eq!(out.code, 2, "{out}");
    assert!(out.stderr.contains("stage b reads real/o through the link src/l"), "{out}");
    assert!(out.stderr.contains("add real/o to the deps of b"), "{out}");
    assert!(!sandbox.exists("p") && sandbox.exists("real/o"), "what does not need it goes on");
    sandbox.write("pipeline.yaml", pipeline("src, real/o"));
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    sandbox.write("i", "2");
    assert_eq!(sandbox.run(&["repro", "b"]).code, 0);
    assert_eq!(sandbox.read("p"), "2");
}
