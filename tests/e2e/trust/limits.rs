//! A small repository that asks for much is refused with a message, not by a machine out of memory or time.

use std::time::{Duration, Instant};

use super::run_limited;
use crate::sandbox::{Sandbox, output};

fn refused(sandbox: &Sandbox, args: &[&str], words: &str) {
    let began = Instant::now();
    let out = run_limited(sandbox, args);
    assert!(out.stderr.contains(words), "{args:?}: {out}");
    assert!(out.code != 0 && out.code < 100, "{args:?}: {out}");
    assert!(began.elapsed() < Duration::from_secs(50), "{args:?}");
}

const STAGE: &str = "stages: {a: {cmd: echo 1 > o, deps: [d], outs: [o]}}\n";

#[test]
fn documents_of_many_nodes() {
    let sandbox = Sandbox::new();
    for (file, text) in [
        ("m.json", "[".to_string() + &"{},".repeat(2_000_000) + "0]"),
        ("m.py", "a = [".to_string() + &"0,".repeat(1_500_000) + "0]\n"),
        ("m.toml", "a = [".to_string() + &"0,".repeat(2_100_000) + "0]\n"),
    ] {
        sandbox.write(file, text);
        let stage = format!("stages: {{a: {{cmd: x, params: [{file}: ]}}}}\n");
        sandbox.write("pipeline.yaml", stage);
        refused(&sandbox, &["repro", "--dry"], "more than 2000000 nodes");
        refused(&sandbox, &["params", "show"], file);
    }
    sandbox.write("pipeline.yaml", "vars: [m.json]\nstages: {a: {cmd: x}}\n");
    refused(&sandbox, &["status"], "more than 2000000 nodes");
}

#[test]
fn large_files_of_rules_and_settings() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", STAGE);
    sandbox.write(".lockstepignore", "x\n".repeat(3 << 20));
    refused(&sandbox, &["status"], ".lockstepignore: it is larger than 4 MiB");
    sandbox.write(".lockstepignore", "ok\n".to_string() + &"**/a/".repeat(12) + "\n");
    refused(&sandbox, &["status"], ".lockstepignore: line 2: a rule has at most 8 `**`");
    sandbox.write(".lockstepignore", "**/".repeat(40) + "x\n");
    sandbox.write("d/e/f/g/h", "");
    sandbox.write(".gitignore", "**/".repeat(40) + "y\n" + &"**/a/".repeat(40) + "\n");
    assert_eq!(run_limited(&sandbox, &["repro"]).code, 0);
    let remotes: String = (0..80_000).map(|n| format!("[remote.r{n}]\nurl = \"x\"\n")).collect();
    sandbox.write("lockstep.toml", remotes);
    refused(&sandbox, &["status"], "lockstep.toml is larger than 1 MiB");
}

#[test]
fn locks_of_many_entries() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: x}}\n");
    for text in ["a: 1\n".repeat(9_000_000), "stages: {".to_string() + &"a,".repeat(6_000_000) + "}\n"] {
        sandbox.write("pipeline.lock", "schema: 1\n".to_string() + &text);
        refused(&sandbox, &["status"], "pipeline.lock is not a lock file: it has more than");
    }
    sandbox.write("pipeline.lock", format!("schema: 1\nstages: {{a: {{cmd: \"{}\"}}}}\n", "x".repeat(80 << 20)));
    refused(&sandbox, &["status"], "larger than 64 MiB and not in the form that lockstep writes");
    let id = "0".repeat(64);
    let stages: String = (0..200_001).map(|n| format!("  s{n}:\n    key: {id}\n    cmd: x\n")).collect();
    sandbox.write("pipeline.lock", "schema: 1\nstages:\n".to_string() + &stages);
    refused(&sandbox, &["status"], "more than 200000 entries");
}

#[test]
fn a_table_of_many_columns() {
    let sandbox = Sandbox::new();
    sandbox.write("p.csv", ",".repeat(1_000_000) + "\n");
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: x, plots: [p.csv]}}\n");
    let out = run_limited(&sandbox, &["plots", "show"]);
    assert!(out.to_string().contains("p.csv has more than 10000 columns"), "{out}");
}

/// A tree in Git of `levels` levels, each of which holds the one below it `wide` times.
fn tree(sandbox: &Sandbox, wide: usize, levels: usize) -> String {
    let script = format!(
        "t=$(printf '100644 blob %s\\tf\\n' $(echo x | git hash-object -w --stdin) | git mktree)
         for i in $(seq {levels}); do t=$(for j in $(seq {wide}); do printf '040000 tree %s\\td%s\\n' $t $j; done | git mktree); done
         git update-ref refs/heads/main $(git commit-tree -m x $t)"
    );
    let out = output(sandbox.command("sh".as_ref(), "").args(["-c", &script]));
    assert_eq!(out.code, 0, "{out}");
    sandbox.path("").display().to_string()
}

#[test]
fn trees_of_another_repository() {
    for (wide, levels, words) in
        [(1500, 3, "more than 2000000 files and folders"), (1, 400, "more than 250 levels deep")]
    {
        let (sandbox, other) = (Sandbox::new(), Sandbox::new());
        let url = tree(&other, wide, levels);
        refused(&sandbox, &["list", &url, "-R"], words);
        refused(&sandbox, &["get", &url, "d1", "-o", "here"], words);
        refused(&sandbox, &["import", &url, "d1", "-o", "there"], words);
        assert!(!sandbox.path("here").exists() && !sandbox.path("there").exists());
    }
}

/// A log of a long training is no attack: the message says what to do.
#[test]
fn a_large_plot_in_json_has_a_way_out() {
    let sandbox = Sandbox::new();
    let rows = "{\"step\":1,\"loss\":2.5},".repeat(450_000);
    sandbox.write("log.json", format!("[{rows}{{\"step\":1,\"loss\":2}}]"));
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: x}}\nplots: [log.json]\n");
    let out = run_limited(&sandbox, &["plots", "show"]);
    assert!(out.stderr.contains("log.json") && out.stderr.contains("write it as CSV"), "{out}");
    sandbox.write("log.csv", "step,loss\n".to_string() + &"1,2.5\n".repeat(450_000));
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: x}}\nplots: [log.csv]\n");
    let out = run_limited(&sandbox, &["plots", "show"]);
    assert_eq!(out.code, 0, "{out}");
}

#[test]
fn files_that_the_system_makes_up() {
    let sandbox = Sandbox::new();
    // Only root may open it, and only where the kernel has it.
    if std::fs::File::open("/proc/kcore").is_ok() {
        sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo 1 > o, deps: [/proc/kcore], outs: [o]}}\n");
        refused(&sandbox, &["repro"], "the system does not report its size");
    }
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: echo 1 > o, deps: [/proc/self/pagemap], outs: [o]}}\n");
    refused(&sandbox, &["repro"], "the system does not report its size");
}

#[test]
fn folders_of_many_levels() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", STAGE);
    let script = "mkdir d; cd d; for i in $(seq 4); do mkdir -p $(printf 'x/%.0s' $(seq 100)); cd $(printf 'x/%.0s' $(seq 100)); done; echo 1 > f";
    let out = output(sandbox.command("bash".as_ref(), "").args(["-c", script]));
    assert_eq!(out.code, 0, "{out}");
    refused(&sandbox, &["repro"], "d holds folders more than 250 levels deep");
}
