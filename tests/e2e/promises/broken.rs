//! The most telling mistakes, in `fixtures/broken/`, each with the message that it must give.

use std::path::Path;

use crate::promises::mutated::{PARAMS, PIPELINE};
use crate::sandbox::Sandbox;

#[test]
fn telling_mistakes_have_telling_messages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/broken");
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut told = String::new();
    for name in names.iter().filter(|name| !name.starts_with("good.")) {
        let sandbox = Sandbox::new();
        sandbox.write("params.yaml", PARAMS);
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let is_lock = name.ends_with(".lock");
        sandbox.write("pipeline.yaml", if is_lock { PIPELINE.as_bytes() } else { &bytes });
        if is_lock {
            sandbox.write("pipeline.lock", &bytes);
        }
        let out = sandbox.run(&["repro"]);
        assert_eq!(out.code, 2, "{name}: {out}");
        assert_eq!(out.stdout, "", "{name}");
        told.push_str(&format!("== {name}\n{}\n", sandbox.filter(&out.stderr)));
    }
    insta::assert_snapshot!(told, @r#"
    == circle.yaml
    error: pipeline.yaml:2:3: a cycle: a -> b -> a

    == conflict.lock
    error: pipeline.lock holds the markers of a merge conflict
      hint: resolve it: lockstep merge
      hint: next time it resolves itself, once this clone knows how: lockstep hooks install

    == cut-off.lock
    error: pipeline.lock is not a lock file: stages.eval.outs.m.json: `af1349` is not a BLAKE3 hash of 64 hexadecimal digits at line 31 column 9
      hint: bring back the last good one: git checkout pipeline.lock
      hint: or delete it: `lockstep repro` finds earlier results in the run cache

    == cut-off.yaml
    error: pipeline.yaml:5:1: no valid YAML: while parsing a flow sequence, expected ',' or ']'

    == laughs.yaml
    error: pipeline.yaml:8:8: the document has more than 2000000 nodes
      |
    8 | h: &h [*g, *g, *g, *g, *g, *g, *g, *g]
      |        ^

    == matrix.yaml
    error: pipeline.yaml:3:5: stage `s`, `matrix` would make 200000 stages; a repository may have 100000
      |
    3 |     matrix:
      |     ^

    == misspelt.yaml
    error: pipeline.yaml:4:5: unknown key `outz` in stage `s`
      |
    4 |     outz: [x]
      |     ^
      hint: did you mean `outs`?

    == negative.lock
    error: pipeline.lock is not a lock file: data.raw.size: invalid type: integer `-1`, expected u64 at line 5 column 11
      hint: bring back the last good one: git checkout pipeline.lock
      hint: or delete it: `lockstep repro` finds earlier results in the run cache

    == newer.lock
    error: pipeline.lock has schema 2; this lockstep knows schema 1 and leaves the file as it is
      hint: install a newer lockstep

    == no-hash.lock
    error: pipeline.lock is not a lock file: stages.eval: `xyz111111111111111111111111111111111111111111111111111111111` is not a BLAKE3 hash of 64 hexadecimal digits at line 9 column 5
      hint: bring back the last good one: git checkout pipeline.lock
      hint: or delete it: `lockstep repro` finds earlier results in the run cache

    == no-utf8.yaml
    error: pipeline.yaml: line 3 is not UTF-8 text

    == open-template.yaml
    error: pipeline.yaml:3:15: stage `s`, `cmd`: a `${` is never closed
      |
    3 |     cmd: echo ${lr
      |               ^
      hint: write `\${` for a `${` that lockstep shall leave alone

    == outside.yaml
    error: pipeline.yaml:4:12: stage `a`, `outs`: `../x` is outside of the repository
      |
    4 |     outs: [../x]
      |            ^

    == overlap.yaml
    error: pipeline.yaml:7:12: `dir/x` (an output of stage `a`) lies inside `dir` (an output of stage `b`)
      hint: the other one is at pipeline.yaml:4:12

    == tab.yaml
    error: pipeline.yaml:3:2: no valid YAML: tabs disallowed within this context (block indentation)
      |
    3 |  cmd: echo
      |  ^

    == twice.yaml
    error: pipeline.yaml:4:3: duplicate key `s`
      |
    4 |   s:
      |   ^

    == unknown-key.lock
    error: pipeline.lock is not a lock file: stages.eval: unknown field `shiny`, expected one of `key`, `cmd`, `wdir`, `shell`, `environment`, `env`, `deps`, `params`, `outs` at line 11 column 5
      hint: bring back the last good one: git checkout pipeline.lock
      hint: or delete it: `lockstep repro` finds earlier results in the run cache

    == unknown-variable.yaml
    error: pipeline.yaml:3:15: stage `s`, `cmd`: cannot find `lrr`: `lrr` is not defined
      |
    3 |     cmd: echo ${lrr}
      |               ^
      hint: did you mean `lr`?
    "#);
}
