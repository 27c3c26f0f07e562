//! The format of a pipeline file: its keys and their types ([`keys`]), and valid names. It is checked before templates
//! are resolved, as in DVC: `frozen: ${x}` is a string where a boolean is expected.

pub mod keys;
pub mod schema;
mod top;

use keys::{GROUP, KeySpec, KeyTables, KeyType, STAGE, TOP, find, rows};

use super::budget::LONGEST_NAME;
use super::problem::{Problem, did_you_mean};
use super::stage::BackStep;
use super::template;
use crate::path::RepoPath;
use crate::path::links::steps_back;
use crate::value::Mark;
use crate::value::Value;
use crate::value::node::{Entry, Node, Tree};

/// A pipeline file that matches the schema, with templates not yet resolved.
#[derive(Default)]
pub struct RawPipeline<'n> {
    /// Files and maps of variables.
    pub vars: &'n [Node],
    /// Stages and groups, in the order of the file.
    pub stages: Vec<RawStage<'n>>,
    /// Paths of params files.
    pub params: &'n [Node],
    /// Paths of metrics files.
    pub metrics: &'n [Node],
    /// Paths, and maps of charts by name.
    pub plots: &'n [Node],
    /// Artifacts by name.
    pub artifacts: &'n [Entry],
    /// Deployment targets by name.
    pub deploy: &'n [Entry],
    /// Environments by name.
    pub environments: &'n [Entry],
    /// Conditions, each with its artifact if it has one.
    pub checks: Vec<(Option<&'n Entry>, &'n Node)>,
    /// Maps with a `path`.
    pub data: &'n [Node],
    /// The place of the key `datasets`, which does nothing.
    pub datasets: Option<Mark>,
}

/// A stage that matches the schema.
pub struct RawStage<'n> {
    /// The name of the stage or of the group.
    pub name: &'n str,
    /// The place of the name.
    pub mark: Mark,
    /// How stages are generated from it.
    pub group: Group<'n>,
    /// The keys of the stage, or those below `do`.
    pub body: &'n [Entry],
}

/// The values from which a group of stages is generated.
pub enum Group<'n> {
    /// It is one stage.
    None,
    /// One stage for each item of a list or a map, or of a template.
    Foreach(&'n Node),
    /// One stage for each combination: the key `matrix`, and its dimensions.
    Matrix(&'n Entry, &'n [Entry]),
}

/// At most this many problems of a file are kept.
const MOST_PROBLEMS: usize = 1000;

/// Collects the problems of one file.
pub struct Checker<'t> {
    /// The path of the file, for messages.
    pub file: &'t str,
    /// The whole file.
    pub text: &'t str,
    /// In the order in which they are found; at most [`MOST_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// See [`PipelineFile::back_steps`](super::stage::PipelineFile).
    pub back_steps: Vec<BackStep>,
}

impl Checker<'_> {
    /// Notes a path relative to the folder `base` if it contains `..`: symlinks may give it another meaning.
    pub fn note_path(&mut self, base: &RepoPath, spelling: &str, mark: Mark, at: &str) {
        if steps_back(spelling) && !spelling.contains("://") {
            let (at, spelling) = (at.to_string(), spelling.to_string());
            self.back_steps.push(BackStep { at, spelling, base: base.clone(), mark });
        }
    }

    /// Adds a problem.
    pub fn report(&mut self, mark: Mark, message: impl Into<String>) {
        self.report_with(mark, message.into(), None);
    }

    /// Adds a problem with a hint.
    pub fn report_with(&mut self, mark: Mark, message: String, hint: Option<String>) {
        // Only a few of them are shown.
        if self.problems.len() < MOST_PROBLEMS {
            let mut problem = Problem::new(self.file, Some(mark), message).within(self.text);
            problem.hint = hint;
            self.problems.push(problem);
        }
    }

    /// `at` names the place for the message: ``stage `a`, `outs` ``.
    fn wrong(&mut self, node: &Node, at: &str, expected: &str) {
        self.report(node.start, format!("{at} must be {expected}, not {}", node.kind()));
    }

    /// Checks the entries of a map: that each key is known, and the type of its value.
    fn entries(&mut self, entries: &[Entry], tables: KeyTables, at: &str) {
        self.known_keys(entries, tables, at);
        for (entry, spec) in specified(entries, tables) {
            self.value(entry, &format!("{at}, `{}`", entry.key), spec.takes);
        }
    }

    fn known_keys(&mut self, entries: &[Entry], tables: KeyTables, at: &str) {
        for entry in entries {
            if find(tables, &entry.key).is_none() {
                let hint = did_you_mean(&entry.key, rows(tables).map(|spec| spec.name));
                self.report_with(entry.start, format!("unknown key `{}` in {at}", entry.key), hint);
            }
        }
    }

    fn required_keys(&mut self, entries: &[Entry], tables: KeyTables, at: &str, mark: Mark) {
        for spec in rows(tables).filter(|spec| spec.is_required) {
            if !entries.iter().any(|entry| entry.key == spec.name) {
                self.report(mark, format!("{at} has no `{}`", spec.name));
            }
        }
    }

    /// Checks the type of a value; `at` names its place. The types at the top level that hold stages are checked in
    /// [`Checker::file`].
    fn value(&mut self, entry: &Entry, at: &str, takes: KeyType) {
        let node = &entry.value;
        match takes {
            KeyType::Text => self.string(node, at),
            KeyType::Literal => self.literal(node, at),
            KeyType::Commit => self.commit(node, at),
            KeyType::Flag => self.boolean(node, at),
            KeyType::Any => self.any(node, at),
            KeyType::Texts => self.strings(node, at),
            KeyType::Words(known) => self.words(node, at, known),
            KeyType::Map(tables) => self.map_of(node, at, entry.start, tables),
            KeyType::Command => self.command(node, at),
            KeyType::Vars => self.vars(node, at),
            KeyType::Params => self.params(node, at),
            KeyType::Env(tables) => self.env(node, at, tables),
            KeyType::Matrix => self.matrix(node, at),
            KeyType::Items => self.items(node, at),
            KeyType::Outs(tables) => self.outs(node, at, tables),
            KeyType::Charts(tables) => self.charts(node, at, tables),
            KeyType::Column | KeyType::Columns => self.columns(node, at, matches!(takes, KeyType::Columns)),
            KeyType::Artifacts(tables) => self.artifacts(node, at, tables),
            KeyType::Targets(tables) => self.targets(node, at, tables),
            KeyType::Count => self.count(node, at),
            KeyType::Time => self.time(node, at),
            KeyType::Word(known) => self.word(node, at, known),
            KeyType::Environments(tables) => self.environments(node, at, tables),
            KeyType::Checks => self.checks(node, at),
            KeyType::Entries(tables) => self.list_of_maps(node, at, tables),
            KeyType::Stages | KeyType::GroupBody | KeyType::Ignored => {}
        }
    }

    fn string(&mut self, node: &Node, at: &str) {
        match node.as_str() {
            Some(text) => {
                if let Err(bad) = template::check(text) {
                    self.report_template_error(node, at, bad);
                }
            }
            None => self.wrong(node, at, "a string"),
        }
    }

    /// An error in a template, with the mark of the invalid part of the scalar.
    pub fn report_template_error(&mut self, node: &Node, at: &str, bad: template::TemplateError) {
        let mark = part_mark(self.text, node, &bad.part);
        self.report_with(mark, format!("{at}: {}", bad.message), bad.hint);
    }

    fn boolean(&mut self, node: &Node, at: &str) {
        if !matches!(node.tree, Tree::Scalar(Value::Bool(_))) {
            self.wrong(node, at, "true or false");
        }
    }

    /// Checks that all references in a value are well formed.
    fn any(&mut self, node: &Node, at: &str) {
        match &node.tree {
            Tree::Scalar(Value::Str(_)) => self.string(node, at),
            Tree::Scalar(_) => {}
            Tree::List(items) => items.iter().for_each(|n| self.any(n, at)),
            Tree::Map(entries) => entries.iter().for_each(|e| self.any(&e.value, at)),
        }
    }

    fn list<'n>(&mut self, node: &'n Node, at: &str, expected: &str) -> &'n [Node] {
        match node.as_list() {
            Some(items) => items,
            None => {
                self.wrong(node, at, expected);
                &[]
            }
        }
    }

    fn map<'n>(&mut self, node: &'n Node, at: &str) -> &'n [Entry] {
        match node.as_map() {
            Some(entries) => entries,
            None => {
                self.wrong(node, at, "a map");
                &[]
            }
        }
    }

    fn strings(&mut self, node: &Node, at: &str) {
        for item in self.list(node, at, "a list of strings") {
            self.string(item, &format!("an entry of {at}"));
        }
    }

    /// `NAME`, or `NAME: {input: false}`, or `NAME: {input: true}`.
    fn env(&mut self, node: &Node, at: &str, tables: KeyTables) {
        for item in self.list(node, at, "a list of names") {
            let at = format!("an entry of {at}");
            match item.as_map() {
                None => self.string(item, &at),
                Some([entry]) => match entry.value.as_map() {
                    Some(keys) => self.entries(keys, tables, &format!("{at}, `{}`", entry.key)),
                    None => self.wrong(&entry.value, &at, "a name or `NAME: {input: false}`"),
                },
                Some(_) => self.wrong(item, &at, "a name or `NAME: {input: false}`"),
            }
        }
    }

    fn vars(&mut self, node: &Node, at: &str) {
        for item in self.list(node, at, "a list of files and maps") {
            let inside = template_inside(item);
            if item.as_str().is_none() && item.as_map().is_none() {
                self.wrong(item, &format!("an entry of {at}"), "the path of a file or a map");
            } else if let Some(place) = inside {
                self.report(place.start, format!("{at} cannot have `${{}}` in it"));
            }
        }
    }

    fn outs(&mut self, node: &Node, at: &str, tables: KeyTables) {
        for item in self.list(node, at, "a list of paths") {
            match &item.tree {
                Tree::Scalar(Value::Str(_)) => self.string(item, at),
                Tree::Map(entries) => {
                    for entry in entries {
                        let at = format!("`{}` in {at}", entry.key);
                        if !entry.is_string {
                            self.report(entry.start, format!("{at} is not a path; quote it"));
                        }
                        let flags = self.map(&entry.value, &at);
                        self.entries(flags, tables, &at);
                    }
                }
                _ => self.wrong(item, &format!("an entry of {at}"), "a path or a map of paths with flags"),
            }
        }
    }

    fn command(&mut self, node: &Node, at: &str) {
        let items = match &node.tree {
            Tree::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            self.report(node.start, format!("{at} is empty"));
        }
        for item in items {
            match item.as_str() {
                Some(text) if text.trim().is_empty() => self.report(item.start, format!("{at} is empty")),
                Some(_) => self.string(item, at),
                None => self.wrong(item, at, "a string or a list of strings"),
            }
        }
    }

    fn params(&mut self, node: &Node, at: &str) {
        for item in self.list(node, at, "a list of keys and files") {
            match &item.tree {
                Tree::Scalar(Value::Str(_)) | Tree::Map(_) => self.any(item, at),
                _ => self.wrong(item, &format!("an entry of {at}"), "a key or a map of files with keys"),
            }
        }
    }

    fn matrix(&mut self, node: &Node, at: &str) {
        for dim in self.map(node, at) {
            let at = format!("{at}, `{}`", dim.key);
            match &dim.value.tree {
                Tree::List(_) => self.any(&dim.value, &at),
                Tree::Scalar(Value::Str(text)) if text.contains("${") => self.any(&dim.value, &at),
                _ => self.wrong(&dim.value, &at, "a list"),
            }
        }
    }

    fn items(&mut self, node: &Node, at: &str) {
        match &node.tree {
            Tree::Scalar(Value::Str(text)) if text.contains("${") => self.any(node, at),
            Tree::List(_) | Tree::Map(_) => self.any(node, at),
            _ => self.wrong(node, at, "a list or a map"),
        }
    }

    fn body(&mut self, entries: &[Entry], at: &str, mark: Mark) {
        self.entries(entries, STAGE, at);
        self.required_keys(entries, STAGE, at, mark);
    }

    fn stage<'n>(&mut self, entry: &'n Entry) -> Option<RawStage<'n>> {
        let name = entry.key.as_str();
        let at = format!("stage `{name}`");
        if !entry.is_string {
            self.report(entry.start, format!("stages: the name `{name}` is not a string; quote it"));
        } else if let Some(why) = name_problem(name) {
            self.report(entry.start, format!("the stage name `{name}` {why}"));
        }
        let Some(keys) = entry.value.as_map() else {
            self.wrong(&entry.value, &at, "a map with a `cmd`");
            return None;
        };
        let find = |key: &str| keys.iter().find(|e| e.key == key);
        let raw = |group, body| Some(RawStage { name, mark: entry.start, group, body });
        match (find("foreach"), find("do")) {
            (None, None) => {
                self.body(keys, &at, entry.start);
                let matrix = find("matrix").and_then(|m| m.value.as_map().map(|dims| Group::Matrix(m, dims)));
                raw(matrix.unwrap_or(Group::None), keys)
            }
            (Some(_), None) => {
                self.report(entry.start, format!("{at} has `foreach` and no `do`"));
                None
            }
            (None, Some(_)) => {
                self.report(entry.start, format!("{at} has `do` and no `foreach`"));
                None
            }
            (Some(data), Some(body)) => {
                self.known_keys(keys, GROUP, &format!("{at}, which has `foreach`"));
                self.items(&data.value, &format!("{at}, `foreach`"));
                let entries = self.map(&body.value, &format!("{at}, `do`"));
                if let Some(matrix) = entries.iter().find(|e| e.key == "matrix") {
                    self.report(matrix.start, format!("{at}: `matrix` cannot stand in `do`"));
                }
                if body.value.as_map().is_some() {
                    self.body(entries, &at, body.start);
                }
                raw(Group::Foreach(&data.value), entries)
            }
        }
    }

    /// Checks a whole file; collects problems and leaves out invalid parts.
    pub fn file<'n>(&mut self, root: &'n Node) -> RawPipeline<'n> {
        let mut raw = RawPipeline::default();
        let top = self.map(root, "a pipeline file");
        self.known_keys(top, TOP, "the pipeline file");
        for (entry, spec) in specified(top, TOP) {
            let node = &entry.value;
            let at = format!("`{}`", entry.key);
            self.value(entry, &at, spec.takes);
            let items = node.as_list().unwrap_or_default();
            match spec.name {
                "stages" => {
                    let stages = self.map(node, &at);
                    raw.stages = stages.iter().filter_map(|stage| self.stage(stage)).collect();
                }
                "vars" => raw.vars = items,
                "params" => raw.params = items,
                "metrics" => raw.metrics = items,
                "plots" => raw.plots = items,
                "environments" => raw.environments = node.as_map().unwrap_or_default(),
                "artifacts" => raw.artifacts = node.as_map().unwrap_or_default(),
                "deploy" => raw.deploy = node.as_map().unwrap_or_default(),
                "checks" => raw.checks = top::conditions(node),
                "data" => raw.data = items,
                "datasets" => raw.datasets = Some(entry.start),
                _ => {}
            }
        }
        raw
    }
}

/// The entries whose keys are known, with their rows.
fn specified(entries: &[Entry], tables: KeyTables) -> impl Iterator<Item = (&Entry, &'static KeySpec)> {
    entries.iter().filter_map(move |entry| Some((entry, find(tables, &entry.key)?)))
}

/// The mark of a part of a scalar in the text; the scalar's start if the part cannot be found.
pub fn part_mark(text: &str, node: &Node, part: &str) -> Mark {
    let (from, to) = (node.start.offset as usize, node.end.offset as usize);
    let found = text.get(from..to).and_then(|written| {
        // An unclosed reference must not match the same text with a `}` behind it.
        let is_closed = |at: usize| written[at + part.len()..].lines().next().is_some_and(|rest| rest.contains('}'));
        written.match_indices(part).map(|(at, _)| at).find(|at| part.ends_with('}') || !is_closed(*at))
    });
    let Some(found) = found else { return node.start };
    let before = &text[from..from + found];
    let lines = before.matches('\n').count() as u32;
    let column = match before.rfind('\n') {
        Some(n) => before[n + 1..].chars().count() as u32 + 1,
        None => node.start.column + before.chars().count() as u32,
    };
    Mark { line: node.start.line + lines, column, offset: (from + found) as u32 }
}

fn template_inside(node: &Node) -> Option<&Node> {
    match &node.tree {
        Tree::Scalar(Value::Str(text)) => template::has_reference(text).then_some(node),
        Tree::Scalar(_) => None,
        Tree::List(items) => items.iter().find_map(template_inside),
        Tree::Map(entries) => entries.iter().find_map(|e| template_inside(&e.value)),
    }
}

/// Why a stage or group of this name could not be used on the command line.
fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".into());
    }
    if name.len() > LONGEST_NAME {
        return Some(format!("has more than {LONGEST_NAME} bytes"));
    }
    if name.starts_with('-') {
        return Some("looks like an option: it starts with `-`".into());
    }
    if matches!(name, "." | "..") {
        return Some("is that of a folder".into());
    }
    if name.chars().any(char::is_control) {
        return Some("has a control character in it".into());
    }
    let bad = name.chars().find(|c| matches!(c, ':' | '/' | '\\' | '@'))?;
    let why = match bad {
        '@' => "which stands between a group and its key",
        ':' => "which stands between a file and a stage",
        _ => "which belongs to paths",
    };
    Some(format!("has `{bad}` in it, {why}"))
}
