//! What the words of the command line may be: absolute paths, and paths of files that cannot be read.

use crate::sandbox::{Sandbox, output};

const PIPELINE: &str = "\
stages:
  a:
    cmd: 'cp in o && echo \"{\\\"n\\\": 1}\" >m.json && printf \"x\\n1\\n\" >p.csv'
    deps: [in]
    outs: [o]
    metrics: [m.json]
    plots: [p.csv]
";

/// As with DVC a run of a part takes what is there, and says so.
#[test]
fn stale_stages_that_a_run_leaves_out_are_named() {
    let s = Sandbox::new();
    s.write("in", "1");
    s.write(
        "pipeline.yaml",
        "stages:\n  top: {cmd: cp in t, deps: [in], outs: [t]}\n  mid: {cmd: cp t m, deps: [t], outs: [m]}\n  \
         end: {cmd: cp m e, deps: [m], outs: [e]}\n",
    );
    assert_eq!(s.run(&["repro", "-q"]).code, 0);
    let told = "top is stale and not part of this run, which takes the outputs as they are";
    for args in [&["repro", "--downstream", "mid"][..], &["repro", "-s", "mid"], &["repro", "-s", "-f", "end"]] {
        assert!(!s.run(args).stderr.contains("not part of this run"), "{args:?}");
    }
    s.write("in", "2");
    for args in [
        &["repro", "--downstream", "mid"][..],
        &["repro", "-s", "mid"],
        &["repro", "-s", "-f", "end"],
        &["repro", "-s", "--dry", "end"],
    ] {
        let out = s.run(args);
        assert!(out.code == 0 && out.stderr.contains(told), "{args:?} {out}");
        assert!(out.stderr.contains(&format!("lockstep repro {}", args[args.len() - 1])), "{args:?} {out}");
    }
    for args in [&["repro", "-s", "top"][..], &["repro", "-P"]] {
        assert!(!s.run(args).stderr.contains("not part of this run"), "{args:?}");
    }
}

#[test]
fn targets_may_be_absolute() {
    let sandbox = Sandbox::new();
    sandbox.write("s/in", "1");
    sandbox.write("s/pipeline.yaml", PIPELINE);
    sandbox.write("d", "data");
    let at = |path: &str| sandbox.path(path).display().to_string();
    let run = |args: &[&str]| {
        let out = sandbox.run(args);
        assert_eq!(out.code, 0, "{args:?}: {out}");
        out
    };
    run(&["add", &at("d")]);
    run(&["repro", &at("s/o")]);
    run(&["repro", &at("s/pipeline.yaml")]);
    run(&["status", &format!("{}:a", at("s/pipeline.yaml"))]);
    run(&["remote", "add", "-d", "r", &at("../remote")]);
    run(&["push", &at("s/o"), &at("d")]);
    sandbox.remove("s/o");
    run(&["checkout", &at("s/o")]);
    assert_eq!(sandbox.read("s/o"), "1");
    run(&["pull", &at("d")]);
    assert!(run(&["metrics", "show", &at("s/m.json")]).stdout.contains("s/m.json"));
    assert!(run(&["plots", "show", "--json", &at("s/p.csv")]).stdout.contains("s/p.csv"));
    assert_eq!(run(&["list", &at("s"), "--dvc-only"]).stdout, "m.json\no\np.csv\n");
    run(&["repro", "-R", &at("s")]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "1"]);
    run(&["get", &at("s/o"), "-o", "got"]);
    assert_eq!(sandbox.read("got"), "1");
    run(&["diff", "--targets", &at("s/o")]);
    // By another name of the same folder.
    std::os::unix::fs::symlink(sandbox.root(), sandbox.path("../other")).unwrap();
    run(&["repro", &at("../other/s/o")]);
    run(&["remove", &at("d")]);
    let out = sandbox.run(&["repro", &at("../none")]);
    assert!(out.code == 3 && out.stderr.contains("neither a stage nor an output"), "{out}");
}

#[test]
fn stages_are_written_with_paths_that_a_clone_can_read() {
    let sandbox = Sandbox::new();
    sandbox.write("in", "1");
    sandbox.write("p.yaml", "n: 1");
    sandbox.write("../outside", "2");
    let at = |path: &str| sandbox.path(path).display().to_string();
    sandbox.write("sub/x", "");
    let mut stage = sandbox.lockstep("sub");
    stage.args(["stage", "add", "-n", "a", "-d", &at("in"), "-d", &at("../outside"), "-o", &at("sub/o")]);
    stage.args(["-p", &format!("{}:n", at("p.yaml")), "-w", &at("sub/work"), "cp ../../in ../o"]);
    let out = output(&mut stage);
    assert_eq!(out.code, 0, "{out}");
    insta::assert_snapshot!(sandbox.filter(&sandbox.read("sub/pipeline.yaml")), @r"
    stages:
      a:
        cmd: cp ../../in ../o
        wdir: work
        deps:
        - ../../in
        - [BOX]/outside
        params:
        - ../../p.yaml:
          - n
        outs:
        - ../o
    ");
    sandbox.write("sub/work/x", "");
    let out = sandbox.run_in("sub", &["repro"]);
    assert_eq!((out.code, sandbox.read("sub/o")), (0, "1".into()), "{out}");
}
