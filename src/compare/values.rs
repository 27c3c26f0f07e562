//! Compares params or metrics, key by key; numbers with their change, and whether that is better if the pipeline says
//! so.
//!
//! A metric declares a direction in its `meta`: `better: higher` or `better: lower` for all numbers of the file, or a
//! map from dotted keys to either.

use std::collections::BTreeMap;

use crate::path::RepoPath;
use crate::pipeline::stage::Pipelines;
use crate::project::values::leaves;
use crate::value::{Number, Value};

/// The values of one side by file; missing or unreadable files are left out.
pub type ValuesByFile = BTreeMap<String, Value>;

/// Which direction of a number is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As for an accuracy.
    Higher,
    /// As for a loss.
    Lower,
}

/// Which direction is better, by file: for all its numbers, or by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directions(BTreeMap<String, Declared>);

#[derive(Clone, Debug, PartialEq)]
enum Declared {
    All(Direction),
    Keys(BTreeMap<String, Direction>),
}

/// One key that differs or is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRow {
    /// The file, relative to the root of the repository.
    pub file: String,
    /// Dotted; empty for a file whose top level is not a map.
    pub key: String,
    /// `None` for a new key.
    pub old: Option<Value>,
    /// `None` for a removed key.
    pub new: Option<Value>,
    /// New minus old, for numbers.
    pub change: Option<Number>,
    /// Set if a direction is declared and the number changed.
    pub better: Option<bool>,
}

impl ValueRow {
    /// Returns true if the values are equal: 1 equals 1.0.
    pub fn is_same(&self) -> bool {
        matches!((&self.old, &self.new), (Some(a), Some(b)) if a.same(b))
    }
}

/// The declared directions of the metrics in these pipelines, and an error text for each invalid declaration.
pub fn directions(pipelines: &Pipelines) -> (Directions, Vec<String>) {
    let mut found = Directions::default();
    let mut odd = Vec::new();
    for stage in &pipelines.stages {
        for out in stage.outs.iter().filter(|o| o.metric) {
            let Some(better) = out.meta.as_ref().and_then(|m| m.get("better")) else { continue };
            match declared(better) {
                Some(declared) => drop(found.0.insert(file_name(&out.path), declared)),
                None => odd.push(format!(
                    "stage {}: `meta: better` of {} is `higher`, `lower`, or a map from metrics to these",
                    stage.name, out.path
                )),
            }
        }
    }
    (found, odd)
}

fn file_name(path: &RepoPath) -> String {
    path.to_string()
}

fn declared(better: &Value) -> Option<Declared> {
    let word = |value: &Value| match value {
        Value::Str(s) if s == "higher" => Some(Direction::Higher),
        Value::Str(s) if s == "lower" => Some(Direction::Lower),
        _ => None,
    };
    match better {
        Value::Map(_) => {
            let keys = leaves(better).into_iter().map(|(key, value)| Some((key, word(value)?)));
            keys.collect::<Option<_>>().map(Declared::Keys)
        }
        other => word(other).map(Declared::All),
    }
}

impl Directions {
    /// The declared direction of a key, if any.
    pub fn of(&self, file: &str, key: &str) -> Option<Direction> {
        match self.0.get(file)? {
            Declared::All(direction) => Some(*direction),
            Declared::Keys(keys) => keys.get(key).copied(),
        }
    }
}

/// All keys of both sides: files by name, keys in the order of the new file, then removed keys.
pub fn compare(old: &ValuesByFile, new: &ValuesByFile, directions: &Directions) -> Vec<ValueRow> {
    let mut files: Vec<&String> = old.keys().chain(new.keys()).collect();
    files.sort();
    files.dedup();
    let mut rows = Vec::new();
    for file in files {
        let (before, after) = (old.get(file).map(leaves), new.get(file).map(leaves));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        let index: BTreeMap<&str, &Value> = before.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let now: BTreeMap<&str, &Value> = after.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let gone = before.iter().map(|(k, _)| k).filter(|k| !now.contains_key(k.as_str()));
        for key in after.iter().map(|(k, _)| k).chain(gone) {
            let value = |side: &BTreeMap<&str, &Value>| side.get(key.as_str()).map(|v| (*v).clone());
            let (old, new) = (value(&index), value(&now));
            let change = match (&old, &new) {
                (Some(a), Some(b)) => difference(a, b),
                _ => None,
            };
            let better = match (change, directions.of(file, key)) {
                (Some(change), Some(direction)) if change != Number::Int(0) && !change.is_nan() => {
                    Some((change > Number::Int(0)) == (direction == Direction::Higher))
                }
                _ => None,
            };
            rows.push(ValueRow { file: file.clone(), key: key.clone(), old, new, change, better });
        }
    }
    rows
}

/// New minus old; integers are subtracted as integers.
fn difference(old: &Value, new: &Value) -> Option<Number> {
    Some(new.number()?.minus(old.number()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::load::memory::Memory;
    use crate::value::read;

    fn side(files: &[(&str, &str)]) -> ValuesByFile {
        files.iter().map(|(name, text)| (name.to_string(), read("x.yaml", text.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn rows_name_what_moved_and_whether_it_is_better() {
        let yaml = "stages:\n  e:\n    cmd: x\n    metrics:\n    - m.json: {meta: {better: {acc: higher, loss.val: lower}}}\n    \
                    - t.json: {meta: {better: lower}}\n    - odd.json: {meta: {better: up}}\n";
        let loaded = Memory::new(&[("pipeline.yaml", yaml)]).load();
        let (directions, odd) = directions(&loaded.pipelines);
        assert_eq!(odd, ["stage e: `meta: better` of odd.json is `higher`, `lower`, or a map from metrics to these"]);
        let old = side(&[
            ("m.json", "{acc: 0.5, loss: {val: 2, train: 1}, gone: a, s: x}"),
            ("t.json", "5"),
            ("z", "{a: 1}"),
        ]);
        let new = side(&[("m.json", "{s: y, loss: {val: 1.5, train: 1}, acc: 0.25, new: [1]}"), ("t.json", "5.0")]);
        let shown: Vec<String> = compare(&old, &new, &directions)
            .iter()
            .map(|r| {
                let text = |v: &Option<Value>| v.as_ref().map_or("-".into(), Value::to_text);
                let better = r.better.map_or("", |b| if b { " better" } else { " worse" });
                let change = r.change.map_or(String::new(), |c| format!(" {:+}", c.to_f64()));
                format!(
                    "{}:{} {} {}{change}{better}{}",
                    r.file,
                    r.key,
                    text(&r.old),
                    text(&r.new),
                    if r.is_same() { " =" } else { "" }
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "m.json:s x y",
                "m.json:loss.val 2 1.5 -0.5 better",
                "m.json:loss.train 1 1 +0 =",
                "m.json:acc 0.5 0.25 -0.25 worse",
                "m.json:new - [1]",
                "m.json:gone a -",
                "t.json: 5 5.0 +0 =",
                "z:a 1 -"
            ]
        );
    }
}
