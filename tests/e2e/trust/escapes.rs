//! Names, values and texts of a repository reach a terminal, the log of a CI system and Markdown as text alone.

use crate::sandbox::{Output, Sandbox, output};

/// Begins a title, moves the cursor, rings, turns the direction, begins a line with a command.
const HOSTILE: &str = "x\u{1b}]0;pwn\u{7}\u{1b}[2J\u{9b}1m\u{202e}\n::stop-commands::t\r##[add-mask]a";

/// YAML and JSON write it alike.
fn quoted(before: &str) -> String {
    let mut text = String::from("\"");
    for c in format!("{before}{HOSTILE}").chars() {
        if c.is_ascii_graphic() { text.push(c) } else { text.push_str(&format!("\\u{:04x}", c as u32)) }
    }
    text + "\""
}

fn assert_inert(args: &[&str], out: &Output) {
    for text in [&out.stdout, &out.stderr] {
        let bad =
            |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
        // Mermaid's lines are indented with tabs.
        let text = &text.replace("\n\t", "\n");
        assert!(!text.contains(bad) && !text.contains("##["), "{args:?}: {text:?}");
        assert!(text.lines().all(|line| !line.trim_start().starts_with("::")), "{args:?}: {text}");
    }
    assert!(out.code < 101, "{args:?}: {out}");
}

/// A repository in which everything that can have a name has a hostile one.
fn hostile() -> Sandbox {
    let s = Sandbox::new();
    let (key, desc, out, dep) = (quoted("k"), quoted("d"), quoted("o"), quoted("in"));
    s.write("params.yaml", format!("{key}: {}\nlr: 1\n", quoted("v")));
    s.write("m.json", format!("{{{key}: 1, \"s\": {}}}", quoted("v")));
    s.write(
        "pipeline.yaml",
        format!(
            "stages:\n  a: {{cmd: {}, desc: {desc}, params: [{key}, lr], deps: [{dep}], outs: [{out}]}}\nmetrics: [m.json]\n\
             plots: [{{m.json: {{title: {desc}, x: {key}}}}}]\nartifacts: {{m: {{path: m.json, desc: {desc}}}}}\n",
            // Its second line would be a command.
            quoted("true #").replace("\\u000a", " ")
        ),
    );
    s.write(&format!("in{HOSTILE}").replace('/', "_"), "x");
    // A value with control characters is refused; the others are shown.
    s.write("lockstep.toml", "[remote.lab]\nurl = \"/nonexistent \u{202e} <img> | `b`\"\n");
    s.git(&["add", "-A"]);
    s.git(&["commit", "-qm", &format!("subject {HOSTILE}")]);
    s.git(&["tag", "-am", &format!("words {HOSTILE}"), "m@v1.0.0"]);
    s.write("params.yaml", format!("{key}: 2\nlr: 2\n"));
    s
}

#[test]
fn every_command_shows_names_as_text() {
    let s = hostile();
    for line in [
        "status",
        "status -v a",
        "status --json",
        "stage list",
        "stage list --json",
        "params show",
        "params show --md",
        "params show --json",
        "params diff",
        "params diff --md",
        "metrics show",
        "metrics show --rev HEAD",
        "metrics show -A",
        "metrics show --md",
        "metrics diff",
        "plots show --md",
        "plots show --json",
        "config",
        "config --list --show-origin",
        "remote list",
        "status -c",
        "diff",
        "diff --json",
        "dag",
        "dag --dot",
        "dag --mermaid",
        "dag --md",
        "dag --outs",
        "list .",
        "list . -R",
        "repro --dry",
        "repro --dry --json",
        "push",
        "pull",
        "fetch",
        "du",
        "gc -w --dry",
        "verify",
        "ci report",
        "ci key",
        "repro",
        "repro -j 2",
        "repro --locked",
        "logs a",
        "model list",
        "model show m",
        "model history m",
        "model resolve m",
        "check",
        "commit -f",
        "checkout",
        "cache dir",
        "root",
        "freeze nothing",
        "stage list x",
        "get . x",
        "remove nothing",
        "add nothing",
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        assert_inert(&args, &s.run(&args));
        let ci = output(s.lockstep("").args(&args).env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", s.root()));
        assert!(!ci.stdout.contains('\u{1b}') && !ci.stderr.contains('\u{1b}'), "{args:?}: {ci}");
    }
}

#[test]
fn arguments_are_echoed_as_text() {
    let s = Sandbox::new();
    s.write("pipeline.yaml", "stages: {a: {cmd: 'true'}}\n");
    for args in [
        &[HOSTILE][..],
        &["repro", HOSTILE],
        &["repro", "--jobs", HOSTILE],
        &["repro", &format!("--{HOSTILE}")],
        &["repro", "--wait", HOSTILE],
        &["config", HOSTILE],
        &["config", "jobs", HOSTILE],
        &["remote", "add", "lab", &format!("s3:{HOSTILE}")],
        &["remote", "modify", HOSTILE, "url", "x"],
        &["metrics", "show", "--rev", HOSTILE],
        &["metrics", "show", HOSTILE],
        &["model", "show", HOSTILE],
        &["model", "inspect", HOSTILE],
        &["get", HOSTILE, "x"],
        &["import", ".", HOSTILE],
        &["add", HOSTILE],
        &["diff", HOSTILE],
        &["dag", HOSTILE],
        &["logs", HOSTILE],
        &["-C", HOSTILE, "status"],
        &["--color", HOSTILE, "status"],
        &["stage", "add", "-n", HOSTILE, "true"],
        &["plots", "show", HOSTILE],
    ] {
        let out = s.run(args);
        assert_inert(args, &out);
        assert!(!out.stderr.is_empty(), "{args:?}: {out}");
    }
}

#[test]
fn mistakes_in_files_are_shown_as_text() {
    let s = Sandbox::new();
    let q = quoted("q");
    for (file, text) in [
        ("pipeline.yaml", format!("stages: {{{q}: {{cmd: x}}}}")),
        ("pipeline.yaml", format!("stages: {{a: {{cmd: x, {q}: 1}}}}")),
        ("pipeline.yaml", format!("{q}: 1\nstages: {{}}")),
        ("pipeline.yaml", format!("stages: {{a: {{cmd: \"${{n}}\", desc: {q}, zz: 1}}}}")),
        ("pipeline.yaml", format!("stages: {{a: {{cmd: x, outs: [\"/{}]}}}}", &q[1..])),
        ("pipeline.yaml", format!("stages: {{a: {{cmd: x, deps: [{q}]}}}}")),
        ("pipeline.yaml", format!("stages: {{a: {{cmd: x, wdir: {q}}}}}")),
        ("pipeline.yaml", format!("stages: {{a: {{cmd: x, env: [{q}]}}}}")),
        ("pipeline.yaml", format!("stages: {{a: {{foreach: [{q}], do: {{cmd: x}}}}}}")),
        ("pipeline.yaml", format!("stages: {{a: {{cmd: x, outs: [{q}]}}, b: {{cmd: x, outs: [{q}]}}}}")),
        ("pipeline.yaml", format!("stages: {{a: {{cmd: x, deps: [{q}], outs: [{q}]}}}}")),
        ("pipeline.yaml", format!("stages: {{a: {{cmd: x}}}}\nchecks: [{q}]\nvars: [{q}]")),
        ("pipeline.yaml", "stages: \u{1b}]0;pwn\u{7}\u{202e}".into()),
        ("lockstep.toml", format!("{q} = 1\n")),
        ("lockstep.toml", format!("jobs = {q}\n")),
        ("lockstep.toml", format!("cache.dir = {q}\n")),
        ("lockstep.toml", "jobs = \u{202e}\n".into()),
        ("pipeline.lock", format!("schema: 1\nstages: {{{q}: 1}}\n")),
        ("pipeline.lock", format!("schema: {q}\n")),
        ("params.yaml", format!("{q}: 1\n{q}: 2\n")),
    ] {
        s.write("pipeline.yaml", "stages: {a: {cmd: 'true', params: [x]}}\n");
        s.write(file, text);
        for args in
            [&["status"][..], &["repro"], &["repro", "--json"], &["stage", "list"], &["params", "show"], &["ci", "key"]]
        {
            assert_inert(args, &s.run(args));
        }
        s.remove(file);
    }
}

#[test]
fn colours_are_lockstep_s_own() {
    let s = hostile();
    let out = output(s.lockstep("").args(["--color", "always", "metrics", "show"]).env_remove("NO_COLOR"));
    assert!(out.stdout.contains("\u{1b}[2m") && out.stdout.contains("\\u{1b}[2J"), "{out}");
    assert!(!out.stdout.contains("\u{1b}[2J") && !out.stdout.contains("\u{1b}]"), "{out}");
}

#[test]
fn markdown_tables_are_inert() {
    let s = Sandbox::new();
    s.write("pipeline.yaml", "params: [params.yaml]\n");
    s.write("params.yaml", "lr: 0.1\n\"<img src=x>\": \"@all [a](http://x) | `b`\"\n");
    insta::assert_snapshot!(s.shown(&s.run(&["params", "show", "--md"])), @r"
    exit 0
    --- stdout
    | file        | key           | value                           |
    | ----------- | ------------- | ------------------------------- |
    | params.yaml | lr            | 0.1                             |
    | params.yaml | `<img src=x>` | `` @all [a](http://x) \| `b` `` |
    ");
}
