//! Finds where the parts of a YAML text begin and end. The parser's marks give the beginning of a node; the end of a
//! block is only known by what follows, so it is found here.

use crate::value::Value;
use crate::value::node::{Entry, Node, Tree};

/// Whether the node is null or missing.
pub fn is_null(node: &Node) -> bool {
    matches!(node.tree, Tree::Scalar(Value::Null))
}

/// Whether the node is written in braces or brackets.
pub fn is_flow(text: &str, node: &Node) -> bool {
    text[node.start.offset as usize..].starts_with(['{', '['])
}

/// The entries of the map itself, without those that a merge key adds.
pub fn own(map: &Node) -> impl Iterator<Item = &Entry> {
    let entries = map.as_map().unwrap_or_default().iter();
    entries.filter(|e| e.start.offset >= map.start.offset && e.start.offset < map.end.offset)
}

/// The indentation of the entry's key.
pub fn indent_of(text: &str, entry: &Entry) -> usize {
    let at = entry.start.offset as usize;
    at - line_start(text, at)
}

/// The offset behind the `:` of an entry.
pub fn colon(text: &str, entry: &Entry) -> usize {
    let at = entry.end.offset as usize;
    text[at..].find(':').map_or(at, |n| at + n + 1)
}

/// The offset behind the entry's value.
pub fn entry_end(text: &str, entry: &Entry) -> usize {
    let colon = colon(text, entry);
    // A missing value has no reliable position.
    if is_null(&entry.value)
        && text[entry.value.start.offset as usize..entry.value.end.offset as usize].trim().is_empty()
    {
        return colon;
    }
    content_end(text, &entry.value).max(colon)
}

/// The offset behind the last character of a node. The parser's own end of a block is the beginning of the next node,
/// behind that node's comments.
pub fn content_end(text: &str, node: &Node) -> usize {
    let (start, end) = (node.start.offset as usize, node.end.offset as usize);
    let written = text.get(start..end).unwrap_or_default();
    if written.starts_with('*') {
        return start + written.trim_end().len();
    }
    if is_flow(text, node) && !matches!(node.tree, Tree::Scalar(_)) {
        return flow_end(text, node);
    }
    match &node.tree {
        Tree::Scalar(_) => start + written.trim_end().len(),
        Tree::List(items) => items.last().map_or(end, |item| content_end(text, item).max(start)),
        Tree::Map(_) => own(node).last().map_or(end, |entry| entry_end(text, entry)),
    }
}

/// The offset behind the bracket that closes a flow map or list.
pub fn flow_end(text: &str, node: &Node) -> usize {
    let last = match &node.tree {
        Tree::List(items) => items.last().map(|item| content_end(text, item)),
        _ => own(node).last().map(|entry| entry_end(text, entry)),
    };
    let from = last.unwrap_or(node.start.offset as usize + 1);
    let mut in_comment = false;
    for (at, c) in text[from..].char_indices() {
        match c {
            '#' => in_comment = true,
            '\n' => in_comment = false,
            '}' | ']' if !in_comment => return from + at + 1,
            _ => {}
        }
    }
    from
}

/// The offset of the `-` of an item of a block list, if it is first on its line.
pub fn dash(text: &str, item: &Node) -> Option<usize> {
    let before = text[..item.start.offset as usize].trim_end();
    let at = before.len().checked_sub(1).filter(|_| before.ends_with('-'))?;
    text[line_start(text, at)..at].trim().is_empty().then_some(at)
}

/// The indentation of the first list below `node`, relative to its key.
pub fn first_list(text: &str, node: &Node) -> Option<usize> {
    node.as_map()?.iter().find_map(|entry| match &entry.value.tree {
        Tree::List(items) if !is_flow(text, &entry.value) => {
            let dash = dash(text, items.first()?)?;
            (dash - line_start(text, dash)).checked_sub(indent_of(text, entry))
        }
        Tree::Map(_) => first_list(text, &entry.value),
        _ => None,
    })
}

/// The offset of the beginning of the line that contains `at`.
pub fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |n| n + 1)
}

/// The offset behind the line end of the line that contains `at`.
pub fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |n| at + n + 1)
}

/// The offset of that line end.
pub fn line_break(text: &str, at: usize) -> usize {
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
    if text[at..end].ends_with('\r') { end - 1 } else { end }
}

/// The offset behind those comments, from the line at `at` on, that are indented further than `indent`: they belong to
/// the part above.
pub fn after_comments(text: &str, at: usize, indent: usize) -> usize {
    let mut end = at;
    let mut next = at;
    for line in text[at..].split_inclusive('\n') {
        next += line.len();
        let content = line.trim_start();
        if content.starts_with('#') && line.len() - content.len() > indent {
            end = next;
        } else if !content.is_empty() {
            break;
        }
    }
    end
}

/// Whether the line above the one at `at`, and above its comments, is blank.
pub fn blank_above(text: &str, at: usize) -> bool {
    let above = text[..line_start(text, at)].lines().rev();
    above.map(str::trim).find(|l| !l.starts_with('#')).is_some_and(str::is_empty)
}
