//! The line `next: git add …` after a command that records, and warnings of inputs that no clone would have.
//!
//! A commit of `pipeline.lock` without the inputs that it pins is stale in every clone. So the line names, besides the
//! files that the command wrote, the inputs of the recorded stages that Git does not have as they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::output::Output;
use crate::cli::text;
use crate::git::WorktreeState;
use crate::path::RepoPath;
use crate::pipeline::graph::Owner;
use crate::pipeline::stage::{InputLocation, StageId};
use crate::project::{Definitions, Project};
use crate::shell::{word, words};

/// How many paths one line names.
const MOST_NAMES: usize = 8;
/// Within a folder that a stage reads, up to this many files are named instead of the folder.
const MOST_FILES: usize = 3;
const MOST_WARNINGS: usize = 5;
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
        out.hint(format!("git add -f {}", word(&lock)));
    }
    if !written.is_empty() {
        let names: Vec<(String, WorktreeState)> =
            states.to_add.iter().map(|(path, state)| (path.relative_to(&project.cwd), *state)).collect();
        next_lines(&names).iter().for_each(|line| out.status(line));
    }
}

/// The answer of Git, sorted by its consequence.
struct SortedStates<'i> {
    /// In their order, each once.
    to_add: BTreeMap<RepoPath, WorktreeState>,
    ignored: Vec<RepoPath>,
    /// Inputs that neither Git nor lockstep keeps, with the stages that read them.
    lost: Vec<(RepoPath, &'i [StageId])>,
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
                        sorted.lost.push((path.clone(), stages));
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

/// The command for these paths. Many tracked ones are `git add -u`.
fn next_lines(names: &[(String, WorktreeState)]) -> Vec<String> {
    let all = || names.iter().map(|(name, _)| name.as_str());
    match names.len() {
        0 => return Vec::new(),
        1..=MOST_NAMES => return vec![format!("next: git add {}", words(all()))],
        _ => {}
    }
    let new: Vec<&str> =
        names.iter().filter(|(_, state)| *state == WorktreeState::Untracked).map(|(name, _)| name.as_str()).collect();
    let mut parts = Vec::new();
    if new.len() < names.len() {
        parts.push("git add -u".to_string());
    }
    if !new.is_empty() {
        parts.push(format!("git add {}", words(new.iter().take(MOST_NAMES))));
    }
    let mut lines = vec![format!("next: {}", parts.join(" && "))];
    if new.len() > MOST_NAMES {
        lines.push(format!("and {} more paths that Git does not track: git status", new.len() - MOST_NAMES));
    }
    lines
}

fn warn_lost(lost: &[(RepoPath, &[StageId])], definitions: &Definitions, project: &Project, out: &Output) {
    for (path, stages) in lost.iter().take(MOST_WARNINGS) {
        let path = path.relative_to(&project.cwd);
        let Some(first) = stages.first() else { continue };
        let mut readers = definitions.pipelines.address(*first, &project.cwd);
        if stages.len() > 1 {
            readers = format!("{readers} and {} more", text::count(stages.len() - 1, "stage"));
        }
        out.warn(format!("{path} is kept by neither Git nor lockstep: a clone cannot reproduce {readers}"));
        out.hint(format!("git add -f {0}, or lockstep add {0}", word(&path)));
    }
    if lost.len() > MOST_WARNINGS {
        let more = lost.len() - MOST_WARNINGS;
        out.warn(format!("{more} more inputs are kept by neither Git nor lockstep"));
    }
}

/// The same without Git's answer: all written files.
fn print_written(written: &[RepoPath], project: &Project, out: &Output) {
    // `git add` fails for a file that is deleted and was never tracked.
    let tracked = project.repo.tracked(written).unwrap_or_default();
    let known = |p: &&RepoPath| p.on_disk(project.top()).exists() || tracked.contains(p);
    let names: BTreeSet<&RepoPath> = written.iter().filter(known).collect();
    let names: Vec<String> = names.into_iter().map(|p| p.relative_to(&project.cwd)).collect();
    if !names.is_empty() {
        out.status(format!("next: git add {}", words(names)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_paths_are_summed_up() {
        let of = |modified: usize, new: usize| {
            let modified = (0..modified).map(|n| (format!("m{n}"), WorktreeState::Modified));
            let new = (0..new).map(|n| (format!("u{n}"), WorktreeState::Untracked));
            next_lines(&modified.chain(new).collect::<Vec<_>>())
        };
        assert_eq!(of(0, 0), [""; 0]);
        assert_eq!(of(1, 1), ["next: git add m0 u0"]);
        assert_eq!(of(9, 0), ["next: git add -u"]);
        assert_eq!(of(9, 1), ["next: git add -u && git add u0"]);
        assert_eq!(
            of(0, 10),
            ["next: git add u0 u1 u2 u3 u4 u5 u6 u7", "and 2 more paths that Git does not track: git status"]
        );
    }
}
