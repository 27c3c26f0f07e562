//! Judges whether a stage is up to date. Pure: facts and a lock entry in, reasons out.
//!
//! A stage is stale if it never ran, if its command, working folder, shell, environment, deps, params, env or set of outs differ
//! from the lock, if an out is missing or changed in the workspace, or if it always runs. Times, `desc`, `meta`, order,
//! comments and the spelling of YAML are ignored. Every reason names what the user would look for first: old → new of a
//! value, the path of a dep.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::environment::resolve::ResolvedEnvironment;
use crate::lock::{ByName, Command, EnvironmentLock, OutLock, StageLock, key};
use crate::pipeline::stage::{Out, Stage};
use crate::secret::may_be_secret;
use crate::store::{ObjectId, Pin};
use crate::url::secrets_of_text;
use crate::value::Value;

/// The current state of the workspace, in the order of the stage's own lists.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The pin of each dep; `None` if it does not exist.
    pub deps: Vec<Option<Pin>>,
    /// The environment that the stage names; `None` also if the stage is frozen and it is not known.
    pub environment: Option<Arc<ResolvedEnvironment>>,
    /// By file, then key; `None` for a missing file.
    pub params: BTreeMap<String, Option<BTreeMap<String, Value>>>,
    /// The value of each declared variable; `None` if it is not set.
    pub env: Vec<Option<String>>,
    /// The pin of each output; `None` if it does not exist.
    pub outs: Vec<Option<Pin>>,
}

/// Why a stage is stale.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The lock has no entry of the stage.
    NeverRun,
    /// The command differs.
    Cmd {
        /// The command in the lock.
        old: Command,
        /// The command of the definition.
        new: Command,
    },
    /// A dep differs.
    Dep {
        /// As the stage spells it.
        path: String,
        /// How it differs.
        state: PathState,
        /// The pin in the lock; `None` for a new dep.
        old: Option<Pin>,
        /// The current pin; `None` if it does not exist.
        new: Option<Pin>,
    },
    /// A param differs.
    Param {
        /// The params file, as the stage spells it.
        file: String,
        /// The dotted key.
        key: String,
        /// How it differs.
        state: PathState,
        /// The value in the lock; `None` for a new key.
        old: Option<Value>,
        /// The current value; `None` if the file or the key is missing.
        new: Option<Value>,
    },
    /// An output differs, or is not there.
    Out {
        /// As the stage spells it.
        path: String,
        /// How it differs.
        state: PathState,
        /// The pin in the lock; `None` for a new output.
        old: Option<Pin>,
        /// The current pin; `None` if it does not exist.
        new: Option<Pin>,
    },
    /// A declared environment variable differs.
    Env {
        /// The name of the variable.
        name: String,
        /// The outer `None`: not in the lock; the inner one: it was not set. A secret is `***`.
        old: Option<Option<String>>,
        /// The outer `None`: no longer declared; the inner one: it is not set.
        new: Option<Option<String>>,
    },
    /// The environment differs.
    Environment {
        /// The name, as the stage says it; that of the kind if the stage names none any more.
        name: String,
        /// The change: `python 3.11 → 3.12`, `numpy 1.26.4 → 2.0.0`.
        how: String,
        /// The environment in the lock; `None` if the last run had none.
        old: Option<EnvironmentLock>,
        /// The current one; `None` if the stage names none any more.
        new: Option<EnvironmentLock>,
    },
    /// Part of the definition changed: `wdir`, `shell`, `outs`, `deps` or `params`; the text says how.
    Definition {
        /// The key of the definition.
        what: &'static str,
        /// The change: `. → src`, or `x, y removed`.
        how: String,
    },
    /// The stage runs every time: see [`always_runs`].
    Always,
    /// Requested by `--force`, or by `--force-downstream` of an upstream stage.
    Forced,
}

/// How a dep, an output or data differs from the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    /// The lock does not have it.
    New,
    /// The content differs from the lock.
    Modified,
    /// The lock has it, and it does not exist.
    Deleted,
    /// Neither in the workspace nor in the store.
    NotInCache,
    /// A dep or data that was never recorded and does not exist.
    Missing,
    /// Data is at the version of an earlier lock.
    NotCheckedOut,
    /// Data that was changed both in the workspace and in the lock.
    Diverged,
}

impl PathState {
    /// The word for messages and JSON.
    pub fn word(self) -> &'static str {
        match self {
            PathState::New => "new",
            PathState::Modified => "modified",
            PathState::Deleted => "deleted",
            PathState::NotInCache => "not in cache",
            PathState::Missing => "missing",
            PathState::NotCheckedOut => "not checked out",
            PathState::Diverged => "diverged",
        }
    }
}

impl Reason {
    /// Whether the reason is about the definition or the inputs of the stage, and not about its outputs.
    pub fn is_input(&self) -> bool {
        !matches!(self, Reason::Out { .. })
    }
}

/// Whether a stage runs every time: `always_changed`, or a command without anything to compare.
pub fn always_runs(stage: &Stage) -> bool {
    stage.always_changed
        || (stage.deps.is_empty() && stage.params.is_empty() && stage.env.is_empty() && stage.outs.is_empty())
}

/// All the reasons why `stage` is stale, in a fixed order; empty if it is up to date.
pub fn judge(stage: &Stage, shell: &Option<String>, now: &Facts, entry: Option<&StageLock>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if always_runs(stage) && !stage.frozen {
        reasons.push(Reason::Always);
    }
    let Some(entry) = entry else {
        if !always_runs(stage) || stage.frozen {
            reasons.push(Reason::NeverRun);
        }
        return reasons;
    };
    if !stage.frozen {
        definition(stage, shell, entry, &mut reasons);
        environment(stage, now, entry, &mut reasons);
        deps(stage, now, entry, &mut reasons);
        params(stage, now, entry, &mut reasons);
        env(stage, now, entry, &mut reasons);
    }
    outs(stage, now, entry, &mut reasons);
    reasons
}

fn definition(stage: &Stage, shell: &Option<String>, entry: &StageLock, reasons: &mut Vec<Reason>) {
    if entry.cmd.items() != stage.cmd {
        reasons.push(Reason::Cmd { old: entry.cmd.clone(), new: command(stage) });
    }
    if entry.wdir.as_deref().unwrap_or(".") != stage.wdir_spelled {
        let how = format!("{} → {}", entry.wdir.as_deref().unwrap_or("."), stage.wdir_spelled);
        reasons.push(Reason::Definition { what: "wdir", how });
    }
    if entry.shell != *shell {
        let name = |s: &Option<String>| s.clone().unwrap_or_else(|| "sh".into());
        let how = format!("{} → {}", name(&entry.shell), name(shell));
        reasons.push(Reason::Definition { what: "shell", how });
    }
}

fn environment(stage: &Stage, now: &Facts, entry: &StageLock, reasons: &mut Vec<Reason>) {
    let (old, new) = (entry.environment.as_ref(), now.environment.as_ref());
    let how = match (old, new) {
        (None, None) => return,
        (Some(old), Some(new)) if new.is_same(old) => return,
        (Some(old), Some(new)) => new.difference(old),
        (None, Some(_)) => "the last run had none".into(),
        // Unknown, as of a commit on another machine.
        (Some(_), None) if stage.environment.is_some() => return,
        (Some(_), None) => "the stage names none any more".into(),
    };
    let declared = stage.environment.as_ref().map(|environment| environment.name.clone());
    let name = declared.or(old.map(|old| old.kind.clone())).unwrap_or_default();
    let (old, new) = (old.cloned(), new.map(|new| new.lock.clone()));
    reasons.push(Reason::Environment { name, how, old, new });
}

fn deps(stage: &Stage, now: &Facts, entry: &StageLock, reasons: &mut Vec<Reason>) {
    for (dep, new) in stage.deps.iter().zip(&now.deps) {
        let old = entry.deps.get(&dep.spelled);
        let state = match (old, new) {
            (Some(old), Some(new)) if old.same_content(new) => continue,
            (Some(_), Some(_)) => PathState::Modified,
            (None, Some(_)) => PathState::New,
            (None, None) => PathState::Missing,
            (Some(_), None) => PathState::Deleted,
        };
        reasons.push(Reason::Dep { path: dep.spelled.clone(), state, old: old.copied(), new: *new });
    }
    if let Some(how) = gone(entry.deps.keys(), |path| stage.deps.iter().any(|d| d.spelled == *path)) {
        reasons.push(Reason::Definition { what: "deps", how });
    }
}

fn params(stage: &Stage, now: &Facts, entry: &StageLock, reasons: &mut Vec<Reason>) {
    let mut removed = Vec::new();
    for file in &stage.params {
        let (no_old, no_new) = (ByName::new(), BTreeMap::new());
        let old = entry.params.get(&file.spelled).unwrap_or(&no_old);
        let new = now.params.get(&file.spelled).and_then(Option::as_ref).unwrap_or(&no_new);
        let mut compare_param = |key: &str, old: Option<&Value>, new: Option<&Value>| {
            let state = match (old, new) {
                (Some(a), Some(b)) if a.same(b) => return,
                (Some(_), Some(_)) => PathState::Modified,
                (None, _) => PathState::New,
                (Some(_), None) => PathState::Deleted,
            };
            reasons.push(Reason::Param {
                file: file.spelled.clone(),
                key: key.into(),
                state,
                old: old.cloned(),
                new: new.cloned(),
            });
        };
        match &file.keys {
            Some(keys) => {
                for key in keys {
                    compare_param(key, old.get(key), new.get(key));
                }
                removed.extend(old.keys().filter(|k| !keys.contains(k)).cloned());
            }
            None => {
                let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for key in keys {
                    compare_param(key, old.get(key), new.get(key));
                }
            }
        }
    }
    for (file, values) in &entry.params {
        if !stage.params.iter().any(|p| p.spelled == *file) {
            removed.extend(values.keys().cloned());
        }
    }
    if let Some(how) = gone(removed.iter(), |_| false) {
        reasons.push(Reason::Definition { what: "params", how });
    }
}

fn env(stage: &Stage, now: &Facts, entry: &StageLock, reasons: &mut Vec<Reason>) {
    for (name, new) in stage.env.iter().zip(&now.env) {
        let old = entry.env.get(name);
        if old != Some(new) {
            reasons.push(Reason::Env { name: name.clone(), old: old.cloned(), new: Some(new.clone()) });
        }
    }
    for (name, old) in &entry.env {
        if !stage.env.contains(name) {
            // A lock of an earlier version may hold the value of a secret; it must not be shown.
            let is_secret = |value: &String| may_be_secret(name) || !secrets_of_text(value).is_empty();
            let old = old.as_ref().map(|value| if is_secret(value) { "***".to_string() } else { value.clone() });
            reasons.push(Reason::Env { name: name.clone(), old: Some(old), new: None });
        }
    }
}

fn outs(stage: &Stage, now: &Facts, entry: &StageLock, reasons: &mut Vec<Reason>) {
    for (out, new) in stage.outs.iter().zip(&now.outs) {
        let old = entry.outs.get(&out.spelled);
        if let Some(o) = old
            && !stage.frozen
            && (o.cache, o.persist) != (out.cache, out.persist)
        {
            let how = format!("{} has other flags now", out.spelled);
            reasons.push(Reason::Definition { what: "outs", how });
        }
        let state = match (old, new) {
            (Some(old), Some(new)) if old.pin.same_content(new) => continue,
            (Some(_), Some(_)) => PathState::Modified,
            (Some(_), None) => PathState::Deleted,
            (None, _) => PathState::New,
        };
        reasons.push(Reason::Out { path: out.spelled.clone(), state, old: old.map(|o| o.pin), new: *new });
    }
    if stage.frozen {
        return;
    }
    if let Some(how) = gone(entry.outs.keys(), |path| stage.outs.iter().any(|o| o.spelled == *path)) {
        reasons.push(Reason::Definition { what: "outs", how });
    }
}

/// `x, y removed` for names that the lock has and the definition lacks.
fn gone<'a>(locked: impl Iterator<Item = &'a String>, defined: impl Fn(&String) -> bool) -> Option<String> {
    let names: Vec<&str> = locked.filter(|n| !defined(n)).map(String::as_str).collect();
    if names.is_empty() { None } else { Some(format!("{} removed", names.join(", "))) }
}

/// The command in the form of the lock.
pub fn command(stage: &Stage) -> Command {
    if stage.cmd_is_list { Command::List(stage.cmd.clone()) } else { Command::One(stage.cmd.concat()) }
}

/// The lock entry of a run with these facts; `outs` in the stage's order. Entries are made only here, so that the key
/// always matches.
pub fn entry(stage: &Stage, shell: &Option<String>, facts: &Facts, outs: &[Option<Pin>]) -> StageLock {
    let missing = Pin { id: ObjectId::default(), size: 0, files: None, executable: false };
    let mut entry = StageLock {
        key: ObjectId::default(),
        cmd: command(stage),
        wdir: (stage.wdir_spelled != ".").then(|| stage.wdir_spelled.clone()),
        shell: shell.clone(),
        environment: facts.environment.as_ref().map(|environment| environment.lock.clone()),
        env: stage.env.iter().cloned().zip(facts.env.iter().cloned()).collect(),
        deps: stage.deps.iter().zip(&facts.deps).filter_map(|(d, pin)| Some((d.spelled.clone(), (*pin)?))).collect(),
        params: facts
            .params
            .iter()
            .filter_map(|(file, keys)| Some((file.clone(), keys.clone()?.into_iter().collect())))
            .collect(),
        outs: stage
            .outs
            .iter()
            .enumerate()
            .map(|(i, o)| (o.spelled.clone(), out_lock(o, outs.get(i).copied().flatten().unwrap_or(missing))))
            .collect(),
    };
    entry.key = key(&entry);
    entry
}

/// The same for a result that was not made just now: the environment is that of the run in `old`, if it is the same one
/// on another platform, or cannot be resolved here.
pub fn earlier_entry(
    stage: &Stage,
    shell: &Option<String>,
    facts: &Facts,
    outs: &[Option<Pin>],
    old: Option<&StageLock>,
) -> StageLock {
    let mut entry = entry(stage, shell, facts, outs);
    let of_run = old.and_then(|old| old.environment.as_ref());
    let stays = of_run.filter(|of_run| match &facts.environment {
        Some(now) => now.is_same(of_run),
        None => stage.environment.is_some(),
    });
    if let Some(of_run) = stays
        && entry.environment.as_ref() != Some(of_run)
    {
        entry.environment = Some(of_run.clone());
        entry.key = key(&entry);
    }
    entry
}

fn out_lock(out: &Out, pin: Pin) -> OutLock {
    OutLock { pin, cache: out.cache, persist: out.persist, metrics: ByName::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::load::memory::Memory;

    const BASE: &str = "cmd: run, wdir: w, deps: [d, e], params: [{p.yaml: [k, l]}], env: [E], outs: [o, q]";

    fn stage(keys: &str) -> Stage {
        let text = format!("stages:\n  s: {{{keys}}}\n");
        Memory::new(&[("pipeline.yaml", &text)]).load().pipelines.stages.remove(0)
    }

    fn pin(n: u8) -> Pin {
        Pin { id: ObjectId([n; 32]), size: 1, files: None, executable: false }
    }

    fn facts() -> Facts {
        let params = [("k".to_string(), Value::Int(1)), ("l".to_string(), Value::Null)].into();
        Facts {
            deps: vec![Some(pin(1)), Some(pin(2))],
            params: [("p.yaml".to_string(), Some(params))].into(),
            env: vec![Some("x".into())],
            environment: None,
            outs: vec![Some(pin(3)), Some(pin(4))],
        }
    }

    /// The reasons of a stage whose last run was that of `BASE` with `facts()`.
    fn judged(keys: &str, now: &Facts) -> Vec<String> {
        let base = stage(BASE);
        let entry = entry(&base, &None, &facts(), &facts().outs);
        let reasons = judge(&stage(keys), &None, now, Some(&entry));
        reasons.iter().map(crate::workspace::status::sentence).collect()
    }

    #[test]
    fn what_changed_in_the_definition() {
        let rows: [(&str, &[&str]); 10] = [
            (BASE, &[]),
            (
                "cmd: [run], wdir: w, deps: [e, d], params: [{p.yaml: [l, k]}], env: [E], outs: [q, o], desc: x, meta: 1",
                &[],
            ),
            (
                "cmd: run 2, wdir: w, deps: [d, e], params: [{p.yaml: [k, l]}], env: [E], outs: [o, q]",
                &["cmd changed: run → run 2"],
            ),
            (
                "cmd: run, wdir: v, deps: [d, e], params: [{p.yaml: [k, l]}], env: [E], outs: [o, q]",
                &["wdir changed: w → v"],
            ),
            (
                "cmd: run, wdir: w, deps: [d], params: [{p.yaml: [k, l]}], env: [E], outs: [o, q]",
                &["deps changed: e removed"],
            ),
            (
                "cmd: run, wdir: w, deps: [d, e], params: [{p.yaml: [k]}], env: [E], outs: [o, q]",
                &["params changed: l removed"],
            ),
            (
                "cmd: run, wdir: w, deps: [d, e], params: [{p.yaml: [k, l]}], outs: [o, q]",
                &["env E \"x\" → not declared"],
            ),
            (
                "cmd: run, wdir: w, deps: [d, e], params: [{p.yaml: [k, l]}], env: [E], outs: [o]",
                &["outs changed: q removed"],
            ),
            (
                "cmd: run, wdir: w, deps: [d, e], params: [{p.yaml: [k, l]}], env: [E], outs: [o, {q: {cache: false}}]",
                &["outs changed: q has other flags now"],
            ),
            (
                "cmd: run, wdir: w, deps: [d, e], params: [{p.yaml: [k, l]}], env: [E], outs: [o, q], always_changed: true",
                &["always runs"],
            ),
        ];
        for (keys, want) in rows {
            let mut now = facts();
            // The order of the facts is that of the stage's own lists.
            if keys.contains("deps: [e, d]") {
                now.deps.reverse();
                now.outs.reverse();
            }
            assert_eq!(judged(keys, &now), want, "{keys}");
        }
    }

    #[test]
    fn what_changed_in_the_workspace() {
        let with = |change: fn(&mut Facts)| {
            let mut now = facts();
            change(&mut now);
            judged(BASE, &now)
        };
        let set = |key: &str, value: Value| {
            let mut now = facts();
            if let Some(Some(values)) = now.params.get_mut("p.yaml") {
                values.insert(key.into(), value);
            }
            judged(BASE, &now)
        };
        assert_eq!(with(|f| f.deps[0] = Some(pin(9))), ["dep d changed"]);
        assert_eq!(with(|f| f.deps[1] = None), ["dep e is missing"]);
        assert_eq!(with(|f| f.deps[1] = Some(Pin { executable: true, ..pin(2) })), ["dep e changed"]);
        assert_eq!(with(|f| f.outs[0] = None), ["output o is missing"]);
        assert_eq!(with(|f| f.outs[1] = Some(pin(9))), ["output q changed"]);
        assert_eq!(with(|f| f.env[0] = None), ["env E \"x\" → unset"]);
        assert_eq!(with(|f| f.env[0] = Some(String::new())), ["env E \"x\" → \"\""]);
        assert_eq!(set("k", Value::Float(1.0)), [""; 0]);
        assert_eq!(set("k", Value::Bool(true)), ["param p.yaml:k 1 → true"]);
        assert_eq!(set("l", Value::Str("null".into())), ["param p.yaml:l null → \"null\""]);
        assert_eq!(
            with(|f| drop(f.params.insert("p.yaml".into(), None))),
            ["param p.yaml:k 1 → none", "param p.yaml:l null → none"]
        );
    }

    #[test]
    fn frozen_stages_care_for_their_outputs_alone() {
        let mut now = facts();
        (now.deps[0], now.outs[0]) = (None, None);
        assert_eq!(judged(&format!("{BASE}, frozen: true"), &now), ["output o is missing"]);
        assert_eq!(judge(&stage("cmd: x"), &None, &Facts::default(), None), [Reason::Always]);
        assert_eq!(judge(&stage(BASE), &None, &facts(), None), [Reason::NeverRun]);
    }
}
