//! A command that only bash understands is not run by `sh`, which would call its failure a success.

use crate::sandbox::Sandbox;

const PIPELINE: &str = "stages:
  bad: {cmd: 'false &> log', outs: [{log: {cache: false}}]}
  below: {cmd: cat log > o, deps: [log], outs: [o]}
  good: {cmd: \"echo 'a &> b' > g\", outs: [g]}
";

#[test]
fn a_stage_for_bash_fails_before_it_starts_and_the_rest_goes_on() {
    let s = Sandbox::new();
    s.write("pipeline.yaml", PIPELINE);
    let status = s.run(&["status"]);
    assert!(status.code == 2 && status.stderr.contains("stage bad has `&>`, which is bash alone"), "{status}");
    let out = s.run(&["repro"]);
    assert!(out.code == 2 && !s.exists("log") && !s.exists("o"), "{out}");
    assert_eq!(s.read("g"), "a &> b\n");
    for hint in ["lockstep config shell bash", "`> f 2>&1`"] {
        assert!(out.stderr.contains(hint), "{out}");
    }
    assert!(!s.read("pipeline.lock").contains("bad:"), "nothing is recorded");
    let dry = s.run(&["repro", "--dry"]);
    assert_eq!(dry.code, 2, "{dry}");
    // bash sees the failure.
    s.write("lockstep.toml", "shell = \"bash\"\n");
    assert_eq!(s.run(&["repro", "bad"]).code, 6);
    s.remove("lockstep.toml");
    s.write("pipeline.yaml", PIPELINE.replace("false &> log", "echo x > log 2>&1"));
    let out = s.run(&["repro"]);
    assert_eq!((out.code, s.read("o").as_str()), (0, "x\n"), "{out}");
}

#[test]
fn a_result_that_was_recorded_earlier_is_named_too() {
    let s = Sandbox::new();
    s.write("lockstep.toml", "shell = \"bash\"\n");
    s.write("pipeline.yaml", "stages: {a: {cmd: 'echo x &> o', outs: [o]}}\n");
    assert_eq!(s.run(&["repro"]).code, 0);
    assert_eq!(s.run(&["status"]).code, 0);
    s.remove("lockstep.toml");
    assert_eq!((s.run(&["status"]).code, s.run(&["repro"]).code, s.read("o").as_str()), (2, 2, "x\n"));
    s.run(&["freeze", "a"]);
    assert_eq!(s.run(&["repro"]).code, 0, "it is not run");
}
