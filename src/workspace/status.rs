//! What is stale, and why: read-only, without a lock, also while a run is active.

use std::collections::{BTreeMap, HashSet};

use crate::error::Result;
use crate::lock::{Command, StageLock, manifest};
use crate::path::RepoPath;
use crate::pipeline::Graph;
use crate::pipeline::stage::{InputLocation, Stage, StageId};
use crate::plan::bashisms::check_commands;
use crate::plan::data_version::{DataVersion, DataVersions};
use crate::plan::facts::FactsReader;
use crate::plan::locked_secrets::{self, without_secrets};
use crate::plan::programs::Programs;
use crate::plan::reasons::{self, PathState, Reason, judge};
use crate::project::{Definitions, Locks, Project};
use crate::store::{Pin, TrackedPath};
use crate::value::Value;
use crate::value::change::changed_leaves;
use crate::workspace::orphans::{Orphan, UnlistedData, orphans, released_orphans, unlisted_data};
use crate::workspace::recover::overlay;

/// The result of `status`.
#[derive(Debug, Default)]
pub struct Status {
    /// Stale stages, in topological order.
    pub stages: Vec<(StageId, Vec<Reason>)>,
    /// Data that differs from its lock entry.
    pub data: Vec<(RepoPath, PathState, Option<Pin>, Option<Pin>)>,
    /// Stages that could not be judged.
    pub unknown: Vec<StageId>,
    /// Why they could not be judged.
    pub errors: Vec<crate::error::Error>,
    /// Stages that are not stale themselves but need one that is, or that could not be judged: a run may run them, too.
    pub follow: Vec<StageId>,
    /// Outputs and data that no pipeline file names and that Git still ignores.
    pub orphans: Vec<Orphan>,
    /// Other data that only locks list.
    pub unlisted: Vec<UnlistedData>,
    /// Pinned content that is not in the workspace.
    pub absent: MissingContent,
    /// How many of the stale stages are so only because outputs are missing in the workspace.
    pub not_here: usize,
    pub looked_at: usize,
    /// Platforms on which stages that are up to date ran, other than this one.
    pub elsewhere: BTreeMap<String, Vec<StageId>>,
    /// Further warnings, each a full sentence.
    pub warnings: Vec<String>,
}

/// Count and bytes of content that is missing in the workspace, by where it may be found.
#[derive(Debug, Default)]
pub struct MissingContent {
    /// Outputs that may be at a remote.
    pub outs: (usize, u64),
    /// Outputs and data that are in the store, and only missing in the workspace.
    pub stored: (usize, u64),
    /// Data that is not an import.
    pub data: (usize, u64),
    /// Outputs that are never pushed.
    pub private: (usize, u64),
    /// Imports, which can be fetched from their source repository.
    pub imports: (usize, u64),
}

/// Judges the selected stages and data against the current workspace.
pub fn status<'a>(
    project: &'a Project,
    definitions: &'a Definitions,
    stages: &[StageId],
    data: &[(usize, usize)],
    reader: &mut FactsReader<'a>,
) -> Result<(Status, Locks)> {
    let mut locks = project.locks(definitions)?;
    reader.sweep(stages);
    overlay(project, definitions, &mut locks, reader)?;
    let warnings = locked_secrets::warnings(project, definitions, &locks);
    let mut status = Status { looked_at: stages.len(), warnings, ..Status::default() };
    let shell = project.shell();
    let mut touched: HashSet<StageId> = HashSet::new();
    for id in stages {
        let stage = definitions.pipelines.stage(*id);
        if !stage.frozen
            && let Some(error) =
                check_commands(stage, &|| definitions.pipelines.address(*id, &project.cwd), project.config.shell())
        {
            status.errors.push(error);
            status.unknown.push(*id);
            touched.insert(*id);
            continue;
        }
        let facts = match reader.facts(*id) {
            Ok(facts) => facts,
            Err(error) => {
                status.errors.push(error);
                status.unknown.push(*id);
                touched.insert(*id);
                continue;
            }
        };
        let entry = locks.of_file(stage.file).stages.get(&stage.name);
        let mut reasons = judge(stage, &shell, &facts, entry);
        if let Some(entry) = entry {
            count_missing(project, stage, entry, &mut reasons, &mut status);
        }
        if !reasons.is_empty() {
            status.not_here +=
                usize::from(reasons.iter().all(|reason| is_of_absence(reason, stage, &definitions.graph)));
            status.stages.push((*id, reasons));
            touched.insert(*id);
        } else if let Some(platform) = ran_elsewhere(&facts, entry) {
            status.elsewhere.entry(platform).or_default().push(*id);
        }
        if !touched.contains(id)
            && !stage.frozen
            && definitions.graph.upstream(*id).iter().any(|up| touched.contains(up))
        {
            status.follow.push(*id);
            touched.insert(*id);
        }
    }
    let stale: HashSet<StageId> =
        status.stages.iter().map(|(id, _)| *id).chain(status.unknown.iter().copied()).collect();
    let runs = stages.iter().filter(|id| !stale.contains(id)).filter_map(|id| {
        let stage = definitions.pipelines.stage(*id);
        Some((*id, stage, locks.of_file(stage.file).stages.get(&stage.name)?.key))
    });
    let changed = Programs::load(project).changed(runs);
    let address = |id| definitions.pipelines.address(id, &project.cwd);
    status.warnings.extend(changed.iter().map(|change| change.describe(address)));
    let mut versions = DataVersions::new(project, definitions);
    for (f, d) in data {
        let entry = &definitions.pipelines.files[*f].data[*d];
        let locked = locks.all[*f].data.get(&entry.spelled).copied();
        let now = reader.out(&entry.path)?;
        let state = match (locked, now) {
            (Some(locked), Some(now)) => match versions.version(&entry.path, &now, Some(&locked)) {
                DataVersion::Pinned => continue,
                DataVersion::Edited | DataVersion::Unknown => PathState::Modified,
                DataVersion::NotCheckedOut => PathState::NotCheckedOut,
                DataVersion::Diverged => PathState::Diverged,
            },
            (None, None) => PathState::Missing,
            (None, Some(_)) => PathState::New,
            (Some(pin), None) if !project.store().contains(&pin) => {
                let sum = if entry.import.is_some() { &mut status.absent.imports } else { &mut status.absent.data };
                count(sum, &pin);
                PathState::NotInCache
            }
            (Some(pin), None) => {
                count(&mut status.absent.stored, &pin);
                PathState::Deleted
            }
        };
        status.data.push((entry.path.clone(), state, locked, now));
    }
    status.warnings.extend(versions.warnings());
    status.orphans = orphans(project, definitions, &locks);
    status.orphans.extend(released_orphans(project, definitions, &locks));
    status.unlisted = unlisted_data(definitions, &locks, &status.orphans);
    Ok((status, locks))
}

/// The platform of the last run, if the environment is the same and the platform is another.
fn ran_elsewhere(facts: &reasons::Facts, entry: Option<&StageLock>) -> Option<String> {
    let (now, then) = (facts.environment.as_ref()?, entry?.environment.as_ref()?);
    (now.lock.platform != then.platform).then(|| then.platform.clone())
}

/// Counts missing outputs that the store lacks, too, as opposed to those that can be restored.
fn count_missing(project: &Project, stage: &Stage, entry: &StageLock, reasons: &mut [Reason], status: &mut Status) {
    for reason in reasons {
        if let Reason::Out { path, state, old: Some(pin), .. } = reason
            && *state == PathState::Deleted
            && let Some(out) = stage.outs.iter().find(|o| o.spelled == *path && o.cache)
            && entry.outs.contains_key(path)
        {
            if project.store().contains(pin) {
                count(&mut status.absent.stored, pin);
                continue;
            }
            *state = PathState::NotInCache;
            count(if out.push { &mut status.absent.outs } else { &mut status.absent.private }, pin);
        }
    }
}

/// Is the reason an output, or an input that a stage makes or that is data, and that is merely not in the workspace? A
/// lock pins it, and lockstep keeps it.
pub fn is_of_absence(reason: &Reason, stage: &Stage, graph: &Graph) -> bool {
    match reason {
        Reason::Out { path, state: PathState::Deleted | PathState::NotInCache, .. } => {
            stage.outs.iter().any(|out| out.spelled == *path && out.cache)
        }
        Reason::Dep { path, state: PathState::Deleted, .. } => {
            stage.deps.iter().filter(|dep| dep.spelled == *path).any(|dep| match &dep.place {
                InputLocation::Repo(path) => !graph.owners_of(path).is_empty(),
                _ => false,
            })
        }
        _ => false,
    }
}

fn count(sum: &mut (usize, u64), pin: &Pin) {
    *sum = (sum.0 + 1, sum.1 + pin.size);
}

/// The differing lines of the manifests of the lock entry and of the current inputs, with `-` and `+`, for `status -v`.
pub fn difference(
    project: &Project,
    definitions: &Definitions,
    locks: &Locks,
    id: StageId,
    reader: &mut FactsReader,
) -> Result<Vec<String>> {
    let stage = definitions.pipelines.stage(id);
    let facts = reader.facts(id)?;
    let now = manifest(&reasons::entry(stage, &project.shell(), &facts, &facts.outs));
    let then = locks.of_file(stage.file).stages.get(&stage.name);
    let then = then.map(|entry| manifest(&without_secrets(stage, entry))).unwrap_or_default();
    let (now, then): (Vec<&str>, Vec<&str>) = (now.lines().collect(), then.lines().collect());
    let mut lines: Vec<String> = then.iter().filter(|l| !now.contains(l)).map(|l| format!("- {l}")).collect();
    lines.extend(now.iter().filter(|l| !then.contains(l)).map(|l| format!("+ {l}")));
    for dep in stage.deps.iter().zip(&facts.deps) {
        if let (crate::pipeline::stage::InputLocation::Repo(path), Some(new)) = (&dep.0.place, dep.1)
            && let Some(old) =
                locks.of_file(stage.file).stages.get(&stage.name).and_then(|e| e.deps.get(&dep.0.spelled))
            && old.is_dir()
            && new.is_dir()
            && old.id != new.id
        {
            lines.extend(folder_difference(project, path, old));
        }
    }
    Ok(lines)
}

/// Which files of a folder differ, where the old tree is in the store.
fn folder_difference(project: &Project, path: &RepoPath, old: &Pin) -> Vec<String> {
    match crate::store::difference(project.store(), project.index(), old, &TrackedPath::from(path)) {
        Ok(names) => names.into_iter().map(|(change, name)| format!("  {} {path}/{name}", change.sign())).collect(),
        Err(_) => vec![format!("  {path}: the old listing is not in the store")],
    }
}

/// A reason as one line of text.
pub fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::NeverRun => "never run".into(),
        Reason::Always => "always runs".into(),
        Reason::Forced => "forced".into(),
        Reason::Cmd { old, new } => changed_line(old, new),
        Reason::Dep { path, state, .. } => format!("dep {path} {}", word(*state)),
        Reason::Out { path, state, .. } => format!("output {path} {}", word(*state)),
        Reason::Param { file, key, old, new, .. } => match (old, new) {
            (None, None) => format!("param {file}:{key} is missing"),
            _ => format!("param {file}:{}", param_change(key, old.as_ref(), new.as_ref())),
        },
        Reason::Env { name, old, new } => {
            let text = |v: &Option<Option<String>>| match v {
                None => "not declared".to_string(),
                Some(None) => "unset".to_string(),
                Some(Some(v)) => format!("{v:?}"),
            };
            format!("env {name} {} → {}", text(old), text(new))
        }
        Reason::Environment { name, how, .. } => format!("environment {name}: {how}"),
        Reason::Definition { what, how } => format!("{what} changed: {how}"),
    }
}

fn word(state: PathState) -> &'static str {
    match state {
        PathState::New => "is new",
        PathState::Modified => "changed",
        PathState::Deleted => "is missing",
        PathState::Missing => "does not exist",
        PathState::NotInCache => "is missing, also from the store",
        PathState::NotCheckedOut => "is not checked out",
        PathState::Diverged => "changed here and in the lock",
    }
}

/// The first line of a command that differs.
fn changed_line(old: &Command, new: &Command) -> String {
    let lines = |c: &Command| c.items().iter().flat_map(|i| i.lines()).map(str::to_string).collect::<Vec<_>>();
    let (old, new) = (lines(old), lines(new));
    let at = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    match (old.get(at), new.get(at)) {
        (Some(a), Some(b)) => format!("cmd changed: {a} → {b}"),
        (None, Some(b)) => format!("cmd has a new line: {b}"),
        (Some(a), None) => format!("cmd lost a line: {a}"),
        (None, None) => "cmd changed".into(),
    }
}

/// `train.epochs 50 → 80, train.optimizer.lr 0.1 → 0.2`: the changed leaves of a param, the first few of them.
fn param_change(key: &str, old: Option<&Value>, new: Option<&Value>) -> String {
    const MOST: usize = 4;
    let leaves = changed_leaves(key, old, new);
    // With one more than that, its name is as short as its count.
    let shown = if leaves.len() == MOST + 1 { leaves.len() } else { MOST };
    let mut parts: Vec<String> = leaves
        .iter()
        .take(shown)
        .map(|leaf| {
            let (old, new) = short_pair(leaf.old, leaf.new);
            format!("{} {old} → {new}", leaf.key)
        })
        .collect();
    if leaves.len() > shown {
        parts.push(format!("and {} more keys", leaves.len() - shown));
    }
    parts.join(", ")
}

/// Two values as text. Long ones are cut, around their first difference.
fn short_pair(old: Option<&Value>, new: Option<&Value>) -> (String, String) {
    const LONGEST: usize = 60;
    const BEFORE: usize = 15;
    let text = |value: Option<&Value>| match value {
        None => "none".to_string(),
        Some(value @ Value::Float(f)) if !f.is_finite() => value.to_text(),
        Some(value) => serde_json::to_string(value).unwrap_or_default(),
    };
    let (old, new) = (text(old), text(new));
    let same = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
    let is_long = |text: &str| text.chars().count() > LONGEST;
    // If both begin alike, what is shown of them must differ.
    let from = if (is_long(&old) || is_long(&new)) && same > LONGEST / 2 { same - BEFORE } else { 0 };
    let cut = |text: String| {
        let count = text.chars().count();
        let start = if from > 0 { "…" } else { "" };
        let end = if count - from.min(count) > LONGEST { "…" } else { "" };
        let shown = if end.is_empty() { LONGEST } else { LONGEST - 3 };
        format!("{start}{}{end}", text.chars().skip(from).take(shown).collect::<String>())
    };
    (cut(old), cut(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_param_names_its_changed_leaves() {
        let read = |text: &str| crate::value::parse("x.json", text).unwrap();
        let long = "a".repeat(100);
        for (old, new, want) in [
            ("1", "true", "k 1 → true".to_string()),
            (r#"{"a": 1, "b": {"c": "x"}}"#, r#"{"a": 2, "b": {"c": "y"}}"#, r#"k.a 1 → 2, k.b.c "x" → "y""#.into()),
            (
                r#"{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}"#,
                r#"{"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}"#,
                "k.a 1 → 2, k.b 1 → 2, k.c 1 → 2, k.d 1 → 2, k.e 1 → 2".into(),
            ),
            (
                r#"{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}"#,
                r#"{"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}"#,
                "k.a 1 → 2, k.b 1 → 2, k.c 1 → 2, k.d 1 → 2, and 2 more keys".into(),
            ),
            (&format!("\"{long}b\""), &format!("\"{long}c\""), format!("k …{0}b\" → …{0}c\"", "a".repeat(15))),
            (&format!("\"{long}\""), "1", format!("k \"{}… → 1", "a".repeat(56))),
        ] {
            assert_eq!(param_change("k", Some(&read(old)), Some(&read(new))), want, "{old}");
        }
    }
}
