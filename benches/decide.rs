//! What deciding costs, for 10,000 stages: reading YAML, reading the compiled form, joining the graph, judging, keys.
//!
//!     cargo bench --bench decide [STAGES]
//!
//! Prints the median of some runs, in milliseconds. The yardsticks are in the same table: reading the pipeline file, and
//! one stat for each output.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a program that prints

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use lockstep::lock::{key, manifest};
use lockstep::path::RepoPath;
use lockstep::pipeline::graph;
use lockstep::pipeline::load::load;
use lockstep::plan::reasons::{Facts, entry, judge};
use lockstep::project::{Project, Surroundings};
use lockstep::store::{ObjectId, Pin};

fn main() {
    let stages: usize = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(10_000);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::process::Command::new("git").args(["init", "-q"]).current_dir(&root).status().unwrap();
    fs::write(root.join("pipeline.yaml"), layered(stages)).unwrap();
    fs::create_dir(root.join("o")).unwrap();
    for i in 0..stages {
        fs::write(root.join("o").join(i.to_string()), "x").unwrap();
    }
    println!("{stages} stages, milliseconds (median)");

    time("yardstick: read the file", || fs::read(root.join("pipeline.yaml")).unwrap().len());
    time("yardstick: stat the outputs", || {
        (0..stages).filter(|i| fs::metadata(root.join("o").join(i.to_string())).is_ok()).count()
    });
    let project = open(&root);
    let path = RepoPath::root().join("pipeline.yaml").unwrap();
    time("read YAML", || load(&project.files(), std::slice::from_ref(&path), &RepoPath::root()).pipelines.stages.len());
    let loaded = load(&project.files(), &[path], &RepoPath::root());
    time("join the graph", || graph::build(&loaded.pipelines).unwrap().order().len());
    let definitions = project.definitions().unwrap();
    time("all of it, from the compiled form", || project.definitions().unwrap().pipelines.stages.len());

    let pin = |n: usize| Pin { id: ObjectId::of(&n.to_le_bytes()), size: 8, files: None, executable: false };
    let facts: Vec<Facts> = definitions
        .pipelines
        .stages
        .iter()
        .map(|s| Facts {
            deps: (0..s.deps.len()).map(|i| Some(pin(i))).collect(),
            params: BTreeMap::new(),
            env: Vec::new(),
            environment: None,
            outs: vec![Some(pin(99))],
        })
        .collect();
    let pairs = || definitions.pipelines.stages.iter().zip(&facts);
    let entries: Vec<_> = pairs().map(|(s, f)| entry(s, &None, f, &f.outs)).collect();
    time("judge", || pairs().zip(&entries).filter(|((s, f), e)| judge(s, &None, f, Some(e)).is_empty()).count());
    time("keys", || entries.iter().filter(|e| key(e) == e.key).count());
    time("manifests as text", || entries.iter().map(|e| manifest(e).len()).sum());
}

fn time(what: &str, mut work: impl FnMut() -> usize) {
    let mut runs: Vec<f64> = (0..7)
        .map(|_| {
            let started = Instant::now();
            assert!(work() > 0, "{what} did nothing");
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    println!("{:>9.2}  {what}", runs[3]);
}

fn open(root: &std::path::Path) -> Project {
    Project::open(Surroundings {
        git: Default::default(),
        cwd: root.into(),
        env: BTreeMap::new(),
        now: SystemTime::now,
        program: PathBuf::new(),
        user_config: None,
        home: None,
        user: |_| "t".into(),
        settings: Vec::new(),
        stop: lockstep::event::StopSignal::never(),
    })
    .unwrap()
}

/// A tenth of the stages are roots; every other one reads the output of two earlier ones.
fn layered(stages: usize) -> String {
    let roots = (stages / 10).max(1);
    let mut text = String::from("stages:\n");
    for i in 0..stages {
        let deps = if i < roots { format!("in/{i}") } else { format!("o/{}, o/{}", i - roots, i / 2) };
        let _ = writeln!(text, "  s{i}:\n    cmd: cat {deps} > o/{i}\n    deps: [{deps}]\n    outs: [o/{i}]");
    }
    text
}
