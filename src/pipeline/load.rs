//! Reads all pipeline files of a repository. An invalid file does not affect the others. A file inside an output or
//! data of another is content, not a pipeline.

use std::collections::HashMap;

use super::budget::{Budget, MOST_STAGES};
use super::build::Builder;
use super::check::{self, Check};
use super::context::Context;
use super::deploy;
use super::environments;
use super::expand::Expander;
use super::files::Files;
use super::format::keys::{TOP, find, rows};
use super::format::{Checker, Group, RawPipeline};
use super::problem::{Problem, did_you_mean};
use super::stage::{FileId, InputLocation, PipelineFile, Pipelines, Stage, StageId};
use super::vars::{self, AddError, VarsReader};
use crate::path::{RepoPath, normalise};
use crate::value::node::{Entry, Node, Tree};
use crate::value::{Mark, Value, decode, yaml};

/// The result of loading all pipeline files.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The valid files.
    pub pipelines: Pipelines,
    /// Invalid files, with all their problems.
    pub broken: Vec<(RepoPath, Vec<Problem>)>,
    /// Files of other tools, which have none of lockstep's top-level keys.
    pub foreign: Vec<RepoPath>,
    /// Every file that was read or looked for, with BLAKE3 of its content (`None`: it did not exist), sorted, each
    /// once: while these are unchanged, so is the result.
    pub inputs: Vec<(InputLocation, Option<[u8; 32]>)>,
}

enum LoadResult {
    Foreign,
    Broken(Vec<Problem>),
    Fine(Box<LoadedFile>),
}

struct LoadedFile {
    file: PipelineFile,
    stages: Vec<Stage>,
    /// Names of groups with the range of their stages in `stages`.
    groups: Vec<(String, std::ops::Range<usize>)>,
}

impl LoadedFile {
    fn made_paths(&self) -> impl Iterator<Item = &RepoPath> {
        self.stages.iter().flat_map(|s| &s.outs).map(|o| &o.path).chain(self.file.data.iter().map(|d| &d.path))
    }
}

/// Reads `paths`, which are the pipeline files below `root` in any order.
pub fn load(files: &dyn Files, paths: &[RepoPath], root: &RepoPath) -> Loaded {
    let mut reader = VarsReader::new(files);
    let mut paths: Vec<&RepoPath> = paths.iter().filter(|p| p.is_in(root)).collect();
    paths.sort_by_cached_key(|p| {
        (p.parent().unwrap_or_default().parts().map(str::to_string).collect::<Vec<_>>(), p.name())
    });
    paths.dedup();
    let mut budget = Budget::default();
    let mut read: Vec<(&RepoPath, LoadResult)> = Vec::new();
    // parents come first, so that files inside their outputs are known before they are read
    let mut made_paths: HashMap<RepoPath, usize> = HashMap::new();
    for path in paths {
        if hidden(path, &made_paths, usize::MAX) {
            continue;
        }
        let one = one(&mut reader, path, &mut budget);
        if let LoadResult::Fine(file) = &one {
            made_paths.extend(file.made_paths().map(|p| (p.clone(), read.len())));
        }
        read.push((path, one));
    }
    let mut loaded = Loaded::default();
    for (n, (path, one)) in read.into_iter().enumerate() {
        if hidden(path, &made_paths, n) {
            continue;
        }
        match one {
            LoadResult::Foreign => loaded.foreign.push(path.clone()),
            LoadResult::Broken(problems) => loaded.broken.push((path.clone(), problems)),
            LoadResult::Fine(mut file) => {
                let own = FileId(loaded.pipelines.files.len() as u32);
                match environments::find_for_stages(&mut file.stages, &file.file, &loaded.pipelines.files, own) {
                    Ok(()) => add(&mut loaded.pipelines, *file),
                    Err(problems) => loaded.broken.push((path.clone(), problems)),
                }
            }
        }
    }
    loaded.inputs = reader.inputs.into_iter().collect();
    loaded.inputs.sort_by_cached_key(|(place, _)| match place {
        InputLocation::Repo(path) => (0, path.to_string()),
        InputLocation::Outside(path) => (1, path.clone()),
        InputLocation::Url(url) => (2, url.raw().to_string()),
    });
    loaded
}

/// Whether the file is inside a path that another file makes.
fn hidden(path: &RepoPath, made_paths: &HashMap<RepoPath, usize>, own: usize) -> bool {
    let mut at = path.parent();
    while let Some(folder) = at {
        if made_paths.get(&folder).is_some_and(|&by| by != own) {
            return true;
        }
        at = folder.parent();
    }
    false
}

fn add(pipelines: &mut Pipelines, file: LoadedFile) {
    let id = FileId(pipelines.files.len() as u32);
    let base = pipelines.stages.len();
    let stage_id = |n: usize| StageId((base + n) as u32);
    let mut pipeline = file.file;
    pipeline.stages = (0..file.stages.len()).map(stage_id).collect();
    pipeline.groups = file.groups.into_iter().map(|(name, range)| (name, range.map(stage_id).collect())).collect();
    pipelines.files.push(pipeline);
    pipelines.stages.extend(file.stages.into_iter().map(|stage| Stage { file: id, ..stage }));
}

fn one(reader: &mut VarsReader<'_>, path: &RepoPath, budget: &mut Budget) -> LoadResult {
    let name = path.to_string();
    let broken = |problem: Problem| LoadResult::Broken(vec![problem]);
    let bytes = match reader.read(&InputLocation::Repo(path.clone())) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return broken(Problem::new(&name, None, "the file does not exist")),
        Err(e) => return broken(Problem::new(&name, None, e.message)),
    };
    let text = match decode(&bytes) {
        Ok(text) => text,
        Err(f) => return broken(Problem::of(&name, f, "")),
    };
    let root = match yaml::parse(text) {
        Ok(root) => root,
        Err(f) => return broken(Problem::of(&name, f, text)),
    };
    let mut checker = Checker { file: &name, text, problems: Vec::new(), back_steps: Vec::new() };
    let root = root.filter(|n| !matches!(n.tree, Tree::Scalar(Value::Null)));
    let raw = match &root {
        None => RawPipeline::default(),
        Some(root) => {
            let ours = |entries: &[Entry]| entries.is_empty() || entries.iter().any(|e| find(TOP, &e.key).is_some());
            // A file with a typo in its only key must not be taken for another tool's.
            let nearly = |e: &Entry| rows(TOP).any(|key| strsim::damerau_levenshtein(&e.key, key.name) == 1);
            let meant = root.as_map().is_some_and(|entries| ours(entries) || entries.iter().any(nearly));
            if !meant {
                return LoadResult::Foreign;
            }
            checker.file(root)
        }
    };
    if !checker.problems.is_empty() {
        return LoadResult::Broken(checker.problems);
    }
    let file = resolve(reader, path, &raw, &mut checker, budget);
    if checker.problems.is_empty() { LoadResult::Fine(Box::new(file)) } else { LoadResult::Broken(checker.problems) }
}

/// The whole file with templates resolved; problems go to the checker, and invalid parts are left out.
fn resolve(
    reader: &mut VarsReader<'_>,
    path: &RepoPath,
    raw: &RawPipeline<'_>,
    checker: &mut Checker<'_>,
    budget: &mut Budget,
) -> LoadedFile {
    let folder = path.parent().unwrap_or_default();
    let mut file = LoadedFile { file: empty(path), stages: Vec::new(), groups: Vec::new() };
    let mut context = Context::default();
    reader.loaded.clear();
    if let Err(problem) = vars::defaults(reader, &folder, &mut context) {
        checker.problems.push(problem);
        return file;
    }
    for (n, item) in raw.vars.iter().enumerate() {
        if let Some(spelling) = item.as_str() {
            checker.note_path(&folder, spelling, item.start, "`vars`");
        }
        match vars::add(reader, &folder, &mut context, item, &format!("vars[{n}]")) {
            Ok(()) => {}
            Err(AddError::Here(message)) => checker.report(item.start, format!("`vars`: {message}")),
            Err(AddError::Elsewhere(problem)) => checker.problems.push(problem),
        }
    }
    if !checker.problems.is_empty() {
        // with variables missing, every reference would be a problem as well
        return file;
    }
    for stage in &raw.stages {
        let first = file.stages.len();
        let is_group = !matches!(stage.group, Group::None);
        if !is_group && !budget.take_stages(1) {
            checker.report(stage.mark, format!("a repository may have {MOST_STAGES} stages"));
            break;
        }
        let mut expander = Expander { reader, folder: &folder, checker, budget };
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
    let mut expander = Expander { reader, folder: &folder, checker, budget };
    top_level(&mut expander, path, raw, &context, &mut file.file);
    file.file.template_files = std::mem::take(&mut reader.loaded).into_values().collect();
    file.file.back_steps = std::mem::take(&mut checker.back_steps);
    file
}

fn empty(path: &RepoPath) -> PipelineFile {
    PipelineFile {
        path: path.clone(),
        stages: Vec::new(),
        groups: Vec::new(),
        data: Vec::new(),
        template_files: Vec::new(),
        back_steps: Vec::new(),
        params: Vec::new(),
        metrics: Vec::new(),
        plots: Vec::new(),
        artifacts: Vec::new(),
        deploy: Vec::new(),
        environments: Vec::new(),
        checks: Vec::new(),
        warnings: Vec::new(),
    }
}

fn top_level(
    expander: &mut Expander<'_, '_, '_>,
    path: &RepoPath,
    raw: &RawPipeline<'_>,
    context: &Context<'_>,
    file: &mut PipelineFile,
) {
    let folder = expander.folder;
    let mut paths = |items: &[Node], at: &str| -> Vec<String> {
        let read = |node: &Node| {
            let path = expander.string(node, context, at)?;
            expander.checker.note_path(folder, &path, node.start, at);
            Some(normalise(&path))
        };
        items.iter().filter_map(read).collect()
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
    // The name of a plot may be its path.
    for (path, _) in &file.plots {
        expander.checker.note_path(
            folder,
            path,
            raw.plots.first().map_or(Mark::default(), |plot| plot.start),
            "`plots`",
        );
    }
    for entry in raw.artifacts {
        let at = format!("artifact `{}`", entry.key);
        if let Some(value) = expander.value(&entry.value, context, &at) {
            if let Some(path) = value.get("path").and_then(Value::as_str) {
                expander.checker.note_path(folder, path, entry.start, &at);
            }
            file.artifacts.push((entry.key.clone(), value));
        }
    }
    for entry in raw.deploy {
        let at = format!("deployment target `{}`", entry.key);
        let Some(value) = expander.value(&entry.value, context, &at) else { continue };
        match deploy::target(&entry.key, &value, entry.start) {
            Ok(target) => file.deploy.push(target),
            Err((key, why)) => expander.checker.report(entry.start, format!("{at}, `{key}`: {why}")),
        }
    }
    file.environments = environments::read(expander, path, raw.environments, context);
    for (artifact, item) in &raw.checks {
        if let Some(text) = expander.string(item, context, "`checks`") {
            file.checks.extend(check(&text, *artifact, item, raw, expander.checker));
        }
    }
    for item in raw.data {
        let Some(node) = item.get("path").map(|e| &e.value) else { continue };
        let Some(spelling) = expander.string(node, context, "`data`") else { continue };
        let (top, folder) = (expander.reader.top(), expander.folder);
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

fn check(
    text: &str,
    artifact: Option<&Entry>,
    item: &Node,
    raw: &RawPipeline<'_>,
    checker: &mut Checker<'_>,
) -> Option<Check> {
    let known = || raw.artifacts.iter().map(|a| a.key.as_str());
    if let Some(entry) = artifact.filter(|entry| !known().any(|name| name == entry.key)) {
        let message = format!("`checks`: there is no artifact `{}`", entry.key);
        checker.report_with(entry.start, message, did_you_mean(&entry.key, known()));
        return None;
    }
    match check::parse(text, artifact.map(|entry| entry.key.as_str()), item.start) {
        Ok(check) => Some(check),
        Err(bad) => {
            checker.report_with(item.start, format!("`checks`: `{text}` {}", bad.message), bad.hint);
            None
        }
    }
}

#[cfg(test)]
pub mod memory {
    //! Files that tests write down.

    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::error::{Error, Result};

    pub struct Memory(BTreeMap<String, String>);

    impl Memory {
        pub fn new(files: &[(&str, &str)]) -> Memory {
            Memory(files.iter().map(|(p, t)| (p.to_string(), t.to_string())).collect())
        }

        pub fn load(&self) -> Loaded {
            let ours = self.0.keys().filter(|p| p.ends_with("pipeline.yaml"));
            let paths: Vec<RepoPath> = ours.filter_map(|p| RepoPath::root().join(p)).collect();
            load(self, &paths, &RepoPath::root())
        }

        /// All that is wrong, as it would be shown.
        pub fn broken(&self) -> String {
            let problems: Vec<Problem> = self.load().broken.into_iter().flat_map(|(_, p)| p).collect();
            crate::pipeline::problem::render(&problems).to_string()
        }
    }

    impl Files for Memory {
        fn read(&self, place: &InputLocation) -> Result<Option<Vec<u8>>> {
            let name = place.to_string();
            if self.0.keys().any(|p| p.starts_with(&format!("{name}/"))) {
                return Err(Error::usage(format!("{name} is a folder")));
            }
            Ok(self.0.get(&name).map(|text| text.as_bytes().to_vec()))
        }

        fn top(&self) -> &Path {
            Path::new("/repo")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::memory::Memory;
    use super::*;

    /// Pipeline files and their params from elsewhere: a message or a graph.
    #[test]
    fn fuzz_pipelines() {
        let good = include_str!("../../fixtures/broken/good.yaml");
        let example = include_str!("../../pipeline.example.yaml");
        let matrix = "vars: [{a: [1, 2]}]\nstages:\n  s:\n    matrix: {x: ${a}, y: [p, q]}\n    cmd: e ${item.x}\n    outs: [o-${item.x}-${item.y}]\n";
        let corpus = [good, example, matrix].map(|text| text.as_bytes().to_vec()).to_vec();
        crate::fuzz::fuzz("pipelines", corpus, None, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let loaded = Memory::new(&[("pipeline.yaml", &text), ("params.yaml", "lr: 0.1\nsizes: [1, 2]\n")]).load();
            let broken: Vec<Problem> = loaded.broken.into_iter().flat_map(|(_, problems)| problems).collect();
            if !broken.is_empty() {
                let message = crate::pipeline::problem::render(&broken).message;
                assert!(!message.is_empty());
                return message.lines().next().unwrap_or_default().to_string();
            }
            match crate::pipeline::graph::build(&loaded.pipelines) {
                Ok(graph) => format!("graph {}", "x".repeat(graph.order().len().min(12) + 1)),
                Err(error) => error.message,
            }
        });
    }

    #[test]
    fn a_broken_file_does_not_hinder_the_others() {
        let files = Memory::new(&[
            ("b/pipeline.yaml", "stages: {s: {cmd: x}}"),
            ("a/pipeline.yaml", "stages: {s: {}}"),
            ("k8s/pipeline.yaml", "apiVersion: v1"),
            ("list/pipeline.yaml", "[1]"),
            ("pipeline.yaml", ""),
            ("b/c/pipeline.yaml", "stages: {s: {cmd: x}, t: {cmd: y}}"),
        ]);
        let loaded = files.load();
        let fine: Vec<String> = loaded.pipelines.files.iter().map(|f| f.path.to_string()).collect();
        assert_eq!(fine, ["pipeline.yaml", "b/pipeline.yaml", "b/c/pipeline.yaml"]);
        assert_eq!(loaded.pipelines.files[2].stages, [StageId(1), StageId(2)]);
        assert_eq!(loaded.broken.len(), 1);
        assert_eq!(loaded.foreign.len(), 2);
        assert_eq!(
            files.broken(),
            "a/pipeline.yaml:1:10: stage `s` has no `cmd`\n  |\n1 | stages: {s: {}}\n  |          ^"
        );
    }

    #[test]
    fn what_lies_in_an_output_is_content() {
        let files = Memory::new(&[
            ("pipeline.yaml", "data: [{path: raw}]\nstages: {s: {cmd: x, outs: [gen/deep]}}"),
            ("raw/x/pipeline.yaml", "stages: {"),
            ("gen/deep/pipeline.yaml", "stages: {s: {cmd: x, outs: [../../z]}}"),
            ("m/pipeline.yaml", "stages: {s: {cmd: x}}"),
            ("z/pipeline.yaml", "stages: {s: {cmd: x, outs: [../m]}}"),
        ]);
        let loaded = files.load();
        let fine: Vec<String> = loaded.pipelines.files.iter().map(|f| f.path.to_string()).collect();
        assert_eq!(fine, ["pipeline.yaml", "z/pipeline.yaml"]);
        assert!(loaded.broken.is_empty());
    }

    #[test]
    fn all_mistakes_in_one_go() {
        let files = Memory::new(&[(
            "sub/pipeline.yaml",
            "stages:\n  a:\n    cmd: x\n    outz: [y]\n    frozen: 1\n  b:\n    cmd: ''\n    deps: {x: 1}\n  -c:\n    cmd: ${x\n",
        )]);
        insta::assert_snapshot!(files.broken(), @r"
        sub/pipeline.yaml:4:5: unknown key `outz` in stage `a`
          |
        4 |     outz: [y]
          |     ^
          hint: did you mean `outs`?
        sub/pipeline.yaml:5:13: stage `a`, `frozen` must be true or false, not a number
          |
        5 |     frozen: 1
          |             ^
        sub/pipeline.yaml:7:10: stage `b`, `cmd` is empty
          |
        7 |     cmd: ''
          |          ^
        sub/pipeline.yaml:8:11: stage `b`, `deps` must be a list of strings, not a map
          |
        8 |     deps: {x: 1}
          |           ^
        sub/pipeline.yaml:9:3: the stage name `-c` looks like an option: it starts with `-`
          |
        9 |   -c:
          |   ^
        sub/pipeline.yaml:10:10: stage `-c`, `cmd`: a `${` is never closed
           |
        10 |     cmd: ${x
           |          ^
          hint: write `\${` for a `${` that lockstep shall leave alone
        ");
    }

    #[test]
    fn single_mistakes() {
        for (yaml, want) in [
            ("stages: {a: {cmd: x, outs: [../x]}}", "`../x` is outside of the repository"),
            ("stages: {a: {cmd: x, outs: [/etc/x]}}", "`/etc/x` is outside of the repository"),
            ("stages: {a: {cmd: x, outs: [s3://b/x]}}", "is not a path of the repository"),
            ("stages: {a: {cmd: x, outs: [.]}}", "holds the pipeline file itself"),
            ("stages: {a: {cmd: x, outs: [d/.gitignore]}}", "is a file that lockstep or Git itself reads"),
            ("stages: {a: {cmd: x, outs: [.git/hooks/x]}}", "belongs to Git"),
            ("stages: {a: {cmd: x, wdir: ../..}}", "outside of the repository"),
            ("stages: {a: {cmd: x, scratch: [../tmp]}}", "outside of the repository"),
            ("stages: {a: {cmd: x, wdir: w, scratch: [.]}}", "holds the working folder"),
            ("stages: {a: {cmd: x, env: ['A=1']}}", "is not a name of a variable"),
            ("data: [{path: ../x}]", "outside of the repository"),
            ("data: [x]", "must be a map"),
            ("data: [{}]", "has no `path`"),
            ("stages: {a: {cmd: 'x ${item}'}}", "cannot find `item`"),
            ("vars: [{lr: 1}]\nstages: {a: {cmd: 'x ${lrr}'}}", "did you mean `lr`?"),
            ("vars: [{m: {depth: 1}}]\nstages: {a: {cmd: 'x ${m.deph}'}}", "did you mean `m.depth`?"),
            ("stages: {a: {matrix: {x: [1]}, do: {cmd: x}}}", "has `do` and no `foreach`"),
            ("stages: {a: {foreach: [1], do: {cmd: x, matrix: {x: [1]}}}}", "`matrix` cannot stand in `do`"),
            ("stages: {a: {foreach: [x, x], do: {cmd: x}}}", "makes the stage `a@x` twice"),
            ("stages: {a: {foreach: [''], do: {cmd: x}}}", "whose key is empty"),
            ("stages:\n<<<<<<< HEAD\n  a: {cmd: x}\n=======\n  a: {cmd: y}\n>>>>>>> b", "markers of a merge conflict"),
            ("stagess: {}\nvars: []", "did you mean `stages`?"),
        ] {
            let message = Memory::new(&[("pipeline.yaml", yaml)]).broken();
            assert!(message.contains(want), "{yaml}: {message}");
        }
    }

    #[test]
    fn a_matrix_may_not_explode() {
        let dim = format!("[{}]", (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join(", "));
        let dims: Vec<String> = (0..20).map(|n| format!("d{n}: {dim}")).collect();
        for n in [2, 20] {
            let yaml = format!("stages: {{m: {{matrix: {{{}}}, cmd: x}}}}", dims[..n].join(", "));
            let message = Memory::new(&[("pipeline.yaml", &yaml)]).broken();
            assert!(message.contains("a repository may have 100000"), "{message}");
        }
    }

    #[test]
    fn nothing_is_multiplied_beyond_the_cap() {
        let (long, longer) = ("y".repeat(900_000), "z".repeat(2000));
        let items = (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let dim = (0..300).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let many = "'${big}', ".repeat(1000);
        let paths = (0..30_000).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",");
        let map = (0..20_000).map(|n| format!("k{n}: {n}")).collect::<Vec<_>>().join(",");
        let vars = format!("vars: [{{big: {long}, deep: {{x: {long}}}, map: {{{map}}}}}]\n");
        for (yaml, want) in [
            (format!("stages: {{a: {{foreach: [{items}], do: {{cmd: 'echo ${{item}} ${{big}}'}}}}}}"), "stage `a@2"),
            (format!("stages: {{a: {{foreach: [{items}], do: {{cmd: x, desc: '${{big}}'}}}}}}"), "stage `a@2"),
            (format!("stages: {{a: {{foreach: [{items}], do: {{cmd: x, meta: {{'${{big}}': 1}}}}}}}}"), "stage `a@2"),
            (format!("stages: {{a: {{foreach: [{items}], do: {{cmd: '${{deep}}'}}}}}}"), "`cmd`: "),
            (format!("stages: {{a: {{foreach: [{items}], do: {{cmd: x, vars: [{{o: {long}}}]}}}}}}"), "`vars`: "),
            (format!("stages: {{a: {{foreach: [{items}], do: {{cmd: x, vars: [{{map: {{o: 1}}}}]}}}}}}"), "`vars`: "),
            (format!("stages: {{a: {{cmd: '{}'}}}}", "${big} ".repeat(1000)), "stage `a`, `cmd`: with `${big}` "),
            (format!("stages: {{a: {{foreach: [{many}], do: {{cmd: x}}}}}}"), "stage `a`, `foreach`: "),
            (format!("artifacts: {{a: {{path: x, meta: [{}]}}}}", "'${map}', ".repeat(2000)), "artifact `a`: "),
            (format!("stages: {{a: {{matrix: {{'{long}': [{dim}], b: [{dim}]}}, cmd: x}}}}"), "stage `a`, `matrix`: "),
            (format!("stages: {{a: {{cmd: x, wdir: '{long}', deps: [{paths}]}}}}"), "stage `a`: "),
            (format!("stages: {{{longer}: {{cmd: x}}}}"), "has more than 1024 bytes"),
            (format!("stages: {{a: {{foreach: [{longer}], do: {{cmd: x}}}}}}"), "whose name is too long"),
        ] {
            let message = Memory::new(&[("pipeline.yaml", &format!("{vars}{yaml}"))]).broken();
            let shown: String = message.chars().take(300).collect();
            assert!(message.contains(want), "{want}: {shown}");
            assert!(message.contains("would take more than 256 MiB") || want.len() > 20, "{want}: {shown}");
            assert!(message.len() < 20_000, "{want}: {}", message.len());
        }
        // Many small stages are fine.
        let yaml = format!(
            "stages: {{a: {{foreach: [{items}], do: {{cmd: 'x ${{item}}', deps: [d], outs: ['o${{item}}']}}}}}}"
        );
        assert_eq!(Memory::new(&[("pipeline.yaml", &yaml)]).load().pipelines.stages.len(), 20_000);
    }

    #[test]
    fn what_was_read_is_the_key() {
        let files =
            Memory::new(&[("pipeline.yaml", "vars: [v.yaml]\nstages: {a: {cmd: 'x ${v}'}}"), ("v.yaml", "v: 1")]);
        let inputs = files.load().inputs;
        let seen: Vec<(String, bool)> = inputs.iter().map(|(p, hash)| (p.to_string(), hash.is_some())).collect();
        assert_eq!(seen, [("params.yaml".into(), false), ("pipeline.yaml".into(), true), ("v.yaml".into(), true)]);
        let pipelines = files.load().pipelines;
        let bytes = postcard::to_stdvec(&pipelines).unwrap();
        let back: Pipelines = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(postcard::to_stdvec(&back).unwrap(), bytes);
    }

    #[test]
    fn checks_for_all_artifacts_or_for_one() {
        let head = "stages: {}\nvars: [{least: 0.9}]\nartifacts: {digits: {path: m}}\n";
        let load = |checks: &str| Memory::new(&[("pipeline.yaml", &format!("{head}{checks}"))]).load();
        let texts = |checks: &str| -> Vec<(Option<String>, String)> {
            let loaded = load(checks);
            assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
            loaded.pipelines.files[0].checks.iter().map(|c| (c.artifact.clone(), c.text.clone())).collect()
        };
        assert_eq!(texts("checks: ['acc >=  ${least}']"), [(None, "acc >= 0.9".to_string())]);
        let one = (Some("digits".to_string()), "acc >= main - 0.1".to_string());
        assert_eq!(texts("checks: {digits: [acc >= main - 0.1]}"), [one]);
        let broken = |checks: &str| Memory::new(&[("pipeline.yaml", &format!("{head}{checks}"))]).broken();
        insta::assert_snapshot!(broken("checks: {digitz: [a > 1]}"), @r"
        pipeline.yaml:4:10: `checks`: there is no artifact `digitz`
          |
        4 | checks: {digitz: [a > 1]}
          |          ^
          hint: did you mean `digits`?
        ");
        insta::assert_snapshot!(broken("checks:\n- acc >= 1\n- acc>=1\n- 7"), @r"
        pipeline.yaml:7:3: an entry of `checks` must be a string, not a number
          |
        7 | - 7
          |   ^
        ");
        insta::assert_snapshot!(broken("checks:\n- acc >= 1\n- acc>=1"), @r"
        pipeline.yaml:6:3: `checks`: `acc>=1` has no comparison
          |
        6 | - acc>=1
          |   ^
          hint: put spaces around the comparison: `acc >= 1`
        ");
    }
}
