//! What lies outside of the repository is never stored and never pushed, whatever link leads to it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::promises::files;
use crate::sandbox::Sandbox;

const KEY: &str = "KEYMATERIAL-KEYMATERIAL";

/// A repository with a remote beside it, and a secret beside both.
fn project() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let secret = sandbox.beside("secret");
    std::fs::create_dir_all(&secret).unwrap();
    std::fs::write(secret.join("id_rsa"), KEY).unwrap();
    std::fs::write(sandbox.path(".git/token"), KEY).unwrap();
    sandbox.write("lockstep.toml", format!("[remote.lab]\nurl = \"{}\"\n", sandbox.beside("lab").display()));
    assert_eq!(sandbox.run(&["remote", "trust", "lab", "--yes"]).code, 0);
    (sandbox, secret)
}

/// Does any file of the store or the remote hold the secret?
fn leaked(sandbox: &Sandbox) -> bool {
    let holds = |folder: &Path| {
        let all = if folder.is_dir() { files(folder) } else { Default::default() };
        all.values().any(|bytes| bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes()))
    };
    holds(&sandbox.path(".git/lockstep")) || holds(&sandbox.beside("lab"))
}

#[test]
fn of_data() {
    for how in ["file", "folder", "git", "chain", "nested", "itself", "parent", "dangling", "absolute"] {
        for command in ["commit", "repro", "add", "add one"] {
            let (sandbox, secret) = project();
            sandbox.write("d/y", "1\n");
            let data = if how == "parent" { "p/d" } else { "d" };
            match how {
                "file" => symlink(secret.join("id_rsa"), sandbox.path("d/x")).unwrap(),
                "folder" => symlink(&secret, sandbox.path("d/x")).unwrap(),
                "git" => symlink("../.git/token", sandbox.path("d/x")).unwrap(),
                "chain" => {
                    symlink(&secret, sandbox.path("way")).unwrap();
                    symlink("../way/id_rsa", sandbox.path("d/x")).unwrap();
                }
                "nested" => {
                    std::fs::create_dir(sandbox.path("more")).unwrap();
                    symlink(secret.join("id_rsa"), sandbox.path("more/x")).unwrap();
                    symlink("../more", sandbox.path("d/x")).unwrap();
                }
                "itself" => {
                    std::fs::remove_dir_all(sandbox.path("d")).unwrap();
                    symlink(&secret, sandbox.path("d")).unwrap();
                }
                "parent" => {
                    std::fs::create_dir(secret.join("d")).unwrap();
                    std::fs::write(secret.join("d/id_rsa"), KEY).unwrap();
                    symlink(&secret, sandbox.path("p")).unwrap();
                }
                "dangling" => symlink("../../gone", sandbox.path("d/x")).unwrap(),
                _ => symlink(std::fs::canonicalize(secret.join("id_rsa")).unwrap(), sandbox.path("d/x")).unwrap(),
            }
            let words = match command {
                "commit" | "repro" => {
                    sandbox.write("pipeline.yaml", format!("data: [{{path: {data}}}]\n"));
                    vec![command]
                }
                "add one" if how != "itself" && how != "parent" => vec!["add", "d/x"],
                _ => vec!["add", data],
            };
            let out = sandbox.run(&words);
            assert_eq!(out.code, 2, "{how} {command}: {out}");
            let is_named =
                ["leads to", "is a symlink to", "behind the symlink"].iter().any(|words| out.stderr.contains(words));
            assert!(is_named || how == "dangling", "{how} {command}: {out}");
            sandbox.run(&["push"]);
            assert!(!leaked(&sandbox), "{how} {command}");
        }
    }
}

#[test]
fn of_outputs() {
    for flags in ["", ": {cache: false}", ": {persist: true}"] {
        for link in ["ln -s SECRET/id_rsa o/x", "ln -s ../.git/token o/x", "rmdir o; ln -s SECRET o"] {
            let (sandbox, secret) = project();
            let link = link.replace("SECRET", &secret.display().to_string());
            let yaml = format!("stages: {{a: {{cmd: 'mkdir -p o; {link}', outs: [o{flags}]}}}}\n");
            sandbox.write("pipeline.yaml", yaml.replace("[o: {", "[{o: {").replace("}]", "}}]"));
            let out = sandbox.run(&["repro"]);
            assert!(out.code == 2 || out.code == 6, "{link}{flags}: {out}");
            assert!(out.stderr.contains("is a symlink that leads to"), "{link}{flags}: {out}");
            sandbox.run(&["commit", "-f"]);
            sandbox.run(&["push"]);
            assert!(!leaked(&sandbox), "{link}{flags}");
            assert_eq!(std::fs::read_to_string(secret.join("id_rsa")).unwrap(), KEY);
            // What is wrong can be mended.
            sandbox.write("pipeline.yaml", "stages: {a: {cmd: 'mkdir -p o; echo 1 > o/x', outs: [o]}}\n");
            std::fs::remove_file(sandbox.path("o/x")).or_else(|_| std::fs::remove_file(sandbox.path("o"))).unwrap();
            assert_eq!(sandbox.run(&["repro"]).code, 0);
        }
    }
}

#[test]
fn of_a_metric_goes_into_no_lock() {
    let (sandbox, secret) = project();
    std::fs::write(secret.join("m.json"), "{\"pw\": 1234567}").unwrap();
    let cmd = format!("ln -s {} m.json", secret.join("m.json").display());
    sandbox
        .write("pipeline.yaml", format!("stages: {{a: {{cmd: '{cmd}', metrics: [{{m.json: {{cache: false}}}}]}}}}\n"));
    assert_ne!(sandbox.run(&["repro"]).code, 0);
    sandbox.run(&["commit", "-f"]);
    assert!(!sandbox.exists("pipeline.lock") || !sandbox.read("pipeline.lock").contains("1234567"));
}

#[test]
fn of_what_import_brings() {
    let (sandbox, secret) = project();
    let other = sandbox.beside("other");
    std::fs::create_dir_all(other.join("d")).unwrap();
    symlink(secret.join("id_rsa"), other.join("d/x")).unwrap();
    std::fs::write(other.join("d/y"), "1\n").unwrap();
    let git = |args: &[&str]| {
        let out = crate::sandbox::output(sandbox.command("git".as_ref(), "").arg("-C").arg(&other).args(args));
        assert_eq!(out.code, 0, "{out}");
    };
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "x"]);
    for path in ["d", "d/x"] {
        let out = sandbox.run(&["import", other.to_str().unwrap(), path]);
        assert_ne!(out.code, 0, "{out}");
        sandbox.run(&["commit"]);
        sandbox.run(&["push"]);
        assert!(!leaked(&sandbox), "{path}: {out}");
    }
}

#[test]
fn a_dep_is_hashed_and_never_stored() {
    let (sandbox, secret) = project();
    std::fs::create_dir(sandbox.path("d")).unwrap();
    symlink(secret.join("id_rsa"), sandbox.path("d/x")).unwrap();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: 'wc -c d/x > o', deps: [d], outs: [o]}}\n");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    assert_eq!(sandbox.run(&["push"]).code, 0);
    assert!(!leaked(&sandbox));
    std::fs::write(secret.join("id_rsa"), KEY.repeat(2)).unwrap();
    assert!(sandbox.run(&["status"]).stdout.contains('a'));
}

#[test]
fn links_that_stay_inside_are_stored() {
    let (sandbox, _) = project();
    sandbox.write("src/f", "f\n");
    sandbox.write("d/y", "1\n");
    for (text, name) in [("../src/f", "d/file"), ("../src", "d/folder"), ("y", "d/own"), ("nowhere", "d/dangling")] {
        symlink(text, sandbox.path(name)).unwrap();
    }
    symlink("d", sandbox.path("e")).unwrap();
    sandbox.write("pipeline.yaml", "data: [{path: d}, {path: e}]\n");
    for command in [&["commit"][..], &["push"], &["status"]] {
        let out = sandbox.run(command);
        assert_eq!(out.code, 0, "{command:?} {out}");
    }
}
