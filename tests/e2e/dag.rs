//! `dag`: drawings and texts.

use crate::sandbox::Sandbox;

fn example() -> Sandbox {
    let s = Sandbox::new();
    s.write(
        "pipeline.yaml",
        "\
data:
- path: raw
stages:
  prepare: {cmd: x, deps: [raw, prepare.py], outs: [clean]}
  train:
    foreach: [a, b]
    do: {cmd: x, deps: [clean/train], outs: ['models/${item}']}
  pick: {cmd: x, deps: [models, clean], outs: [best]}
",
    );
    s.write("sub/pipeline.yaml", "stages:\n  report: {cmd: x, deps: [../best], outs: [page]}\n  alone: {cmd: x}\n");
    s
}

#[test]
fn stages_are_drawn() {
    let s = example();
    insta::assert_snapshot!(s.shown(&s.run(&["dag"])), @"
exit 0
--- stdout
           ┌─────────┐
           │ prepare │
           └────┬────┘
     ┌──────────┼─────────┐
┌────┴────┐  ┌──┴──────┐  │
│ train@a │  │ train@b │  │
└────┬────┘  └────┬────┘  │
     └────────────┴──┬────┘
                 ┌───┴───┐
                 │ pick  │
                 └───┬───┘
                     │
       ┌─────────────┴─────────────┐
       │ sub/pipeline.yaml:report  │
       └───────────────────────────┘

┌─────────────────────────┐
│ sub/pipeline.yaml:alone │
└─────────────────────────┘
");
    insta::assert_snapshot!(s.shown(&s.run(&["dag", "train", "--ascii"])), @"
exit 0
--- stdout
       +---------+
       | prepare |
       +----+----+
     +------+-----+
+----+----+  +----+----+
| train@a |  | train@b |
+---------+  +---------+
");
    insta::assert_snapshot!(s.shown(&s.run_in("sub", &["dag", "--collapse", "report"])), @"
exit 0
--- stdout
       ┌───────────────────────────┐
       │ ../pipeline.yaml:prepare  │
       └─────────────┬─────────────┘
             ┌───────┴───────┐
┌────────────┴────────────┐  │
│ ../pipeline.yaml:train  │  │
└────────────┬────────────┘  │
             └────────────┬──┘
              ┌───────────┴───────────┐
              │ ../pipeline.yaml:pick │
              └───────────┬───────────┘
                          │
                     ┌────┴────┐
                     │ report  │
                     └─────────┘
");
    assert_eq!(s.run(&["dag", "train@a", "--full"]).stdout.matches("report").count(), 1);
    let mut plain = s.lockstep("");
    let plain = crate::sandbox::output(plain.args(["dag"]).env("LC_ALL", "C"));
    assert!(plain.stdout.is_ascii() || cfg!(target_os = "macos"), "{plain}");
}

#[test]
fn files_are_drawn() {
    let s = example();
    insta::assert_snapshot!(s.shown(&s.run(&["dag", "--outs", "pick"])), @"
exit 0
--- stdout
                ┌─────┐
                │ raw │
                └──┬──┘
                   │
               ┌───┴───┐
               │ clean │
               └───┬───┘
      ┌────────────┼──────────┐
┌─────┴─────┐  ┌───┴───────┐  │
│ models/a  │  │ models/b  │  │
└─────┬─────┘  └─────┬─────┘  │
      └──────────────┴──┬─────┘
                    ┌───┴───┐
                    │ best  │
                    └───────┘
");
}

#[test]
fn for_other_programs() {
    let s = example();
    insta::assert_snapshot!(s.shown(&s.run(&["dag", "--dot", "pick"])), @r#"
exit 0
--- stdout
strict digraph {
"prepare";
"train@a";
"train@b";
"pick";
"prepare" -> "train@a";
"prepare" -> "train@b";
"prepare" -> "pick";
"train@a" -> "pick";
"train@b" -> "pick";
}
"#);
    insta::assert_snapshot!(s.shown(&s.run(&["dag", "--md", "train@a"])), @r#"
exit 0
--- stdout
```mermaid
flowchart TD
	node1["prepare"]
	node2["train@a"]
	node1-->node2
```
"#);
    insta::assert_snapshot!(s.shown(&s.run(&["dag", "--json", "train@b"])), @r#"
exit 0
--- stdout
{
  "nodes": [
    "prepare",
    "train@b"
  ],
  "edges": [
    {
      "from": "prepare",
      "to": "train@b"
    }
  ]
}
"#);
}

#[test]
fn likely_mistakes() {
    let s = example();
    insta::assert_snapshot!(s.shown(&s.run(&["dag", "trian"])), @"
exit 3
--- stderr
error: `trian` is neither a stage nor an output
  hint: did you mean `train@b`?
");
    s.write("pipeline.yaml", "");
    s.remove("sub");
    insta::assert_snapshot!(s.shown(&s.run(&["dag"])), @"
exit 0
--- stderr
there are no stages to draw
");
}

/// In a terminal that is too narrow for the boxes, each stage has one line; other parts keep their boxes.
#[test]
fn stages_that_do_not_fit_have_one_line_each() {
    let s = example();
    let in_columns = |columns: &str| crate::sandbox::output(s.lockstep("").arg("dag").env("COLUMNS", columns));
    assert_eq!(in_columns("80").stdout, s.run(&["dag"]).stdout);
    insta::assert_snapshot!(s.shown(&in_columns("30")), @"
exit 0
--- stdout
prepare
train@a                   <- prepare
train@b                   <- prepare
pick                      <- prepare, train@a, train@b
sub/pipeline.yaml:report  <- pick

┌─────────────────────────┐
│ sub/pipeline.yaml:alone │
└─────────────────────────┘
");
    insta::assert_snapshot!(s.shown(&in_columns("20")), @"
exit 0
--- stdout
prepare
train@a                   <- prepare
train@b                   <- prepare
pick                      <- prepare, train@a, train@b
sub/pipeline.yaml:report  <- pick

sub/pipeline.yaml:alone
");
    // Without a valid width it is drawn, as into a pipe.
    assert_eq!(in_columns("0").stdout, s.run(&["dag"]).stdout);
    assert_eq!(in_columns("wide").stdout, s.run(&["dag"]).stdout);
    let (code, seen) = crate::terminal::Terminal::start(&s, &["dag", "--outs", "--ascii"]).end();
    assert!(code == 0 && seen.contains("| raw |"), "{seen}");
}
