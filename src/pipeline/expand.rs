//! Expands the stages of a file: multiplies out `foreach` and `matrix`, and resolves templates.
//!
//! Names of generated stages must equal those of DVC exactly, since locks and habits depend on them: scalars as text (a
//! boolean from a variable is `True`, one written in place `true`), lists of lists or maps by position.

use std::collections::HashSet;
use std::rc::Rc;

use super::budget::{Budget, LONGEST_NAME, MOST_STAGES, SMALLER, VALUE, too_large};
use super::context::{Context, Var, VarMap, VarTree};
use super::format::{Checker, Group, RawStage};
use super::template::{self, ResolvedText, ValueUse};
use super::vars::{self, AddError, VarsReader};
use crate::path::RepoPath;
use crate::value::node::{Entry, Node, Tree};
use crate::value::{Mark, Value};

/// A stage with all templates resolved.
pub struct Expanded {
    /// With the item of a generated stage: `train@x`.
    pub name: String,
    /// The place of the name of the stage or of its group.
    pub mark: Mark,
    /// The keys of the stage without `foreach`, `do`, `matrix` and `vars`.
    pub entries: Vec<Entry>,
}

/// Expands the stages of one file.
pub struct Expander<'e, 'f, 't> {
    /// Reads files of variables.
    pub reader: &'e mut VarsReader<'f>,
    /// The folder of the pipeline file.
    pub folder: &'e RepoPath,
    /// Collects the problems.
    pub checker: &'e mut Checker<'t>,
    /// What is left of the limits.
    pub budget: &'e mut Budget,
}

/// Stages to generate: name, and the values of `item` and `key`.
type GeneratedStages = Vec<(String, Vec<(&'static str, Rc<Var>)>)>;

/// A value to generate stages from.
struct ExpandItem {
    var: Rc<Var>,
    /// Its text in a stage name.
    name: String,
    composite: bool,
}

impl Expander<'_, '_, '_> {
    /// The stages of one entry of `stages`; problems go to the checker.
    pub fn stage(&mut self, raw: &RawStage<'_>, context: &Context<'_>) -> Vec<Expanded> {
        let generated = match raw.group {
            Group::None => vec![(raw.name.to_string(), Vec::new())],
            Group::Foreach(data) => match self.foreach(raw, data, context) {
                Some(generated) => generated,
                None => return Vec::new(),
            },
            Group::Matrix(entry, dims) => match self.matrix(raw, entry, dims, context) {
                Some(generated) => generated,
                None => return Vec::new(),
            },
        };
        let mut out = Vec::with_capacity(generated.len());
        for (name, loop_vars) in generated {
            let mut layer = Context::over(context);
            for (key, var) in loop_vars {
                layer.reserve(key, var);
            }
            // only the first invalid generated stage is reported for the group
            let Some(entries) = self.body(&name, raw.body, &layer) else { return Vec::new() };
            if !self.budget.take_bytes(paths_of(&entries, self.folder)) {
                self.full(raw.mark, &format!("stage `{name}`"));
                return Vec::new();
            }
            out.push(Expanded { name, mark: raw.mark, entries });
        }
        out
    }

    /// Takes this many stages from the budget.
    fn take(&mut self, count: Option<usize>, mark: Mark, at: &str) -> Option<()> {
        if count.is_some_and(|count| self.budget.take_stages(count)) {
            return Some(());
        }
        let count = count.map_or("far too many".to_string(), |n| n.to_string());
        let message = format!("{at} would make {count} stages; a repository may have {MOST_STAGES}");
        self.checker.report(mark, message);
        None
    }

    /// Reports that the budget is exhausted.
    fn full(&mut self, mark: Mark, at: &str) {
        self.checker.report_with(mark, format!("{at}: {}", too_large()), Some(SMALLER.into()));
    }

    /// A text with its templates resolved, taken from the budget.
    fn resolve(
        &mut self,
        text: &str,
        place: &Node,
        context: &Context<'_>,
        target: ValueUse,
        at: &str,
    ) -> Option<ResolvedText> {
        let resolved = match template::resolve(text, context, target, self.budget.bytes()) {
            Ok(resolved) => resolved,
            Err(bad) => {
                self.checker.report_template_error(place, at, bad);
                return None;
            }
        };
        let fits = match &resolved {
            ResolvedText::Text(text) => self.budget.take_text(text.len()),
            ResolvedText::Exact(var) => var.take_from(self.budget),
        };
        if !fits {
            self.full(place.start, at);
        }
        fits.then_some(resolved)
    }

    /// Name and `item` (and `key`) of each stage.
    fn foreach(&mut self, raw: &RawStage<'_>, data: &Node, context: &Context<'_>) -> Option<GeneratedStages> {
        let at = format!("stage `{}`, `foreach`", raw.name);
        let source: Rc<str> = format!("foreach of `{}`", raw.name).into();
        let item = self.item(data, context, &at, &source)?;
        let mut generated = Vec::new();
        match &item.var.tree {
            VarTree::Scalar(value) => {
                self.checker.report(data.start, format!("{at} must be a list or a map, not {}", value.kind()));
                return None;
            }
            VarTree::Map(map) => {
                self.take(Some(map.iter().count()), data.start, &at)?;
                for (key, var) in map.iter() {
                    let key_var = Var::new(&Value::Str(key.to_string()), &source);
                    generated.push((key.to_string(), vec![("item", var.clone()), ("key", key_var)]));
                }
            }
            VarTree::List(_) => {
                let items = self.items(data, &item, context, &at, &source)?;
                self.take(Some(items.len()), data.start, &at)?;
                let by_position = items.iter().any(|i| i.composite);
                for (n, item) in items.into_iter().enumerate() {
                    let name = if by_position { n.to_string() } else { item.name };
                    generated.push((name, vec![("item", item.var)]));
                }
            }
        }
        self.named(raw, data.start, &at, generated)
    }

    fn matrix(
        &mut self,
        raw: &RawStage<'_>,
        entry: &Entry,
        dims: &[Entry],
        context: &Context<'_>,
    ) -> Option<GeneratedStages> {
        let at = format!("stage `{}`, `matrix`", raw.name);
        let source: Rc<str> = format!("matrix of `{}`", raw.name).into();
        let mut axes: Vec<(&str, Vec<ExpandItem>)> = Vec::new();
        for dim in dims {
            let at = format!("{at}, `{}`", dim.key);
            let item = self.item(&dim.value, context, &at, &source)?;
            let items = match &item.var.tree {
                VarTree::List(_) => self.items(&dim.value, &item, context, &at, &source)?,
                // for a map in a variable, its keys are the values
                VarTree::Map(map) => {
                    let key = |k: &str| ExpandItem {
                        var: Var::new(&Value::Str(k.into()), &source),
                        name: k.to_string(),
                        composite: false,
                    };
                    map.iter().map(|(k, _)| key(k)).collect()
                }
                VarTree::Scalar(value) => {
                    self.checker.report(dim.value.start, format!("{at} must be a list, not {}", value.kind()));
                    return None;
                }
            };
            axes.push((&dim.key, items));
        }
        let count = axes.iter().try_fold(1usize, |n, (_, items)| n.checked_mul(items.len()));
        let count = if axes.iter().any(|(_, items)| items.is_empty()) { Some(0) } else { count };
        self.take(count, entry.start, &at)?;
        let mut generated = Vec::new();
        for n in 0..count.unwrap_or(0) {
            // the last dimension varies fastest
            let mut picks = vec![0; axes.len()];
            let mut rest = n;
            for (pick, (_, items)) in picks.iter_mut().zip(&axes).rev() {
                *pick = rest % items.len();
                rest /= items.len();
            }
            let size = |((dim, items), pick): (&(&str, Vec<ExpandItem>), &usize)| {
                2 * (dim.len() + items[*pick].name.len()) + VALUE
            };
            if !self.budget.take_bytes(axes.iter().zip(&picks).map(size).sum()) {
                self.full(entry.start, &at);
                return None;
            }
            let mut map = VarMap::default();
            let mut names = Vec::with_capacity(axes.len());
            for ((dim, items), pick) in axes.iter().zip(picks) {
                let item = &items[pick];
                map.set(dim, item.var.clone());
                names.push(if item.composite { format!("{dim}{pick}") } else { item.name.clone() });
            }
            let name = names.join("-");
            let key = Var::new(&Value::Str(name.clone()), &source);
            let item = Rc::new(Var { tree: VarTree::Map(map), source: source.clone() });
            generated.push((name, vec![("key", key), ("item", item)]));
        }
        self.named(raw, entry.start, &at, generated)
    }

    /// Prefixes the names with the group's name, and checks them.
    fn named(
        &mut self,
        raw: &RawStage<'_>,
        mark: Mark,
        at: &str,
        generated: GeneratedStages,
    ) -> Option<GeneratedStages> {
        let mut seen = HashSet::new();
        let mut out = Vec::with_capacity(generated.len());
        for (key, vars) in generated {
            let name = format!("{}@{key}", raw.name);
            let why = if key.is_empty() {
                Some("whose key is empty")
            } else if key.contains('@') {
                Some("which has a second `@` in it")
            } else if key.chars().any(char::is_control) {
                Some("which has a control character in it")
            } else if name.len() > LONGEST_NAME {
                Some("whose name is too long")
            } else {
                None
            };
            if let Some(why) = why {
                let name: String = name.chars().take(100).flat_map(char::escape_debug).collect();
                self.checker.report(mark, format!("{at} makes a stage `{name}`, {why}"));
                return None;
            }
            if !seen.insert(name.clone()) {
                self.checker.report(mark, format!("{at} makes the stage `{name}` twice"));
                return None;
            }
            out.push((name, vars));
        }
        Some(out)
    }

    /// A value to generate from, with all templates in it resolved.
    fn item(&mut self, node: &Node, context: &Context<'_>, at: &str, source: &Rc<str>) -> Option<ExpandItem> {
        let tree = match &node.tree {
            Tree::Scalar(Value::Str(text)) => match self.resolve(text, node, context, ValueUse::Any, at)? {
                ResolvedText::Exact(var) => {
                    let (name, composite) = match &var.tree {
                        VarTree::Scalar(value) => (value.to_python_text(), false),
                        _ => (String::new(), true),
                    };
                    return Some(ExpandItem { var, name, composite });
                }
                ResolvedText::Text(text) => VarTree::Scalar(Value::Str(text)),
            },
            Tree::Scalar(value) => VarTree::Scalar(value.clone()),
            Tree::List(items) => {
                let items = items.iter().map(|i| self.item(i, context, at, source).map(|i| i.var));
                VarTree::List(items.collect::<Option<_>>()?)
            }
            Tree::Map(entries) => {
                let mut map = VarMap::default();
                for entry in entries {
                    let key = match self.resolve(&entry.key, &entry.value, context, ValueUse::Field, at)? {
                        ResolvedText::Text(key) => key,
                        ResolvedText::Exact(var) => var.to_value().to_text(),
                    };
                    map.set(&key, self.item(&entry.value, context, at, source)?.var);
                }
                VarTree::Map(map)
            }
        };
        let (name, composite) = match &tree {
            VarTree::Scalar(value) => (value.to_text(), false),
            _ => (String::new(), true),
        };
        Some(ExpandItem { var: Rc::new(Var { tree, source: source.clone() }), name, composite })
    }

    /// The items of a list that is written in place or held by a variable.
    fn items(
        &mut self,
        node: &Node,
        whole: &ExpandItem,
        context: &Context<'_>,
        at: &str,
        source: &Rc<str>,
    ) -> Option<Vec<ExpandItem>> {
        if let Some(items) = node.as_list() {
            return items.iter().map(|i| self.item(i, context, at, source)).collect();
        }
        let VarTree::List(items) = &whole.var.tree else { return Some(Vec::new()) };
        let item = |var: &Rc<Var>| match &var.tree {
            VarTree::Scalar(value) => ExpandItem { var: var.clone(), name: value.to_python_text(), composite: false },
            _ => ExpandItem { var: var.clone(), name: String::new(), composite: true },
        };
        Some(items.iter().map(item).collect())
    }

    /// The keys of a stage with their templates resolved, without `vars` and `matrix`.
    fn body(&mut self, name: &str, body: &[Entry], context: &Context<'_>) -> Option<Vec<Entry>> {
        let find = |key: &str| body.iter().find(|e| e.key == key).map(|e| &e.value);
        let own = match find("vars").and_then(Node::as_list).filter(|vars| !vars.is_empty()) {
            None => None,
            Some(items) => Some(self.own_vars(name, items, find("wdir"), context)?),
        };
        let context = own.as_ref().unwrap_or(context);
        let mut out = Vec::with_capacity(body.len());
        let mut fine = true;
        for entry in body.iter().filter(|e| e.key != "vars" && e.key != "matrix") {
            let at = format!("stage `{name}`, `{}`", entry.key);
            let target = if entry.key == "cmd" { ValueUse::Cmd } else { ValueUse::Field };
            match self.node(&entry.value, context, target, &at) {
                Some(value) => out.push(Entry { key: entry.key.clone(), value, ..*entry }),
                None => fine = false,
            }
        }
        fine.then_some(out)
    }

    /// The variables of a stage: its files are looked up in its working folder.
    fn own_vars<'c>(
        &mut self,
        name: &str,
        items: &[Node],
        wdir: Option<&Node>,
        context: &'c Context<'_>,
    ) -> Option<Context<'c>> {
        let mut folder = self.folder.clone();
        if let Some((node, text)) = wdir.and_then(|n| n.as_str().map(|text| (n, text))) {
            let at = format!("stage `{name}`, `wdir`");
            let wdir = match self.resolve(text, node, context, ValueUse::Field, &at)? {
                ResolvedText::Text(text) => text,
                ResolvedText::Exact(var) => var.to_value().to_text(),
            };
            match vars::place(self.reader.top(), &folder, &wdir) {
                super::stage::InputLocation::Repo(path) => folder = path,
                _ => {
                    self.checker.report(node.start, format!("{at}: `{wdir}` is outside of the repository"));
                    return None;
                }
            }
        }
        let mut own = Context::over(context);
        for (n, item) in items.iter().enumerate() {
            let label = format!("{name}.vars[{n}]");
            if !self.budget.take_node(item) {
                self.full(item.start, &format!("stage `{name}`, `vars`"));
                return None;
            }
            if let Some(spelling) = item.as_str() {
                self.checker.note_path(&folder, spelling, item.start, &format!("stage `{name}`, `vars`"));
            }
            match vars::add(self.reader, &folder, &mut own, item, &label) {
                Ok(()) => {}
                Err(AddError::Here(message)) => {
                    self.checker.report(item.start, format!("stage `{name}`, `vars`: {message}"));
                    return None;
                }
                Err(AddError::Elsewhere(problem)) => {
                    self.checker.problems.push(problem);
                    return None;
                }
            }
        }
        if !own.merged().all(|var| var.take_from(self.budget)) {
            let mark = items.first().map_or(Mark::default(), |item| item.start);
            self.full(mark, &format!("stage `{name}`, `vars`"));
            return None;
        }
        Some(own)
    }

    fn node(&mut self, node: &Node, context: &Context<'_>, target: ValueUse, at: &str) -> Option<Node> {
        let tree = match &node.tree {
            Tree::Scalar(Value::Str(text)) => match self.resolve(text, node, context, target, at)? {
                ResolvedText::Text(text) => Tree::Scalar(Value::Str(text)),
                ResolvedText::Exact(var) => Tree::Scalar(var.to_value()),
            },
            _ if !self.budget.take_text(0) => {
                self.full(node.start, at);
                return None;
            }
            Tree::Scalar(value) => Tree::Scalar(value.clone()),
            Tree::List(items) => {
                let items: Vec<_> = items.iter().map(|i| self.node(i, context, target, at)).collect();
                Tree::List(items.into_iter().collect::<Option<_>>()?)
            }
            Tree::Map(entries) => {
                let mut out = Vec::with_capacity(entries.len());
                for entry in entries {
                    let place = Node { start: entry.start, end: entry.end, tree: Tree::Scalar(Value::Null) };
                    let (key, is_string) = match self.resolve(&entry.key, &place, context, ValueUse::Field, at)? {
                        ResolvedText::Text(key) => (key, entry.is_string),
                        ResolvedText::Exact(var) => {
                            let value = var.to_value();
                            (value.to_text(), value.as_str().is_some())
                        }
                    };
                    let value = self.node(&entry.value, context, target, at)?;
                    out.push(Entry { key, is_string, value, ..*entry });
                }
                Tree::Map(out)
            }
        };
        Some(Node { start: node.start, end: node.end, tree })
    }

    /// A value at the top level (`plots`, `artifacts`), where a reference may have any type.
    pub fn value(&mut self, node: &Node, context: &Context<'_>, at: &str) -> Option<Value> {
        self.item(node, context, at, &"".into()).map(|item| item.var.to_value())
    }

    /// A string at the top level.
    pub fn string(&mut self, node: &Node, context: &Context<'_>, at: &str) -> Option<String> {
        match self.value(node, context, at)? {
            Value::Str(text) => Some(text),
            other => {
                self.checker.report(node.start, format!("{at} must be a string, not {}", other.kind()));
                None
            }
        }
    }
}

/// The number of bytes of a stage's paths that are relative to its working folder, each of which is kept as a path of
/// the repository.
fn paths_of(entries: &[Entry], folder: &RepoPath) -> usize {
    let wdir = entries.iter().find(|e| e.key == "wdir").and_then(|e| e.value.as_str()).map_or(0, str::len);
    let lists = ["deps", "outs", "metrics", "plots", "params", "scratch"];
    let lists = entries.iter().filter(|e| lists.contains(&e.key.as_str())).filter_map(|e| e.value.as_list());
    lists.map(<[Node]>::len).sum::<usize>().saturating_mul(wdir + folder.as_str().len() + VALUE)
}

#[cfg(test)]
mod tests {
    use super::super::load::memory::Memory;

    /// Names and commands of all stages.
    fn stages(files: &[(&str, &str)]) -> String {
        let loaded = Memory::new(files).load();
        assert!(loaded.broken.is_empty(), "{:?}", loaded.broken);
        let stages = loaded.pipelines.stages.iter();
        stages.map(|s| format!("{}: {}", s.name, s.cmd.join(" && "))).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn names_are_those_that_dvc_gives() {
        let params = "l: [true, 1.0, x]\nm: {p: 1, q: {r: 2}}\nn: [[1], {a: 2}]\ns: y";
        for (yaml, want) in [
            (
                "foreach: [1, 2.50, true, null, '007'], do: {cmd: '${item}.'}",
                "s@1: 1.\ns@2.5: 2.5.\ns@true: true.\ns@None: None.\ns@007: 007.",
            ),
            ("foreach: '${l}', do: {cmd: '${item}'}", "s@True: true\ns@1.0: 1.0\ns@x: x"),
            ("foreach: ['${l[0]}', 'a${s}'], do: {cmd: '${item}'}", "s@True: true\ns@ay: ay"),
            ("foreach: '${m}', do: {cmd: '${key}'}", "s@p: p\ns@q: q"),
            ("foreach: '${n}', do: {cmd: x}", "s@0: x\ns@1: x"),
            ("foreach: [1, [2]], do: {cmd: x}", "s@0: x\ns@1: x"),
            ("foreach: {a: '${m.q}'}, do: {cmd: '${item.r}'}", "s@a: 2"),
            ("foreach: [], do: {cmd: x}", ""),
            (
                "matrix: {a: [1, [2]], b: ['${l[0]}', x]}, cmd: '${item.b} ${key}'",
                "s@1-True: true 1-True\ns@1-x: x 1-x\ns@a1-True: true a1-True\ns@a1-x: x a1-x",
            ),
            ("matrix: {a: '${m}'}, cmd: '${item.a}'", "s@p: p\ns@q: q"),
            ("matrix: {a: [], b: [1]}, cmd: x", ""),
            ("foreach: [a/b, '1:2'], do: {cmd: x}", "s@a/b: x\ns@1:2: x"),
        ] {
            let yaml = format!("stages: {{s: {{{yaml}}}}}");
            assert_eq!(stages(&[("pipeline.yaml", &yaml), ("params.yaml", params)]), want, "{yaml}");
        }
    }

    #[test]
    fn layers_of_variables() {
        let yaml = "
vars: [{item: global, key: gkey, m: {a: 1}}]
stages:
  p:
    foreach: [x]
    do: {vars: [{m: {b: 2}}], cmd: '${item} ${key} ${m.a} ${m.b}'}
  after: {cmd: '${item} ${key}'}
  where: {wdir: 'd/${m.a}', vars: [v.json:a], cmd: '${a}'}
  again: {vars: [params.yaml], cmd: '${z}'}
";
        let files = [("pipeline.yaml", yaml), ("d/1/v.json", r#"{"a": 5, "item": 0}"#), ("params.yaml", "z: 0")];
        assert_eq!(stages(&files), "p@x: x gkey 1 2\nafter: global gkey\nwhere: 5\nagain: 0");
    }

    #[test]
    fn mistakes_of_variables() {
        for (yaml, want) in [
            ("vars: [p.yaml]", "p.yaml` does not exist"),
            (
                "vars: [{m: {a: {b: 1}}}, {m: {a: {b: 2}}}]",
                "vars[1] cannot redefine `m.a.b`, which is defined in vars[0]",
            ),
            ("vars: [{x: 2}]", "vars[0] cannot redefine `x`, which is defined in params.yaml"),
            ("vars: [v.yaml, v.yaml:y]", "v.yaml:y: the file is loaded as a whole already"),
            ("vars: [v.yaml:y, v.yaml:y]", "`y` is loaded already"),
            ("vars: [v.yaml:y, v.yaml]", "a part of the file is loaded already"),
            ("vars: [v.yaml:z]", "v.yaml has no key `z`"),
            ("vars: [l.yaml]", "l.yaml: a file of variables holds a map, not a list"),
            ("vars: [bad.toml]", "bad.toml:1:5: no valid TOML"),
            ("vars: [d]", "d is a folder"),
            ("vars: ['${x}.yaml']", "cannot have `${}` in it"),
            ("stages: {p: {foreach: [x], do: {vars: [{item: 1}], cmd: x}}}", "defines `item`, which is reserved"),
        ] {
            let files = [
                ("pipeline.yaml", yaml),
                ("params.yaml", "x: 1"),
                ("v.yaml", "y: 1"),
                ("l.yaml", "[1]"),
                ("bad.toml", "x = = 1"),
                ("d/x.yaml", ""),
            ];
            let message = Memory::new(&files).broken();
            assert!(message.contains(want), "{yaml}: {message}");
        }
    }
}
