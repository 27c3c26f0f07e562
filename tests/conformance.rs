//! The conformance suite (see `fixtures/conformance/README.md`): the cases under `resolve/` are judged here, those
//! under `repro/` by the suite's own runner, which needs Python 3 with PyYAML (`cargo test -- --ignored`).

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may fail loudly, helpers of tests too

mod sandbox;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::{Sandbox, output};
use serde_json::{Map, Value, json};

fn suite() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/conformance")
}

#[test]
fn resolve() {
    let mut cases: Vec<PathBuf> = fs::read_dir(suite().join("resolve")).unwrap().map(|e| e.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    cases.sort();
    assert!(cases.len() > 100, "where are the cases?");
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
    let mut failures: Vec<String> = std::thread::scope(|scope| {
        let share = cases.len().div_ceil(threads);
        let workers: Vec<_> =
            cases.chunks(share).map(|part| scope.spawn(|| part.iter().flat_map(judge).collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    failures.sort();
    assert!(failures.is_empty(), "{} problems in {} cases\n{}\n", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
#[ignore = "needs python3 with PyYAML"]
fn repro() {
    let mut runner = Command::new("python3");
    runner.arg(suite().join("run.py")).args(["--suite", "repro", "--check-results", "-j2"]);
    runner.args(["--bin", env!("CARGO_BIN_EXE_lockstep")]).env("PYTHONDONTWRITEBYTECODE", "1");
    let out = output(&mut runner);
    assert_eq!(out.code, 0, "\n{}{}", out.stdout, out.stderr);
}

/// The problems of one case, each a line with its name.
fn judge(path: &PathBuf) -> Vec<String> {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let problems = match serde_yaml::from_str::<Value>(&fs::read_to_string(path).unwrap()) {
        Ok(case) => problems(&case),
        Err(e) => vec![format!("unreadable: {e}")],
    };
    problems
        .into_iter()
        .map(|problem| format!("{name}: {}", problem.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

fn problems(case: &Value) -> Vec<String> {
    let sandbox = Sandbox::new();
    for (path, content) in case["files"].as_object().into_iter().flatten() {
        put(&sandbox, path, content);
    }
    let (want, listed) = (&case["expect"], sandbox.run(&["stage", "list", "--all", "--json"]));
    let is_load = listed.code != 0;
    if want["error"] == true {
        let tried = if is_load { listed } else { sandbox.run(&["repro", "--dry"]) };
        if tried.code == 0 {
            return vec![format!("expected an error, got {}", tried.stdout)];
        }
        if want["at"] == "load" && !is_load {
            return vec!["expected the error while loading, got it from the graph".into()];
        }
        let said = (tried.stderr + &tried.stdout).to_lowercase();
        let words: Vec<&str> = match &want["error_about"] {
            Value::String(word) => vec![word],
            words => words.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
        };
        let missing = words.into_iter().filter(|word| !said.contains(&word.to_lowercase()));
        return missing.map(|word| format!("the message does not mention {word:?}: {said}")).collect();
    }
    if is_load {
        return vec![format!("unexpected error: {}{}", listed.stderr, listed.stdout)];
    }
    match serde_json::from_str(&listed.stdout) {
        Ok(Value::Array(listed)) => compare(&want["stages"], &listed),
        _ => vec![format!("stage list --all --json: unusable answer: {}", listed.stdout)],
    }
}

fn compare(want: &Value, listed: &[Value]) -> Vec<String> {
    let mut got = Map::new();
    for stage in listed {
        let address = stage["address"].as_str().unwrap_or_default().to_string();
        if got.insert(address.clone(), stage.clone()).is_some() {
            return vec![format!("{address} is listed twice")];
        }
    }
    let none = Map::new();
    let want = want.as_object().unwrap_or(&none);
    let addresses: BTreeSet<&String> = want.keys().chain(got.keys()).collect();
    let mut problems = Vec::new();
    for address in addresses {
        match (want.get(address), got.get(address)) {
            (Some(want), Some(got)) => {
                let (want, got) = (canonical(want), canonical(got));
                for (key, want) in &want {
                    if !same(want, &got[key]) {
                        problems.push(format!("{address}: {key}: expected {want}, got {}", got[key]));
                    }
                }
            }
            (Some(_), None) => problems.push(format!("{address} is missing")),
            _ => problems.push(format!("{address} is unexpected")),
        }
    }
    problems
}

/// A stage with its defaults filled in, those of outs left out, paths normalised, lists in one order.
fn canonical(stage: &Value) -> Map<String, Value> {
    let or = |key: &str, default: Value| match &stage[key] {
        Value::Null => default,
        value => value.clone(),
    };
    let out_defaults = json!({"cache": true, "persist": false, "push": true, "metric": false, "plot": false});
    let deps: BTreeSet<String> = stage["deps"].as_array().into_iter().flatten().map(normal).collect();
    let mut outs: Vec<Value> = Vec::new();
    for out in stage["outs"].as_array().into_iter().flatten() {
        let mut fields = match out {
            Value::Object(fields) => fields.clone(),
            path => Map::from_iter([("path".to_string(), path.clone())]),
        };
        let is_empty = |v: &Value| v.is_null() || *v == json!([]) || *v == json!({});
        fields.retain(|key, value| key == "path" || !(is_empty(value) || out_defaults.get(key) == Some(value)));
        fields.insert("path".into(), normal(&fields["path"]).into());
        outs.push(fields.into());
    }
    outs.sort_by_key(|out| out["path"].as_str().map(str::to_string));
    let params = or("params", json!({}));
    let params = params.as_object().into_iter().flatten();
    let params: Map<String, Value> = params.map(|(file, v)| (normal(&json!(file)), v.clone())).collect();
    let pairs = [
        ("cmd", or("cmd", json!([]))),
        ("wdir", normal(&or("wdir", json!("."))).into()),
        ("deps", json!(deps)),
        ("outs", outs.into()),
        ("params", params.into()),
        ("frozen", or("frozen", json!(false))),
        ("always_changed", or("always_changed", json!(false))),
        ("desc", stage["desc"].clone()),
        ("meta", stage["meta"].clone()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

fn normal(path: &Value) -> String {
    let path = path.as_str().map_or_else(|| path.to_string(), str::to_string);
    if path.contains("://") { path } else { lockstep::path::normalise(&path) }
}

/// Equal, numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64() && !(x.is_i64() && y.is_i64()),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

/// Writes a file as a case describes it.
fn put(sandbox: &Sandbox, path: &str, content: &Value) {
    let path = path.trim_end_matches('/');
    if content["dir"] == true {
        return fs::create_dir_all(sandbox.path(path)).unwrap();
    }
    if let Some(target) = content["link"].as_str() {
        sandbox.write(path, "");
        sandbox.remove(path);
        return std::os::unix::fs::symlink(target, sandbox.path(path)).unwrap();
    }
    let text = content.as_str().or(content["text"].as_str()).unwrap_or_else(|| panic!("{path}: what is {content}?"));
    let text = text.replace("%ROOT%", sandbox.root().to_str().unwrap()).replace("%LOCK_SCHEMA%", "1");
    sandbox.write(path, text);
    if content["exec"] == true {
        fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn stages_are_compared_as_the_suite_says() {
    let want = json!({"a": {"cmd": ["x"], "deps": ["b", "./c/../a/"], "params": {"p.yaml": {"n": 1, "t": true}}}});
    let ok = json!({"address": "a", "cmd": ["x"], "wdir": ".", "deps": ["a", "b", "b"], "outs": [], "frozen": false,
        "params": {"./p.yaml": {"t": true, "n": 1.0}}, "desc": null, "more": 1});
    assert_eq!(compare(&want, std::slice::from_ref(&ok)), Vec::<String>::new());
    let outs = |outs: Value| vec![json!({"address": "a", "cmd": ["x"], "outs": outs})];
    let plain = json!({"a": {"cmd": ["x"], "outs": [{"path": "o"}]}});
    assert!(compare(&plain, &outs(json!([{"path": "./o", "cache": true, "labels": []}]))).is_empty());
    assert_eq!(compare(&plain, &outs(json!([{"path": "o", "cache": false}]))).len(), 1);
    let mut other = ok.clone();
    other["params"]["./p.yaml"]["t"] = json!(1);
    assert_eq!(compare(&want, &[other]).len(), 1);
    assert_eq!(compare(&want, &[ok.clone(), ok]), ["a is listed twice"]);
    assert_eq!(compare(&want, &[json!({"address": "z", "cmd": []})]), ["a is missing", "z is unexpected"]);
}
