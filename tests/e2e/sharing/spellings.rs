//! An address is read in one way by every command: understood, or refused with the spelling that is meant, and never made
//! a folder in the workspace.

use std::collections::BTreeSet;
use std::fs;

use crate::sandbox::{Sandbox, output};
use crate::sharing::fine;

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "data: [{path: d}]\n");
    sandbox.write("d", "1");
    fine(&sandbox.run(&["commit", "-q"]));
    sandbox
}

fn names(sandbox: &Sandbox) -> BTreeSet<std::ffi::OsString> {
    fs::read_dir(sandbox.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn slips_make_no_folder() {
    let sandbox = project();
    sandbox.write("lockstep.toml", "");
    let before = names(&sandbox);
    for (url, hint) in [
        ("s3:/bucket/x", "s3://bucket/x"),
        ("S3:bucket/x", "S3://bucket/x"),
        ("s3//bucket/x", "s3://bucket/x"),
        ("http:/host/x", "http://host/x"),
        ("webdavs:host/x", "webdavs://host/x"),
        ("gs:/b", "gs://b"),
        ("me@host:/srv", "ssh://me@host/srv"),
        ("me@host:srv", "ssh://me@host/absolute/path/srv"),
        ("me@host/srv", "ssh://me@host/srv"),
        ("nas:/x", "ssh://nas/x"),
        ("nas:2222/x", "ssh://nas:2222/x"),
        ("file:x", "file:///path"),
        ("file://x/y", "file:///path"),
        ("file://~/y", "~/y"),
        ("C:\\store", "/mnt/c/store"),
        ("c:/store", "/mnt/c/store"),
        ("\\\\nas\\share", "the folder where the share is mounted"),
        ("..\\store", "../store"),
        ("$HOME/store", "~/…"),
        ("~ann/store", "write the whole path"),
        (" /mnt/x", "begins or ends with a blank"),
        ("s3://b/a/../c", "s3://b/c"),
        ("s3://b:9000/c", "endpoint_url"),
        ("s3://key:word@b/c", "credentials"),
        ("azure://c/x?sv=1&sig=2", "sas_token"),
        ("https://acc.blob.core.windows.net/c/x?sv=1&sig=2", "azure://container/prefix"),
        ("https://h/a%2fb", "has a slash"),
        ("https://h/a/%ff", "the bytes at character 13 are not UTF-8"),
        ("file:///mnt/%80", "the bytes at character 13 are not UTF-8"),
        ("http://::1/x", "letters that such a name cannot have"),
    ] {
        for args in [
            &["remote", "add", "lab", url][..],
            &["remote", "add", "--local", "lab", url],
            &["config", "remote.lab.url", url],
            &["config", "--local", "remote.lab.url", url],
            &["config", "--user", "remote.lab.url", url],
        ] {
            let out = sandbox.run(args);
            assert!(out.code == 2 && out.stderr.contains(hint), "{args:?}: {out}");
        }
        // The settings may have it nevertheless.
        let quoted = serde_json::to_string(url).unwrap();
        sandbox.write(".git/lockstep/config.toml", format!("[remote.lab]\nurl = {quoted}\n"));
        for args in [
            &["push"][..],
            &["pull"],
            &["fetch"],
            &["status", "-c"],
            &["remote", "check"],
            &["remote", "trust", "lab", "--yes"],
            &["verify", "--remote", "lab"],
            &["gc", "-c", "-w", "--force"],
        ] {
            let out = sandbox.run(args);
            let is_idle = out.code == 0 && ["pull", "fetch"].contains(&args[0]);
            assert!(out.code == 2 && out.stderr.contains(hint) || is_idle, "{url} {args:?}: {out}");
        }
        let out = sandbox.run(&["push"]);
        let place = "because: remote.lab.url in ";
        assert!(out.stderr.contains(place) && out.stderr.contains("lockstep/config.toml says so"), "{out}");
        let out = sandbox.run(&["push", "-r", url]);
        assert!(out.code == 2, "{out}");
        sandbox.remove(".git/lockstep/config.toml");
        assert_eq!(names(&sandbox), before, "{url}");
    }
}

#[test]
fn folders_are_one_however_they_are_spelled() {
    let sandbox = project();
    let lab = sandbox.root().parent().unwrap().join("my lab");
    let file = lab.display().to_string().replace(' ', "%20");
    let home = sandbox.root().parent().unwrap().join("home");
    assert_eq!(sandbox.run(&["config", "jobs", "1"]).code, 0);
    for url in [
        lab.display().to_string(),
        format!("{}/", lab.display()),
        "../my lab".to_string(),
        format!("file://{file}"),
        format!("FILE://{file}"),
        format!("file:{file}"),
        format!("file://localhost{file}"),
        "~/../my lab".to_string(),
    ] {
        fine(&sandbox.run(&["remote", "add", "-q", "--force", "-d", "lab", &url]));
        let mut command = sandbox.lockstep("");
        let out = output(command.args(["push"]).env("HOME", &home));
        fine(&out);
        assert!(lab.join("lockstep-remote").is_file(), "{url}: {out}");
        fs::remove_dir_all(&lab).unwrap();
    }
}

#[test]
fn a_folder_of_an_odd_name_is_written_as_a_path() {
    for name in ["s3:", "a:b", "me@host", "~", "$x"] {
        let sandbox = project();
        let url = format!("./{name}/x");
        fs::create_dir(sandbox.path(name)).unwrap();
        fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", &url]));
        let out = sandbox.run(&["push"]);
        assert!(out.code == 0 && sandbox.path(name).join("x/lockstep-remote").is_file(), "{name}: {out}");
    }
}

#[test]
fn without_home_a_tilde_is_an_error() {
    let sandbox = project();
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "~/store"]));
    let before = names(&sandbox);
    for args in [
        &["push"][..],
        &["pull"],
        &["status", "-c"],
        &["remote", "check"],
        &["list", "~/store", "x"],
        &["import", "~/store", "x"],
    ] {
        for home in [None, Some("")] {
            let mut command = sandbox.lockstep("");
            match home {
                Some(home) => command.env("HOME", home),
                None => command.env_remove("HOME"),
            };
            let out = output(command.args(args));
            assert!(out.code != 0 && out.stderr.contains("HOME"), "{args:?}: {out}");
        }
    }
    assert_eq!(names(&sandbox), before);
}

/// Repositories that are imported from are told apart from folders in the same way.
#[test]
fn repositories_are_read_alike() {
    let there = Sandbox::new();
    there.write("f", "1");
    there.git(&["add", "-A"]);
    there.git(&["commit", "-qm", "x"]);
    let sandbox = Sandbox::new();
    let odd = sandbox.path("../odd %41 name");
    std::os::unix::fs::symlink(there.root(), &odd).unwrap();
    std::os::unix::fs::symlink(there.root(), sandbox.path("../home/repo")).unwrap();
    let home = sandbox.root().parent().unwrap().join("home");
    let file = odd.canonicalize().unwrap().display().to_string();
    std::os::unix::fs::symlink(there.root(), sandbox.path("a:b")).unwrap();
    for (n, url) in [file.clone(), format!("FILE://{file}"), format!("file:{file}"), "~/repo".into(), "./a:b".into()]
        .iter()
        .enumerate()
    {
        for args in [vec!["list", url], vec!["get", url, "f", "--force"], vec!["import", url, "f", "-o"]] {
            let place = format!("i{n}");
            let args = if args[0] == "import" { [args, vec![&place]].concat() } else { args };
            let mut command = sandbox.lockstep("");
            fine(&output(command.args(&args).env("HOME", &home)));
        }
        sandbox.remove(&format!("i{n}"));
    }
    // Each import is found again by what the pipeline file says.
    sandbox.remove(".git/lockstep/store");
    let mut command = sandbox.lockstep("");
    fine(&output(command.args(["pull", "-q"]).env("HOME", &home)));
    for url in ["C:\\repo", "$HOME/repo", "~ann/repo", "file://host/repo", " https://h/x"] {
        for args in [&["list", url, "f"][..], &["get", url, "f"], &["import", url, "f"]] {
            let out = sandbox.run(args);
            assert!(out.code == 2 && out.stderr.contains("names no repository"), "{args:?}: {out}");
        }
    }
}

/// The folder of the store is a path, and no address.
#[test]
fn the_store_lies_in_no_folder_of_an_odd_name() {
    let sandbox = project();
    let before = names(&sandbox);
    for dir in ["s3://b/x", "file:///x", "nas:/x", "C:\\store", "$HOME/store", "~ann/store", "..\\store"] {
        let out = sandbox.run(&["cache", "dir", "--local", dir]);
        assert!(out.code == 2 && out.stderr.contains("cannot be a folder"), "{dir}: {out}");
        let quoted = serde_json::to_string(dir).unwrap();
        sandbox.write(".git/lockstep/config.toml", format!("[cache]\ndir = {quoted}\n"));
        let out = sandbox.run(&["commit"]);
        assert!(out.code == 2 && out.stderr.contains("cannot be a folder"), "{dir}: {out}");
        sandbox.remove(".git/lockstep/config.toml");
    }
    assert_eq!(names(&sandbox), before);
}

/// A folder that is typed below the root is the same by `config` as by `remote add`.
#[test]
fn config_writes_a_folder_from_the_root() {
    let sandbox = project();
    fs::create_dir(sandbox.path("sub")).unwrap();
    fine(&sandbox.run_in("sub", &["config", "--local", "remote.lab.url", "../../lab"]));
    let settings = sandbox.read(".git/lockstep/config.toml");
    assert!(settings.contains("url = \"../lab\""), "{settings}");
    fine(&sandbox.run(&["push", "-q"]));
    assert!(sandbox.path("../lab/lockstep-remote").is_file());
}
