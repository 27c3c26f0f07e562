//! Resolves the targets of a command to stages. Pure.
//!
//! A target is a stage or group of the current folder's `pipeline.yaml`, `path/pipeline.yaml[:stage]`, the path of an
//! output or of tracked data, or, with `--recursive`, a folder. Without targets, the current folder's file is selected.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::git;
use crate::path::RepoPath;
use crate::path::links::resolve;
use crate::pipeline::graph::Graph;
use crate::pipeline::stage::{FileId, Pipelines, StageId};
use crate::project::{Definitions, Project};
use crate::shell::word;

/// How far the selection extends from its targets.
#[derive(Clone, Debug, Default)]
pub struct SelectionMode {
    /// Only the targets.
    pub single: bool,
    /// The targets and their downstream stages, instead of their upstream ones.
    pub downstream: bool,
    /// Everything connected to the targets, in both directions.
    pub pipeline: bool,
    /// Everything.
    pub all: bool,
    /// Targets are folders.
    pub recursive: bool,
    /// Targets are patterns over stage names.
    pub glob: bool,
}

/// The selection that the arguments of the command line give.
#[derive(Debug, Default, PartialEq)]
pub struct Selection {
    /// The stages that were named.
    pub named: Vec<StageId>,
    /// Named and added stages, in topological order.
    pub stages: Vec<StageId>,
    /// Data paths that were named.
    pub data: Vec<RepoPath>,
    /// Stages that were named by one of their outputs, with that path, or a path inside it. Commands that move outputs
    /// move only these; commands that run stages ignore this.
    pub parts: Vec<(StageId, RepoPath)>,
    /// Whole files that were named, or selected by default: stale entries of their lock are dropped after success.
    pub files: Vec<FileId>,
}

impl Selection {
    /// Whether this output of a named stage is selected.
    pub fn takes(&self, id: StageId, out: &RepoPath) -> bool {
        let mut mine = self.parts.iter().filter(|(of, _)| *of == id).peekable();
        mine.peek().is_none() || mine.any(|(_, path)| path.is_in(out) || out.is_in(path))
    }
}

/// The input of a selection.
pub struct Scope<'a> {
    /// All pipeline files of the project.
    pub pipelines: &'a Pipelines,
    /// The stages and who produces what.
    pub graph: &'a Graph,
    /// The top folder of the repository, for absolute targets.
    pub top: &'a Path,
    /// The folder in which the command was typed.
    pub cwd: &'a RepoPath,
    /// Pipeline files that could not be read, with their errors.
    pub broken: &'a [(RepoPath, Error)],
    /// Name matching for `--glob`.
    pub matches: &'a dyn Fn(&str, &str) -> bool,
}

impl<'a> Scope<'a> {
    /// The scope of a project, seen from the current folder.
    pub fn of(project: &'a Project, definitions: &'a Definitions) -> Scope<'a> {
        Scope {
            pipelines: &definitions.pipelines,
            graph: &definitions.graph,
            top: project.top(),
            cwd: &project.cwd,
            broken: &definitions.broken,
            matches: &git::matches,
        }
    }

    /// Resolves `targets`. With `defaults_to_all`, no targets select the whole repository (`status`) instead of the
    /// current folder's file. Errors: a target is unknown, or it may be in a file that cannot be read.
    pub fn select(&self, targets: &[String], reach: &SelectionMode, defaults_to_all: bool) -> Result<Selection> {
        let mut selected = Selection::default();
        if reach.all || (targets.is_empty() && !reach.recursive && defaults_to_all) {
            if reach.all {
                self.refuse_broken(|_| true)?;
            }
            selected.named = self.pipelines.ids().collect();
            selected.files = (0..self.pipelines.files.len() as u32).map(FileId).collect();
        } else if reach.recursive {
            let here = [".".to_string()];
            for folder in if targets.is_empty() { &here[..] } else { targets } {
                self.folder(folder, &mut selected)?;
            }
        } else if targets.is_empty() {
            let file = self.cwd.join("pipeline.yaml").unwrap_or_default();
            self.whole_file(&file, "pipeline.yaml", &mut selected)?;
        }
        if !reach.recursive {
            for target in targets {
                if reach.glob { self.pattern(target, &mut selected)? } else { self.target(target, &mut selected)? }
            }
        }
        let named = std::mem::take(&mut selected.parts).into_iter().filter(|(id, _)| !selected.named.contains(id));
        selected.parts = named.collect();
        for (id, _) in &selected.parts {
            if !selected.named.contains(id) {
                selected.named.push(*id);
            }
        }
        selected.stages = self.reach(&selected.named, reach);
        Ok(selected)
    }

    fn refuse_broken(&self, concerns: impl Fn(&RepoPath) -> bool) -> Result<()> {
        match self.broken.iter().find(|(path, _)| concerns(path)) {
            Some((_, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn folder(&self, folder: &str, selected: &mut Selection) -> Result<()> {
        let dir = self.inside(folder)?;
        self.refuse_broken(|path| path.is_in(&dir))?;
        let before = selected.files.len();
        for (i, file) in self.pipelines.files.iter().enumerate() {
            if file.path.is_in(&dir) {
                selected.named.extend(&file.stages);
                selected.files.push(FileId(i as u32));
            }
        }
        if selected.files.len() == before {
            return Err(Error::missing(format!("no pipeline.yaml in {folder} or below it")));
        }
        Ok(())
    }

    fn whole_file(&self, path: &RepoPath, written: &str, selected: &mut Selection) -> Result<()> {
        self.refuse_broken(|broken| broken == path)?;
        let Some(at) = self.pipelines.files.iter().position(|f| f.path == *path) else {
            let mut error = Error::missing(format!("there is no {written} here"));
            if !self.pipelines.files.is_empty() {
                error = error.hint("run all the pipelines of the repository: lockstep repro -P");
                let first = self.pipelines.files[0].path.relative_to(self.cwd);
                error = error.hint(format!("or one: lockstep repro {}", word(&first)));
            }
            return Err(error);
        };
        selected.named.extend(&self.pipelines.files[at].stages);
        selected.files.push(FileId(at as u32));
        Ok(())
    }

    fn target(&self, target: &str, selected: &mut Selection) -> Result<()> {
        if let Some((file, name)) = split_address(target) {
            let path = self.inside(file)?;
            self.refuse_broken(|broken| *broken == path)?;
            let Some(at) = self.pipelines.files.iter().position(|f| f.path == path) else {
                return Err(Error::missing(format!("{file} is not a pipeline file, so there is no stage {target}")));
            };
            return match self.stages_named(FileId(at as u32), name) {
                Some(ids) => {
                    selected.named.extend(ids);
                    Ok(())
                }
                None => Err(self.unknown(target)),
            };
        }
        if let Some(ids) = self.here().and_then(|file| self.stages_named(file, target)) {
            selected.named.extend(ids);
            return Ok(());
        }
        let Ok(path) = self.inside(target) else { return Err(self.unknown(target)) };
        if self.select_path(&path, target, selected)? {
            return Ok(());
        }
        // The user may have typed a path that leads through symlinks.
        if let Some(real) = resolve(self.top, &path, true).filter(|real| *real != path)
            && self.select_path(&real, target, selected)?
        {
            return Ok(());
        }
        // The target may be defined in the current folder's file, which could not be read, or in a file above the path.
        let is_here = |broken: &RepoPath| broken.parent().as_ref() == Some(self.cwd);
        let is_above = |broken: &RepoPath| broken.parent().is_some_and(|folder| path.is_in(&folder));
        self.refuse_broken(|broken| is_here(broken) || (target.contains('/') && is_above(broken)))?;
        let unknown = self.unknown(target);
        Err(match self.broken.iter().find(|(broken, _)| is_above(broken)) {
            Some((broken, _)) => unknown.because(format!("{} cannot be read", broken.relative_to(self.cwd))),
            None => unknown,
        })
    }

    /// Selects the pipeline file, output or data at a path. Returns whether there is one.
    fn select_path(&self, path: &RepoPath, target: &str, selected: &mut Selection) -> Result<bool> {
        if path.name() == "pipeline.yaml" {
            self.whole_file(path, target, selected)?;
        } else if let Some(id) = self.owner(path) {
            selected.parts.push((id, path.clone()));
        } else if self.pipelines.files.iter().any(|f| f.data.iter().any(|d| path.is_in(&d.path))) {
            selected.data.push(path.clone());
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The stage that makes `path`, or the folder that contains it.
    fn owner(&self, path: &RepoPath) -> Option<StageId> {
        let mut at = Some(path.clone());
        while let Some(p) = at {
            if let Some(id) = self.graph.producer(&p) {
                return Some(id);
            }
            at = p.parent();
        }
        None
    }

    fn pattern(&self, pattern: &str, selected: &mut Selection) -> Result<()> {
        let (file, pattern) = match split_address(pattern) {
            Some((file, pattern)) => {
                let path = self.inside(file)?;
                self.refuse_broken(|broken| *broken == path)?;
                (self.pipelines.files.iter().position(|f| f.path == path).map(|at| FileId(at as u32)), pattern)
            }
            None => (self.here(), pattern),
        };
        let before = selected.named.len();
        if let Some(file) = file {
            for id in &self.pipelines.file(file).stages {
                if (self.matches)(pattern, &self.pipelines.stage(*id).name) {
                    selected.named.push(*id);
                }
            }
        }
        if selected.named.len() == before {
            self.refuse_broken(|broken| broken.parent().as_ref() == Some(self.cwd))?;
            return Err(Error::missing(format!("no stage matches {pattern}")).hint("see them: lockstep stage list"));
        }
        Ok(())
    }

    fn here(&self) -> Option<FileId> {
        let at = self.pipelines.files.iter().position(|f| f.path.parent().as_ref() == Some(self.cwd))?;
        Some(FileId(at as u32))
    }

    /// The stages of a stage or group name in one file.
    fn stages_named(&self, file: FileId, name: &str) -> Option<Vec<StageId>> {
        let file = self.pipelines.file(file);
        if let Some(id) = file.stages.iter().find(|id| self.pipelines.stage(**id).name == name) {
            return Some(vec![*id]);
        }
        file.groups.iter().find(|(group, _)| group == name).map(|(_, ids)| ids.clone())
    }

    fn inside(&self, written: &str) -> Result<RepoPath> {
        self.cwd.join_typed(self.top, written).ok_or_else(|| {
            Error::new(Kind::Missing, format!("`{written}` is outside the repository"))
                .hint("targets are stages, outputs and pipeline files of this repository")
        })
    }

    fn unknown(&self, target: &str) -> Error {
        let error = Error::missing(format!("`{target}` is neither a stage nor an output"));
        let word = split_address(target).map_or(target, |(_, name)| name);
        let same = |id: &StageId| {
            let name = &self.pipelines.stage(*id).name;
            name == word || name.split_once('@').is_some_and(|(group, _)| group == word)
        };
        if let Some(id) = self.pipelines.ids().find(same) {
            let file = self.pipelines.file(self.pipelines.stage(id).file).path.relative_to(self.cwd);
            return error.hint(format!("did you mean `{file}:{word}`?"));
        }
        let names = self.pipelines.ids().map(|id| self.pipelines.address(id, self.cwd));
        let outs = self.pipelines.stages.iter().flat_map(|s| &s.outs).map(|o| o.path.relative_to(self.cwd));
        let near = names
            .chain(outs)
            .map(|name| (strsim::jaro_winkler(word, &name), name))
            .filter(|(score, _)| *score > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match near {
            Some((_, name)) => error.hint(format!("did you mean `{name}`?")),
            None => error.hint("see the stages: lockstep stage list --all"),
        }
    }

    fn reach(&self, named: &[StageId], reach: &SelectionMode) -> Vec<StageId> {
        let mut chosen: HashSet<StageId> = named.iter().copied().collect();
        let mut heads: Vec<StageId> = if reach.single { Vec::new() } else { named.to_vec() };
        while let Some(id) = heads.pop() {
            let mut visit = |next: &[StageId]| heads.extend(next.iter().copied().filter(|n| chosen.insert(*n)));
            if reach.pipeline || reach.downstream {
                visit(self.graph.downstream(id));
            }
            // Inputs of a frozen stage are skipped.
            if reach.pipeline || !(reach.downstream || self.pipelines.stage(id).frozen) {
                visit(self.graph.upstream(id));
            }
        }
        self.graph.order().iter().copied().filter(|id| chosen.contains(id)).collect()
    }
}

/// Splits `sub/pipeline.yaml:name` into file and name.
fn split_address(target: &str) -> Option<(&str, &str)> {
    let at = target.find("pipeline.yaml:")? + "pipeline.yaml".len();
    Some((&target[..at], &target[at + 1..]))
}
