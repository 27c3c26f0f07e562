//! The key `environments`: reads declared environments, and finds those that stages name.

use super::build::Builder;
use super::context::Context;
use super::expand::Expander;
use super::problem::{Problem, did_you_mean};
use super::stage::{EnvironmentSource, EnvironmentSpec, FileId, PipelineFile, Stage};
use crate::path::RepoPath;
use crate::value::node::Entry;
use crate::value::{Mark, Value};

/// The keys that say what kind of environment it is, each with the keys that may be beside it.
const KINDS: &[(&str, &[&str])] =
    &[("uv", &["groups", "extras", "python"]), ("pip", &["python"]), ("files", &["setup", "run"])];

/// Reads the environments of one file; problems go to the checker, and invalid ones are left out.
pub fn read(
    expander: &mut Expander<'_, '_, '_>,
    file: &RepoPath,
    entries: &[Entry],
    context: &Context<'_>,
) -> Vec<EnvironmentSpec> {
    entries.iter().filter_map(|entry| one(expander, file, entry, context)).collect()
}

fn one(
    expander: &mut Expander<'_, '_, '_>,
    file: &RepoPath,
    entry: &Entry,
    context: &Context<'_>,
) -> Option<EnvironmentSpec> {
    let at = format!("environment `{}`", entry.key);
    let keys = entry.value.as_map()?;
    let mut given = KINDS.iter().filter(|(name, _)| keys.iter().any(|key| key.key == *name));
    let (Some((kind, beside)), None) = (given.next(), given.next()) else {
        let hint = Some("uv: pyproject.toml | pip: requirements.txt | files: [FILE], setup: COMMAND".to_string());
        expander.checker.report_with(entry.start, format!("{at} must have exactly one of `uv`, `pip`, `files`"), hint);
        return None;
    };
    if let Some(other) = keys.iter().find(|key| key.key != *kind && !beside.contains(&key.key.as_str())) {
        expander.checker.report(other.start, format!("{at}: `{}` does not go with `{kind}`", other.key));
        return None;
    }
    let mut reader = KeyReader { expander, file, keys, context, at: &at, failed: false };
    let source = match *kind {
        "uv" => EnvironmentSource::Uv {
            project: reader.path("uv"),
            groups: reader.texts("groups").into_iter().map(|(text, _)| text).collect(),
            extras: reader.texts("extras").into_iter().map(|(text, _)| text).collect(),
            python: reader.python(),
        },
        "pip" => EnvironmentSource::Pip { requirements: reader.path("pip"), python: reader.python() },
        _ => EnvironmentSource::Files {
            files: reader.paths("files"),
            setup: reader.text("setup").map(|(text, _)| text),
            run: reader.text("run").map(|(text, _)| text),
        },
    };
    let is_empty = matches!(&source, EnvironmentSource::Files { setup: None, run: None, .. });
    if is_empty && !reader.failed {
        reader.report(entry.start, format!("{at} has neither `setup` nor `run`"));
    }
    let folder = file.parent().unwrap_or_default();
    (!reader.failed).then(|| EnvironmentSpec { name: entry.key.clone(), source, folder, mark: entry.start })
}

/// Reads the keys of one environment.
struct KeyReader<'r, 'e, 'f, 't> {
    expander: &'r mut Expander<'e, 'f, 't>,
    file: &'r RepoPath,
    keys: &'r [Entry],
    context: &'r Context<'r>,
    at: &'r str,
    failed: bool,
}

impl KeyReader<'_, '_, '_, '_> {
    fn report(&mut self, mark: Mark, message: String) {
        self.failed = true;
        self.expander.checker.report(mark, message);
    }

    /// The value of a key with its templates resolved; `None` if it is missing or invalid.
    fn value(&mut self, name: &str) -> Option<(Value, Mark)> {
        let node = &self.keys.iter().find(|key| key.key == name)?.value;
        let value = self.expander.value(node, self.context, &format!("{}, `{name}`", self.at));
        self.failed |= value.is_none();
        Some((value?, node.start))
    }

    fn text(&mut self, name: &str) -> Option<(String, Mark)> {
        let (value, mark) = self.value(name)?;
        self.text_of(name, value, mark)
    }

    fn text_of(&mut self, name: &str, value: Value, mark: Mark) -> Option<(String, Mark)> {
        match value {
            Value::Str(text) if !text.trim().is_empty() => Some((text, mark)),
            Value::Str(_) => {
                self.report(mark, format!("{}, `{name}` is empty", self.at));
                None
            }
            other => {
                self.report(mark, format!("{}, `{name}` must be a string, not {}", self.at, other.kind()));
                None
            }
        }
    }

    fn texts(&mut self, name: &str) -> Vec<(String, Mark)> {
        match self.value(name) {
            Some((Value::List(items), mark)) => {
                items.into_iter().filter_map(|item| self.text_of(name, item, mark)).collect()
            }
            Some((other, mark)) => {
                self.report(mark, format!("{}, `{name}` must be a list, not {}", self.at, other.kind()));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn path(&mut self, name: &str) -> RepoPath {
        let Some((spelling, mark)) = self.text(name) else { return RepoPath::root() };
        self.inside(name, &spelling, mark)
    }

    fn paths(&mut self, name: &str) -> Vec<RepoPath> {
        let texts = self.texts(name);
        let mut paths: Vec<RepoPath> = texts.iter().map(|(text, mark)| self.inside(name, text, *mark)).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn inside(&mut self, name: &str, spelling: &str, mark: Mark) -> RepoPath {
        let at = format!("{}, `{name}`", self.at);
        let (top, folder) = (self.expander.reader.top(), self.expander.folder);
        let mut builder = Builder { top, file: self.file, folder, checker: self.expander.checker };
        let path = builder.inside(folder, spelling, mark, &at);
        self.failed |= path.is_none();
        path.unwrap_or_else(RepoPath::root)
    }

    /// `3.11` or `3.11.7`.
    fn python(&mut self) -> Option<String> {
        let (text, mark) = self.text("python")?;
        if is_python_version(&text) {
            return Some(text);
        }
        let message = format!("{}, `python`: `{text}` is not a version as \"3.11\" or \"3.11.7\"", self.at);
        self.report(mark, message);
        None
    }
}

/// Whether it is `3.11` or `3.11.7`.
pub fn is_python_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    matches!(parts.len(), 2 | 3) && parts.iter().all(is_number) && parts[0] == "3"
}

/// Points each stage of `file` to its environment, in the same file or in one of a folder above, nearest first. `above`
/// are the valid files before this one, whose id will be `own`.
pub fn find_for_stages(
    stages: &mut [Stage],
    file: &PipelineFile,
    above: &[PipelineFile],
    own: FileId,
) -> Result<(), Vec<Problem>> {
    let folder = file.path.parent().unwrap_or_default();
    let mut problems = Vec::new();
    for stage in stages {
        let Some(wanted) = &mut stage.environment else { continue };
        let in_file = |file: &PipelineFile| file.environments.iter().position(|spec| spec.name == wanted.name);
        let is_above = |other: &&(usize, &PipelineFile)| folder.is_in(&other.1.path.parent().unwrap_or_default());
        // Files of folders above come before those below them.
        let parents = || above.iter().enumerate().rev().filter(|other| is_above(&other));
        let found = in_file(file)
            .map(|at| (own, at))
            .or_else(|| parents().find_map(|(id, other)| Some((FileId(id as u32), in_file(other)?))));
        let Some((id, at)) = found else {
            let known = file.environments.iter().chain(parents().flat_map(|(_, other)| &other.environments));
            let names: Vec<&str> = known.map(|spec| spec.name.as_str()).collect();
            let message = format!("stage `{}`, `environment`: there is no environment `{}`", stage.name, wanted.name);
            let problem = Problem::new(file.path.to_string(), Some(wanted.mark), message);
            let declare = "declare it: environments: {NAME: {uv: pyproject.toml}}".to_string();
            problems.push(problem.hint(did_you_mean(&wanted.name, names).unwrap_or(declare)));
            continue;
        };
        (wanted.file, wanted.index) = (id, at as u32);
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::super::format::keys::{ENVIRONMENT, rows};
    use super::*;
    use crate::pipeline::load::memory::Memory;

    fn load(files: &[(&str, &str)]) -> crate::pipeline::Loaded {
        Memory::new(files).load()
    }

    #[test]
    fn the_kind_decides_which_keys_there_are() {
        assert_eq!(rows(ENVIRONMENT).count(), KINDS.iter().map(|(_, keys)| keys.len() + 1).sum::<usize>() - 1);
        for (keys, want) in [
            ("uv: pyproject.toml, groups: [a], extras: [b], python: '3.11'", ""),
            ("pip: r.txt, python: 3.11.7", ""),
            ("files: [a, b], setup: x", ""),
            ("files: [a], run: x", ""),
            ("uv: a, pip: b", "must have exactly one of"),
            ("python: '3.11'", "must have exactly one of"),
            ("pip: r.txt, groups: [a]", "`groups` does not go with `pip`"),
            ("files: [a]", "neither `setup` nor `run`"),
            ("pip: ../r.txt", "is outside of the repository"),
            ("pip: r.txt, python: 3.11", "must be a string"),
            ("pip: r.txt, python: '3'", "is not a version"),
            ("pip: r.txt, python: '>=3.11'", "is not a version"),
            ("pip: ''", "is empty"),
            ("pipp: r.txt", "unknown key `pipp`"),
        ] {
            let loaded = load(&[("pipeline.yaml", &format!("environments: {{e: {{{keys}}}}}\n"))]);
            let problems: Vec<String> = loaded.broken.iter().flat_map(|(_, p)| p).map(|p| p.message.clone()).collect();
            match want {
                "" => assert!(problems.is_empty(), "{keys}: {problems:?}"),
                _ => assert!(problems.iter().any(|p| p.contains(want)), "{keys}: {problems:?}"),
            }
        }
    }

    #[test]
    fn the_nearest_folder_above_counts() {
        let declared = |name: &str| format!("environments: {{{name}: {{files: [f], setup: x}}}}\n");
        let uses = "stages: {s: {cmd: x, environment: e}}\n";
        let loaded = load(&[
            ("pipeline.yaml", &declared("e")),
            ("a/pipeline.yaml", &(declared("e") + uses)),
            ("a/b/pipeline.yaml", uses),
            ("c/pipeline.yaml", uses),
            ("d/pipeline.yaml", &(declared("f") + uses)),
        ]);
        let found = |path: &str| {
            let files = &loaded.pipelines.files;
            let at = files.iter().position(|f| f.path.as_str() == path).unwrap();
            let wanted = loaded.pipelines.stage(files[at].stages[0]).environment.as_ref().unwrap();
            loaded.pipelines.file(wanted.file).path.to_string()
        };
        assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
        assert_eq!(found("a/pipeline.yaml"), "a/pipeline.yaml");
        assert_eq!(found("a/b/pipeline.yaml"), "a/pipeline.yaml");
        assert_eq!(found("c/pipeline.yaml"), "pipeline.yaml");
        assert_eq!(found("d/pipeline.yaml"), "pipeline.yaml");
        let lost = load(&[("pipeline.yaml", &(declared("train") + "stages: {s: {cmd: x, environment: trian}}"))]);
        let problem = &lost.broken[0].1[0];
        assert_eq!(problem.message, "stage `s`, `environment`: there is no environment `trian`");
        assert_eq!(problem.hint.as_deref(), Some("did you mean `train`?"));
    }

    #[test]
    fn templates_are_resolved() {
        let text = "vars: [{g: train, v: '3.12'}]\n\
                    environments: {e: {uv: p/pyproject.toml, groups: ['${g}'], python: '${v}'}}\n\
                    stages: {s: {matrix: {x: [e]}, cmd: x, environment: '${item.x}'}}\n";
        let loaded = load(&[("pipeline.yaml", text)]);
        assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
        let EnvironmentSource::Uv { project, groups, python, .. } = &loaded.pipelines.files[0].environments[0].source
        else {
            panic!()
        };
        assert_eq!(
            (project.as_str(), groups.join(","), python.as_deref()),
            ("p/pyproject.toml", "train".into(), Some("3.12"))
        );
    }
}
