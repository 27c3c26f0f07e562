//! The differences of two values, leaf by leaf: the changed keys of a map, not the whole map twice.

use std::collections::HashMap;

use super::Value;

/// Lists whose text is at most this long are shown whole.
const SHORT_LIST: usize = 40;

/// One leaf that was added, removed or changed.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafChange<'v> {
    /// Dotted, with the index of an element of a list: `train.layers.0`.
    pub key: String,
    /// `None` for an added leaf.
    pub old: Option<&'v Value>,
    /// `None` for a removed leaf.
    pub new: Option<&'v Value>,
}

/// The changed leaves below `key`, in the order of the new value; removed keys of a map follow its others. An element
/// that was inserted into a list, or removed from it, is one change.
pub fn changed_leaves<'v>(key: &str, old: Option<&'v Value>, new: Option<&'v Value>) -> Vec<LeafChange<'v>> {
    let mut found = Vec::new();
    collect(key.to_string(), old, new, &mut found);
    found
}

fn collect<'v>(key: String, old: Option<&'v Value>, new: Option<&'v Value>, found: &mut Vec<LeafChange<'v>>) {
    match (old, new) {
        (None, None) => {}
        (Some(a), Some(b)) if a.same(b) => {}
        (Some(Value::Map(a)), Some(Value::Map(b))) => collect_map(&key, a, b, found),
        (None, Some(Value::Map(b))) if !b.is_empty() => collect_map(&key, &[], b, found),
        (Some(Value::Map(a)), None) if !a.is_empty() => collect_map(&key, a, &[], found),
        (Some(Value::List(a)), Some(Value::List(b))) if !(is_short(a) && is_short(b)) => {
            collect_list(&key, a, b, found);
        }
        (old, new) => found.push(LeafChange { key, old, new }),
    }
}

fn collect_map<'v>(key: &str, old: &'v [(String, Value)], new: &'v [(String, Value)], found: &mut Vec<LeafChange<'v>>) {
    let by_name = |entries: &'v [(String, Value)]| entries.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let (before, after): (HashMap<&str, &Value>, HashMap<&str, &Value>) = (by_name(old), by_name(new));
    for (name, value) in new {
        collect(format!("{key}.{name}"), before.get(name.as_str()).copied(), Some(value), found);
    }
    for (name, value) in old.iter().filter(|(name, _)| !after.contains_key(name.as_str())) {
        collect(format!("{key}.{name}"), Some(value), None, found);
    }
}

/// The elements between the common beginning and the common end, index by index.
fn collect_list<'v>(key: &str, old: &'v [Value], new: &'v [Value], found: &mut Vec<LeafChange<'v>>) {
    let start = old.iter().zip(new).take_while(|(a, b)| a.same(b)).count();
    let (old, new) = (&old[start..], &new[start..]);
    let same_end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a.same(b)).count();
    let (old, new) = (&old[..old.len() - same_end], &new[..new.len() - same_end]);
    for at in 0..old.len().max(new.len()) {
        collect(format!("{key}.{}", start + at), old.get(at), new.get(at), found);
    }
}

/// A list of few scalars.
fn is_short(list: &[Value]) -> bool {
    let is_scalar = |value: &Value| !matches!(value, Value::Map(_) | Value::List(_));
    list.len() <= SHORT_LIST
        && list.iter().all(is_scalar)
        && list.iter().map(|value| value.to_text().chars().count() + 1).sum::<usize>() <= SHORT_LIST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> Vec<String> {
        let read = |text: &str| (!text.is_empty()).then(|| super::super::parse("x.yaml", text).unwrap());
        let (old, new) = (read(old), read(new));
        let text = |value: Option<&Value>| value.map_or("none".to_string(), Value::to_text);
        let changes = changed_leaves("k", old.as_ref(), new.as_ref());
        changes.iter().map(|c| format!("{} {} → {}", c.key, text(c.old), text(c.new))).collect()
    }

    #[test]
    fn only_changed_leaves_are_named() {
        let long = |from: u32, to: u32| format!("{:?}", (from..to).collect::<Vec<_>>());
        for (old, new, want) in [
            ("{a: 1, b: 2}", "{b: 2, a: 1}", &[][..]),
            ("{a: 1, b: {c: 2, d: 3}}", "{a: 1, b: {c: 2, d: 4}}", &["k.b.d 3 → 4"]),
            ("{a: 1, x: 5}", "{b: 2, a: 1}", &["k.b none → 2", "k.x 5 → none"]),
            ("{a: {b: 1}}", "{}", &["k.a.b 1 → none"]),
            ("{a: 1}", "{a: {b: 1}}", &["k.a 1 → {\"b\":1}"]),
            ("{a: {}}", "{}", &["k.a {} → none"]),
            ("", "{a: {b: 1}, c: 2}", &["k.a.b none → 1", "k.c none → 2"]),
            ("{a: 1}", "", &["k.a 1 → none"]),
            ("{}", "", &["k {} → none"]),
            ("1", "2", &["k 1 → 2"]),
            ("[1, 2, 3]", "[1, 2, 4, 5]", &["k [1,2,3] → [1,2,4,5]"]),
            ("[{n: 1}, {n: 2}]", "[{n: 1}, {n: 3}]", &["k.1.n 2 → 3"]),
            (&long(0, 100), &long(1, 100), &["k.0 0 → none"]),
            (&long(0, 100), &long(0, 102), &["k.100 none → 100", "k.101 none → 101"]),
        ] {
            assert_eq!(shown(old, new), want, "{old} {new}");
        }
    }
}
