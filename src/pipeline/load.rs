//! Reading all pipeline files of a repository. A broken file does not hinder the others; one that lies inside an output
//! or data of another is content, not a pipeline.

use std::collections::HashMap;

use super::build::Builder;
use super::context::Context;
use super::expand::{Expander, MOST_STAGES};
use super::format::{Checker, Group, Raw, TOP_KEYS};
use super::problem::Problem;
use super::stage::{FileId, PipelineFile, Pipelines, Place, Stage, StageId};
use super::vars::{self, Added, Reader};
use crate::error::Result;
use crate::path::{RepoPath, normalise};
use crate::value::node::Node;
use crate::value::{Value, decode, yaml};

/// Where files come from: the worktree or a commit.
pub trait Files {
    /// `None` if there is no such file; a folder is an error.
    fn read(&self, place: &Place) -> Result<Option<Vec<u8>>>;

    /// The absolute path of the repository, so that absolute paths inside it become relative.
    fn top(&self) -> &std::path::Path;
}

#[derive(Debug, Default)]
pub struct Loaded {
    pub pipelines: Pipelines,
    /// Files that cannot be used, with all that is wrong with them.
    pub broken: Vec<(RepoPath, Vec<Problem>)>,
    /// Files of other tools: they have none of our top-level keys.
    pub foreign: Vec<RepoPath>,
    /// Every file that was read or looked for, with BLAKE3 of its content (`None`: it did not exist), sorted, each
    /// once: while these are the same, so is the rest.
    pub inputs: Vec<(Place, Option<[u8; 32]>)>,
}

enum Read {
    Foreign,
    Broken(Vec<Problem>),
    Fine(Box<File>),
}

struct File {
    file: PipelineFile,
    stages: Vec<Stage>,
    /// Names of groups with the places of their stages in `stages`.
    groups: Vec<(String, std::ops::Range<usize>)>,
}

impl File {
    fn made(&self) -> impl Iterator<Item = &RepoPath> {
        self.stages.iter().flat_map(|s| &s.outs).map(|o| &o.path).chain(self.file.data.iter().map(|d| &d.path))
    }
}

/// Reads `paths`, which are the pipeline files below `root` in any order.
pub fn load(files: &dyn Files, paths: &[RepoPath], root: &RepoPath) -> Loaded {
    let mut reader = Reader::new(files);
    let mut paths: Vec<&RepoPath> = paths.iter().filter(|p| p.is_in(root)).collect();
    paths.sort_by_cached_key(|p| {
        (p.parent().unwrap_or_default().parts().map(str::to_string).collect::<Vec<_>>(), p.name())
    });
    paths.dedup();
    let mut left = MOST_STAGES;
    let mut read: Vec<(&RepoPath, Read)> = Vec::new();
    // parents come first, so an output of theirs hides what lies in it before it is read
    let mut made: HashMap<RepoPath, usize> = HashMap::new();
    for path in paths {
        if hidden(path, &made, usize::MAX) {
            continue;
        }
        let one = one(&mut reader, path, &mut left);
        if let Read::Fine(file) = &one {
            made.extend(file.made().map(|p| (p.clone(), read.len())));
        }
        read.push((path, one));
    }
    let mut loaded = Loaded::default();
    for (n, (path, one)) in read.into_iter().enumerate() {
        if hidden(path, &made, n) {
            continue;
        }
        match one {
            Read::Foreign => loaded.foreign.push(path.clone()),
            Read::Broken(problems) => loaded.broken.push((path.clone(), problems)),
            Read::Fine(file) => add(&mut loaded.pipelines, *file),
        }
    }
    loaded.inputs = reader.inputs.into_iter().collect();
    loaded.inputs.sort_by_cached_key(|(place, _)| match place {
        Place::Repo(path) => (0, path.to_string()),
        Place::Outside(path) => (1, path.clone()),
        Place::Url(url) => (2, url.clone()),
    });
    loaded
}

/// Does the file lie inside something that another file makes?
fn hidden(path: &RepoPath, made: &HashMap<RepoPath, usize>, own: usize) -> bool {
    let mut at = path.parent();
    while let Some(folder) = at {
        if made.get(&folder).is_some_and(|&by| by != own) {
            return true;
        }
        at = folder.parent();
    }
    false
}

fn add(pipelines: &mut Pipelines, file: File) {
    let id = FileId(pipelines.files.len() as u32);
    let base = pipelines.stages.len();
    let stage_id = |n: usize| StageId((base + n) as u32);
    let mut pipeline = file.file;
    pipeline.stages = (0..file.stages.len()).map(stage_id).collect();
    pipeline.groups = file.groups.into_iter().map(|(name, range)| (name, range.map(stage_id).collect())).collect();
    pipelines.files.push(pipeline);
    pipelines.stages.extend(file.stages.into_iter().map(|stage| Stage { file: id, ..stage }));
}

fn one(reader: &mut Reader<'_>, path: &RepoPath, left: &mut usize) -> Read {
    let name = path.to_string();
    let broken = |problem: Problem| Read::Broken(vec![problem]);
    let bytes = match reader.read(&Place::Repo(path.clone())) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return broken(Problem::new(&name, None, "the file does not exist")),
        Err(e) => return broken(Problem::new(&name, None, e.message)),
    };
    let text = match decode(&bytes) {
        Ok(text) => text,
        Err(f) => return broken(Problem::new(&name, f.mark, f.message)),
    };
    let root = match yaml::parse(text) {
        Ok(root) => root,
        Err(f) => return broken(Problem::new(&name, f.mark, f.message).within(text)),
    };
    let mut checker = Checker { file: &name, text, problems: Vec::new() };
    let root = root.filter(|n| !matches!(n.tree, crate::value::node::Tree::Scalar(Value::Null)));
    let raw = match &root {
        None => Raw::default(),
        Some(root) => {
            let ours = |key: &str| TOP_KEYS.contains(&key);
            let entries = root.as_map().unwrap_or_default();
            if !entries.iter().any(|e| ours(&e.key)) && !(entries.is_empty() && root.as_map().is_some()) {
                return Read::Foreign;
            }
            checker.file(root)
        }
    };
    if !checker.problems.is_empty() {
        return Read::Broken(checker.problems);
    }
    let file = resolve(reader, path, &raw, &mut checker, left);
    if checker.problems.is_empty() { Read::Fine(Box::new(file)) } else { Read::Broken(checker.problems) }
}

/// Everything of a file with templates resolved; what is wrong goes to the checker and is left out.
fn resolve(
    reader: &mut Reader<'_>,
    path: &RepoPath,
    raw: &Raw<'_>,
    checker: &mut Checker<'_>,
    left: &mut usize,
) -> File {
    let folder = path.parent().unwrap_or_default();
    let mut file = File { file: empty(path), stages: Vec::new(), groups: Vec::new() };
    let mut context = Context::default();
    if let Err(problem) = vars::defaults(reader, &folder, &mut context) {
        checker.problems.push(problem);
        return file;
    }
    for (n, item) in raw.vars.iter().enumerate() {
        match vars::add(reader, &folder, &mut context, item, &format!("vars[{n}]")) {
            Ok(()) => {}
            Err(Added::Here(message)) => checker.say(item.start, format!("`vars`: {message}")),
            Err(Added::Elsewhere(problem)) => checker.problems.push(problem),
        }
    }
    if !checker.problems.is_empty() {
        // with variables missing everything else would be wrong as well
        return file;
    }
    for stage in &raw.stages {
        let first = file.stages.len();
        let is_group = !matches!(stage.group, Group::None);
        if !is_group {
            match left.checked_sub(1) {
                Some(now) => *left = now,
                None => {
                    checker.say(stage.mark, format!("a repository may have {MOST_STAGES} stages"));
                    break;
                }
            }
        }
        let mut expander = Expander { reader, folder: &folder, checker, left };
        for expanded in expander.stage(stage, &context) {
            let top = reader.top();
            let mut builder = Builder { top, file: path, folder: &folder, checker };
            match builder.stage(expanded, FileId(0)) {
                Some(stage) => file.stages.push(stage),
                None => break,
            }
        }
        if is_group {
            file.groups.push((stage.name.to_string(), first..file.stages.len()));
        }
    }
    top_level(reader, path, &folder, raw, &context, checker, &mut file.file, left);
    file
}

fn empty(path: &RepoPath) -> PipelineFile {
    PipelineFile {
        path: path.clone(),
        stages: Vec::new(),
        groups: Vec::new(),
        data: Vec::new(),
        params: Vec::new(),
        metrics: Vec::new(),
        plots: Vec::new(),
        artifacts: Vec::new(),
        warnings: Vec::new(),
    }
}

#[allow(clippy::too_many_arguments)]
fn top_level(
    reader: &mut Reader<'_>,
    path: &RepoPath,
    folder: &RepoPath,
    raw: &Raw<'_>,
    context: &Context<'_>,
    checker: &mut Checker<'_>,
    file: &mut PipelineFile,
    left: &mut usize,
) {
    let top = reader.top();
    let mut expander = Expander { reader, folder, checker, left };
    let mut paths = |items: &[Node], at: &str| -> Vec<String> {
        items.iter().filter_map(|n| expander.string(n, context, at)).map(|p| normalise(&p)).collect()
    };
    file.params = paths(raw.params, "`params`");
    file.metrics = paths(raw.metrics, "`metrics`");
    for item in raw.plots {
        match expander.value(item, context, "`plots`") {
            Some(Value::Str(path)) => file.plots.push((path, Value::Null)),
            Some(Value::Map(entries)) => file.plots.extend(entries),
            _ => {}
        }
    }
    for entry in raw.artifacts {
        let at = format!("artifact `{}`", entry.key);
        if let Some(value) = expander.value(&entry.value, context, &at) {
            file.artifacts.push((entry.key.clone(), value));
        }
    }
    for item in raw.data {
        let Some(node) = item.get("path").map(|e| &e.value) else { continue };
        let Some(spelling) = expander.string(node, context, "`data`") else { continue };
        let mut builder = Builder { top, file: path, folder, checker: expander.checker };
        file.data.extend(builder.data(&spelling, item.as_map().unwrap_or_default(), node.start));
    }
    if let Some(mark) = raw.datasets {
        file.warnings.push(format!(
            "{path}:{}:{}: `datasets` is accepted and does nothing; name the files under `deps` or `data`",
            mark.line, mark.column
        ));
    }
}
