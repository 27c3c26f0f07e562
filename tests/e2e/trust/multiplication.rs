//! A small repository that multiplies is refused with a message, not by a machine out of memory.

use super::run_limited;
use crate::sandbox::Sandbox;

fn numbers(count: usize) -> String {
    (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
}

#[test]
fn a_long_variable_in_many_stages() {
    let sandbox = Sandbox::new();
    let (long, items) = ("y".repeat(900_000), numbers(20_000));
    let stages = format!("stages: {{a: {{foreach: [{items}], do: {{cmd: 'echo ${{item}} ${{big}}'}}}}}}\n");
    sandbox.write("pipeline.yaml", format!("vars: [{{big: {long}}}]\n{stages}"));
    let out = run_limited(&sandbox, &["repro"]);
    assert_eq!(out.code, 2, "{out}");
    assert!(out.stderr.contains("stage `a@2"), "{out}");
    assert!(out.stderr.contains("would take more than 256 MiB"), "{out}");
    assert!(out.stderr.contains("hint: move long values into a file"), "{out}");
}

#[test]
fn a_long_params_file_of_many_stages() {
    let sandbox = Sandbox::new();
    sandbox.write("p.yaml", format!("long: {}\n", "y".repeat(900_000)));
    sandbox.write(
        "pipeline.yaml",
        format!("stages: {{a: {{foreach: [{}], do: {{cmd: x, params: [p.yaml: ]}}}}}}\n", numbers(20_000)),
    );
    for command in [&["status"][..], &["repro", "--dry"]] {
        let out = run_limited(&sandbox, command);
        assert_eq!(out.code, 2, "{out}");
        assert!(
            out.stderr.contains("the params of all stages take more than 256 MiB with p.yaml of stage a@"),
            "{out}"
        );
    }
}

#[test]
fn many_stages_that_read_the_outputs_of_many() {
    let sandbox = Sandbox::new();
    let items = numbers(5000);
    sandbox.write(
        "pipeline.yaml",
        format!(
            "stages:\n  a: {{foreach: [{items}], do: {{cmd: x, outs: ['d/${{item}}']}}}}\n  \
             b: {{foreach: [{items}], do: {{cmd: x, deps: [d]}}}}\n"
        ),
    );
    let out = run_limited(&sandbox, &["status"]);
    assert_eq!(out.code, 2, "{out}");
    assert!(out.stderr.contains("`deps`: `d` makes more than 10000000 dependencies between stages"), "{out}");
}
