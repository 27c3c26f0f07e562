//! Which folders are used, and that nothing else is touched.

use std::fs;
use std::os::unix::fs::symlink;

use super::Site;

#[test]
fn content_of_others_is_refused_and_stays() {
    let site = Site::new("");
    site.register("one", "v1.0.0");
    let at = |path: &str| site.sandbox.path(path);
    fs::create_dir_all(at("../full")).unwrap();
    fs::write(at("../full/theirs"), "x").unwrap();
    fs::create_dir_all(at("../real/current")).unwrap();
    fs::create_dir_all(at("../empty")).unwrap();
    symlink("empty", at("../link")).unwrap();
    fs::write(at("../file"), "x").unwrap();
    for (name, part) in [("own", ".deploy"), ("rel", "releases"), ("stage", ".deploy/staging")] {
        let part = at(&format!("../{name}/{part}"));
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        symlink("../empty", part).unwrap();
    }
    fs::create_dir_all(at("../marked/.deploy")).unwrap();
    fs::write(at("../marked/.deploy/lock"), "").unwrap();
    fs::create_dir(at("../marked/current")).unwrap();
    for (to, words) in [
        ("../full", "theirs is there already"),
        ("../real", "current is there already"),
        ("../link", "is a symlink"),
        ("../file", "is a file"),
        ("../own", ".deploy"),
        ("../rel", "releases"),
        ("../stage", "staging"),
        ("../marked", "current is not a symlink"),
        (".git/x", "lies in"),
        (".lockstep/x", "lies in"),
        ("model.bin", "outputs, data"),
        ("..", "holds the repository"),
    ] {
        let out = site.run(&["deploy", "digits@v1.0.0", "--to", to]);
        assert_eq!(out.code, 2, "{to}: {out}");
        assert!(out.stderr.contains(words), "{to}: {out}");
    }
    assert_eq!(fs::read_dir(at("../empty")).unwrap().count(), 0);
    assert!(at("../marked/current").is_dir() && at("../full/theirs").exists());
    // A folder of the repository: Git does not see it.
    site.ok(&["deploy", "digits@v1.0.0", "--to", "here"]);
    assert_eq!(site.sandbox.git(&["status", "--short"]), "");
}

#[test]
fn a_file_of_the_repository_names_no_folder_outside_and_no_command_comes_with_a_commit() {
    let site = Site::new("to: ../../srv\nafter: touch ran");
    site.ok(&["config", "--local", "--unset", "deploy.prod.to"]);
    site.register("one", "v1.0.0");
    site.promote("v1.0.0");
    let out = site.run(&["deploy", "prod"]);
    assert_eq!(out.code, 2, "{out}");
    assert!(out.stderr.contains("lockstep config --local deploy.prod.to"), "{out}");
    assert_eq!(site.run(&["config", "deploy.prod.to", "/x"]).code, 2);
    site.sandbox.write("lockstep.toml", "[deploy.prod]\nto = \"../srv\"\n");
    assert_eq!(site.run(&["deploy", "prod"]).code, 2);
    assert!(!site.sandbox.exists("ran") && !site.srv().exists());
    site.sandbox.write("lockstep.toml", "");
    let folder = site.srv().display().to_string();
    site.ok(&["config", "--local", "deploy.prod.to", &folder]);
    // The commit of the version has `touch ran`; the worktree has another command.
    site.target("after: touch mine");
    site.ok(&["deploy", "prod"]);
    assert!(site.sandbox.exists("mine") && !site.sandbox.exists("ran"));
}

#[test]
fn targets_are_checked() {
    let site = Site::new("");
    site.register("one", "v1.0.0");
    let text = site.sandbox.read("pipeline.yaml");
    for (deploy, words) in [
        ("{log: {to: x}}", "is a subcommand"),
        ("{a/b: {to: x}}", "must be letters"),
        ("{prod: {labl: prod}}", "did you mean `label`?"),
        ("{prod: {keep: -1}}", "must be a number from 0"),
        ("{prod: {timeout: soon}}", "is not a time"),
        ("{prod: {require: [sign]}}", "`signed` or `stored`"),
        ("{prod: {link: soft}}", "must be `reflink`"),
        ("{prod: {to: 's3://h/x'}}", "is not a folder"),
        ("{prod: {label: prod}}", "there is no folder to deploy to"),
        ("{prod: {artifact: nope, to: x}}", "no version of nope"),
    ] {
        let start = text.find("deploy:").unwrap();
        site.sandbox.write("pipeline.yaml", format!("{}deploy: {deploy}\n", &text[..start]));
        site.run(&["config", "--local", "--unset", "deploy.prod.to"]);
        let out = site.run(&["deploy", "prod"]);
        assert!((2..=3).contains(&out.code), "{deploy}: {out}");
        assert!(out.stderr.contains(words), "{deploy}: {out}");
    }
    site.sandbox.write("pipeline.yaml", text);
    site.sandbox.write("sub/pipeline.yaml", "deploy: {prod: {to: x}}\n");
    let out = site.run(&["deploy", "prod"]);
    assert!(out.code == 2 && out.stderr.contains("two deployment targets have the name prod"), "{out}");
}
