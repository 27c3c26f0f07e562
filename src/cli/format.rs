//! The JSON of reasons and results.

use serde_json::{Map, Value as Json, json};

use crate::event::StageResult;
use crate::lock::{Command, EnvironmentLock};
use crate::path::RepoPath;
use crate::pipeline::stage::Stage;
use crate::plan::reasons::Reason;
use crate::run::outcome::ResultSource;
use crate::store::Pin;
use crate::value::Value;

/// A reason in `status --json` and `repro --json`. Paths are relative to `from`.
pub fn reason(reason: &Reason, stage: &Stage, from: &RepoPath) -> Value {
    let place = |path: &str| place(path, stage, from);
    match reason {
        Reason::NeverRun => json!({"kind": "never_run"}).into(),
        Reason::Always => json!({"kind": "always"}).into(),
        Reason::Forced => json!({"kind": "forced"}).into(),
        Reason::Cmd { old, new } => json!({"kind": "cmd", "old": command(old), "new": command(new)}).into(),
        Reason::Dep { path, state, old, new } => {
            let mut o = object("dep", "path", place(path));
            o.insert("state".into(), json!(state.word()));
            pins(&mut o, old, new);
            Json::from(o).into()
        }
        Reason::Out { path, state, old, new } => {
            let mut o = object("out", "path", place(path));
            o.insert("state".into(), json!(state.word()));
            pins(&mut o, old, new);
            Json::from(o).into()
        }
        Reason::Param { file, key, state, old, new } => {
            let mut o = object("param", "file", place(file));
            o.insert("key".into(), json!(key));
            o.insert("state".into(), json!(state.word()));
            let mut o = Value::from(Json::from(o));
            for (name, value) in [("old", old), ("new", new)] {
                if let Some(value) = value {
                    o.set(&[name], value.clone());
                }
            }
            o
        }
        Reason::Env { name, old, new } => {
            let mut o = object("env", "name", name.clone());
            for (name, value) in [("old", old), ("new", new)] {
                if let Some(value) = value {
                    o.insert(name.into(), json!(value));
                }
            }
            Json::from(o).into()
        }
        Reason::Environment { name, how, old, new } => {
            let mut o = object("environment", "name", name.clone());
            o.insert("how".into(), json!(how));
            for (name, environment) in [("old", old), ("new", new)] {
                if let Some(environment) = environment {
                    o.insert(name.into(), self::environment(environment));
                }
            }
            Json::from(o).into()
        }
        Reason::Definition { what, how } => json!({"kind": "definition", "what": what, "how": how}).into(),
    }
}

/// An environment as the lock has it.
pub fn environment(environment: &EnvironmentLock) -> Json {
    json!({
        "kind": environment.kind,
        "platform": environment.platform,
        "python": environment.python,
        "hash": environment.hash.hex(),
    })
}

fn object(kind: &str, key: &str, value: String) -> Map<String, Json> {
    let mut o = Map::new();
    o.insert("kind".into(), json!(kind));
    o.insert(key.into(), json!(value));
    o
}

fn pins(o: &mut Map<String, Json>, old: &Option<Pin>, new: &Option<Pin>) {
    for (name, pin) in [("old", old), ("new", new)] {
        if let Some(pin) = pin {
            o.insert(name.into(), json!(pin.id.hex()));
        }
    }
}

/// A path of a stage, relative to its working folder, made relative to `from`.
fn place(path: &str, stage: &Stage, from: &RepoPath) -> String {
    match stage.wdir.join(path) {
        Some(path) => path.relative_to(from),
        None => path.to_string(),
    }
}

fn command(command: &Command) -> Json {
    match command {
        Command::One(cmd) => json!(cmd),
        Command::List(items) => json!(items),
    }
}

/// The source of a restored result.
pub fn source(source: ResultSource) -> &'static str {
    match source {
        ResultSource::Local => "local",
        ResultSource::Remote => "remote",
    }
}

pub fn result(result: StageResult) -> &'static str {
    match result {
        StageResult::Ran => "ran",
        StageResult::Restored => "restored",
        StageResult::UpToDate => "up_to_date",
        StageResult::Failed => "failed",
        StageResult::Blocked => "blocked",
        StageResult::Skipped => "skipped",
    }
}
