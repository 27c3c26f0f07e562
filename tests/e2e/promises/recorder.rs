//! A bug in lockstep itself, in the thread that records: the run ends, and the next command finds all in order.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI32;
use std::time::SystemTime;

use lockstep::error::Kind;
use lockstep::event::{Activity, Event, Sink, StopSignal};
use lockstep::plan::select::{Scope, SelectionMode};
use lockstep::project::{Project, Surroundings};
use lockstep::run::{options::RunOptions, repro::repro};

use crate::promises::stale;
use crate::sandbox::Sandbox;

/// Fails when it is told that results are stored.
struct Broken;

impl Sink for Broken {
    fn event(&self, event: Event<'_>) {
        if let Event::WorkPlanned { doing: Activity::Storing, .. } = event {
            panic!("a bug, made for a test");
        }
    }
}

#[test]
fn a_recorder_that_panics_ends_the_run_and_loses_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  a:\n    cmd: cp in a\n    deps: [in]\n    outs: [a]\n  b:\n    cmd: cp a b\n    deps: [a]\n    \
         outs: [b]\n",
    );
    sandbox.write("in", "1");
    assert_eq!(sandbox.run(&["repro"]).code, 0);
    let before = sandbox.read("pipeline.lock");
    sandbox.write("in", "2");
    let project = Project::open(Surroundings {
        git: Default::default(),
        cwd: sandbox.root().to_path_buf(),
        env: BTreeMap::new(),
        now: SystemTime::now,
        program: env!("CARGO_BIN_EXE_lockstep").into(),
        user_config: None,
        home: None,
        settings: Vec::new(),
        user: |_| "t".into(),
        stop: StopSignal::never(),
    })
    .unwrap();
    let definitions = project.definitions().unwrap();
    let selected = Scope::of(&project, &definitions).select(&[], &SelectionMode::default(), true).unwrap();
    let options = RunOptions { jobs: 1, ..RunOptions::default() };
    let error = repro(&project, &definitions, &selected, &options, &Broken, &AtomicI32::new(0)).unwrap_err();
    assert_eq!(error.kind, Kind::Bug, "{error}");
    drop(project);
    assert_eq!(sandbox.read("pipeline.lock"), before);
    let out = sandbox.run(&["checkout"]);
    assert_eq!((out.code, sandbox.read("a").as_str()), (0, "1"), "{out}");
    assert_eq!(stale(&sandbox), ["a"]);
    let out = sandbox.run(&["repro"]);
    assert_eq!((out.code, sandbox.read("b").as_str()), (0, "2"), "{out}");
    assert_eq!(stale(&sandbox), [""; 0]);
}
