//! What programs and scripts rely on, recorded in `fixtures/golden/`: exit codes, the shape of each `--json`, the bytes of
//! a lock; and the help of each command. A change here is a change of the interface: `INSTA_UPDATE=always` records it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::sandbox::{Output, Sandbox};

/// Compares a text with `fixtures/golden/NAME.snap`.
fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../fixtures/golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn help_of_each_command() {
    let sandbox = Sandbox::new();
    golden("help", &sandbox.run(&["--help"]).stdout);
    for command in subcommands(&sandbox, &[]).into_iter().chain(["fetch".to_string(), "root".to_string()]) {
        let mut text = String::new();
        collect_help(&sandbox, &[&command], &mut text);
        golden(&format!("help-{command}"), &text);
    }
}

fn collect_help(sandbox: &Sandbox, command: &[&str], text: &mut String) {
    let help = sandbox.run(&[command, &["--help"]].concat());
    assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command:?}");
    let _ = writeln!(text, "=== lockstep {}\n{}", command.join(" "), help.stdout.trim_end());
    for name in subcommands(sandbox, command) {
        collect_help(sandbox, &[command, &[&name]].concat(), text);
    }
}

/// The names of the commands in a help: below `Commands:`, or in the groups of the program's help.
fn subcommands(sandbox: &Sandbox, command: &[&str]) -> Vec<String> {
    let help = sandbox.run(&[command, &["--help"]].concat()).stdout;
    let lines: Vec<&str> = if command.is_empty() {
        let groups = help.lines().take_while(|line| !line.starts_with("Options"));
        groups.filter_map(|line| line.split_at_checked(10)).map(|(_, entry)| entry).skip(2).collect()
    } else {
        let below = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        below.filter_map(|line| line.strip_prefix("  ")).collect()
    };
    let name = |line: &str| line.split(' ').next().filter(|name| !name.is_empty()).map(String::from);
    lines.into_iter().filter_map(name).filter(|name| name != "help").collect()
}

/// Hidden spellings, and what they are.
const HIDDEN: &[(&str, &str)] = &[
    ("remove", "stage remove"),
    ("freeze", "stage freeze"),
    ("unfreeze", "stage unfreeze"),
    ("check", "model check"),
    ("gc", "store gc"),
    ("du", "store du"),
    ("verify", "store verify"),
    ("install", "hooks install"),
    ("ls", "list"),
    ("cache", "store"),
    ("cache dir", "store dir"),
    ("cache drop", "store drop"),
    ("cache keygen", "store keygen"),
];

#[test]
fn a_missing_command_lists_no_hidden_ones() {
    let sandbox = Sandbox::new();
    let out = sandbox.run(&["-q"]);
    assert!(out.code == 2 && out.stderr.contains("requires a subcommand"), "{out}");
    assert!(!out.stderr.contains("merge-driver") && !out.stderr.contains("watchdog"), "{out}");
    assert_eq!(sandbox.run(&[]).stderr, sandbox.run(&["--help"]).stdout);
}

#[test]
fn hidden_spellings_are_the_same_commands() {
    let sandbox = Sandbox::new();
    let help = |line: &str| {
        let out = sandbox.run(&line.split(' ').chain(["--help"]).collect::<Vec<_>>());
        assert_eq!(out.code, 0, "{line}: {out}");
        out.stdout
    };
    for (hidden, command) in HIDDEN {
        let usage = (format!("Usage: lockstep {hidden} "), format!("Usage: lockstep {command} "));
        assert_eq!(help(hidden).replace(&usage.0, &usage.1), help(command), "{hidden}");
    }
}

/// A project of two stages with metrics, plots, data and a registered model, pushed to the remote `lab`. Its second
/// commit changes a parameter.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  train:\n    cmd: cat header > model.bin && tail -c 4 params.yaml >> model.bin\n    \
         deps: [data.csv, header]\n    params: [lr]\n    outs: [model.bin]\n  evaluate:\n    cmd: |\n      printf '{\"accuracy\": 0.9}' > metrics.json\n      \
         printf 'step,loss\\n1,0.5\\n2,0.2\\n' > loss.csv\n      mkdir -p scores && echo 1 > scores/a && echo 2 > scores/b\n    \
         deps: [model.bin]\n    outs: [scores]\n    metrics: [metrics.json: {cache: false}]\n    plots: [loss.csv]\n\
         data:\n- path: data.csv\nartifacts:\n  digits: {path: model.bin, type: model, desc: Reads digits}\n\
         checks:\n- accuracy > 0.5\n",
    );
    sandbox.write("data.csv", "1,2,3\n");
    // A tensor of one number, as safetensors has it.
    let header = r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    sandbox.write("header", [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat());
    ok(&sandbox.run(&["add", "-q", "data.csv"]));
    ok(&sandbox.run(&["remote", "add", "-q", "-d", "lab", "../lab"]));
    for lr in ["0.1", "0.2"] {
        sandbox.write("params.yaml", format!("lr: {lr}\n"));
        ok(&sandbox.run(&["repro", "-q"]));
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", lr]);
        ok(&sandbox.run(&["push", "-q"]));
        ok(&sandbox.run(&["model", "register", "-q", "digits", "--bump", "minor"]));
    }
    ok(&sandbox.run(&["model", "promote", "-q", "digits", "prod"]));
    sandbox
}

#[track_caller]
fn ok(out: &Output) {
    assert_eq!(out.code, 0, "{out}");
}

#[test]
fn bytes_of_a_lock() {
    golden("pipeline.lock", &project().read("pipeline.lock"));
}

/// Read-only commands first, then those that change something, in an order in which each has something to do.
const JSON: &[&str] = &[
    "status --json",
    "status -c --json",
    "stage list --json",
    "dag --json",
    "diff HEAD~1 HEAD --json",
    "metrics show --json",
    "metrics diff HEAD~1 HEAD --all --json",
    "params show --json",
    "params diff HEAD~1 HEAD --json",
    "plots show --json",
    "plots diff HEAD~1 --json",
    "plots templates --json",
    "list --json",
    "list -R --json",
    "remote list --json",
    "remote check --json",
    "model list --json",
    "model show digits --json",
    "model history digits --json",
    "model resolve digits#prod --json",
    "model provenance digits --json",
    "model inspect model.bin --json",
    "model diff model.bin@HEAD~1 model.bin --json",
    "check --json",
    "logs --list train --json",
    "ci report --json",
    "ci key --json",
    "config --json",
    "config jobs --show-origin --json",
    "du --json",
    "verify --json",
    "verify --read-data --json",
    "gc -w --min-age 0 --dry --json",
    "gc -c -w --min-age 0 --dry --json",
    "version --json",
    "fetch -a --json",
    "pull --json",
    "push -a --json",
    "model deprecate digits@v0.1.0 --dry --json",
    "gc -w --min-age 0 --force --json",
];

/// The same after a parameter and a data file changed.
const JSON_STALE: &[&str] =
    &["status --json", "diff --json", "params diff --json", "repro --dry --json", "repro --json", "verify --json"];

#[test]
fn shapes_of_json() {
    let sandbox = project();
    let mut text = String::new();
    for (at, line) in JSON.iter().chain(JSON_STALE).enumerate() {
        if at == JSON.len() {
            sandbox.write("params.yaml", "lr: 0.3\nnew: true\n");
            sandbox.write("data.csv", "4,5,6\n");
        }
        let out = sandbox.run(&line.split(' ').collect::<Vec<_>>());
        let json = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{line}: {e}\n{out}"));
        let mut shape = BTreeMap::new();
        add_shape(&json, String::new(), &mut shape);
        let _ = writeln!(text, "=== lockstep {line} (exit {})", out.code);
        for (path, types) in shape {
            let _ = writeln!(text, "{}: {}", if path.is_empty() { "." } else { &path }, types.join(" | "));
        }
    }
    golden("json", &text);
}

/// The types of a value and of all that it holds, by path. Entries of a list are one path, `[]`.
fn add_shape(value: &Json, path: String, shape: &mut BTreeMap<String, Vec<&'static str>>) {
    let name = match value {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "list",
        Json::Object(_) => "object",
    };
    let types = shape.entry(path.clone()).or_default();
    if !types.contains(&name) {
        types.push(name);
        types.sort_unstable();
    }
    match value {
        Json::Array(items) => items.iter().for_each(|item| add_shape(item, format!("{path}[]"), shape)),
        Json::Object(fields) => fields.iter().for_each(|(key, item)| add_shape(item, format!("{path}.{key}"), shape)),
        _ => {}
    }
}

#[test]
fn exit_codes() {
    let sandbox = project();
    let mut text = String::new();
    let mut note = |why: &str, line: &str, out: Output| {
        let _ = writeln!(text, "{:>3}  lockstep {line:<30}{why}", out.code);
    };
    let mut run = |why: &str, line: &str| {
        note(why, line, sandbox.run(&line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>()));
    };
    run("success", "status");
    run("success, a check that holds", "status -q");
    run("success", "--help");
    run("success", "--version");
    run("no command", "");
    run("an unknown command", "frobnicate");
    run("an unknown option", "status --frobnicate");
    run("an unknown target", "repro nowhere");
    run("an unknown revision", "diff nowhere");
    sandbox.write("params.yaml", "lr: 0.3\n");
    run("stale, for people", "status");
    run("stale, for scripts", "status -q");
    run("stale, and --locked", "repro --locked");
    run("an unknown remote", "push -r nowhere");
    ok(&sandbox.run(&["remote", "add", "-q", "web", "http://127.0.0.1:9/x"]));
    run("a remote that fails", "push -r web");
    sandbox.write("pipeline.yaml", "stages: [\n");
    run("a pipeline file that cannot be read", "repro");
    sandbox.write("pipeline.yaml", "stages:\n  s: {cmd: exit 3}\n");
    run("a stage that fails", "repro");
    run("refused by the file system", "init --example /dev/null/x");
    sandbox.write("pipeline.yaml", "stages:\n  s: {cmd: kill -TERM $PPID; sleep 9}\n");
    run("ended by a signal", "repro");
    sandbox.write("pipeline.yaml", "stages:\n  s: {cmd: \"$LOCKSTEP repro --wait 0 s; echo $? > code\"}\n");
    let program = env!("CARGO_BIN_EXE_lockstep");
    ok(&crate::sandbox::output(sandbox.lockstep("").args(["repro", "-q"]).env("LOCKSTEP", program)));
    let _ =
        writeln!(text, "{:>3}  lockstep {:<30}held by another process", sandbox.read("code").trim(), "repro --wait 0");
    golden("exit-codes", &text);
}
