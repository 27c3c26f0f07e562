//! Edits a YAML text: sets and removes parts, and keeps the bytes of everything else.
//!
//! Each edit is a splice of the text at the parser's marks. Afterwards the new text is parsed and compared with the
//! expected document; this comparison, and not a list of cases, refuses splices that anchors, merge keys or unusual
//! layouts would break.

use super::emit::{self, Style};
use super::spans::{
    after_comments, blank_above, colon, content_end, dash, entry_end, first_list, indent_of, is_flow, is_null,
    line_break, line_end, line_start, own,
};
use crate::error::{Error, Result};
use crate::value::node::{Entry, Node, Tree};
use crate::value::{Value, yaml};

/// A YAML text with its parsed form.
pub struct Doc<'f> {
    /// The file's name, for messages.
    file: &'f str,
    text: String,
    /// `None` for an empty text.
    root: Option<Node>,
}

/// Where to insert a new key in a block map.
#[derive(Clone, Copy, PartialEq)]
pub enum KeyPosition {
    /// Before all other keys.
    First,
    /// After all other keys.
    Last,
}

impl<'f> Doc<'f> {
    /// Parses a text. Errors: it is not valid YAML.
    pub fn parse(file: &'f str, text: &str) -> Result<Doc<'f>> {
        let root = yaml::parse(text).map_err(|fault| fault.error(file, text))?;
        let root = root.filter(|n| !matches!(n.tree, Tree::Scalar(Value::Null)));
        Ok(Doc { file, text: text.to_string(), root })
    }

    /// The edited text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The node at a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self.root.as_ref()?, |node, key| Some(&node.get(key)?.value))
    }

    /// Sets a key of the map at `path`, which is created if it is missing or empty.
    pub fn set(&mut self, path: &[&str], key: &str, value: &Value, place: KeyPosition) -> Result<()> {
        let map = self.at(path).filter(|node| !is_null(node));
        let is_empty = map.is_none_or(|node| node.as_map().is_some_and(<[Entry]>::is_empty));
        if let (true, Some((last, up))) = (is_empty, path.split_last()) {
            return self.set(up, last, &Value::Map(vec![(key.into(), value.clone())]), KeyPosition::Last);
        }
        let style = self.style();
        let text = match map {
            None => {
                let line = emit::entry(key, value, 0, style);
                let gap = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { style.newline };
                format!("{}{gap}{}{}", self.text, with_newlines(&line, style), style.newline)
            }
            Some(map) if map.as_map().is_none() => return Err(self.cannot()),
            Some(map) => match map.get(key) {
                Some(entry) => self.replaced(map, entry, value, style),
                None if is_flow(&self.text, map) => self.inserted_in_flow(map, key, value, place),
                None => self.inserted(path, map, key, value, place, style).ok_or_else(|| self.cannot())?,
            },
        };
        let wanted = self.changed(path, |map| match map {
            Value::Map(entries) => match entries.iter_mut().find(|(k, _)| k == key) {
                Some((_, old)) => *old = value.clone(),
                None => entries.push((key.into(), value.clone())),
            },
            other => *other = Value::Map(vec![(key.into(), value.clone())]),
        });
        self.accept(text, &wanted)
    }

    /// Removes a key from the map at `path`; removes the map if it would be empty.
    pub fn remove(&mut self, path: &[&str], key: &str) -> Result<()> {
        let map = self.at(path).ok_or_else(|| self.cannot())?;
        let entry = map.get(key).ok_or_else(|| self.cannot())?;
        let flow = is_flow(&self.text, map);
        if let (1, false, Some((last, up))) = (map.as_map().map_or(0, <[Entry]>::len), flow, path.split_last()) {
            return self.remove(up, last);
        }
        let end = entry_end(&self.text, entry);
        let text = if flow {
            without_flow_part(&self.text, entry.start.offset as usize, end)
        } else {
            without_lines(&self.text, entry.start.offset as usize, end, indent_of(&self.text, entry))
        };
        let wanted = self.changed(path, |map| {
            if let Value::Map(entries) = map {
                entries.retain(|(k, _)| k != key);
            }
        });
        self.accept(text, &wanted)
    }

    /// Adds an item at the end of the list at the top-level key `key`.
    pub fn push(&mut self, key: &str, item: &Value) -> Result<()> {
        let list = match self.at(&[key]) {
            None => return self.set(&[], key, &Value::List(vec![item.clone()]), KeyPosition::Last),
            Some(node) if is_null(node) => {
                return self.set(&[], key, &Value::List(vec![item.clone()]), KeyPosition::Last);
            }
            Some(node) => node,
        };
        let Some(last) = list.as_list().and_then(<[Node]>::last) else {
            return self.set(&[], key, &Value::List(vec![item.clone()]), KeyPosition::Last);
        };
        let style = self.style();
        let end = content_end(&self.text, last);
        let text = if is_flow(&self.text, list) {
            format!("{}, {}{}", &self.text[..end], emit::flow(item), &self.text[end..])
        } else {
            let dash = dash(&self.text, last).ok_or_else(|| self.cannot())?;
            let indent = dash - line_start(&self.text, dash);
            let line = emit::item(item, indent, style);
            self.with_line_at(
                after_comments(&self.text, line_end(&self.text, end), indent),
                indent,
                &line,
                style,
                false,
            )
        };
        let wanted = self.changed(&[key], |list| {
            if let Value::List(items) = list {
                items.push(item.clone());
            }
        });
        self.accept(text, &wanted)
    }

    /// Removes an item from the list at the top-level key `key`; removes the list if it would be empty.
    pub fn remove_item(&mut self, key: &str, n: usize) -> Result<()> {
        let list = self.at(&[key]).ok_or_else(|| self.cannot())?;
        let items = list.as_list().unwrap_or_default();
        let item = items.get(n).ok_or_else(|| self.cannot())?;
        if items.len() == 1 {
            return self.remove(&[], key);
        }
        let end = content_end(&self.text, item);
        let text = if is_flow(&self.text, list) {
            without_flow_part(&self.text, item.start.offset as usize, end)
        } else {
            let dash = dash(&self.text, item).ok_or_else(|| self.cannot())?;
            without_lines(&self.text, dash, end, dash - line_start(&self.text, dash))
        };
        let wanted = self.changed(&[key], |list| {
            if let Value::List(items) = list {
                items.remove(n);
            }
        });
        self.accept(text, &wanted)
    }

    /// Replaces a scalar inside an item of the list at the top-level key `key`.
    pub fn replace_in_item(&mut self, key: &str, n: usize, path: &[&str], value: &Value) -> Result<()> {
        let item = self.at(&[key]).and_then(Node::as_list).and_then(|items| items.get(n));
        let node = path.iter().try_fold(item.ok_or_else(|| self.cannot())?, |node, key| Some(&node.get(key)?.value));
        let node = node.ok_or_else(|| self.cannot())?;
        let (from, to) = (node.start.offset as usize, node.end.offset as usize);
        let text = format!("{}{}{}", &self.text[..from], emit::flow(value), &self.text[to..]);
        let wanted = self.changed(&[key], |list| {
            let Value::List(items) = list else { return };
            let mut at = items.get_mut(n);
            for key in path {
                at = match at {
                    Some(Value::Map(entries)) => entries.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v),
                    _ => None,
                };
            }
            if let Some(at) = at {
                *at = value.clone();
            }
        });
        self.accept(text, &wanted)
    }

    /// The whole document with a change of the part at `path`.
    fn changed(&self, path: &[&str], change: impl FnOnce(&mut Value)) -> Value {
        let mut root = self.root.as_ref().map_or(Value::Map(Vec::new()), Node::to_value);
        let mut at = Some(&mut root);
        for key in path {
            at = match at {
                Some(Value::Map(entries)) => entries.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v),
                _ => None,
            };
        }
        if let Some(part) = at {
            change(part);
        }
        root
    }

    fn accept(&mut self, text: String, wanted: &Value) -> Result<()> {
        let doc = Doc::parse(self.file, &text).map_err(|_| self.cannot())?;
        let got = doc.root.as_ref().map_or(Value::Map(Vec::new()), Node::to_value);
        if !got.same(wanted) {
            return Err(self.cannot());
        }
        *self = doc;
        Ok(())
    }

    fn cannot(&self) -> Error {
        Error::usage(format!(
            "{} is written in a way in which this cannot be changed without changing something else",
            self.file
        ))
        .because("an anchor, an alias or an unusual layout is involved")
        .hint("change it in an editor; the file stays as it is")
    }

    /// The style of the file, taken from its first stage and its first list.
    fn style(&self) -> Style {
        let newline = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut style = Style { step: 2, list: 0, newline };
        let Some(root) = &self.root else { return style };
        for entry in root.as_map().unwrap_or_default() {
            if let Some(first) = entry.value.as_map().and_then(<[Entry]>::first)
                && !is_flow(&self.text, &entry.value)
                && first.start.column > entry.start.column
                && first.start.line > entry.start.line
            {
                style.step = (first.start.column - entry.start.column) as usize;
                break;
            }
        }
        if let Some(list) = first_list(&self.text, root) {
            style.list = list;
        }
        style
    }

    fn replaced(&self, map: &Node, entry: &Entry, value: &Value, style: Style) -> String {
        let text = &self.text;
        let (colon, end) = (colon(text, entry), entry_end(text, entry));
        if is_flow(text, map) {
            return format!("{} {}{}", &text[..colon], emit::flow(value), &text[end..]);
        }
        let (head, tail) = emit::after_colon(value, indent_of(text, entry), style);
        let tail = with_newlines(&tail, style);
        // Keeps a comment, behind the key or behind the replaced value.
        let key_line = &text[colon..line_break(text, colon)];
        let comment = if line_break(text, colon) < end {
            key_line.trim_end()
        } else {
            text[end..line_break(text, end)].trim_end()
        };
        let comment = if comment.trim_start().starts_with('#') { comment } else { "" };
        format!("{}{head}{comment}{tail}{}", &text[..colon], &text[line_break(text, end)..])
    }

    fn inserted_in_flow(&self, map: &Node, key: &str, value: &Value, place: KeyPosition) -> String {
        let one = Value::Map(vec![(key.into(), value.clone())]);
        let entry = emit::flow(&one);
        let entry = &entry[1..entry.len() - 1];
        match map.as_map().and_then(<[Entry]>::last) {
            Some(last) if place == KeyPosition::Last => {
                let at = entry_end(&self.text, last);
                format!("{}, {entry}{}", &self.text[..at], &self.text[at..])
            }
            last => {
                let at = map.start.offset as usize + 1;
                let comma = if last.is_some() { ", " } else { "" };
                format!("{}{entry}{comma}{}", &self.text[..at], &self.text[at..])
            }
        }
    }

    fn inserted(
        &self,
        path: &[&str],
        map: &Node,
        key: &str,
        value: &Value,
        place: KeyPosition,
        style: Style,
    ) -> Option<String> {
        let text = &self.text;
        let own: Vec<&Entry> = own(map).collect();
        let (first, last) = (own.first()?, own.last()?);
        let indent = indent_of(text, first);
        let line = emit::entry(key, value, indent, style);
        if place == KeyPosition::First {
            let at = first.start.offset as usize;
            let line = with_newlines(&line, style);
            return Some(format!("{}{line}{}{}{}", &text[..at], style.newline, " ".repeat(indent), &text[at..]));
        }
        let at = after_comments(text, line_end(text, entry_end(text, last)), indent);
        // If stages are separated by blank lines, the new one is, too.
        let apart = own.len() > 1 && path.len() < 2 && blank_above(text, last.start.offset as usize);
        Some(self.with_line_at(at, indent, &line, style, apart))
    }

    fn with_line_at(&self, at: usize, indent: usize, line: &str, style: Style, apart: bool) -> String {
        let (before, after) = self.text.split_at(at);
        let newline = style.newline;
        let gap = if before.is_empty() || before.ends_with('\n') { "" } else { newline };
        let blank = if apart { newline } else { "" };
        format!("{before}{gap}{blank}{}{}{newline}{after}", " ".repeat(indent), with_newlines(line, style))
    }
}

fn with_newlines(text: &str, style: Style) -> String {
    if style.newline == "\n" { text.to_string() } else { text.replace('\n', style.newline) }
}

/// The text without the lines from `start` to `end`, and without their comments; removes one of two blank lines that
/// would be adjacent.
fn without_lines(text: &str, start: usize, end: usize, indent: usize) -> String {
    let (from, to) = (line_start(text, start), after_comments(text, line_end(text, end), indent));
    let (before, after) = (&text[..from], &text[to..]);
    let is_blank_end = before.is_empty()
        || before.ends_with("\n\n")
        || before.ends_with("\r\n\r\n")
        || before.trim_end().ends_with(':');
    let next = after.split_inclusive('\n').next().unwrap_or_default();
    if is_blank_end && !next.is_empty() && next.trim().is_empty() {
        return format!("{before}{}", &after[next.len()..]);
    }
    if is_blank_end && after.is_empty() && before.trim_end_matches(['\n', '\r']).len() + 2 <= before.len() {
        let kept = before.strip_suffix("\r\n").or(before.strip_suffix('\n')).unwrap_or(before);
        return kept.to_string();
    }
    format!("{before}{after}")
}

/// The text without a part of a flow map or list, and without its comma.
fn without_flow_part(text: &str, start: usize, end: usize) -> String {
    let after = &text[end..];
    let spaces = |s: &str| s.len() - s.trim_start().len();
    if let Some(rest) = after.trim_start().strip_prefix(',') {
        let to = end + spaces(after) + 1 + spaces(rest);
        return format!("{}{}", &text[..start], &text[to..]);
    }
    let before = text[..start].trim_end();
    format!("{}{after}", before.strip_suffix(',').unwrap_or(before))
}
