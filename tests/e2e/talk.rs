//! What people see of a run without a terminal.

use crate::sandbox::Sandbox;
use insta::assert_snapshot;

const PIPELINE: &str = "\
stages:
  prepare:
    cmd: echo preparing; sort raw.txt > sorted.txt
    deps: [raw.txt]
    outs: [sorted.txt]
  count:
    cmd: wc -l < sorted.txt > count.txt
    deps: [sorted.txt]
    outs: [count.txt]
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.write("raw.txt", "b\na\n");
    sandbox
}

#[test]
fn a_first_run_and_a_run_of_nothing() {
    let sandbox = sandbox();
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 0
    --- stderr
    running prepare (never run)
    > echo preparing; sort raw.txt > sorted.txt
    preparing
    done prepare in [TIME]
    running count (never run)
    > wc -l < sorted.txt > count.txt
    done count in [TIME]
    2 ran in [TIME]
    next: git add .gitignore pipeline.lock pipeline.yaml raw.txt
    ");
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 0
    --- stderr
    2 up to date in [TIME]
    ");
}

#[test]
fn what_git_keeps_goes_with_its_lock() {
    let sandbox = sandbox();
    sandbox
        .write("pipeline.yaml", "stages: {a: {cmd: echo 1 | tee m > o, metrics: [{m: {cache: false}}], outs: [o]}}\n");
    assert!(sandbox.run(&["repro"]).stderr.ends_with("next: git add .gitignore m pipeline.lock pipeline.yaml\n"));
    sandbox.git(&["add", "-A"]);
    let forced = sandbox.run(&["repro", "--force"]);
    assert!(!forced.stderr.contains("next:"), "nothing changed: {forced}");
}

#[test]
fn a_reason_and_a_restore() {
    let sandbox = sandbox();
    // Long enough for the run cache to save time.
    sandbox.write("pipeline.yaml", PIPELINE.replace("echo preparing", "sleep 1"));
    sandbox.run(&["repro"]);
    sandbox.write("raw.txt", "c\n");
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 0
    --- stderr
    running prepare (dep raw.txt changed)
    > sleep 1; sort raw.txt > sorted.txt
    done prepare in [TIME]
    running count (dep sorted.txt changed)
    > wc -l < sorted.txt > count.txt
    done count in [TIME]
    2 ran in [TIME]
    next: git add .gitignore pipeline.lock pipeline.yaml raw.txt
    ");
    sandbox.write("raw.txt", "b\na\n");
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 0
    --- stderr
    restored prepare in [TIME]
    restored count in [TIME]
    2 restored in [TIME]; the run cache saved [TIME]
    next: git add .gitignore pipeline.lock pipeline.yaml raw.txt
    ");
}

#[test]
fn a_failure_right_below_its_output() {
    let sandbox = sandbox();
    sandbox.run(&["repro"]);
    let failing = PIPELINE.replace("echo preparing; sort", "echo oh; printf no; exit 3; sort");
    sandbox.write("pipeline.yaml", failing);
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 6
    --- stderr
    running prepare (cmd changed: echo preparing; sort raw.txt > sorted.txt → echo oh; printf no; exi…)
    > echo oh; printf no; exit 3; sort raw.txt > sorted.txt
    oh
    no
    error: stage prepare failed with exit code 3
      hint: the last good sorted.txt is back
      hint: see all of its output: lockstep logs prepare
    1 failed, 1 not run in [TIME]
    ");
    assert_eq!(sandbox.read("sorted.txt"), "a\nb\n");
    // Nothing was shown of it: the end of its output stands in the report.
    assert_snapshot!(sandbox.shown(&sandbox.run(&["-q", "repro"])), @r"
    exit 6
    --- stderr
    error: stage prepare failed with exit code 3
      | oh
      | no
      hint: the last good sorted.txt is back
      hint: see all of its output: lockstep logs prepare
    ");
}

#[test]
fn a_failure_among_others_shows_the_end_of_its_output() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "\
stages:
  bad:
    cmd: seq 1 30; exit 1
    outs: [bad.txt]
  good:
    cmd: touch good.txt; echo fine
    outs: [good.txt]
",
    );
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro", "--keep-going"])), @r"
    exit 6
    --- stderr
    running bad (never run)
    > seq 1 30; exit 1
    1
    2
    3
    4
    5
    6
    7
    8
    9
    10
    11
    12
    13
    14
    15
    16
    17
    18
    19
    20
    21
    22
    23
    24
    25
    26
    27
    28
    29
    30
    running good (never run)
    > touch good.txt; echo fine
    fine
    done good in [TIME]
    error: stage bad failed with exit code 1
      | 11
      | 12
      | 13
      | 14
      | 15
      | 16
      | 17
      | 18
      | 19
      | 20
      | 21
      | 22
      | 23
      | 24
      | 25
      | 26
      | 27
      | 28
      | 29
      | 30
      hint: see all of its output: lockstep logs bad
    1 ran, 1 failed in [TIME]
    ");
}

#[test]
fn lines_of_several_jobs_carry_the_stage() {
    let sandbox = Sandbox::new();
    // Each waits for the other, so that the order of what they say is always the same; both start at once.
    sandbox.write(
        "pipeline.yaml",
        "\
stages:
  one:
    cmd: until test -e two.out; do sleep 0.05; done; sleep 0.2; printf '1%%\\r2%%\\n'; touch one.out
    outs: [one.out]
  two:
    cmd: echo first; touch two.out; until test -e one.out; do sleep 0.05; done; sleep 0.5
    outs: [two.out]
",
    );
    let shown = sandbox.shown(&sandbox.run(&["repro", "-j2"]));
    let (starts, rest): (Vec<&str>, Vec<&str>) =
        shown.lines().partition(|line| line.starts_with("running") || line.starts_with('>'));
    assert!(
        starts.len() == 4 && ["one", "two"].iter().all(|name| shown.contains(&format!("running {name} (never run)")))
    );
    assert_snapshot!(rest.join("\n"), @r"
    exit 0
    --- stderr
    [two] first
    [one] 2%
    done one in [TIME]
    done two in [TIME]
    2 ran in [TIME]
    next: git add .gitignore pipeline.lock pipeline.yaml
    ");
}

#[test]
fn what_is_stale_elsewhere_is_counted() {
    let sandbox = sandbox();
    sandbox.write("sub/pipeline.yaml", "stages:\n  x: {cmd: touch x, outs: [x]}\n  always: {cmd: 'true'}\n");
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 0
    --- stderr
    running prepare (never run)
    > echo preparing; sort raw.txt > sorted.txt
    preparing
    done prepare in [TIME]
    running count (never run)
    > wc -l < sorted.txt > count.txt
    done count in [TIME]
    2 ran in [TIME]
    1 stale elsewhere, -P for all
    next: git add .gitignore pipeline.lock pipeline.yaml raw.txt
    ");
    sandbox.run(&["repro", "-P"]);
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 0
    --- stderr
    2 up to date in [TIME]
    ");
    sandbox.write("sub/x", "edited");
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro"])), @r"
    exit 0
    --- stderr
    2 up to date in [TIME]
    1 stale elsewhere, -P for all
    ");
    assert_snapshot!(sandbox.shown(&sandbox.run(&["repro", "count"])), @r"
    exit 0
    --- stderr
    2 up to date in [TIME]
    ");
}
