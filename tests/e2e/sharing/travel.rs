//! Outputs on their way: push, fetch, pull, `status -c`, in two clones.

use crate::sandbox::{Sandbox, output};
use crate::sharing::{clone, files, fine, lab, same};

#[test]
fn what_one_clone_pushes_another_pulls() {
    let sandbox = lab();
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["push"])), @r"
    exit 0
    --- stderr
    pushed d (2.7 MB)
    pushed small (20.0 kB)
    pushed large (2.0 MB)
    lab has everything now: 4.7 MB in 64 objects, 2 runs sent
    ");
    let kinds = ["objects", "packs", "index", "tmp"].map(|below| files(&sandbox, below).len());
    // Two large files; the small ones and the trees in a pack or two; a segment and the list of segments.
    assert_eq!((kinds[0], kinds[2], kinds[3]), (2, 2, 0));
    assert!((1..=2).contains(&kinds[1]), "{kinds:?}");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run(&["push", "-v"])), @r"
    exit 0
    --- stderr
    lab has everything
    lab: 3 requests, 46 B received
    ");

    let b = clone(&sandbox, "b");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["status", "-c"])), @r"
    exit 0
    --- stdout
    lab: 3 outputs not here, 4.7 MB: lockstep pull
      d (2.7 MB)
      small (20.0 kB)
      large (2.0 MB)
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["pull"])), @r"
    exit 0
    --- stderr
    restored d
    restored small
    restored large
    4.7 MB in 64 objects fetched
    ");
    assert!(same(&sandbox, "", &b, &["d", "small", "large"]));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["pull"])), @r"
    exit 0
    --- stderr
    everything is in place
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["status", "-c"])), @r"
    exit 0
    --- stderr
    lab has everything, and so has this clone
    ");
    fine(&sandbox.run_in(&b, &["repro", "-q"]));
    assert!(sandbox.ran().is_empty());
}

#[test]
fn a_fetch_leaves_the_workspace_alone() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let b = clone(&sandbox, "b");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["fetch", "use"])), @r"
    exit 0
    --- stderr
    fetched small (20.0 kB)
    fetched large (2.0 MB)
    2.0 MB in 2 objects from lab
    ");
    assert!(!sandbox.exists("../b/small"));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["checkout", "small"])), @r"
    exit 0
    --- stderr
    restored small
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["fetch", "use"])), @r"
    exit 0
    --- stderr
    everything is here
    ");
}

#[test]
fn only_what_is_new_travels() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let b = clone(&sandbox, "b");
    fine(&sandbox.run_in(&b, &["pull", "-q"]));
    // One file of the folder changes: a pack with that file and its tree is all that is sent.
    sandbox.write("pipeline.yaml", crate::sharing::PIPELINE.replace("; echo gen", "; echo new > d/f7; echo gen"));
    fine(&sandbox.run(&["repro", "-q", "gen"]));
    let before = files(&sandbox, "");
    let out = sandbox.run(&["push", "gen", "--json"]);
    fine(&out);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(json["remotes"][0]["objects"], 2, "{out}");
    assert!(json["remotes"][0]["cost"]["sent"].as_u64().unwrap() < 10_000, "{out}");
    let after = files(&sandbox, "");
    // A pack and a segment; the list of segments was there.
    assert_eq!(after.len() - before.len(), 2, "{after:?}");
    sandbox.git(&["commit", "-qam", "y"]);
    sandbox.command("git".as_ref(), &b).args(["pull", "-q"]).status().unwrap();
    let out = sandbox.run_in(&b, &["pull", "gen", "--json"]);
    fine(&out);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert!(json["remotes"][0]["cost"]["received"].as_u64().unwrap() < 20_000, "{out}");
    assert!(same(&sandbox, "", &b, &["d"]));
}

#[test]
fn results_of_runs_travel_with_the_outputs() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let b = clone(&sandbox, "b");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["fetch", "--run-cache"])), @r"
    exit 0
    --- stderr
    fetched d (2.7 MB)
    fetched small (20.0 kB)
    fetched large (2.0 MB)
    4.7 MB in 64 objects, 2 new entries of the run cache from lab
    ");
    // Without a lock the run cache knows what the stages made.
    sandbox.remove("../b/pipeline.lock");
    fine(&sandbox.run_in(&b, &["repro", "-q"]));
    assert!(sandbox.ran().is_empty());
    assert!(same(&sandbox, "", &b, &["d", "small", "large"]));
}

#[test]
fn an_unsaved_change_is_never_overwritten() {
    let sandbox = lab();
    fine(&sandbox.run(&["push", "-q"]));
    let b = clone(&sandbox, "b");
    sandbox.write("../b/small", "mine");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["pull"])), @r"
    exit 1
    --- stderr
    error: small was changed and saved nowhere; nothing was touched
      hint: throw the changes away: lockstep checkout --force
      hint: or record them: lockstep commit
    ");
    assert_eq!(sandbox.read("../b/small"), "mine");
    fine(&sandbox.run_in(&b, &["pull", "-q", "--force"]));
    assert!(same(&sandbox, "", &b, &["d", "small", "large"]));
}

#[test]
fn what_is_nowhere_is_named() {
    let sandbox = lab();
    let b = clone(&sandbox, "b");
    fine(&sandbox.run_in(&b, &["remote", "trust", "-q", "--yes", "lab"]));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["push"])), @r"
    exit 3
    --- stderr
    nothing to push to lab
    error: 3 outputs neither here nor at the remote: d, small, large
      hint: make them again: lockstep repro
      hint: or push them from a clone that has them
    ");
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["pull"])), @r"
    exit 4
    --- stderr
    error: the remote lab (../lab) is not there: cannot read from it
      because: there is no such folder
      hint: is the disk mounted? lockstep remote list
    ");
    fine(&sandbox.run(&["push", "-q", "gen"]));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["pull"])), @r"
    exit 3
    --- stderr
    restored d
    restored small
    2.7 MB in 63 objects fetched
    error: 1 output neither here nor at the remote: large
      hint: make them again: lockstep repro
      hint: or push them from a clone that has them
    ");
    assert!(same(&sandbox, "", &b, &["d"]));
    insta::assert_snapshot!(sandbox.shown(&sandbox.run_in(&b, &["status", "-c", "--json"])), @r#"
    exit 0
    --- stdout
    {
      "remotes": [
        {
          "remote": "lab",
          "url": "../lab",
          "not_there": [
            {
              "path": "small",
              "id": "[HASH]",
              "size": 20002
            }
          ],
          "not_here": [],
          "nowhere": [
            {
              "path": "large",
              "id": "[HASH]",
              "size": 2000000
            }
          ],
          "both": 1,
          "cost": {
            "requests": 2,
            "sent": 0,
            "received": 18
          }
        }
      ]
    }
    "#);
    assert_eq!(sandbox.run_in(&b, &["-q", "status", "-c"]).code, 1);
}

/// As many packs as there are pushes, where a process may have few files open.
#[test]
fn any_number_of_packs_is_fetched_with_few_open_files() {
    let sandbox = Sandbox::new();
    let items: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    sandbox.write(
        "pipeline.yaml",
        format!(
            "stages:\n  s:\n    foreach: [{}]\n    do:\n      \
             cmd: mkdir -p out/${{item}} && for n in 1 2 3; do echo ${{item}} $n > out/${{item}}/$n; done\n      \
             outs: [\"out/${{item}}\"]\n",
            items.join(", ")
        ),
    );
    fine(&sandbox.run(&["repro", "-q"]));
    fine(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    for item in &items {
        fine(&sandbox.run(&["push", "-q", &format!("s@{item}")]));
    }
    let b = clone(&sandbox, "b");
    let mut pull = sandbox.command(std::path::Path::new("/bin/sh"), &b);
    let program = env!("CARGO_BIN_EXE_lockstep");
    fine(&output(pull.args(["-c", "ulimit -n 40; \"$0\" pull -q && \"$0\" -q status", program])));
    assert!(same(&sandbox, "", &b, &["out"]));
}
