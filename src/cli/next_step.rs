//! The line `next: git add …` after a command that records, and warnings of inputs that no clone would have.
//!
//! A commit of `pipeline.lock` without the inputs that it pins is stale in every clone. So the line names, besides the
//! files that the command wrote, the inputs of the recorded stages that Git does not have as they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::output::Output;
use crate::cli::text;
use crate::escape;
use crate::git::WorktreeState;
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{InputLocation, StageId};
use crate::project::{Definitions, Project};
use crate::shell::{path_word, path_words};

/// How many paths one line names.
const MOST_NAMES: usize = 8;
/// Within a folder that a stage reads, up to this many files are named instead of the folder.
const MOST_FILES: usize = 3;
const MOST_WARNINGS: usize = 5;
/// Larger files are better kept by lockstep than by Git.
const MOST_BYTES: u64 = 10_000_000;
const LOCK_NAME: &str = "pipeline.lock";
/// Inputs beyond this number are not looked at.
const MOST_INPUTS: usize = 2000;

/// The inputs of stages that Git has to keep, each with the stages that read it.
#[derive(Debug, Default)]
pub struct GitInputs {
    read_by: BTreeMap<RepoPath, Vec<StageId>>,
    /// Other files that belong in the same commit.
    others: BTreeSet<RepoPath>,
}

impl GitInputs {
    /// The deps, params files and pipeline files of these stages that are neither an output nor data.
    pub fn of(definitions: &Definitions, stages: &[StageId]) -> GitInputs {
        let mut inputs = GitInputs::default();
        for id in stages {
            let stage = definitions.pipelines.stage(*id);
            let places = stage.deps.iter().map(|dep| &dep.place).chain(stage.params.iter().map(|file| &file.place));
            for place in places {
                if let InputLocation::Repo(path) = place
                    && !is_owned(definitions, path)
                    && (inputs.read_by.len() < MOST_INPUTS || inputs.read_by.contains_key(path))
                {
                    inputs.read_by.entry(path.clone()).or_default().push(*id);
                }
            }
            // Without these lines, `git add -A` would commit the outputs.
            let cached = stage.outs.iter().filter(|out| out.cache);
            inputs.others.extend(cached.filter_map(|out| out.path.parent()?.join(".gitignore")));
            inputs.add_file(definitions, stage.file.0 as usize);
        }
        if !inputs.others.is_empty() {
            inputs.others.extend(RepoPath::root().join(".lockstepignore"));
        }
        inputs
    }

    /// A pipeline file, and the files that its templates read.
    pub fn add_file(&mut self, definitions: &Definitions, file: usize) {
        let file = &definitions.pipelines.files[file];
        if self.others.insert(file.path.clone()) {
            let templates = file.template_files.iter().filter_map(|(place, _)| match place {
                InputLocation::Repo(path) => Some(path.clone()),
                _ => None,
            });
            self.others.extend(templates);
        }
    }
}

/// Is it an output or data, or inside one? Git or lockstep keeps that with its own entry.
fn is_owned(definitions: &Definitions, path: &RepoPath) -> bool {
    std::iter::successors(Some(path.clone()), RepoPath::parent)
        .any(|path| matches!(definitions.graph.owner(&path), Some(Owner::Out(..) | Owner::Data(..))))
}

/// Prints `next: git add …` for the files that a command wrote.
pub fn print_git_add(written: &[RepoPath], project: &Project, out: &Output) {
    print_with_inputs(written, &GitInputs::default(), None, project, out);
}

/// Prints `next: git add …` for the files that a command wrote and for inputs of the stages that it recorded, and warns
/// of inputs that nothing keeps. Without written files, there are only warnings.
pub fn print_recorded(
    written: &[RepoPath],
    inputs: &GitInputs,
    definitions: &Definitions,
    project: &Project,
    out: &Output,
) {
    print_with_inputs(written, inputs, Some(definitions), project, out);
}

fn print_with_inputs(
    written: &[RepoPath],
    inputs: &GitInputs,
    definitions: Option<&Definitions>,
    project: &Project,
    out: &Output,
) {
    if !project.repo.is_git() || (written.is_empty() && inputs.read_by.is_empty()) {
        return;
    }
    let mut asked: BTreeSet<RepoPath> =
        written.iter().chain(inputs.read_by.keys()).chain(&inputs.others).cloned().collect();
    let locks = written.iter().filter(|path| path.name() == LOCK_NAME);
    asked.extend(locks.filter_map(|lock| lock.parent()?.join("pipeline.yaml")));
    let Ok(states) = project.repo.worktree_states(&asked.iter().cloned().collect::<Vec<_>>()) else {
        return print_written(written, project, out);
    };
    let states = sort_states(&states, &asked, inputs, definitions);
    if let Some(definitions) = definitions {
        warn_lost(&states.lost, definitions, project, out);
    }
    for lock in written.iter().filter(|path| path.name() == LOCK_NAME && states.ignored.contains(path)) {
        let lock = lock.relative_to(&project.cwd);
        out.warn(format!("{lock} is ignored by Git: a clone has no results"));
        out.hint(format!("git add -f {}", path_word(&lock)));
    }
    if !written.is_empty() {
        let mut paths = set_large_aside(states.to_add, inputs, project, out);
        if paths.len() > MOST_NAMES {
            // What the command wrote is named first, then definitions, then inputs.
            paths.sort_by_key(|path| (path.name() != LOCK_NAME, !inputs.others.contains(path)));
        }
        let names: Vec<String> = paths.iter().map(|path| path.relative_to(&project.cwd)).collect();
        next_lines(&names).iter().for_each(|line| out.status(line));
    }
}

/// The answer of Git, sorted by its consequence.
struct SortedStates<'i> {
    /// In their order, each once.
    to_add: BTreeMap<RepoPath, WorktreeState>,
    ignored: Vec<RepoPath>,
    /// Inputs that neither Git nor lockstep keeps, with the stages that read them.
    lost: Vec<LostInput<'i>>,
}

fn sort_states<'i>(
    states: &[(RepoPath, WorktreeState)],
    asked: &BTreeSet<RepoPath>,
    inputs: &'i GitInputs,
    definitions: Option<&Definitions>,
) -> SortedStates<'i> {
    let mut sorted = SortedStates { to_add: BTreeMap::new(), ignored: Vec::new(), lost: Vec::new() };
    let mut by_input: BTreeMap<&RepoPath, Vec<(&RepoPath, WorktreeState)>> = BTreeMap::new();
    for (path, state) in states {
        // A line about a file in a folder that was asked for, or about a folder above several of the paths.
        let above = std::iter::successors(Some(path.clone()), RepoPath::parent).find_map(|up| asked.get(&up));
        let paths: Vec<(&RepoPath, &RepoPath)> = match above {
            Some(input) => vec![(input, path)],
            None => asked.iter().filter(|input| input.is_in(path)).map(|input| (input, input)).collect(),
        };
        for (input, path) in paths {
            let stages = inputs.read_by.get(input).map(Vec::as_slice);
            // Outputs and data in a folder that a stage reads have their own entries.
            let is_kept = || stages.is_some() && definitions.is_some_and(|all| is_owned(all, path));
            match (state, stages) {
                (WorktreeState::Ignored, Some(stages)) => {
                    if definitions.is_some_and(|all| is_content(all, path)) {
                        sorted.lost.push(LostInput { path: path.clone(), input: input.clone(), stages });
                    }
                }
                (WorktreeState::Ignored, None) => sorted.ignored.push(path.clone()),
                _ if is_kept() => {}
                _ => by_input.entry(input).or_default().push((path, *state)),
            }
        }
    }
    for (input, files) in by_input {
        if files.len() <= MOST_FILES {
            sorted.to_add.extend(files.into_iter().map(|(path, state)| (path.clone(), state)));
            continue;
        }
        let is_new = files.iter().any(|(_, state)| *state == WorktreeState::Untracked);
        let state = if is_new { WorktreeState::Untracked } else { WorktreeState::Modified };
        sorted.to_add.insert(input.clone(), state);
    }
    sorted
}

/// Is an ignored path content for lockstep, and not kept as an output or data?
fn is_content(definitions: &Definitions, path: &RepoPath) -> bool {
    let is_ignored = |up: &RepoPath, is_dir| definitions.rules.ignored(up.as_str().as_bytes(), is_dir);
    let folders = std::iter::successors(path.parent(), RepoPath::parent).filter(|up| !up.is_root());
    // Whether the path itself is a folder does not matter to most rules.
    !is_ignored(path, false)
        && !is_ignored(path, true)
        && !folders.into_iter().any(|folder| is_ignored(&folder, true))
        && definitions.graph.owners_of(path).is_empty()
        && !is_owned(definitions, path)
}

/// The command for these paths, the most important first.
fn next_lines(names: &[String]) -> Vec<String> {
    if names.is_empty() {
        return Vec::new();
    }
    // A name that cannot be typed is left to Git.
    let is_typed = |name: &&String| escape::text(name) == name.as_str();
    let typed: Vec<&String> = names.iter().filter(is_typed).take(MOST_NAMES).collect();
    if typed.is_empty() {
        return vec![format!("next: add {} to Git: git status names them", text::count(names.len(), "path"))];
    }
    let mut lines = vec![format!("next: git add {}", path_words(&typed))];
    if typed.len() < names.len() {
        lines.push(format!("and {} to add: git status", text::count(names.len() - typed.len(), "more path")));
    }
    lines
}

/// A path that neither Git nor lockstep keeps.
struct LostInput<'i> {
    path: RepoPath,
    /// The folder or file that the stages list.
    input: RepoPath,
    stages: &'i [StageId],
}

/// One warning for each input that a stage lists.
fn warn_lost(lost: &[LostInput], definitions: &Definitions, project: &Project, out: &Output) {
    let mut by_input: BTreeMap<&RepoPath, Vec<&LostInput>> = BTreeMap::new();
    lost.iter().for_each(|one| by_input.entry(&one.input).or_default().push(one));
    for (input, lost) in by_input.iter().take(MOST_WARNINGS) {
        let Some(first) = lost.first() else { continue };
        let Some(stage) = first.stages.first() else { continue };
        let mut readers = definitions.pipelines.address(*stage, &project.cwd);
        if first.stages.len() > 1 {
            readers = format!("{readers} and {} more", text::count(first.stages.len() - 1, "stage"));
        }
        let path = first.path.relative_to(&project.cwd);
        let (what, verb) = match lost.len() {
            1 => (path.clone(), "is"),
            n => (
                format!("{path} and {} more in {}", text::count(n - 1, "path"), input.relative_to(&project.cwd)),
                "are",
            ),
        };
        out.warn(format!("{what} {verb} kept by neither Git nor lockstep: a clone cannot reproduce {readers}"));
        if first.path != **input {
            out.hint("if it is not an input: add a line for it to .lockstepignore");
        }
        out.hint(match is_secret_name(first.path.name()) {
            true => {
                format!("if it holds a secret: take it out of the deps, and list the variable in `env` of {readers}")
            }
            false => format!("if it is one: lockstep add {0}, or git add -f {0}", path_word(&path)),
        });
    }
    if by_input.len() > MOST_WARNINGS {
        let more = text::count(by_input.len() - MOST_WARNINGS, "more input");
        out.warn(format!("{more}: kept by neither Git nor lockstep"));
    }
}

/// Names that usually hold credentials, which must not be committed or pushed.
fn is_secret_name(name: &str) -> bool {
    name.starts_with(".env")
        || name.starts_with("id_")
        || [".pem", ".key", ".p12"].iter().any(|end| name.ends_with(end))
}

/// Hints at `lockstep add` for large inputs that Git does not track, and returns the other paths.
fn set_large_aside(
    to_add: BTreeMap<RepoPath, WorktreeState>,
    inputs: &GitInputs,
    project: &Project,
    out: &Output,
) -> Vec<RepoPath> {
    let mut left = Vec::new();
    for (path, state) in to_add {
        let size =
            || path.on_disk(project.top()).symlink_metadata().ok().filter(|m| m.is_file()).map_or(0, |m| m.len());
        if state == WorktreeState::Untracked && inputs.read_by.contains_key(&path) && size() > MOST_BYTES {
            let name = path.relative_to(&project.cwd);
            let bytes = text::bytes(size());
            out.hint(format!("{name} is large ({bytes}); to keep it out of Git: lockstep add {}", path_word(&name)));
        } else {
            left.push(path);
        }
    }
    left
}

/// The same without Git's answer: all written files.
fn print_written(written: &[RepoPath], project: &Project, out: &Output) {
    // `git add` fails for a file that is deleted and was never tracked.
    let tracked = project.repo.tracked(written).unwrap_or_default();
    let known = |p: &&RepoPath| p.on_disk(project.top()).exists() || tracked.contains(p);
    let names: BTreeSet<&RepoPath> = written.iter().filter(known).collect();
    let names: Vec<String> = names.into_iter().map(|p| p.relative_to(&project.cwd)).collect();
    if !names.is_empty() {
        out.status(format!("next: git add {}", path_words(names)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_paths_are_summed_up() {
        let of = |count: usize| next_lines(&(0..count).map(|n| format!("p{n}")).collect::<Vec<_>>());
        assert_eq!(of(0), [""; 0]);
        assert_eq!(of(2), ["next: git add p0 p1"]);
        let named = "next: git add p0 p1 p2 p3 p4 p5 p6 p7";
        assert_eq!(of(8), [named]);
        assert_eq!(of(10), [named, "and 2 more paths to add: git status"]);
        let odd = ["-d", ":x", "a\nb"].map(String::from);
        assert_eq!(next_lines(&odd), ["next: git add ./-d ./:x", "and 1 more path to add: git status"]);
        assert_eq!(next_lines(&odd[2..]), ["next: add 1 path to Git: git status names them"]);
    }
}
