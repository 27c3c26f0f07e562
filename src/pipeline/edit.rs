//! Edits of the user's `pipeline.yaml`: splices of its text at the marks of the parser, so that comments, order and
//! spelling of everything else survive.

use crate::error::{Error, Result};
use crate::value::node::{Entry, Node, Tree};
use crate::value::yaml;

/// The text with `frozen: true` in a stage or group, or without it; `None` if that is so already.
pub fn set_frozen(file: &str, text: &str, stage: &str, frozen: bool) -> Result<Option<String>> {
    let root = parse(file, text)?;
    let Some(body) = stage_body(&root, stage) else {
        return Err(Error::missing(format!("{file} has no stage {stage}")));
    };
    match (body.get("frozen"), frozen) {
        (Some(entry), true) => {
            Ok(Some(splice(text, entry.value.start.offset, entry.value.end.offset, "true")).filter(|t| t != text))
        }
        (Some(entry), false) => Ok(Some(remove_entry(text, body, entry))),
        (None, true) => insert_entry(file, text, body, "frozen: true").map(Some),
        (None, false) => Ok(None),
    }
}

/// The map that holds a stage's keys; for `foreach` that is what stands under `do`.
fn stage_body<'n>(root: &'n Node, stage: &str) -> Option<&'n Node> {
    let body = &root.get("stages")?.value.get(stage)?.value;
    match body.get("do") {
        Some(inner) if body.get("foreach").is_some() => Some(&inner.value),
        _ => Some(body),
    }
}

fn parse(file: &str, text: &str) -> Result<Node> {
    match yaml::parse(text) {
        Ok(Some(root)) => Ok(root),
        Ok(None) => Err(Error::usage(format!("{file} is empty"))),
        Err(fault) => Err(Error::usage(fault.show(file, text))),
    }
}

fn splice(text: &str, from: u32, to: u32, new: &str) -> String {
    format!("{}{new}{}", &text[..from as usize], &text[to as usize..])
}

/// Is the map written in braces?
fn is_flow(text: &str, map: &Node) -> bool {
    text[map.start.offset as usize..].starts_with('{')
}

/// Adds a line before the first key of a block map, or an item at the front of a flow map.
fn insert_entry(file: &str, text: &str, map: &Node, entry: &str) -> Result<String> {
    let Tree::Map(entries) = &map.tree else {
        return Err(Error::usage(format!("{file}: a map is expected here")));
    };
    if is_flow(text, map) {
        let at = map.start.offset + 1;
        let comma = if entries.is_empty() { "" } else { ", " };
        return Ok(splice(text, at, at, &format!("{entry}{comma}")));
    }
    let Some(first) = entries.first() else {
        return Err(Error::usage(format!("{file}: a map is expected here")));
    };
    let indent = " ".repeat(first.start.column as usize - 1);
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    Ok(splice(text, first.start.offset, first.start.offset, &format!("{entry}{newline}{indent}")))
}

/// Takes an entry out: its whole line in a block map, with its comma in a flow map.
fn remove_entry(text: &str, map: &Node, entry: &Entry) -> String {
    let (start, end) = (entry.start.offset as usize, entry.value.end.offset as usize);
    if is_flow(text, map) {
        let after = &text[end..];
        let spaces = |s: &str| s.len() - s.trim_start().len();
        if let Some(rest) = after.trim_start().strip_prefix(',') {
            let to = end + spaces(after) + 1 + spaces(rest);
            return format!("{}{}", &text[..start], &text[to..]);
        }
        let before = text[..start].trim_end().trim_end_matches(',');
        return format!("{before}{after}");
    }
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
    format!("{}{}", &text[..line_start], &text[line_end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezing_and_back_leaves_the_rest_alone() {
        let cases = [
            (
                "# top\nstages:\n  a:\n    cmd: x # why\n  b: {cmd: y}\n",
                "a",
                "# top\nstages:\n  a:\n    frozen: true\n    cmd: x # why\n  b: {cmd: y}\n",
            ),
            ("stages:\n  b: {cmd: y}\n", "b", "stages:\n  b: {frozen: true, cmd: y}\n"),
            (
                "stages:\n  g:\n    foreach: [1]\n    do:\n      cmd: é ${item}\n",
                "g",
                "stages:\n  g:\n    foreach: [1]\n    do:\n      frozen: true\n      cmd: é ${item}\n",
            ),
            ("stages:\r\n  a:\r\n    cmd: x\r\n", "a", "stages:\r\n  a:\r\n    frozen: true\r\n    cmd: x\r\n"),
        ];
        for (before, stage, after) in cases {
            assert_eq!(set_frozen("p", before, stage, true).unwrap().as_deref(), Some(after));
            assert_eq!(set_frozen("p", after, stage, false).unwrap().as_deref(), Some(before));
            assert_eq!(set_frozen("p", after, stage, true).unwrap(), None);
            assert_eq!(set_frozen("p", before, stage, false).unwrap(), None);
        }
        assert!(set_frozen("p", "stages: {}\n", "a", true).is_err());
    }
}
