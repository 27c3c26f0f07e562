use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use super::*;
use crate::event::Silent;
use crate::git::testing::{commit_all, repository, write};
use crate::lock::{self, Lock};
use crate::project::Surroundings;
use crate::store::{NoRules, TrackedPath};

fn open(top: &Path) -> Project {
    let around = Surroundings {
        git: Default::default(),
        cwd: top.into(),
        env: BTreeMap::new(),
        now: SystemTime::now,
        program: "lockstep".into(),
        user_config: None,
        home: None,
        user: |_| "t".into(),
        settings: Vec::new(),
        stop: crate::event::StopSignal::never(),
    };
    Project::open(around).unwrap()
}

fn p(path: &str) -> RepoPath {
    RepoPath::root().join(path).unwrap()
}

const PIPELINE: &str = "data: [{path: raw}]\nstages:\n  s:\n    cmd: x ${lr}\n    outs: [out]\n    metrics: [m.json, kept.json: {cache: false}]\n";

/// A repository whose outs are only in the store, pinned by the lock.
fn sample() -> (tempfile::TempDir, Project) {
    let (dir, top) = repository();
    write(&top, &[("pipeline.yaml", PIPELINE), ("params.yaml", "lr: 0.1"), ("kept.json", "{\"k\": 1}")]);
    write(&top, &[("m.json", "{\"acc\": 0.5}"), ("out/deep/a", "A"), ("out/b", "B"), ("raw", "R")]);
    write(&top, &[(".gitignore", "/m.json\n/out\n/raw\n")]);
    std::os::unix::fs::symlink("deep", top.join("out/link")).unwrap();
    std::os::unix::fs::symlink("../deep/a", top.join("out/deep/up")).unwrap();
    let project = open(&top);
    let names = ["m.json", "out", "raw", "kept.json"];
    let places: Vec<TrackedPath> = names.iter().map(|n| TrackedPath::Inside(p(n))).collect();
    let pins: Vec<Pin> =
        project.index().scan(&places, &NoRules, &Silent).into_iter().map(|r| r.unwrap().unwrap()).collect();
    let mut batch = project.store().batch();
    for (place, pin) in places.iter().zip(&pins).take(3) {
        batch.add(project.index(), place, pin).unwrap();
    }
    batch.commit(&Silent).unwrap();
    let out = |pin: Pin, cache: bool| lock::OutLock { pin, cache, persist: false, metrics: Default::default() };
    let mut stage = lock::StageLock {
        key: Default::default(),
        cmd: lock::Command::One("x 0.1".into()),
        wdir: None,
        shell: None,
        environment: None,
        env: Default::default(),
        deps: Default::default(),
        params: Default::default(),
        outs: [("m.json", out(pins[0], true)), ("out", out(pins[1], true)), ("kept.json", out(pins[3], false))]
            .map(|(n, o)| (n.to_string(), o))
            .into(),
    };
    stage.key = lock::key(&stage);
    let lock = Lock { data: [("raw".to_string(), pins[2])].into(), stages: [("s".to_string(), stage)].into() };
    std::fs::write(top.join("pipeline.lock"), crate::lock::write(&lock)).unwrap();
    commit_all(&top, "first");
    for name in ["m.json", "raw"] {
        std::fs::remove_file(top.join(name)).unwrap();
    }
    std::fs::remove_dir_all(top.join("out")).unwrap();
    (dir, project)
}

#[test]
fn files_come_from_git_or_from_the_store() {
    let (_dir, project) = sample();
    write(project.top(), &[("kept.json", "{\"k\": 2}")]);
    let then = project.at(&Rev::Named("HEAD".into())).unwrap();
    let now = project.at(&Rev::Worktree).unwrap();
    let text = |s: &Snapshot, path: &str| {
        s.read_file(&p(path)).map(|b| b.map(|b| String::from_utf8(b).unwrap())).map_err(|e| e.message)
    };
    for (path, want) in [
        ("kept.json", Some("{\"k\": 1}")),
        ("m.json", Some("{\"acc\": 0.5}")),
        ("out/deep/a", Some("A")),
        ("out/link/a", Some("A")),
        ("out/deep/up", Some("A")),
        ("out/none", None),
        ("out/b/none", None),
        ("raw", Some("R")),
        ("raw/none", None),
        ("nothing", None),
    ] {
        assert_eq!(text(&then, path).unwrap().as_deref(), want, "{path}");
    }
    assert_eq!(text(&now, "kept.json").unwrap().as_deref(), Some("{\"k\": 2}"));
    // A missing output has its pinned content; `raw` is not an output.
    assert_eq!(text(&now, "m.json").unwrap().as_deref(), Some("{\"acc\": 0.5}"));
    assert_eq!(text(&now, "raw").unwrap(), None);
    assert_eq!(text(&then, "out/deep").unwrap_err(), "out/deep is a folder");
    assert_eq!(then.definitions.pipelines.stages[0].cmd, ["x 0.1"]);
    let pinned: Vec<String> = then.pinned().unwrap().iter().map(|p| format!("{}:{}", p.path, p.cache)).collect();
    assert_eq!(pinned, ["out:true", "m.json:true", "kept.json:false", "raw:true"]);
}

#[test]
fn a_missing_object_names_the_fetch() {
    let (_dir, project) = sample();
    std::fs::remove_dir_all(project.store_dir().join("objects")).unwrap();
    let then = project.at(&Rev::Named("HEAD".into())).unwrap();
    for path in ["m.json", "out/deep/a"] {
        let e = then.read_file(&p(path)).unwrap_err();
        assert_eq!(e.kind, Kind::Missing);
        assert!(e.hints[0].starts_with("there is no remote to fetch it from"), "{e}");
    }
    assert!(then.read_file(&p("kept.json")).unwrap().is_some());
}

#[test]
fn definitions_are_loaded_once_for_equal_files() {
    let (_dir, project) = sample();
    let top = project.top();
    write(top, &[("other", "1")]);
    commit_all(top, "second");
    write(top, &[("params.yaml", "lr: 0.2")]);
    commit_all(top, "third");
    write(top, &[("pipeline.yaml", &PIPELINE.replace(" ${lr}", ""))]);
    commit_all(top, "fourth");
    write(top, &[("params.yaml", "lr: 0.3")]);
    commit_all(top, "fifth");
    let snapshots = project.snapshots();
    let at = |name: &str| snapshots.at(&Rev::Named(name.into())).unwrap();
    let all: Vec<Snapshot> = ["HEAD~4", "HEAD~3", "HEAD~2", "HEAD~1", "HEAD"].into_iter().map(at).collect();
    let shared: Vec<bool> = all.windows(2).map(|w| Rc::ptr_eq(&w[0].definitions, &w[1].definitions)).collect();
    assert_eq!(shared, [true, false, false, true]);
    assert_eq!(all[2].definitions.pipelines.stages[0].cmd, ["x 0.2"]);
    assert_eq!(snapshots.at(&Rev::Named("HEAD~9".into())).err().map(|e| e.kind), Some(Kind::Missing));
}
