//! Numbers are what the files say, to the last digit, or an error that names them.

use serde_json::Value as Json;

use crate::sandbox::Sandbox;

/// 2^64 + 1, which neither a float nor 64 bits hold.
const BIG: &str = "18446744073709551617";

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("p.json", format!("{{\"a\": 0.9482758641242981, \"big\": {BIG}}}"));
    sandbox.write("p.yaml", format!("a: 0.9743681430252835\nbig: {BIG}\nsmall: 5e-324\n"));
    sandbox.write("p.toml", "a = 0.30000000000000004\nbig = 9223372036854775807\n");
    sandbox.write("p.py", format!("a = 1e22\nbig = -{BIG}\n"));
    sandbox.write("m", format!("{{\"score\": 0.9482758641242981, \"n\": {BIG}}}"));
    sandbox.write(
        "pipeline.yaml",
        "vars: [p.json]\nstages:\n  s:\n    cmd: 'echo ${a} ${big} > o; cp m m.json'\n    deps: [m]\n    params:\n    \
         - p.json: [a, big]\n    - p.yaml: [a, big, small]\n    - p.toml: [a, big]\n    - p.py: [a, big]\n    outs: [o]\n    \
         metrics: [m.json]\nchecks:\n- n >= 18446744073709551617\n- n <= 18446744073709551616\n- score >= 0.9482758641242982\n",
    );
    sandbox
}

#[test]
fn numbers_keep_all_digits_in_every_sink() {
    let sandbox = project();
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    assert_eq!(sandbox.read("o"), format!("0.9482758641242981 {BIG}\n"));
    let lock = sandbox.read("pipeline.lock");
    for line in
        ["a: 0.9482758641242981", "a: 0.9743681430252835", "a: 0.30000000000000004", "a: 1.0e+22", "small: 5.0e-324"]
    {
        assert!(lock.contains(line), "{line} in {lock}");
    }
    assert_eq!(lock.matches(&format!("big: {BIG}\n")).count(), 2, "{lock}");
    assert!(lock.contains(&format!("big: -{BIG}\n")) && lock.contains(&format!("\"n\": {BIG}\n")), "{lock}");
    for args in [&["params", "show", "--json"][..], &["stage", "list", "--json"], &["params", "show"]] {
        let out = sandbox.run(args);
        assert!(
            out.code == 0 && out.stdout.contains("0.9482758641242981") && out.stdout.contains(BIG),
            "{args:?} {out}"
        );
    }
    let out = sandbox.run(&["check"]);
    insta::assert_snapshot!(sandbox.shown(&out), @r"
    exit 1
    --- stdout
    ok    n >= 18446744073709551617: is 18446744073709551617
    FAIL  n <= 18446744073709551616: is 18446744073709551617
    FAIL  score >= 0.9482758641242982: is 0.9482758641242981
    --- stderr
    1 of 3 checks hold
    ");
    let json = sandbox.run(&["check", "--json"]).stdout;
    assert!(json.contains(&format!("\"value\": {BIG}")) && json.contains("\"value\": 0.9482758641242981"), "{json}");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "first"]);
    // An edit of the last digit is an edit.
    sandbox.write("p.json", format!("{{\"a\": 0.9482758641242982, \"big\": {BIG}}}"));
    sandbox.write("m", format!("{{\"score\": 0.9482758641242982, \"n\": {BIG}}}"));
    let out = sandbox.run(&["status"]);
    assert!(out.stdout.contains("param p.json:a 0.9482758641242981 → 0.9482758641242982"), "{out}");
    assert_eq!(sandbox.run(&["repro", "-q"]).code, 0);
    let out = sandbox.run(&["metrics", "diff"]);
    assert!(out.stdout.contains("0.9482758641242981  0.9482758641242982"), "{out}");
    let status = sandbox.run(&["params", "diff", "--json"]);
    let json: Json = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(json["p.json"]["a"]["new"].to_string(), "0.9482758641242982", "{status}");
}

#[test]
fn numbers_that_cannot_be_kept_are_named() {
    for (file, text, key) in [
        ("p.json", "{\"a\": {\"b\": N}}", "a.b"),
        ("p.yaml", "a:\n  b: N\n", "a.b"),
        ("p.toml", "[a]\nb = N\n", "a.b"),
        ("p.py", "class a:\n    b = N\n", "a.b"),
    ] {
        let number = "1".repeat(45);
        let sandbox = Sandbox::new();
        sandbox.write("pipeline.yaml", format!("stages:\n  s:\n    cmd: echo\n    params:\n    - {file}: [a]\n"));
        sandbox.write(file, text.replace('N', &number));
        for args in [&["status"][..], &["repro"], &["params", "show"], &["params", "show", "--json"]] {
            let out = sandbox.run(args);
            assert!(out.code != 0, "{args:?} {out}");
            for part in [file, number.as_str(), &format!("key `{key}`")] {
                assert!(out.stderr.contains(part), "{args:?}: {part} in {out}");
            }
        }
    }
}
