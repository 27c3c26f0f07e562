//! Several clones at one remote, at once and one after the other.

use crate::sharing::{clone, files, fine, lab, same};

#[test]
fn two_clones_push_at_once() {
    let sandbox = lab();
    let clones = ["b", "c", "e"].map(|name| clone(&sandbox, name));
    for (at, folder) in clones.iter().enumerate() {
        let own = crate::sharing::PIPELINE.replace("cat d/f1", &format!("echo {at}; cat d/f1"));
        sandbox.write(&format!("{folder}/pipeline.yaml"), own);
        fine(&sandbox.run_in(folder, &["repro", "-q"]));
        fine(&sandbox.run_in(folder, &["remote", "trust", "-q", "--yes", "lab"]));
    }
    std::thread::scope(|scope| {
        for folder in &clones {
            scope.spawn(|| fine(&sandbox.run_in(folder, &["push", "-q"])));
        }
    });
    assert_eq!(files(&sandbox, "tmp").len(), 0);
    for folder in &clones {
        for gone in ["d", "small", "large", ".git/lockstep"] {
            sandbox.remove(&format!("{folder}/{gone}"));
        }
        fine(&sandbox.run_in(folder, &["pull", "-q"]));
        fine(&sandbox.run_in(folder, &["-q", "status", "-c"]));
    }
    assert!(same(&sandbox, "", &clones[0], &["d", "large"]));
}

/// Many pushes leave a handful of segments, and readers that list never see less than all.
#[test]
fn segments_are_merged() {
    let sandbox = crate::sandbox::Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: cp in a, deps: [in], outs: [a]}}\n");
    fine(&sandbox.run(&["remote", "add", "-q", "lab", "../lab"]));
    sandbox.git(&["add", "-A"]);
    for n in 0..70 {
        sandbox.write("in", n.to_string());
        fine(&sandbox.run(&["repro", "-q"]));
        fine(&sandbox.run(&["push", "-q"]));
    }
    // 64 became one with the 65th; then five more, and the list of all.
    assert_eq!(files(&sandbox, "index").len(), 1 + 5 + 1);
    let list = sandbox.read("../lab/index/all");
    assert_eq!(list.lines().count(), 6);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "x"]);
    let b = clone(&sandbox, "b");
    fine(&sandbox.run_in(&b, &["fetch", "-q", "--run-cache"]));
    let keys = std::fs::read_dir(sandbox.path("../b/.git/lockstep/store/runs")).unwrap().count();
    assert!(keys > 10, "{keys}");
    fine(&sandbox.run_in(&b, &["pull", "-q"]));
    assert_eq!(sandbox.read("../b/a"), "69");
}
