//! Params or metrics of any number of states, a line for each key. Pure.

use std::collections::HashMap;

use super::values::{Directions, ValuesByFile, compare};
use crate::value::Value;

/// One key at each state.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueLine {
    pub file: String,
    /// Dotted; empty for a file whose top level is not a map.
    pub key: String,
    /// In the order of the states; `None` where the key is missing.
    pub values: Vec<Option<Value>>,
    /// Whether the value is better than the first one; set if a direction is declared and the number differs.
    pub better: Vec<Option<bool>>,
}

impl ValueLine {
    /// Whether all states have the same value.
    pub fn is_same(&self) -> bool {
        let Some(Some(first)) = self.values.first() else { return false };
        self.values.iter().all(|value| value.as_ref().is_some_and(|value| value.same(first)))
    }
}

/// All keys of all states: files by name, keys in the order of the last state, then those that only earlier ones have.
pub fn side_by_side(sides: &[ValuesByFile], directions: &Directions) -> Vec<ValueLine> {
    let Some(first) = sides.first() else { return Vec::new() };
    let mut lines: Vec<ValueLine> = Vec::new();
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for (n, side) in sides.iter().enumerate().rev() {
        for row in compare(first, side, directions) {
            let at = *places.entry((row.file.clone(), row.key.clone())).or_insert_with(|| {
                let (values, better) = (vec![None; sides.len()], vec![None; sides.len()]);
                lines.push(ValueLine { file: row.file, key: row.key, values, better });
                lines.len() - 1
            });
            lines[at].values[0] = row.old;
            lines[at].values[n] = row.new;
            lines[at].better[n] = row.better;
        }
    }
    lines.sort_by(|a, b| a.file.cmp(&b.file));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::values::directions;
    use super::*;
    use crate::pipeline::load::memory::Memory;
    use crate::value::read;

    #[test]
    fn each_key_has_one_line() {
        let yaml = "stages:\n  e:\n    cmd: x\n    metrics:\n    - m.json: {meta: {better: {acc: higher}}}\n";
        let (directions, _) = directions(&Memory::new(&[("pipeline.yaml", yaml)]).load().pipelines);
        let side = |files: &[(&str, &str)]| -> ValuesByFile {
            files.iter().map(|(name, text)| (name.to_string(), read("x.yaml", text.as_bytes()).unwrap())).collect()
        };
        let shown = |sides: &[ValuesByFile]| -> Vec<String> {
            let text = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_text);
            let better = |better: &Option<bool>| better.map_or("", |better| if better { "+" } else { "!" });
            let cells = |line: &ValueLine| -> Vec<String> {
                line.values.iter().zip(&line.better).map(|(v, b)| text(v) + better(b)).collect()
            };
            let line = |line: &ValueLine| {
                let same = if line.is_same() { " =" } else { "" };
                format!("{}:{} {}{same}", line.file, line.key, cells(line).join(" "))
            };
            side_by_side(sides, &directions).iter().map(line).collect()
        };
        let sides = [
            side(&[("m.json", "{gone: 1, acc: 0.5, n: 1}")]),
            side(&[("m.json", "{acc: 0.25, n: 1.0}"), ("z", "{a: .nan}")]),
            side(&[("m.json", "{n: 1, acc: 0.75}"), ("z", "{a: .nan, b: 2}")]),
        ];
        assert_eq!(
            shown(&sides),
            ["m.json:n 1 1.0 1 =", "m.json:acc 0.5 0.25! 0.75+", "m.json:gone 1 - -", "z:a - nan nan", "z:b - - 2"]
        );
        assert_eq!(shown(&sides[..1]), ["m.json:gone 1 =", "m.json:acc 0.5 =", "m.json:n 1 ="]);
        assert!(shown(&[]).is_empty() && shown(&[ValuesByFile::new(), ValuesByFile::new()]).is_empty());
    }
}
