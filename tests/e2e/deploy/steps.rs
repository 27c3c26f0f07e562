//! What a deployment does, and what it leaves.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::Value as Json;

use super::{Site, names};
use crate::sandbox::output;

#[test]
fn a_release_is_whole_read_only_and_described() {
    let site = Site::new("check: cp $LOCKSTEP_RELEASE/model.bin checked\nafter: cat ../srv/current/model.bin > served");
    site.register("one", "v1.0.0");
    site.promote("v1.0.0");
    let dry = site.ok(&["deploy", "prod", "--dry"]);
    assert!(dry.stderr.contains("would deploy digits v1.0.0 in place of nothing"), "{dry}");
    assert!(!site.srv().exists());
    assert_eq!(site.state(&[]).0, "empty");
    site.ok(&["deploy", "prod"]);
    assert_eq!(site.current().as_deref(), Some("model-one"));
    assert_eq!((site.sandbox.read("checked"), site.sandbox.read("served")), ("model-one".into(), "model-one".into()));
    assert_eq!(site.state(&["--read-data"]), ("ok".into(), vec![]));
    let releases = names(&site.srv().join("releases"));
    assert_eq!(releases.len(), 1);
    assert!(releases[0].starts_with("v1.0.0-"), "{releases:?}");
    let release = site.srv().join("current");
    assert_eq!(names(&release), ["lockstep.json", "model.bin", "provenance.json"]);
    let manifest: Json = serde_json::from_str(&fs::read_to_string(release.join("lockstep.json")).unwrap()).unwrap();
    let sums = output(site.sandbox.command("sha256sum".as_ref(), "").arg(release.join("model.bin"))).stdout;
    assert!(sums.starts_with(manifest["files"][0]["sha256"].as_str().unwrap()), "{sums} {manifest}");
    assert_eq!(manifest["blake3"], manifest["files"][0]["blake3"]);
    for name in ["lockstep.json", "model.bin", "provenance.json"] {
        let meta = fs::metadata(release.join(name)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o444, 1), "{name}");
    }
    let statement = site.ok(&["model", "provenance", "digits@v1.0.0"]).stdout;
    let (there, here): (Json, Json) = (
        serde_json::from_str(&fs::read_to_string(release.join("provenance.json")).unwrap()).unwrap(),
        serde_json::from_str(&statement).unwrap(),
    );
    assert_eq!(there, here);
    // The same version again changes nothing, and the same version elsewhere has the same bytes.
    let journal = fs::read(site.srv().join(".deploy/journal.jsonl")).unwrap();
    let again = site.ok(&["deploy", "prod"]);
    assert!(again.stderr.contains("is current already"), "{again}");
    assert_eq!(fs::read(site.srv().join(".deploy/journal.jsonl")).unwrap(), journal);
    site.ok(&["deploy", "digits@v1.0.0", "--to", "../other"]);
    let text = |folder: &str| site.sandbox.read(&format!("{folder}/current/lockstep.json"));
    assert_eq!(text("../other"), text("../srv"));
}

#[test]
fn drift_is_named_and_repaired() {
    let site = Site::new("");
    site.register("one", "v1.0.0");
    site.promote("v1.0.0");
    site.ok(&["deploy", "prod"]);
    let model = site.srv().join("current/model.bin");
    let mode = |mode| fs::set_permissions(&model, fs::Permissions::from_mode(mode)).unwrap();
    let time = fs::metadata(&model).unwrap().modified().unwrap();
    mode(0o644);
    assert_eq!(site.state(&[]), ("modified".into(), vec!["model.bin has mode 0644 instead of 0444".into()]));
    fs::write(&model, "model-two").unwrap();
    mode(0o444);
    assert_eq!(site.state(&[]), ("modified".into(), vec!["model.bin has other bytes".into()]));
    // The time is put back: only reading shows it.
    mode(0o644);
    fs::File::options().write(true).open(&model).unwrap().set_modified(time).unwrap();
    mode(0o444);
    assert_eq!(site.state(&[]).0, "ok");
    assert_eq!(site.state(&["--read-data"]).0, "modified");
    fs::File::options().read(true).open(&model).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    let out = site.ok(&["deploy", "prod"]);
    assert!(out.stderr.contains("is current in"), "{out}");
    assert_eq!(site.current().as_deref(), Some("model-one"));
    // The damaged release was not touched: a server may have it mapped.
    assert_eq!(names(&site.srv().join("releases")).len(), 2);
    assert_eq!(site.state(&["--read-data"]).0, "ok");
    fs::remove_file(site.srv().join("current")).unwrap();
    assert_eq!(site.state(&[]).0, "moved");
    std::os::unix::fs::symlink("/etc", site.srv().join("current")).unwrap();
    assert_eq!(site.state(&[]).0, "moved");
    let out = site.run(&["deploy", "prod"]);
    assert_eq!(out.code, 1, "{out}");
    assert!(fs::read_link(site.srv().join("current")).unwrap().starts_with("/etc"));
}

#[test]
fn old_releases_go_and_other_things_stay() {
    let site = Site::new("keep: 1");
    for n in 1..=5 {
        site.register(&format!("s{n}"), &format!("v{n}.0.0"));
    }
    let srv = site.srv().display().to_string();
    site.ok(&["deploy", "digits@v1.0.0", "--to", &srv]);
    let theirs = site.srv().join("releases/theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(site.srv().join("releases/notes.txt"), "mine").unwrap();
    for n in 2..=5 {
        site.ok(&["deploy", &format!("digits@v{n}.0.0"), "--to", &srv, "--keep", "1"]);
    }
    let left: Vec<String> = names(&site.srv().join("releases"));
    let left: Vec<&str> = left.iter().map(|name| name.split('-').next().unwrap()).collect();
    // The current one, the one before, and one more.
    assert_eq!(left, ["notes.txt", "theirs", "v3.0.0", "v4.0.0", "v5.0.0"]);
    assert!(site.staging().is_empty());
}

#[test]
fn folders_links_and_files_of_git() {
    let site = Site::new("");
    let sandbox = &site.sandbox;
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  make:\n    cmd: sh make.sh\n    deps: [make.sh]\n    outs: [hf, {small.txt: {cache: false}}]\n\
         artifacts:\n  hf: {path: hf}\n  small: {path: small.txt}\n",
    );
    let script = |link: &str| {
        let text = format!(
            "mkdir -p hf/sub; echo w > hf/sub/w.bin; echo x > hf/run; chmod +x hf/run; ln -s {link} hf/link; echo s > small.txt\n"
        );
        sandbox.write("make.sh", text);
        site.ok(&["repro", "--force"]);
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", link]);
    };
    script("sub/w.bin");
    for name in ["hf", "small"] {
        site.ok(&["model", "register", name, "--version", "v1.0.0"]);
        site.ok(&["deploy", &format!("{name}@v1.0.0"), "--to", &format!("../{name}")]);
    }
    let top = sandbox.path("../hf/current/hf");
    assert_eq!(fs::read_to_string(top.join("link")).unwrap(), "w\n");
    assert_eq!(fs::metadata(top.join("run")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(sandbox.read("../small/current/small.txt"), "s\n");
    let again = site.ok(&["deploy", "hf", "--to", "../hf"]);
    assert!(again.stderr.contains("current already"), "{again}");
    let again = site.ok(&["deploy", "hf", "--to", "../hf", "--force"]);
    assert!(again.stderr.contains("is current in"), "{again}");
    assert_eq!(names(&sandbox.path("../hf/releases")).len(), 1, "the same release is used again");
}

#[test]
fn without_git_a_pinned_path_is_deployed() {
    let sandbox = crate::sandbox::Sandbox::without_git();
    sandbox.run(&["init", "--no-scm"]);
    sandbox
        .write("pipeline.yaml", "stages: {a: {cmd: echo m > m.bin, outs: [m.bin]}}\nartifacts: {m: {path: m.bin}}\n");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    // What is pinned counts, not what is on disk now.
    sandbox.remove("m.bin");
    let out = sandbox.run(&["deploy", "m.bin", "--to", "../srv"]);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(sandbox.read("../srv/current/m.bin"), "m\n");
    let out = sandbox.run(&["deploy", "m", "--to", "../srv"]);
    assert_eq!(out.code, 2, "{out}");
    assert!(out.stderr.contains("versions are Git tags"), "{out}");
}

#[test]
fn requirements_and_withdrawn_versions() {
    let site = Site::new("");
    site.register("one", "v1.0.0");
    site.promote("v1.0.0");
    for (args, words) in [
        (vec!["deploy", "prod", "--require", "stored"], "there is no remote"),
        (vec!["deploy", "prod", "--require", "signed"], "signatures are required"),
    ] {
        let out = site.run(&args);
        assert_eq!(out.code, 1, "{args:?}: {out}");
        assert!(out.stderr.contains(words), "{args:?}: {out}");
        assert!(!site.srv().exists());
    }
    site.ok(&["remote", "add", "-d", "nas", "../nas"]);
    site.ok(&["push"]);
    site.ok(&["deploy", "prod", "--require", "stored"]);
    site.ok(&["model", "deprecate", "digits@v1.0.0"]);
    let out = site.run(&["deploy", "digits@v1.0.0", "--to", "../srv2"]);
    assert_eq!(out.code, 1, "{out}");
    assert!(out.stderr.contains("was withdrawn") && !site.sandbox.exists("../srv2"), "{out}");
    site.ok(&["deploy", "digits@v1.0.0", "--to", "../srv2", "--force"]);
    assert_eq!(site.run(&["deploy", "digits@v2.0.0", "--to", "../srv2"]).code, 3);
}
