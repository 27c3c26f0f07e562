//! The schema and the checker against each other, with a JSON Schema validator that others wrote.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::super::{Checker, keys};
use super::schema;
use crate::pipeline::load::memory::Memory;
use crate::value::node::Tree;
use crate::value::{Value, yaml};

/// The compiled schema.
struct Validator {
    schemas: boon::Schemas,
    schema: boon::SchemaIndex,
}

impl Validator {
    fn new() -> Validator {
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("pipeline.json", schema()).unwrap();
        let schema = compiler.compile("pipeline.json", &mut schemas).unwrap();
        Validator { schemas, schema }
    }

    /// The mistake that the schema finds in a file.
    fn mistake(&self, text: &str) -> Option<String> {
        let root = yaml::parse(text).unwrap_or_else(|e| panic!("{}\n{text}", e.message));
        let json = root.map_or(Json::Null, |root| serde_json::to_value(root.into_value()).unwrap());
        self.schemas.validate(&json, self.schema).err().map(|e| format!("{e:#}"))
    }
}

/// The problems of a file that need no values of templates.
fn problems(text: &str) -> Vec<String> {
    let mut checker = Checker { file: "pipeline.yaml", text, problems: Vec::new(), back_steps: Vec::new() };
    let root = yaml::parse(text).unwrap_or_else(|e| panic!("{}\n{text}", e.message));
    // An empty file is fine.
    if let Some(root) = root.filter(|root| !matches!(root.tree, Tree::Scalar(Value::Null))) {
        checker.file(&root);
    }
    checker.problems.into_iter().map(|problem| problem.message).collect()
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files_in(folder: &str) -> Vec<PathBuf> {
    fs::read_dir(source(folder)).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Pipeline files of the fixtures, the example and the docs, with their places.
fn corpus() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut paths = vec![source("pipeline.example.yaml"), source("fixtures/broken/good.yaml")];
    paths.extend(files_in("fixtures/examples").into_iter().map(|folder| folder.join("pipeline.yaml")));
    for path in paths.into_iter().filter(|path| path.exists()) {
        found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
    }
    for path in [files_in("fixtures/conformance/resolve"), files_in("fixtures/conformance/repro")].concat() {
        let case: Json = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for (name, content) in case["files"].as_object().into_iter().flatten() {
            if let Some(text) = content.as_str().filter(|_| name.ends_with("pipeline.yaml")) {
                found.push((format!("{}, {name}", path.display()), text.to_string()));
            }
        }
    }
    let pages = files_in("docs").into_iter().filter(|path| path.extension().is_some_and(|e| e == "md"));
    for page in pages.chain([source("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```yaml\n# pipeline.yaml\n").skip(1) {
            found.push((page.display().to_string(), block.split("```").next().unwrap().to_string()));
        }
    }
    assert!(found.len() > 200, "{} pipeline files", found.len());
    found
}

#[test]
fn the_schema_accepts_each_file_that_the_parser_accepts() {
    let validator = Validator::new();
    let mut accepted = 0;
    for (place, text) in corpus() {
        if yaml::parse(&text).is_ok() && problems(&text).is_empty() {
            assert_eq!(validator.mistake(&text), None, "{place}");
            accepted += 1;
        }
    }
    assert!(accepted > 150, "{accepted} files without mistakes");
}

/// Every key of the tables with a value of each of its forms.
const EVERYTHING: &str = r#"
stages:
  a:
    cmd: [echo 1, 'echo ${x}']
    wdir: w
    deps: [p, '${x}']
    params: [k, {f.yaml: [k], g.yaml: null, h.yaml: []}, {i.yaml: {}}]
    vars: [f.yaml, {x: 1, y: {z: [1, true, null]}}]
    outs: [o, {p: {cache: true, persist: false, checkpoint: true, remote: r, push: true}, q: {}}]
    metrics: [{m: {desc: d, type: t, labels: [l], meta: {any: [1]}}}]
    plots: [c, {c2: {template: t, x: a, y: b, x_label: l, y_label: l, title: t, header: true, cache: false}}]
    frozen: false
    always_changed: true
    desc: d
    meta: [1, {a: null}]
    matrix: {d: [1, {a: 1}], e: '${list}'}
    env: [A, {B: {input: false}}]
    scratch: [s]
    environment: u
  b: {foreach: [1, {a: b}], do: {cmd: x}}
  c: {foreach: {k: 1}, do: {cmd: x, outs: ['${key}']}}
  d: {foreach: '${list}', do: {cmd: x, desc: d}}
vars: [f.yaml:a, {b: 1}]
params: [p.yaml]
metrics: [m.json]
plots: [c, {loss: {template: t, x: {a: b}, y: {a: [b]}, x_label: l, y_label: l, title: t}, n: null}, {p: {x: a, y: [b]}}]
environments:
  u: {uv: pyproject.toml, groups: [g], extras: [x], python: '3.11'}
  p: {pip: requirements.txt}
  f: {files: [f], setup: make, run: env}
artifacts: {m: {path: p, desc: d, type: t, labels: [l], meta: 1, require: [signed]}}
checks: ['a > 1']
deploy:
  prod: {artifact: m, label: prod, to: /srv/m, keep: 3, check: a, after: b, healthy: 'http://h/', timeout: 60s,
    require: [signed, stored], link: copy}
  b-2: {timeout: 5, keep: '${n}', link: '${l}'}
  c: {}
datasets: [{name: n}]
data:
- path: raw
  remote: r
  push: false
  desc: d
  type: t
  labels: []
  meta: {}
  import: {url: u, path: p, rev: main, commit: 24910b977f56cd146dcb1544c9cdbe3a59b8d5e8}
"#;

/// The paths of all values in a document.
fn pointers(value: &Json, at: String, found: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Json::Object(fields) => {
            fields.iter().for_each(|(key, inner)| pointers(inner, format!("{at}/{}", escaped(key)), found))
        }
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(n, inner)| pointers(inner, format!("{at}/{n}"), found))
        }
        _ => {}
    }
    found.push(at);
}

/// The document with one value replaced, one key added or one removed, in all ways.
fn variants(document: &Json) -> Vec<Json> {
    let values = [
        json!(5),
        json!(true),
        json!(null),
        json!("word"),
        json!("${x}"),
        json!(""),
        json!([]),
        json!([1]),
        json!(["w"]),
        json!([null]),
        json!([[]]),
        json!([{}]),
        json!([{"k": {}}]),
        json!([{"k": {"k": 1}}]),
        json!({}),
        json!({"k": 1}),
        json!({"k": {}}),
        json!({"k": ["w"]}),
        json!({"k": null}),
        json!({"k": "${x}"}),
    ];
    let mut places = Vec::new();
    pointers(document, String::new(), &mut places);
    let mut made = Vec::new();
    for place in places {
        for value in &values {
            let mut variant = document.clone();
            *variant.pointer_mut(&place).unwrap() = value.clone();
            made.push(variant);
        }
        let fields = document.pointer(&place).and_then(Json::as_object);
        for key in fields.into_iter().flat_map(|fields| fields.keys()) {
            let mut variant = document.clone();
            variant.pointer_mut(&place).unwrap().as_object_mut().unwrap().remove(key);
            made.push(variant);
        }
        if fields.is_some() {
            let mut variant = document.clone();
            variant.pointer_mut(&place).unwrap()["unknown"] = json!("x");
            made.push(variant);
        }
    }
    made
}

#[test]
fn the_schema_and_the_parser_agree_on_each_mistake() {
    let validator = Validator::new();
    assert_eq!((problems(EVERYTHING), validator.mistake(EVERYTHING)), (Vec::new(), None));
    let document = serde_json::to_value(yaml::parse(EVERYTHING).unwrap().unwrap().into_value()).unwrap();
    let (mut refused, mut differences) = (0, Vec::new());
    for variant in variants(&document) {
        let text = variant.to_string();
        let (problems, mistake) = (problems(&text), validator.mistake(&text));
        refused += usize::from(mistake.is_some());
        match (problems.first(), mistake) {
            (Some(problem), None) => differences.push(format!("the schema accepts: {problem}\n{text}")),
            // Keys of params files are checked when templates are resolved.
            (None, Some(mistake)) if Memory::new(&[("pipeline.yaml", &text)]).broken().is_empty() => {
                differences.push(format!("the parser accepts: {mistake}\n{text}"));
            }
            _ => {}
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
    assert!(refused > 1000, "{refused}");
}

#[test]
fn both_refuse_a_mistake_at_each_level() {
    let validator = Validator::new();
    for text in [
        "[1]",
        "stagess: {}\nvars: []",
        "stages: [a]",
        "stages: {a: cmd}",
        "stages: {a: {}}",
        "stages: {-a: {cmd: x}}",
        "stages: {a/b: {cmd: x}}",
        "stages: {'a:b': {cmd: x}}",
        "stages: {'a@b': {cmd: x}}",
        "stages: {'': {cmd: x}}",
        "stages: {..: {cmd: x}}",
        "stages: {a: {cmd: ''}}",
        "stages: {a: {cmd: []}}",
        "stages: {a: {cmd: x, out: [y]}}",
        "stages: {a: {cmd: x, frozen: '${f}'}}",
        "stages: {a: {cmd: x, deps: {p: {}}}}",
        "stages: {a: {cmd: x, outs: [{p: }]}}",
        "stages: {a: {cmd: x, outs: [{p: {x: a}}]}}",
        "stages: {a: {cmd: x, plots: [{p: {z: a}}]}}",
        "stages: {a: {cmd: x, env: [{A: {inputs: true}}]}}",
        "stages: {a: {cmd: x, env: [{A: {}, B: {}}]}}",
        "stages: {a: {cmd: x, matrix: {d: word}}}",
        "stages: {a: {cmd: x, vars: [{a: '${b}'}]}}",
        "stages: {a: {cmd: x, vars: ['${b}.yaml']}}",
        "stages: {a: {foreach: [1]}}",
        "stages: {a: {do: {cmd: x}}}",
        "stages: {a: {foreach: [1], do: {cmd: x}, cmd: x}}",
        "stages: {a: {foreach: [1], do: {cmd: x, matrix: {a: [1]}}}}",
        "stages: {a: {foreach: word, do: {cmd: x}}}",
        "stages: {a: {foreach: [1], do: {cmd: x, outz: []}}}",
        "plots: {loss: {x: a}}",
        "plots: [{loss: {x: [a]}}]",
        "plots: [{loss: {header: true}}]",
        "environments: [e]",
        "environments: {e: {uv: [p]}}",
        "environments: {e: {pip: p, groups: g}}",
        "artifacts: [m]",
        "artifacts: {m: {}}",
        "artifacts: {m: {path: p, cache: true}}",
        "artifacts: {m: {path: p, require: [sign]}}",
        "deploy: [prod]",
        "deploy: {prod: x}",
        "deploy: {status: {}}",
        "deploy: {a/b: {}}",
        "deploy: {-a: {}}",
        "deploy: {prod: {keep: -1}}",
        "deploy: {prod: {keep: many}}",
        "deploy: {prod: {require: [sign]}}",
        "deploy: {prod: {link: soft}}",
        "deploy: {prod: {form: x}}",
        "checks: 'a > 1'",
        "checks: {m: 'a > 1'}",
        "data: [raw]",
        "data: [{desc: d}]",
        "data: [{path: p, cache: true}]",
        "data: [{path: p, import: {url: u, path: p}}]",
        "data: [{path: p, import: {url: u, path: p, commit: 123abc}}]",
        "data: [{path: p, import: {url: '', path: p, commit: 24910b977f56cd146dcb1544c9cdbe3a59b8d5e8}}]",
    ] {
        assert!(!problems(text).is_empty(), "the parser accepts {text}");
        assert!(validator.mistake(text).is_some(), "the schema accepts {text}");
    }
}

#[test]
fn every_key_is_described_in_the_schema_and_in_the_docs() {
    let page = include_str!("../../../../docs/pipeline.md");
    let plotting = include_str!("../../../../docs/plotting.md");
    for tables in [keys::TOP, keys::STAGE, keys::GROUP, keys::OUT, keys::DEPLOY, &[keys::PLOT_PROPERTIES]] {
        for spec in keys::rows(tables) {
            assert!(!spec.about.is_empty() && spec.about.chars().count() <= 110, "{}: {}", spec.name, spec.about);
            let is_of_dvc = ["checkpoint", "datasets"].contains(&spec.name);
            let name = format!("`{}`", spec.name);
            assert!(page.contains(&name) || plotting.contains(spec.name) || is_of_dvc, "{name} is not in the docs");
        }
    }
}
