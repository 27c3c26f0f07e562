//! The variables of a template: a tree of values, each with the place of its definition, in layers (the file's, then
//! `item` and `key` of a generated stage, then the stage's own), so that ten thousand stages share one tree.

use std::collections::HashMap;
use std::rc::Rc;

use super::budget::Budget;
use crate::value::Value;

/// A value with its origin.
#[derive(Debug)]
pub struct Var {
    /// Its value.
    pub tree: VarTree,
    /// The file, or `vars[2]`, that defines it.
    pub source: Rc<str>,
}

/// The value of a variable, whose parts are variables with their own origins.
#[derive(Debug)]
pub enum VarTree {
    Scalar(Value),
    List(Vec<Rc<Var>>),
    Map(VarMap),
}

/// In the order of definition.
#[derive(Clone, Debug, Default)]
pub struct VarMap {
    entries: Vec<(String, Rc<Var>)>,
    index: HashMap<String, usize>,
}

impl VarMap {
    /// The variable of this name.
    pub fn get(&self, key: &str) -> Option<&Rc<Var>> {
        self.index.get(key).map(|&n| &self.entries[n].1)
    }

    /// Sets a variable; one of the same name keeps its position.
    pub fn set(&mut self, key: &str, var: Rc<Var>) {
        match self.index.get(key) {
            Some(&n) => self.entries[n].1 = var,
            None => {
                self.index.insert(key.to_string(), self.entries.len());
                self.entries.push((key.to_string(), var));
            }
        }
    }

    /// All variables, in the order of definition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Rc<Var>)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v))
    }
}

impl Var {
    /// A variable of a value, all parts of which have the same origin.
    pub fn new(value: &Value, source: &Rc<str>) -> Rc<Var> {
        let tree = match value {
            Value::List(items) => VarTree::List(items.iter().map(|i| Var::new(i, source)).collect()),
            Value::Map(entries) => {
                let mut map = VarMap::default();
                for (key, value) in entries {
                    map.set(key, Var::new(value, source));
                }
                VarTree::Map(map)
            }
            scalar => VarTree::Scalar(scalar.clone()),
        };
        Rc::new(Var { tree, source: source.clone() })
    }

    /// The value, copied without origins.
    pub fn to_value(&self) -> Value {
        match &self.tree {
            VarTree::Scalar(value) => value.clone(),
            VarTree::List(items) => Value::List(items.iter().map(|i| i.to_value()).collect()),
            VarTree::Map(map) => Value::Map(map.iter().map(|(k, v)| (k.to_string(), v.to_value())).collect()),
        }
    }

    /// Takes the size of a copy from the budget; false if there is no room. Stops at the limit.
    pub fn take_from(&self, budget: &mut Budget) -> bool {
        match &self.tree {
            VarTree::Scalar(value) => budget.take_value(value),
            VarTree::List(items) => budget.take_text(0) && items.iter().all(|item| item.take_from(budget)),
            VarTree::Map(map) => {
                budget.take_text(0) && map.iter().all(|(key, var)| budget.take_text(key.len()) && var.take_from(budget))
            }
        }
    }

    /// The kind of value, for messages: `a list`.
    pub fn kind(&self) -> &'static str {
        match &self.tree {
            VarTree::Scalar(value) => value.kind(),
            VarTree::List(_) => "a list",
            VarTree::Map(_) => "a map",
        }
    }
}

/// Two definitions of one variable.
#[derive(Debug)]
pub struct RedefinedVariable {
    /// The name with its parents: `model.depth`.
    pub path: String,
    /// The source of the first definition.
    pub before: Rc<str>,
}

/// A variable that does not exist.
#[derive(Debug)]
pub struct MissingVariable {
    /// Names that exist at this place, for a hint.
    pub known: Vec<String>,
    /// The rest of a message: which part of the reference does not exist.
    pub reason: String,
}

/// A layer of variables over another.
#[derive(Debug, Default)]
pub struct Context<'a> {
    below: Option<&'a Context<'a>>,
    own: VarMap,
    /// Names that `vars` must not define in this layer: `item` and `key` of a generated stage.
    reserved: Vec<&'static str>,
    /// The vars files read so far, with the keys that were taken; `None` for all.
    pub files: Rc<HashMap<String, Option<Vec<String>>>>,
}

impl<'a> Context<'a> {
    /// A new, empty layer over `below`.
    pub fn over(below: &'a Context<'a>) -> Context<'a> {
        let (reserved, files) = (below.reserved.clone(), below.files.clone());
        Context { below: Some(below), own: VarMap::default(), reserved, files }
    }

    /// Sets `item` or `key`.
    pub fn reserve(&mut self, name: &'static str, var: Rc<Var>) {
        self.reserved.push(name);
        self.own.set(name, var);
    }

    /// Whether `vars` must not define this name.
    pub fn is_reserved(&self, name: &str) -> bool {
        self.reserved.contains(&name)
    }

    /// The variable of this name in the uppermost layer that has it.
    pub fn get(&self, key: &str) -> Option<&Rc<Var>> {
        self.own.get(key).or_else(|| self.below.and_then(|b| b.get(key)))
    }

    /// The variables of this layer that were merged with those of a layer below, and so copied.
    pub fn merged(&self) -> impl Iterator<Item = &Rc<Var>> {
        let below = self.below;
        let is_below = move |key: &str| below.is_some_and(|below| below.get(key).is_some());
        self.own.iter().filter(move |(key, _)| is_below(key)).map(|(_, var)| var)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.own.iter().map(|(k, _)| k.to_string()).collect();
        names.extend(self.below.map(|b| b.names()).unwrap_or_default());
        names
    }

    /// Merges the entries of a map into this layer: maps are merged, any other value must be defined only once.
    pub fn merge(&mut self, new: &VarMap) -> Result<(), RedefinedVariable> {
        for (key, var) in new.iter() {
            let merged = match self.get(key) {
                None => var.clone(),
                Some(old) => merge(old, var, key)?,
            };
            self.own.set(key, merged);
        }
        Ok(())
    }

    /// The variable at a path of names and positions.
    pub fn select(&self, path: &[&str]) -> Result<Rc<Var>, MissingVariable> {
        let (first, rest) = path.split_first().ok_or_else(|| missing(Vec::new(), "nothing is named".into()))?;
        let mut at = self.get(first).ok_or_else(|| missing(self.names(), format!("`{first}` is not defined")))?;
        let mut done = first.to_string();
        for part in rest {
            at = match &at.tree {
                VarTree::Map(map) => map.get(part).ok_or_else(|| {
                    let known = map.iter().map(|(k, _)| format!("{done}.{k}")).collect();
                    missing(known, format!("`{done}` has no key `{part}`"))
                })?,
                VarTree::List(items) => position(part, items.len()).map(|n| &items[n]).ok_or_else(|| {
                    missing(Vec::new(), format!("`{done}` is a list of {}, without `{part}`", items.len()))
                })?,
                VarTree::Scalar(value) => {
                    return Err(missing(Vec::new(), format!("`{done}` is {}, without `{part}`", value.kind())));
                }
            };
            done = format!("{done}.{part}");
        }
        Ok(at.clone())
    }
}

fn missing(known: Vec<String>, reason: String) -> MissingVariable {
    MissingVariable { known, reason }
}

/// A position in a list; negative ones count from its end.
fn position(text: &str, len: usize) -> Option<usize> {
    let n: i64 = text.parse().ok()?;
    let n = if n < 0 { n + i64::try_from(len).ok()? } else { n };
    usize::try_from(n).ok().filter(|n| *n < len)
}

fn merge(old: &Rc<Var>, new: &Rc<Var>, path: &str) -> Result<Rc<Var>, RedefinedVariable> {
    let (VarTree::Map(a), VarTree::Map(b)) = (&old.tree, &new.tree) else {
        return Err(RedefinedVariable { path: path.to_string(), before: old.source.clone() });
    };
    let mut map = a.clone();
    for (key, var) in b.iter() {
        let merged = match a.get(key) {
            None => var.clone(),
            Some(before) => merge(before, var, &format!("{path}.{key}"))?,
        };
        map.set(key, merged);
    }
    Ok(Rc::new(Var { tree: VarTree::Map(map), source: old.source.clone() }))
}
