//! `import`, `update`, `pull` and `repro` with repositories of the hub.

use super::{Hub, bytes, ok, weights};
use crate::sandbox::{Output, Sandbox};

fn shown(sandbox: &Sandbox, output: &Output, hub: &Hub) -> String {
    sandbox.shown(output).replace(&hub.endpoint(), "[HUB]")
}

#[test]
fn a_file_is_pinned_to_its_commit_and_downloaded() {
    let Some(hub) = Hub::start() else { return };
    let content = weights(1, 700_000);
    let first = hub.commit("org/model", &[("config.json", "{}")], &[("model.safetensors", &content)]);
    let user = hub.user();
    let out = user.run(&["import", "hf://org/model@main", "model.safetensors"]);
    insta::assert_snapshot!(shown(&user, &out, &hub).replace(&first[..7], "[COMMIT]"), @r"
    exit 0
    --- stderr
    model.safetensors: 1 file, pinned
    model.safetensors is model.safetensors of hf://org/model at main ([COMMIT])
    next: git add .gitignore pipeline.lock pipeline.yaml
    ");
    assert!(bytes(&user, "model.safetensors") == content);
    let text = user.read("pipeline.yaml").replace('\'', "");
    insta::assert_snapshot!(text.replace(&first, "[COMMIT]"), @r"
    data:
    - path: model.safetensors
      import:
        url: hf://org/model
        path: model.safetensors
        rev: main
        commit: [COMMIT]
    ");
    // Nothing else is contacted: the state of the workspace is known.
    hub.requests();
    ok(&user.run(&["status"]));
    assert_eq!(hub.requests(), [""; 0]);
    // No copy of the download is left.
    assert!(super::files_below(&user.path(".git")).iter().all(|file| file.extension().is_none_or(|e| e != "part")));
}

#[test]
fn a_whole_dataset_gets_its_name_and_is_updated_with_what_changed() {
    let Some(hub) = Hub::start() else { return };
    let (big, small) = (weights(1, 500_000), weights(2, 3_000));
    hub.commit(
        "datasets/org/squad",
        &[("README.md", "1"), ("run.py", "x")],
        &[("data/big.bin", &big), ("data/a.bin", &small), ("data/b.bin", &small)],
    );
    let user = hub.user();
    ok(&user.run(&["import", "hf://datasets/org/squad", "."]));
    assert!(bytes(&user, "squad/data/big.bin") == big && bytes(&user, "squad/data/b.bin") == small);
    assert_eq!(user.read("squad/README.md"), "1");
    let downloads = |requests: Vec<String>| requests.iter().filter(|line| line.starts_with("cdn ")).count();
    // Equal files are downloaded once.
    assert_eq!(downloads(hub.requests()), 2);

    let new = weights(3, 4_000);
    let second = hub.commit("datasets/org/squad", &[("README.md", "2")], &[("data/a.bin", &new)]);
    let out = user.run(&["update"]);
    ok(&out);
    assert!(bytes(&user, "squad/data/a.bin") == new && bytes(&user, "squad/data/big.bin") == big);
    assert!(user.read("pipeline.yaml").contains(&second));
    // The large file is the same, and is here.
    assert_eq!(downloads(hub.requests()), 1);

    // An edit that is recorded stays.
    user.write("squad/data/a.bin", "mine");
    ok(&user.run(&["commit"]));
    hub.commit("datasets/org/squad", &[("README.md", "3")], &[]);
    let out = user.run(&["update"]);
    assert!(out.code == 1 && out.stderr.contains("may differ from what was imported"), "{out}");
    assert_eq!(user.read("squad/data/a.bin"), "mine");
}

#[test]
fn another_clone_gets_the_pinned_bytes_from_a_remote_or_from_the_hub() {
    let Some(hub) = Hub::start() else { return };
    let content = weights(1, 200_000);
    hub.commit("org/model", &[], &[("m/model.bin", &content)]);
    let user = hub.user();
    user.write("pipeline.yaml", "stages:\n  s:\n    cmd: wc -c < m/model.bin > out\n    deps: [m]\n    outs: [out]\n");
    ok(&user.run(&["import", "hf://org/model", "m"]));
    user.git(&["add", "-A"]);
    user.git(&["commit", "-qm", "import"]);
    // The branch of the hub moves on, and the import does not.
    hub.commit("org/model", &[], &[("m/model.bin", &weights(2, 10))]);

    for (clone, verb) in [("../pulled", &["pull", "m"][..]), ("../made", &["repro", "--pull"])] {
        user.git(&["clone", "-q", ".", clone]);
        hub.requests();
        ok(&user.run_in(clone, verb));
        assert!(bytes(&user, &format!("{clone}/m/model.bin")) == content, "{verb:?}");
        assert!(!hub.requests().is_empty());
    }
    // With a remote that has them, the hub is not asked.
    ok(&user.run(&["remote", "add", "-d", "there", user.path("../there").to_str().unwrap()]));
    ok(&user.run(&["push", "m"]));
    user.git(&["clone", "-q", ".", "../third"]);
    ok(&user.run_in("../third", &["remote", "add", "-d", "there", user.path("../there").to_str().unwrap()]));
    hub.requests();
    ok(&user.run_in("../third", &["pull", "m"]));
    assert!(bytes(&user, "../third/m/model.bin") == content);
    assert_eq!(hub.requests(), [""; 0]);
}

#[test]
fn the_pin_of_the_lock_decides_which_bytes_are_used() {
    let Some(hub) = Hub::start() else { return };
    hub.commit("org/model", &[], &[("model.bin", &weights(1, 2_000))]);
    let user = hub.user();
    ok(&user.run(&["import", "hf://org/model", "model.bin"]));
    let second = hub.commit("org/model", &[], &[("model.bin", &weights(2, 2_000))]);
    // Someone edits the commit and not the lock.
    let text = user.read("pipeline.yaml");
    let (before, _) = text.split_once("commit: ").unwrap();
    user.write("pipeline.yaml", format!("{before}commit: '{second}'\n"));
    user.git(&["add", "-A"]);
    user.git(&["commit", "-qm", "import"]);
    user.git(&["clone", "-q", ".", "../clone"]);
    let out = user.run_in("../clone", &["pull"]);
    assert!(out.code != 0 && out.stderr.contains("is pinned to other bytes"), "{out}");
    assert!(!user.exists("../clone/model.bin"));
}

#[test]
fn revisions_of_the_hub() {
    let Some(hub) = Hub::start() else { return };
    let first = hub.commit("org/model", &[("f", "1")], &[]);
    let second = hub.commit("org/model", &[("f", "2")], &[]);
    let bare = hub.sandbox.path("repos/org/model.git");
    let git = |args: &[&str]| hub.sandbox.git(&[&["-C", bare.to_str().unwrap()], args].concat());
    git(&["update-ref", "refs/pr/1", &second]);
    git(&["tag", "v1", &first]);
    // The branch is rewritten: the second commit is on no branch any more.
    git(&["update-ref", "refs/heads/main", &first]);
    let user = hub.user();
    for (address, want) in [
        ("hf://org/model", "1"),
        ("hf://org/model@v1", "1"),
        ("hf://org/model@refs/pr/1", "2"),
        ("hf://org/model@refs%2Fpr%2F1", "2"),
        (&format!("hf://org/model@{second}"), "2"),
        (&format!("hf://org/model@{first}"), "1"),
    ] {
        ok(&user.run(&["get", "--force", address, "f"]));
        assert_eq!(user.read("f"), want, "{address}");
    }
    for (args, says) in [
        (&["get", "hf://org/model@v1", "f", "--rev", "main"][..], "two revisions"),
        (&["get", "hf://org/model@none", "f"], "none"),
        (&["get", "hf://org/model/f", "x"], "hf://org/model PATH"),
        (&["get", "hf://org/model@v1"], "give a path in it"),
        (&["import", "hf://user:hf_Secret4567@org/model", "f"], "names no repository"),
        (&["remote", "add", "r", "hf://org/model"], "hf"),
    ] {
        let out = user.run(args);
        assert!(out.code != 0 && out.stderr.contains(says) && !out.stderr.contains("hf_Secret"), "{args:?} {out}");
    }
    let listed = user.run(&["list", "hf://org/model@refs/pr/1", "-R", "--size"]);
    ok(&listed);
}

#[test]
fn sizes_are_those_of_the_files() {
    let Some(hub) = Hub::start() else { return };
    hub.commit("org/model", &[("config.json", "{}")], &[("model.bin", &weights(1, 123_456))]);
    let out = hub.user().run(&["list", "hf://org/model", "--size", "--json"]);
    ok(&out);
    assert!(out.stdout.contains("123456"), "{out}");
}
